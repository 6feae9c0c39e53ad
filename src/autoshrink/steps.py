"""A forward pass as a list: of steps, each one tensor made from others, to be counted; or of what a runtime times.

Whatever the kind of architecture, one MAC is one multiply-add of a convolution or a matrix product; BN, biases,
activations, gates, pooling, additions and means are not counted, nor is an embedding, which is a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BYTES_PER_ACTIVATION = 4
"""float32."""

AROUND_THE_CELLS = frozenset({"stem", "head", "classifier", "embedding", "decoder"})
"""Layers that are no part of a cell or block."""


@dataclass(frozen=True)
class Layer:
    """One convolution, matrix or embedding, and what it costs for one image or one token.

    `in_channels` and `out_channels` are the tensor's channels or its width (an embedding's input: the vocabulary);
    `size` is the output's height and width in pixels, (1, 1) in language models.
    """

    name: str
    op: str
    in_channels: int
    out_channels: int
    size: tuple[int, int]
    params: int
    bn_params: int
    macs: int


@dataclass(frozen=True)
class Cost:
    """What one image or one token costs in one architecture.

    Attributes:
        params: weights and biases, BN left out; a weight that two layers share counts once.
        params_with_bn: `params` with BN's scale and shift: what PyTorch reports as trainable.
        macs: multiply-adds of a forward pass.
        peak_activation_bytes: the largest, over execution steps, of all tensors that must be alive at once; float32,
            batch 1, one token. The counter of each kind says what works in place.
        largest_layer_bytes_uint8: the largest sum of what one of `layers` reads and writes, a byte an element, as the
            Visual Wake Words Challenge of 2019 and AutoShrink's code reckon peak memory: everything else is left out
            (and, as in the peak, a sample whose size an architecture of a plug-in does not say).
        cell_params: the part of `params` that lies in cells or blocks: without stem, head and classifier, or without
            embedding and decoder.
        layers: the parts, in execution order.
    """

    params: int
    params_with_bn: int
    macs: int
    peak_activation_bytes: int
    largest_layer_bytes_uint8: int
    cell_params: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Step:
    """One tensor made from others; `layer` is what that costs, `in_place` says that it overwrites the first read."""

    reads: tuple[str, ...]
    writes: str
    elements: int
    layer: Layer | None = None
    in_place: bool = False


def convolution(name: str, op: str, channels: tuple[int, int], size: tuple[int, int], weights: int) -> Layer:
    """A bias-free convolution with BN: (in, out) channels, (height, width) of its output, and how many weights."""
    return Layer(name, op, channels[0], channels[1], size, weights, 2 * channels[1], weights * size[0] * size[1])


def excitation(name: str, source: str, channels: int, squeezed: int, size: tuple[int, int]) -> Iterator[Step]:
    """Squeeze and excitation of a tensor, in place: two 1×1 convolutions with biases on the channels' means.

    Args:
        name: with which every tensor and layer begins.
        source: the tensor.
        channels: of it.
        squeezed: channels between the two convolutions.
        size: height and width, pixels.
    """
    yield Step((source,), f"{name}.pooled", channels)
    for reads, part, inputs, outputs in (
        ("pooled", "squeeze", channels, squeezed),
        ("squeeze", "excite", squeezed, channels),
    ):
        weights = inputs * outputs
        layer = Layer(f"{name}.{part}", "conv1x1, bias", inputs, outputs, (1, 1), weights + outputs, 0, weights)
        yield Step((f"{name}.{reads}",), layer.name, outputs, layer)
    yield Step((source, f"{name}.excite"), f"{name}.excited", channels * size[0] * size[1], in_place=True)


def classification(source: str, features: int, classes: int) -> Iterator[Step]:
    """Global average pooling of a tensor of `features` channels, then the classifier."""
    yield Step((source,), "pooled", features)
    weights = features * classes
    layer = Layer("classifier", "linear", features, classes, (1, 1), weights + classes, 0, weights)
    yield Step(("pooled",), "classifier", classes, layer)


def cost_of(steps: Iterable[Step], inputs: dict[str, int], *, kept: frozenset[str] = frozenset()) -> Cost:
    """What a list of steps costs.

    Args:
        steps: in execution order.
        inputs: elements of the tensors that are there before the first step.
        kept: tensors that the next token needs: alive through the last step.
    """
    steps = tuple(steps)
    layers = tuple(step.layer for step in steps if step.layer)
    params = sum(layer.params for layer in layers)
    return Cost(
        params=params,
        params_with_bn=params + sum(layer.bn_params for layer in layers),
        macs=sum(layer.macs for layer in layers),
        peak_activation_bytes=BYTES_PER_ACTIVATION * _peak_elements(steps, inputs, kept),
        largest_layer_bytes_uint8=_largest_layer(steps, inputs),
        cell_params=sum(layer.params for layer in layers if layer.name.partition(".")[0] not in AROUND_THE_CELLS),
        layers=layers,
    )


def _peak_elements(steps: tuple[Step, ...], inputs: dict[str, int], kept: frozenset[str]) -> int:
    """Largest sum of live tensors: a tensor lives from the step that writes it to the last step that reads it."""
    last_read = {name: position for position, step in enumerate(steps) for name in step.reads}
    last_read |= dict.fromkeys(kept, len(steps))
    alive, peak = dict(inputs), 0
    for position, step in enumerate(steps):
        if step.in_place:
            alive.pop(step.reads[0])
        alive[step.writes] = step.elements
        peak = max(peak, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last_read.get(name, -1) > position}
    return peak


def _largest_layer(steps: tuple[Step, ...], inputs: dict[str, int]) -> int:
    """Largest sum of the elements that a step with a layer reads and writes."""
    sizes = inputs | {step.writes: step.elements for step in steps}
    return max(
        (sum(sizes.get(name, 0) for name in step.reads) + step.elements for step in steps if step.layer), default=0
    )


@dataclass(frozen=True)
class RuntimeOperation:
    """What a runtime executes as one piece: a convolution with its bias and activation, a concatenation, a pooling …

    Attributes:
        name: ``call`` is what calling the runtime takes beside the operations; ``shortcut`` is the strided 1×1
            convolution with the addition of the cell's output; ``squeeze`` is the mean of each channel and the 1×1
            convolution after it, ``excite`` the second one, its sigmoid and the product; the others are what they are
            called, with the kernel's size where there is one: ``conv1x1``, ``depthwise5x5``, dilated
            ``depthwise3x3d2``, ``avgpool3x3``. A ``conv3x3`` (``conv7x7``) is a network's first layer and reads the
            image; further on it is a ``dense3x3``.
        reads: channels of every tensor that it reads.
        writes: channels of the tensor that it writes.
        size: height and width of what it writes, pixels; of ``average`` and ``squeeze``, of what they read.
        stride: rows and columns of the input for one of the output.
        activation: what follows a convolution at once, or None.
    """

    name: str
    reads: tuple[int, ...] = ()
    writes: int = 0
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    activation: str | None = None

    @property
    def key(self) -> str:
        """Its name in a table: ``conv1x1 48>16 32x32 relu``."""
        if self.name == "call":
            return self.name
        parts = [self.name, f"{'+'.join(map(str, self.reads))}>{self.writes}", f"{self.size[0]}x{self.size[1]}"]
        if self.stride > 1:
            parts.append(f"/{self.stride}")
        return " ".join([*parts, self.activation] if self.activation else parts)
