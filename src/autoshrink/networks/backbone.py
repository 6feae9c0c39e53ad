"""An image network behind the interface that timm's training and feature tools expect; timm itself is not needed.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.architecture import Architecture, ImageArchitecture, NetworkPlan, PartPlan
from autoshrink.errors import InputError
from autoshrink.networks import image
from autoshrink.networks.image import ImageNetwork
from autoshrink.ops.layers import BN_EPSILON, BN_MOMENTUM

POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda x: x.mean(dim=(2, 3)),
    "max": lambda x: x.amax(dim=(2, 3)),
    "": lambda x: x,
}
"""By timm's names, from (B, C, H, W) to (B, C), or to no pooling at all."""


class Backbone(ImageNetwork):
    """An image network that also gives its features: (B, C, H, W) to (B, num_classes) logits.

    Its tensors have the names that they have in the network itself, so weights go from one to the other. A new one is
    initialised as `autoshrink.networks.build` does, from torch's global generator.

    Args:
        architecture: what to build.
        num_classes: outputs; 0 for none, which gives the pooled features. None: the architecture's.
        in_chans: channels of the input. None: the architecture's.
        drop_rate: dropout before the classifier, in training.
        global_pool: ``"avg"``, ``"max"`` or, with no classes, ``""``.
        bn_eps: what BN adds to the variance. None: as built.
        bn_momentum: weight of a new batch in BN's running statistics. None: as built.

    Attributes:
        num_features: channels of the features.
        head_hidden_size: the classifier's inputs, the same number.
        feature_info: for each stride, its deepest tensor: `num_chs` channels, `reduction` in pixels, `module`.

    Raises:
        InputError: the architecture is no image network, or `global_pool` is unknown.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        num_classes: int | None = None,
        in_chans: int | None = None,
        drop_rate: float = 0.0,
        global_pool: str = "avg",
        bn_eps: float | None = None,
        bn_momentum: float | None = None,
    ) -> None:
        super().__init__(_plan(architecture, in_chans))
        image.initialise(self, _seed())
        self.in_chans = self.plan.input[0]
        self.num_classes = self.plan.classes
        self.num_features = self.head_hidden_size = self.plan.features
        self.drop_rate = drop_rate
        self.global_pool = "avg"
        self.feature_info = feature_info(architecture)
        modules = ["stem", *(f"{self.trunk_name}.{name}" for name, _ in self.trunk.named_children())]
        self._levels = [modules.index(level["module"]) for level in self.feature_info]
        wanted = self.num_classes if num_classes is None else num_classes
        if (wanted, global_pool) != (self.num_classes, self.global_pool):
            self.reset_classifier(wanted, global_pool)
        image.set_normalisation(
            self,
            epsilon=BN_EPSILON if bn_eps is None else bn_eps,
            momentum=BN_MOMENTUM if bn_momentum is None else bn_momentum,
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """What is pooled: (B, num_features, h, w)."""
        return self._last(self.trunk(self.stem(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From `forward_features` to logits (B, num_classes), or with `pre_logits` to the classifier's input."""
        x = POOLS[self.global_pool](x)
        x = functional.dropout(x, self.drop_rate, self.training)
        if pre_logits:
            return x
        logits: Tensor = self.classifier(x)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(  # noqa: PLR0917 - timm's signature
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,  # noqa: ARG002 - no normalisation of our own to apply
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The tensors of `feature_info`.

        Args:
            x: images.
            indices: which, from 0; a number for the last so many; None for all.
            norm: without effect.
            stop_early: leave out what comes after the last of them.
            output_fmt: ``"NCHW"``, nothing else.
            intermediates_only: give the list alone, not (the final features, the list).

        Raises:
            InputError: an index or the format is unknown.
        """
        if output_fmt != "NCHW":
            raise InputError(f"output_fmt {output_fmt!r}: an image network's features are 'NCHW'")
        levels = {self._levels[index] for index in self._wanted(indices)}
        found: list[Tensor] = []
        for position, module in enumerate((self.stem, *self.trunk)):
            if position > max(levels) and stop_early:
                break
            x = module(x)
            if position in levels:
                found.append(x)
        if intermediates_only:
            return found
        return (x if stop_early else self._last(x)), found

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Drop what is not needed for some tensors of `feature_info`; the indices of these, from 0."""
        wanted = self._wanted(indices)
        last = max(wanted)
        kept = list(self.trunk.named_children())[: self._levels[last]]
        if prune_head or prune_norm or len(kept) < len(self.trunk):
            self.add_module(self.trunk_name, nn.Sequential(OrderedDict(kept)))
            self.head = None
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
            self.reset_classifier(0, "")
        return wanted

    def get_classifier(self) -> nn.Module:
        """The last layer; an `nn.Identity` where there are no classes."""
        return self.classifier

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh classifier, on the device and of the type of the weights; 0 classes for none.

        Raises:
            InputError: the pooling is unknown, or switched off with classes to tell apart.
        """
        pool = self.global_pool if global_pool is None else global_pool
        if pool not in POOLS or (pool == "" and num_classes):
            raise InputError(f"global_pool {pool!r}: it is 'avg', 'max' or, with num_classes=0, ''")
        self.num_classes, self.global_pool = num_classes, pool
        layer: nn.Module = nn.Identity()
        if num_classes:
            layer = nn.Linear(self.num_features, num_classes)
            image.initialise(layer, _seed())
        self.add_module("classifier", layer.to(next(self.parameters())).train(self.training))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Regular expressions that order the parameters by depth, for learning rates that decay with it."""
        depth = r"(\d+)_" if coarse else r"(\d+)_[a-z]+(\d+)"
        return {"stem": r"^stem", "blocks": [(rf"^{self.trunk_name}\.stage{depth}", None), (r"^head", (99999,))]}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Refused: these networks are small.

        Raises:
            InputError: it is switched on.
        """
        if enable:
            raise InputError("gradient checkpointing is not supported by networks of autoshrink")

    def _last(self, x: Tensor) -> Tensor:
        if self.head is not None:
            x = self.head(x)
        return x

    def _wanted(self, indices: int | Sequence[int] | None) -> list[int]:
        count = len(self.feature_info)
        if indices is None or isinstance(indices, int):
            indices = range(-(count if indices is None else indices), 0)
        wanted = [index + count if index < 0 else index for index in indices]
        if not wanted or not all(0 <= index < count for index in wanted):
            raise InputError(f"features {list(indices)}: there are {count}, 0 to {count - 1}")
        return wanted


def feature_info(architecture: Architecture) -> list[dict[str, Any]]:
    """For each stride of an image network the deepest tensor: its channels, the stride, and the module it leaves.

    Raises:
        InputError: the architecture is no image network.
    """
    if not isinstance(architecture, ImageArchitecture):
        raise InputError(f"a {architecture.kind} architecture is no image network")
    reduction = architecture.stem.reduction
    levels = {reduction: {"num_chs": architecture.stem.out_channels, "reduction": reduction, "module": "stem"}}
    for part in architecture.plan().parts:
        reduction *= part.stride
        where = f"{architecture.part}.{part.name.replace('.', '_')}"
        levels[reduction] = {"num_chs": part.out_channels, "reduction": reduction, "module": where}
    return list(levels.values())


def _plan(architecture: Architecture, in_chans: int | None) -> NetworkPlan[PartPlan]:
    if not isinstance(architecture, ImageArchitecture):
        raise InputError(f"a {architecture.kind} architecture is no image network")
    plan = architecture.plan()
    return plan if in_chans is None else replace(plan, input=(in_chans, *plan.input[1:]))


def _seed() -> int:
    return int(torch.randint(2**62, (), device="cpu"))
