"""What crafting ends with: the architecture, part by part, and what it uses of its budgets."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoshrink.architecture import Architecture, ConvArchitecture, LanguageModel, MobileArchitecture, NetworkPlan
from autoshrink.cost import Cost
from autoshrink.crafting.budget import NEAR, Use, binding, shown
from autoshrink.crafting.fitting import Larger
from autoshrink.crafting.sizes import Sizes
from autoshrink.crafting.timing import NETWORKS


@dataclass(frozen=True)
class Part:
    """A stage, or what stands before or after the stages; None for what a part does not have.

    Attributes:
        name: ``stem``, ``stage1``, …, ``head``, ``classifier``; of a language model ``embedding``, ``cell`` and
            ``decoder``.
        cells: how many, or how many blocks.
        width: channels of every node, or of every block's output.
        size: height and width of the output, pixels.
        channels: of the output.
        params: without BN's.
        macs: of one image, or one token.
        share: of the network's MACs.
    """

    name: str
    cells: int | None
    width: int | None
    size: tuple[int, int] | None
    channels: int | None
    params: int
    macs: int
    share: float


@dataclass(frozen=True)
class Crafted:
    """An architecture within its budgets.

    Attributes:
        architecture: the result.
        cost: what it costs.
        uses: what it uses of every budget; empty where there was none.
        larger: the next step up, where the binding budget is used to less than 97 %; None else.
        skeleton: what was scaled.
        data: what the cell was found on, as `--data` takes it; None where nothing says so.
        reading: options and their values by which `train` reads these data as the search did.
    """

    architecture: Architecture
    cost: Cost
    uses: tuple[Use, ...]
    larger: Larger | None
    skeleton: Architecture
    data: str | None = None
    reading: tuple[tuple[str, str], ...] = ()

    @property
    def binding(self) -> Use | None:
        """The budget that is used most; None where there was none."""
        return binding(self.uses)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The network from input to output; their parameters and MACs add up to the whole's."""
        params, macs = Counter[str](), Counter[str]()
        for layer in self.cost.layers:
            name = layer.name.partition(".")[0]
            params[name] += layer.params
            macs[name] += layer.macs
        shapes = _shapes(self.architecture)
        total = max(self.cost.macs, 1)
        return tuple(Part(name, *shapes[name], params[name], macs[name], macs[name] / total) for name in params)

    @property
    def remark(self) -> str | None:
        """Why the binding budget is used to less than 97 %, in words; None where it is not, or there was none."""
        use = self.binding
        if use is None or use.share >= NEAR:
            return None
        below = f"{100 * (1 - use.share):.1f} % below the budget"
        if use.name == "latency":
            return f"{below}: no larger network among at most {NETWORKS} measured keeps the latency"
        if self.larger is None:
            return f"{below}: no single width uses more of it"
        step = self.larger
        return f"{below}: the next step up, {step.change}, has {shown(step.use.used, step.use.name)}"

    def to_json(self, *, file: Path | None = None) -> dict[str, Any]:
        """The object that ``craft --json`` prints; `file` is where the architecture was written."""
        return {
            "architecture": self.architecture.to_json(),
            "file": file and str(file),
            "params": self.cost.params,
            "params_with_bn": self.cost.params_with_bn,
            "macs": self.cost.macs,
            "peak_activation_bytes": self.cost.peak_activation_bytes,
            "budgets": {use.name: {"limit": use.limit, "used": use.used, "share": use.share} for use in self.uses},
            "stages": [asdict(part) for part in self.parts],
            "remark": self.remark,
        }


_Shape = tuple[int | None, int | None, tuple[int, int] | None, int | None]
"""Cells, width, size, channels."""


def _shapes(architecture: Architecture) -> dict[str, _Shape]:
    """By a part's name."""
    if isinstance(architecture, LanguageModel):
        return dict.fromkeys(("embedding", "cell", "decoder"), (None, architecture.width, None, None))
    assert isinstance(architecture, ConvArchitecture | MobileArchitecture), "nothing else is crafted"
    plan, sizes = architecture.plan(), Sizes.of(architecture)
    shapes: dict[str, _Shape] = {"stem": (None, None, plan.stem_size, plan.stem.channels)}
    # A stage's last cell or block comes last, and is the one to stay.
    last = {one.name.partition(".")[0]: one for one in (plan.cells if isinstance(plan, NetworkPlan) else plan.blocks)}
    for (name, one), cells, width in zip(last.items(), sizes.cells, sizes.widths, strict=True):
        shapes[name] = (cells, width, one.size, one.out_channels)
    shapes["head"] = (None, None, plan.final_size, plan.features)
    shapes["classifier"] = (None, None, (1, 1), plan.classes)
    return shapes
