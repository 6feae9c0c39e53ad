"""What the settings of every task share: frozen, resolved once, stored with the run, unknown keys refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from autoshrink import ops as operations
from autoshrink.budget import octaves
from autoshrink.errors import InputError
from autoshrink.quantity import Quantity
from autoshrink.registry import BY_PLUGIN, EVALUATORS, FILTERS, STRATEGIES, TASKS
from autoshrink.resources import RESOURCES, Resources, every_resource
from autoshrink.score import FormulaName, JudgeName, Score

RoleName = Literal["start", "chain", "random", "hand-made"]
Share = Annotated[float, Field(ge=0, le=1)]
TaskName = str
"""As `autoshrink.registry.TASKS` has it."""


def _known_resource(name: str) -> str:
    if name not in RESOURCES:
        *others, last = (repr(other) for other in RESOURCES)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError(
            "unknown_resource", "Input should be {expected}", {"expected": f"{expected}, {BY_PLUGIN}"}
        )
    return name


ResourceName = Annotated[str, AfterValidator(_known_resource)]
"""The name of a registered resource."""

SHORT_STEPS = 200
"""About three passes over the images of the README's settings for a CPU (docs/LOG.md has the measurements)."""


def batch_for(images: int, steps: int, *, least: int, most: int) -> int:
    """The largest power of two that makes so many steps of an epoch.

    Args:
        images: of an epoch.
        steps: wanted.
        least: what the batch is at least, even where that makes fewer.
        most: what it is at most.
    """
    return min(most, max(least, 1 << max(0, (images // steps).bit_length() - 1)))


Overrides = Mapping[str, Any]
"""Nested settings by section, as in JSON; whatever is absent keeps its default."""


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(Section):
    """Which data the candidates are compared on."""

    spec: str
    """A built-in or known name, or a path."""

    @field_validator("spec")
    @classmethod
    def _names_something(cls, spec: str) -> str:
        # An empty path would be the current folder.
        if not spec.strip():
            raise ValueError("a name or a path is needed")
        return spec


class ImageDataSettings(DataSettings):
    """Which images, and which of them are kept back for a test that nothing else looks at."""

    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of images kept back as test images, where the data have no test split; by content, whatever the seed."""
    group: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A regular expression on file names: images for which its groups match the same are never parted."""


class Recipe(Section):
    """How one candidate is trained."""

    epochs: PositiveInt
    batch: PositiveInt | None
    """Samples a step; None, where a task knows that, until the data are read and say how many."""


class StopSettings(Section):
    """When the search ends before the last edge is gone; None for never."""

    edges: NonNegativeInt = 0
    """Stop when the cell has at most so many edges."""
    evaluations: PositiveInt | None = None
    """Train at most so many candidates (re-measurements come on top)."""
    macs: PositiveInt | None = None
    """Stop when the cell costs at most so many MACs."""
    training_macs: PositiveInt | None = None
    """MACs of all passes of steps and playoff. What the search starts from is always measured; after that no step is
    begun that would, by what candidates have cost so far, leave too few for itself and the playoff. No step is cut
    short, and no strategy has more steps than without a limit. Fresh seeds, and what stands beside, come on top."""
    seconds: PositiveFloat | None = None
    """Time for the whole search, re-measurement included."""
    candidate_seconds: PositiveFloat | None = None
    """Time for one candidate: its best epoch until then counts; without a finished epoch it failed."""


def _as_typed(value: object, validate: ValidatorFunctionWrapHandler) -> object:
    validated = validate(value)
    return value if isinstance(value, Quantity) else validated


Limit = Annotated[PositiveInt, WrapValidator(_as_typed)]
"""A limit that knows how it was typed, if it was; JSON has the number."""


class Limits(Section):
    """Hard limits that the reported cell never breaks: `max_NAME` of every resource that may be limited, in its unit
    (`max_memory` in bytes, `max_latency` in nanoseconds); None for no limit."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Limit | None] = Field(init=False)

    @model_validator(mode="before")
    @classmethod
    def _of_known_resources(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        names = [f"max_{one.name}" for one in every_resource() if one.limit]
        unknown = [
            InitErrorDetails(type="extra_forbidden", loc=(name,), input=value[name])
            for name in value
            if name not in names
        ]
        if unknown:
            raise ValidationError.from_exception_data(cls.__name__, unknown)
        return dict.fromkeys(names) | dict(value)

    @model_serializer(mode="wrap")
    def _without_idle_plugins(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A limit that nobody set is stored for our resources alone: who lacks a plug-in can read the rest."""
        written: dict[str, Any] = write(self)
        own = {f"max_{name}" for name in RESOURCES.own}
        return {name: limit for name, limit in written.items() if limit is not None or name in own}

    def given(self) -> dict[str, int]:
        """Those that were given, by the resource's name."""
        found = {name.removeprefix("max_"): limit for name, limit in self.__pydantic_extra__.items()}
        return {name: limit for name, limit in found.items() if limit is not None}

    def broken_by(self, resources: Resources) -> str | None:
        """The name of the first resource whose limit is broken, or None."""
        return next((name for name, limit in self.given().items() if resources[name] > limit), None)


def _tupled(value: object) -> object:
    """A list of JSON as a tuple."""
    return tuple(value) if isinstance(value, list) else value


Shares = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], BeforeValidator(_tupled)]


class InheritSettings(Section):
    """How much training there is with inherited weights."""

    start: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Training of the starting cell, as a share of the recipe's epochs."""
    tune: NonNegativeInt = 8
    """Batches that the winner of a step trains for before its children inherit."""
    trial: NonNegativeInt = 32
    """Batches that a child with a new leaf trains for before it is judged: nobody has learned to read its channels."""
    rate: PositiveFloat = 1.0
    """Learning rate of both, as a share of the recipe's."""
    grace: NonNegativeFloat = 1.0
    """A child with a new leaf is taken before the best when it is behind by less than so many standard errors of their
    difference in performance (accuracy, where probabilities judge)."""
    statistics_batches: PositiveInt = 4
    """Batches on which a child's BN statistics are taken anew."""
    validation_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the validation samples that all children are judged on; the better half is judged on twice as many, and
    so on."""
    largest_share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share after which the comparison ends."""


class SharedSettings(Section):
    """How the weights that all candidates share are trained (``--evaluator shared``)."""

    warm_up: PositiveFloat = 5.0
    """Epochs, perhaps a fraction, with a cell drawn anew for every batch, before the first candidate is judged."""
    tune: NonNegativeFloat = 0.0
    """Epochs, perhaps a fraction, that the weights of each candidate are trained for before it is judged. They stay
    trained, so that later candidates have an advantage: figures then compare within a step only."""
    statistics_batches: PositiveInt = 5
    """Batches on which a candidate's BN statistics are taken anew."""
    check: NonNegativeInt = 4
    """Cells that begin the playoff beside the recommended ones, spread over the range of shared figures: so that what
    the report says of their rank correlation with trainings rests on good and bad ones."""


class PlayoffSettings(Section):
    """How the best is chosen where the search itself only estimates.

    Cells are trained from scratch for a short time, and the better ones again for a longer time (successive halving).
    """

    cells: PositiveInt = 5
    """How many begin."""
    rounds: Annotated[Shares, Field(min_length=1)] = (0.05, 0.1)
    """Length of the trainings in each round, as a share of the recipe's epochs, ascending."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """One of so many cells stays after each round."""
    fresh: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Length of the trainings with fresh seeds, as a share of the recipe's epochs: short ones too, since their learning
    rate falls to zero (benchmarks/sprint.py)."""


class EvolutionSettings(Section):
    """Regularised evolution (``--strategy evolution``)."""

    population: Annotated[int, Field(ge=2)] = 10
    """P: how many designs are alive."""
    sample: PositiveInt = 5
    """S: of how many drawn ones the best has a child."""


class DDPNASSettings(Section):
    """Dynamic distribution pruning (``--strategy ddpnas``)."""

    turns: PositiveInt | Literal["auto"] = "auto"
    """T: in how many random orders the options of a decision are drawn in each phase; of two options an order is a pair
    of opposite designs. auto: 3, as published, where every decision has more than two options, else 8."""
    share: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    """Share of the open decisions that is settled after each phase, the clearest first; 1, as published: each of them
    loses its least probable option instead. auto: 1 where every decision has more than two options, else 0.25."""
    standardised: bool = True
    """Whether scores are standardised within their phase; off, as published."""
    temperature: PositiveFloat = 0.5
    """τ, by which scores are divided, in standard deviations; in units of S where they are not standardised, published
    as 0.01: one point of accuracy is worth e."""
    budgets: Shares = (1.0, 0.75, 0.5)
    """For which costs networks are generated at the end, as shares of what the settled one costs."""


class OneShotSettings(Section):
    """The one-shot search whose blocks have a fitness (``--strategy oneshot``)."""

    rounds: PositiveInt = 15
    designs: PositiveInt = 20
    """P: how many are measured in a round."""
    mutated: NonNegativeInt = 5
    """So many of them are the best so far with one decision made otherwise."""


class MsnasSettings(Section):
    """Meta-graph search with structural wiring (``--strategy msnas``)."""

    sweeps: PositiveInt = 6
    """How often every node is visited, at most."""
    samples: PositiveInt = 8
    """How often a node is drawn in a visit."""
    levels: PositiveInt = 4
    """L: no path of a cell is longer."""
    inputs: PositiveInt = 4
    """How many others a node reads at most."""
    excess: NonNegativeFloat = 0.5
    """μ: what r loses where a limit is exceeded by 100 %."""
    meta_graph: str | dict[str, dict[str, float]] | None = None
    """What the search begins with: the path of another's ``meta-graph.json``. The run keeps the weights in it, by
    decision and option."""
    from_run: str | None = None
    """A run of which the meta-graph is taken, instead of a file."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.from_run is not None and isinstance(self.meta_graph, str):
            raise ValueError("meta_graph and from_run both say what to begin with; leave one out")
        return self

    def known(self) -> dict[str, dict[str, float]] | None:
        """The weights to begin with; None where nothing is known.

        Raises:
            InputError: a file or a run is named, and was not read.
        """
        if isinstance(self.meta_graph, str) or (self.meta_graph is None and self.from_run is not None):
            raise InputError(f"msnas: {self.meta_graph or self.from_run} was not read; `autoshrink.search` does that")
        return self.meta_graph


class HalvingSettings(Section):
    """Successive halving (``--strategy successive-halving``)."""

    designs: Annotated[int, Field(ge=2)] = 27
    """How many are drawn."""
    rounds: Annotated[Shares, Field(min_length=1)] = (0.1, 0.3, 1.0)
    """Length of the trainings in each round, as a share of the recipe's epochs; the start has the longest."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """One of so many designs stays after each round."""


class OptunaSettings(Section):
    """Samplers of Optuna (``--strategy optuna``)."""

    sampler: Literal["tpe", "nsga2"] = "tpe"
    """``tpe`` for S; ``nsga2`` for performance against the weighed resource."""
    population: Annotated[int, Field(ge=2)] = 20
    """Designs of a generation of ``nsga2``."""


class FireflySettings(Section):
    """Growing (``--strategy firefly``, ``--evaluator grown``)."""

    start: Literal["chain", "edge"] = "chain"
    """With what it begins: all nodes in a row, or a single edge."""
    edges: PositiveInt = 3
    """Edges that a step adds, at most, unless a single move adds more."""
    epochs: PositiveFloat = 5.0
    """Epochs of training after every growth, and of what it begins with: short ones, at a rate that falls to zero."""
    batches: PositiveInt = 2
    """Training batches on which gains are taken."""
    points: PositiveInt = 1
    """n: at how many points from 0 to `step` the gradient is taken; 1: where nothing is changed yet."""
    step: PositiveFloat = 0.01
    """ε: how far along its steepest direction a growth is imagined to go, for the estimate of its performance."""


Range = tuple[Limit, Limit]
"""From the smallest budget to the largest."""


class BudgetSettings(Section):
    """What a whole network is to cost: a search at a budget compares networks of one cost. None: no such budget.

    One alone may be a range, [500000, 4000000]: then each of its octaves is searched (`autoshrink.budget.octaves`).
    """

    macs: Limit | Range | None = None
    params: Limit | Range | None = None
    memory: Limit | Range | None = None
    """Peak activation memory in bytes (float32, batch 1)."""
    latency: Limit | Range | None = None
    """Nanoseconds of one image, as `latency_table` predicts them."""

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        name = self.ranged
        others = [other for other in self.given() if other != name]
        if name is not None and others:
            raise ValueError(f"{name}: a range goes with no other budget; limit {others[0]} with --max-{others[0]}")
        try:
            self.octaves()
        except InputError as error:
            raise ValueError(f"{name}: {error}") from error
        return self

    def given(self) -> dict[str, int]:
        """Those that were given, by the resource's name; of a range the largest."""
        found = {name: limit[1] if isinstance(limit, tuple) else limit for name, limit in self}
        return {name: limit for name, limit in found.items() if limit is not None}

    @property
    def ranged(self) -> str | None:
        """The name of the resource of which there is a range; None where there is none."""
        return next((name for name, limit in self if isinstance(limit, tuple)), None)

    def octaves(self) -> tuple[BudgetSettings, ...]:
        """The budgets of the range, smallest first; without a range this one alone."""
        name = self.ranged
        if name is None:
            return (self,)
        return tuple(self.model_copy(update={name: limit}) for limit in octaves(*getattr(self, name)))


def _listed(value: object) -> object:
    """``a,b``, ``none`` or a list of JSON as a tuple."""
    if value == "none":
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value) if isinstance(value, list) else value


class SearchSettings(Section):
    """Everything that decides what a search does; each task has its own data, network and recipe.

    `mode` only chooses defaults: see `resolve`.
    """

    task: TaskName
    mode: Literal["sound", "paper"] = "sound"
    strategy: str = "autoshrink"
    """What proposes cells: a name in `autoshrink.registry.STRATEGIES`."""
    evaluator: str = "trained"
    """How candidates are measured: a name in `autoshrink.registry.EVALUATORS`. ``trained``: each from scratch;
    ``inherited``: with weights of the cell they were cut from; ``shared``: with blocks of one network's weights. Where
    it only estimates, a playoff among cells trained from scratch chooses the best."""
    filter: str = "none"
    """How the K candidates of a step are chosen from its shrink space: drawn, or those of the highest rank by one of
    `autoshrink.registry.FILTERS`."""
    short_batch: PositiveInt | None = None
    """Batch of the short trainings by which `inherit` and `playoff` go; None: a quarter of the recipe's, at least 8.
    More steps for as many samples (benchmarks/sprint.py)."""
    short_steps: NonNegativeInt = SHORT_STEPS
    """Fewest steps of any short training, as far as the recipe's epochs reach: with a few dozen, what is compared is
    how fast a cell begins (benchmarks/short_steps.py). It lengthens `inherit.start`, `playoff.rounds` and
    `playoff.fresh`."""
    population: PositiveInt | Literal["auto"] = "auto"
    """How many candidates are trained from scratch as one batched program, where the task can do that, which text can
    (benchmarks/population.py). auto: all of a step."""
    populations: ClassVar[bool] = False
    """Whether the task can."""
    inherit: InheritSettings = InheritSettings()
    shared: SharedSettings = SharedSettings()
    playoff: PlayoffSettings = PlayoffSettings()
    data: DataSettings
    recipe: Recipe
    nodes: Annotated[int, Field(ge=2, le=64)]
    start: str = "complete"
    """complete, er:P, ba:M, ws:K,P, or the path of a cell file (whose content is stored with the run)."""
    draw: Literal["balanced", "independent"] = "balanced"
    """How the nodes' operations are drawn: each equally often, or each node by itself."""
    ops: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None
    """The operations that the nodes draw from, by name, those of plug-ins included; None: those of AutoShrink."""
    moves: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] | None = None
    """What a step may do. Of a cell: ``edges``, one goes (the paper's); ``ops``, a node has a cheaper operation. Of a
    whole network: those of `autoshrink.spaces.networks`. None: edges of cells, and of networks everything."""
    budget: BudgetSettings = BudgetSettings()
    """Where one is given, whole networks of that cost are searched, and no cells."""
    patience: PositiveInt = 3
    """Steps without an improvement after which ``--strategy exchange`` is over."""
    evolution: EvolutionSettings = EvolutionSettings()
    ddpnas: DDPNASSettings = DDPNASSettings()
    oneshot: OneShotSettings = OneShotSettings()
    msnas: MsnasSettings = MsnasSettings()
    halving: HalvingSettings = HalvingSettings()
    optuna: OptunaSettings = OptunaSettings()
    firefly: FireflySettings = FireflySettings()
    candidates: PositiveInt | Literal["all"]
    """K, drawn without replacement in each step, or all moves."""
    walk: Literal["child", "best"] = "child"
    """From where AutoShrink goes on: the best of the last step, as published; or the best of the whole search that has
    moves left, making those first that were never made, then those that lost least: docs/nasbench201.md."""
    penalty: NonNegativeFloat = 0.1
    """λ."""
    resource: ResourceName
    """What λ weighs."""
    judge: JudgeName = "performance"
    """What S is made of and candidates are compared by where they are judged on a part of the validation samples: the
    performance itself, or, for images, the mean probability of the right class, of which few images say more
    (benchmarks/belief.py). On all of them it is the performance."""
    formula: FormulaName = "paper"
    """How S is made of performance and resource: Eq. 5, or what the released search of recurrent cells computes."""
    limits: Limits = Limits()
    latency_table: str | None = None
    """A file of what operations take on some device (`autoshrink latency --make-table`); None: measured here, as the
    search needs them. Either way the run folder keeps what was used."""
    stop: StopSettings = StopSettings()
    paired: bool = True
    """All candidates of a step share one seed: same batches, same initial weights where layers agree."""
    finalists: PositiveInt = 5
    """Cells of the Pareto front, highest S first, that are measured again with fresh seeds before one is named."""
    repeats: NonNegativeInt = 3
    """Fresh seeds for each of them and for the starting cell."""
    beside: Annotated[tuple[RoleName, ...], BeforeValidator(_listed)] = ("start", "chain", "random", "hand-made")
    """What is measured at the cost of the network that the search found, with the same fresh seeds: what a search of
    cells started from, narrower; a chain of the same operations; random designs of the space; hand-made networks, where
    the task has some. The best of all is named; where it is one of these, the search found nothing better."""
    draws: PositiveInt | Literal["compute"] = 3
    """How many random designs are trained once, so that the best of them stands beside; ``compute``: as many as the
    search's own training MACs would have trained."""
    reselect: bool = True
    """Name the finalist with the best mean S over the fresh seeds; off: the highest recorded S, as the paper does."""
    choice: Literal["all", "finalists"] = "all"
    """From what the best is chosen. all: everything that was measured alike, the starting cell included, without what
    costs as much as that or more; finalists: whatever it costs, and the starting cell as one of many, as published."""
    seed: NonNegativeInt = 0
    device: str = "auto"
    threads: PositiveInt | None = None
    """CPU threads of a training; None: what torch chooses. Stored with the run: sums depend on it."""

    @field_validator("strategy", "evaluator", "filter")
    @classmethod
    def _is_registered(cls, name: str, info: ValidationInfo) -> str:
        registered: dict[str, Iterable[str]] = {
            "strategy": STRATEGIES,
            "evaluator": EVALUATORS,
            "filter": ("none", *FILTERS),
        }
        choices = tuple(registered[info.field_name or ""])
        if name not in choices:
            raise ValueError(f"there is no such {info.field_name}; choose from {', '.join(choices)}, {BY_PLUGIN}")
        return name

    @field_validator("ops")
    @classmethod
    def _known(cls, ops: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        kind = TASKS[info.data["task"]].cell_kind
        for name in ops or ():
            if not operations.known(kind, name):
                raise ValueError(operations.unknown(kind, name))
        if ops and len(set(ops)) < len(ops):
            raise ValueError("an operation appears twice")
        return ops

    @property
    def sprint_batch(self) -> int:
        """`short_batch`, or what it is when nobody says."""
        batch = self.recipe.batch
        assert batch is not None, "decided when the data were read"
        return self.short_batch or min(batch, max(8, batch // 4))

    @property
    def samples_a_step(self) -> int:
        """Training samples of one step of a short training."""
        return self.sprint_batch

    def short_epochs(self, share: float, samples: int | None) -> float:
        """Epochs of a short training.

        Args:
            share: of the recipe's epochs.
            samples: in one epoch; None where that is not known.
        """
        whole = float(self.recipe.epochs)
        least = self.short_steps * self.samples_a_step / samples if samples else 0.0
        return max(share * whole, min(whole, least))

    @property
    def relative(self) -> bool:
        """Whether figures compare the candidates of one step with each other and nothing else."""
        relative = EVALUATORS[self.evaluator].relative
        return relative(self) if callable(relative) else relative

    @property
    def estimates(self) -> bool:
        """Whether the steps estimate, and the best is chosen by a playoff of cells trained from scratch."""
        return self.relative or EVALUATORS[self.evaluator].estimates

    @property
    def entrants(self) -> tuple[int, int]:
        """How many cells begin the playoff: the recommended, and those by which estimates are checked."""
        return self.playoff.cells, self.shared.check if EVALUATORS[self.evaluator].shares else 0

    @property
    def times(self) -> bool:
        """Whether latencies are asked for."""
        return "latency" in (self.resource, *self.limits.given())

    @property
    def score(self) -> Score:
        """How this run weighs performance against its resource."""
        return Score(self.penalty, self.resource, self.formula)

    def changed(self, changes: Overrides) -> Self:
        """These settings with some others laid over them; raises as pydantic does."""
        return type(self).model_validate(merge(self.model_dump(), changes))

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


def leaves(settings: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting's full name and value: ``recipe.epochs``, 8."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{inside}{key}.")
        else:
            yield f"{inside}{key}", value
