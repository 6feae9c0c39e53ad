"""max(x, 0)."""

from autoshrink.ops.base import RecurrentOperation

RELU = RecurrentOperation(
    "relu",
    colours=("#dbe8f6", "#22405f"),
    cheaper=("identity",),
    call="torch.relu",
    backward=("threshold_backward", 0),
)
