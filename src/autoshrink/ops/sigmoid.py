"""1 / (1 + e^(−x))."""

from autoshrink.ops.base import RecurrentOperation

SIGMOID = RecurrentOperation(
    "sigmoid",
    colours=("#fbe6c8", "#5a4214"),
    cheaper=("relu", "identity"),
    call="torch.sigmoid",
    squash=1.0,
    backward=("sigmoid_backward",),
)
