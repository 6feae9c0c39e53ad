"""A resource that this package does not know: the bytes of a cell's weights, one each, in a microcontroller's flash."""

from autoshrink.resources import BYTES, RESOURCES, Resource

RESOURCES.register(
    "flash",
    Resource(
        "flash",
        "flash",
        BYTES,
        key="flash_bytes",
        count=lambda _, cost: cost.params,
        limit="… at most this flash, a byte a parameter, e.g. 64KiB.",
    ),
)
