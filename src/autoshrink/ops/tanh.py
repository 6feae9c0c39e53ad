"""The hyperbolic tangent."""

from autoshrink.ops.base import RecurrentOperation

TANH = RecurrentOperation(
    "tanh", colours=("#dcefdc", "#244a2b"), call="torch.tanh", squash=2.0, backward=("tanh_backward",)
)
