"""Validated settings of a search: frozen, resolved once, stored with the run, unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from autoshrink.architecture import ActivationName, first_problem
from autoshrink.errors import InputError
from autoshrink.score import ResourceName, Resources, Score

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Section):
    """Which images the candidates are compared on."""

    spec: str = "digits"
    """A built-in or known name, or a path."""
    size: PositiveInt | None = None
    """Height and width in pixels; None is the data set's own size, 32 for image folders."""
    channels: Literal[1, 3] | None = None
    """None: 1 where every image is grey, else 3."""
    train_per_class: PositiveInt = 500
    validation_per_class: PositiveInt = 250
    """At most; never more than a third of a class."""
    max_corrupt: Share = 0.05
    """Share of unreadable files above which the data set is refused."""
    replacement: bool = False
    """Draw with replacement, as the released proxy script does."""


class NetworkSettings(_Section):
    """The proxy network around the cell (AutoShrink, Table 1)."""

    stem: PositiveInt = 32
    widths: Annotated[
        tuple[PositiveInt, ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ] = (16, 32, 64)
    """Channels of every node, a number a stage; stages after the first start with a 2×2 max-pooling."""
    activation: ActivationName = "relu"


class Recipe(_Section):
    """How one candidate is trained. The defaults are those of the released CNN search, but for two early
    stops."""

    epochs: PositiveInt = 20
    batch: Annotated[int, Field(ge=2)] = 128
    learning_rate: PositiveFloat = 4e-3
    """Adam, constant."""
    l2: NonNegativeFloat = 1e-5
    """Strength of Σw² (without ½) on dense convolutions and the classifier; depthwise kernels have none."""
    shortcut_l2: NonNegativeFloat = 4e-5
    """The same for the shortcut's projections."""
    augment: bool = False
    """Random horizontal flips and crops padded by an eighth; off in the paper's proxy."""
    stop_accuracy: Share | None = None
    """Leave an epoch when the running training accuracy (EMA .99, restarted each epoch) passes this; .98 in the
    released search. Off by default for the same reason as `overfit_ratio`."""
    patience: PositiveInt | None = 5
    """Stop after so many epochs in a row without a new best validation accuracy."""
    floor_epoch: NonNegativeInt | None = 3
    """Stop at this epoch (from 0) when the accuracy is below twice chance, or, for few classes, a ninth of the way from
    chance to perfect: .20 for ten classes, the released threshold."""
    overfit_ratio: PositiveFloat | None = None
    """Stop when the validation loss exceeds this many running training losses; 3 in the released search. Off by
    default: where an epoch has few batches, BN's running statistics lag, and the rule ends large cells after two
    epochs (benchmarks/early_stops.py)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast on CUDA devices that have it, float32 elsewhere."""


class StopSettings(_Section):
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


class Limits(_Section):
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


class SearchSettings(_Section):
    """Everything that decides what a search does. `mode` only chooses defaults: see `resolve`."""

    task: Literal["image"] = "image"
    mode: Literal["sound", "paper"] = "sound"
    strategy: Literal["autoshrink"] = "autoshrink"
    evaluator: Literal["trained"] = "trained"
    data: DataSettings = DataSettings()
    network: NetworkSettings = NetworkSettings()
    recipe: Recipe = Recipe()
    nodes: Annotated[int, Field(ge=2, le=64)] = 8
    start: str = "complete"
    """complete, er:P, ba:M, ws:K,P, or the path of a cell file (whose content is stored with the run)."""
    candidates: PositiveInt | Literal["all"] = 10
    """K, drawn without replacement in each step, or the whole shrink space."""
    penalty: NonNegativeFloat = 0.1
    """λ."""
    resource: ResourceName = "macs"
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
        """Eq. 5 with this run's λ and resource."""
        return Score(self.penalty, self.resource)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchSettings:
        """Settings from nested JSON.

        Raises:
            InputError: a field is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise InputError(f"setting {first_problem(error)}") from error

    def to_json(self) -> dict[str, Any]:
        """Nested JSON that `from_json` reads back."""
        return self.model_dump(mode="json")


Overrides = Mapping[str, Any]
"""Nested settings by section, as in JSON; whatever is absent keeps its default."""

PAPER: Overrides = {
    "paired": False,
    "reselect": False,
    "data": {"validation_per_class": 100, "replacement": True},
    "recipe": {"stop_accuracy": 0.98, "overfit_ratio": 3.0},
}
"""What the released search does otherwise: subsets drawn with replacement, 100 validation images a class, a seed for
each candidate, all of its early stops, and the highest recorded S named best."""

DIGITS: Overrides = {
    "nodes": 6,
    "candidates": 5,
    "data": {"train_per_class": 90, "validation_per_class": 45},
    "network": {"stem": 16, "widths": [8, 16, 32]},
    "recipe": {"epochs": 8, "batch": 64},
    "penalty": 0.02,
}
"""The built-in 8×8 digits: a search of minutes on two CPU cores. They are so easy that even a cell of one operation
gets 96 %; λ = .02 makes a decade of MACs worth two points of accuracy, not ten."""


def merge(base: Overrides, over: Overrides) -> dict[str, Any]:
    """`over` laid on `base`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return merged


def resolve(overrides: Overrides) -> SearchSettings:
    """Settings from what a person asked for, over the defaults of the mode and the data set.

    Raises:
        InputError: a setting is unknown or out of range; the message names it.
    """
    base: Overrides = {}
    data = overrides.get("data", {})
    if isinstance(data, Mapping) and data.get("spec", "digits") == "digits":
        base = DIGITS
    if overrides.get("mode") == "paper":
        base = merge(base, PAPER)
    return SearchSettings.from_json(merge(base, overrides))
