"""What the settings of every task share: frozen, resolved once, stored with the run, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from autoshrink.score import FormulaName, ResourceName, Resources, Score

Share = Annotated[float, Field(ge=0, le=1)]
TaskName = Literal["image", "text"]

Overrides = Mapping[str, Any]
"""Nested settings by section, as in JSON; whatever is absent keeps its default."""


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Section):
    """Which data the candidates are compared on."""

    spec: str
    """A built-in or known name, or a path."""


class StopSettings(Section):
    """When the search ends before the last edge is gone; None for never."""

    edges: NonNegativeInt = 0
    """Stop when the cell has at most so many edges."""
    evaluations: PositiveInt | None = None
    """Train at most so many candidates (re-measurements come on top)."""
    macs: PositiveInt | None = None
    """Stop when the cell costs at most so many MACs."""
    seconds: PositiveFloat | None = None
    """Time for the whole search, re-measurement included."""
    candidate_seconds: PositiveFloat | None = None
    """Time for one candidate: its best epoch until then counts; without a finished epoch it failed."""


class Limits(Section):
    """Hard limits that the reported cell never breaks; None for no limit. `max_memory` is in bytes."""

    max_macs: PositiveInt | None = None
    max_params: PositiveInt | None = None
    max_memory: PositiveInt | None = None

    def broken_by(self, resources: Resources) -> str | None:
        """The first limit that is broken, in words, or None."""
        for name in ("macs", "params", "memory"):
            limit, value = getattr(self, f"max_{name}"), getattr(resources, name)
            if limit is not None and value > limit:
                return f"{name} {value:,} above {limit:,}"
        return None


class SearchSettings(Section):
    """Everything that decides what a search does; each task has its own data, network and recipe.

    `mode` only chooses defaults: see `resolve`.
    """

    task: TaskName
    mode: Literal["sound", "paper"] = "sound"
    strategy: Literal["autoshrink"] = "autoshrink"
    evaluator: Literal["trained"] = "trained"
    data: DataSettings
    nodes: Annotated[int, Field(ge=2, le=64)]
    start: str = "complete"
    """complete, er:P, ba:M, ws:K,P, or the path of a cell file (whose content is stored with the run)."""
    draw: Literal["balanced", "independent"] = "balanced"
    """How the nodes' operations are drawn: each equally often, or each node by itself."""
    candidates: PositiveInt | Literal["all"]
    """K, drawn without replacement in each step, or the whole shrink space."""
    penalty: NonNegativeFloat = 0.1
    """λ."""
    resource: ResourceName
    formula: FormulaName = "paper"
    """How S is made of performance and resource: Eq. 5, or what the released search of recurrent cells computes."""
    limits: Limits = Limits()
    stop: StopSettings = StopSettings()
    paired: bool = True
    """All candidates of a step share one seed: same batches, same initial weights where layers agree."""
    finalists: PositiveInt = 5
    """Cells of the Pareto front, highest S first, that are measured again with fresh seeds before one is named."""
    repeats: NonNegativeInt = 3
    """Fresh seeds for each of them and for the starting cell."""
    reselect: bool = True
    """Name the finalist with the best mean S over the fresh seeds; off: the highest recorded S, as the paper does."""
    seed: NonNegativeInt = 0
    device: str = "auto"
    threads: PositiveInt | None = None
    """CPU threads of a training; None: what torch chooses. Stored with the run: sums depend on it."""

    @property
    def score(self) -> Score:
        """How this run weighs performance against its resource."""
        return Score(self.penalty, self.resource, self.formula)

    def changed(self, changes: Overrides) -> Self:
        """These settings with some others laid over them; raises as pydantic does."""
        return type(self).model_validate(merge(self.to_json(), changes))

    def to_json(self) -> dict[str, Any]:
        """Nested JSON that `settings_from_json` reads back."""
        return self.model_dump(mode="json")


def merge(base: Overrides, over: Overrides) -> dict[str, Any]:
    """`over` laid on `base`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged
