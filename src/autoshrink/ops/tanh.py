"""The hyperbolic tangent, 2·σ(2x) − 1: a sigmoid and more."""

from autoshrink.ops.base import RecurrentOperation

TANH = RecurrentOperation(
    "tanh",
    colours=("#dcefdc", "#244a2b"),
    cheaper=("sigmoid", "relu", "identity"),
    call="torch.tanh",
    squash=2.0,
    backward=("tanh_backward",),
)
