"""The decoders' loss over a large vocabulary, without keeping its logits.

The logits of a chunk are by far the largest tensor of a small language model (4,480 tokens × 10,000 words: 179 MB), and
reading and writing it several times costs as much as the products. Here a block of rows goes from hidden states to
gradients while it is in cache; only the gradients of the inputs are kept.

Shape letters: K models, R rows (tokens), V vocabulary, n width.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 20
"""Logits in a block: 4 MB in float32."""
MANY_ELEMENTS = 1 << 25
"""The same off the CPU, 134 MB: no cache has to hold them, and a block costs launches."""


def tied_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-likelihoods (K,), nats, of targets under softmax(hidden · weightᵀ + bias).

    Args:
        hidden: (K, R, n).
        weight: (K, V, n), the embeddings.
        bias: (K, V).
        targets: (K, R) int64.
    """
    if not torch.is_grad_enabled():
        return token_losses(hidden, weight, bias, targets).mean(dim=1)
    losses: Tensor = _TiedCrossEntropy.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return losses


@torch.no_grad()
def token_losses(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of each target, (K, R), nats; no gradients."""
    losses = [_exponentials(hidden[:, rows], weight, bias, targets[:, rows])[1] for rows in _blocks(hidden, weight)]
    return torch.cat(losses, dim=1) if losses else hidden.new_empty(targets.shape)


class _TiedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        count = targets.shape[1]
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        grad_bias, total = torch.zeros_like(bias), hidden.new_zeros(len(hidden))
        for rows in _blocks(hidden, weight):
            chances, losses = _exponentials(hidden[:, rows], weight, bias, targets[:, rows])
            total += losses.sum(dim=1)
            # d loss / d logits = softmax − one-hot.
            wanted = targets[:, rows].unsqueeze(2)
            chances.scatter_add_(2, wanted, chances.new_full((), -1.0).expand(wanted.shape))
            chances *= 1.0 / count
            grad_hidden[:, rows] = torch.bmm(chances, weight)
            grad_weight.baddbmm_(chances.transpose(1, 2), hidden[:, rows])
            grad_bias += chances.sum(dim=1)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total / count

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors
        each = grad.view(-1, 1, 1)
        return grad_hidden * each, grad_weight * each, grad_bias * grad.view(-1, 1), None


def _blocks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    elements = BLOCK_ELEMENTS if weight.device.type == "cpu" else MANY_ELEMENTS
    rows = max(1, elements // (weight.shape[0] * weight.shape[1]))
    for first in range(0, hidden.shape[1], rows):
        yield slice(first, min(first + rows, hidden.shape[1]))


def _exponentials(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax (K, r, V) and losses (K, r) of a block, with one pass of exponentials."""
    logits = torch.baddbmm(bias.unsqueeze(1), hidden, weight.transpose(1, 2))
    logits -= logits.amax(dim=2, keepdim=True)
    wanted = logits.gather(2, targets.unsqueeze(2)).squeeze(2)
    logits.exp_()
    totals = logits.sum(dim=2)
    logits /= totals.unsqueeze(2)
    return logits, totals.log() - wanted
