"""The decoder's loss over a large vocabulary, without keeping its logits.

The logits of a chunk are by far the largest tensor of a small language model (4,480 tokens × 10,000 words: 179 MB), and
reading and writing it several times costs as much as the products. Here a block of rows goes from hidden states to
gradients while it is in cache; only the gradients of the inputs are kept.

Shape letters: R rows (tokens), V vocabulary, n width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 20
"""Logits in a block: 4 MB in float32."""


def tied_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihood, nats, of the targets (R,) under softmax(hidden · weightᵀ + bias).

    Args:
        hidden: (R, n).
        weight: (V, n), the embedding.
        bias: (V,).
        targets: (R,) int64.
    """
    if not torch.is_grad_enabled():
        return token_losses(hidden, weight, bias, targets).mean()
    loss: Tensor = _TiedCrossEntropy.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return loss


@torch.no_grad()
def token_losses(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of each target, (R,), nats; no gradients."""
    losses = [_exponentials(hidden[rows], weight, bias, targets[rows])[1] for rows in _blocks(hidden, weight)]
    return torch.cat(losses) if losses else hidden.new_empty(0)


class _TiedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        count = len(targets)
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        grad_bias, total = torch.zeros_like(bias), hidden.new_zeros(())
        for rows in _blocks(hidden, weight):
            chances, losses = _exponentials(hidden[rows], weight, bias, targets[rows])
            total += losses.sum()
            # d loss / d logits = softmax − one-hot.
            chances[torch.arange(len(chances), device=chances.device), targets[rows]] -= 1.0
            chances *= 1.0 / count
            torch.mm(chances, weight, out=grad_hidden[rows])
            grad_weight.addmm_(chances.t(), hidden[rows])
            grad_bias += chances.sum(dim=0)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        return grad_hidden * grad, grad_weight * grad, grad_bias * grad, None


def _blocks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    rows = max(1, BLOCK_ELEMENTS // len(weight))
    for first in range(0, len(hidden), rows):
        yield slice(first, min(first + rows, len(hidden)))


def _exponentials(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax (r, V) and losses (r,) of a block, with one pass of exponentials."""
    logits = torch.addmm(bias, hidden, weight.t())
    logits -= logits.amax(dim=1, keepdim=True)
    wanted = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
    logits.exp_()
    totals = logits.sum(dim=1)
    logits /= totals.unsqueeze(1)
    return logits, totals.log() - wanted
