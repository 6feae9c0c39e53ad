"""Settings of a search for language modelling, and the recipe of language models small and large."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from autoshrink.config.base import (
    BudgetSettings,
    DataSettings,
    Limits,
    Overrides,
    Recipe,
    ResourceName,
    SearchSettings,
    Section,
)

Level = Literal["word", "char"]
Dropped = Annotated[float, Field(ge=0, lt=1)]


class TextData(DataSettings):
    """Which text the candidates are compared on."""

    spec: str = "pydocs"
    level: Level = "word"
    """Predict words or characters."""
    tokens: Literal["auto", "spaces", "words"] = "auto"
    """How a line is cut into words: at spaces, for corpora that were tokenised before; else by a simple rule for prose.
    auto: at spaces where the text is tokenised already, which `<unk>` for rare words and signs by themselves show."""
    sentences: PositiveInt = 4000
    """Lines of the training text in the proxy, at most."""
    validation_sentences: PositiveInt = 1000
    """Lines of the validation text (given, or carved from the training text), at most."""
    max_vocabulary: Annotated[int, Field(ge=3)] | None = 10_000
    """Words beyond it, the rarest, become `<unk>`."""
    min_count: PositiveInt = 2
    """Words seen less often in the proxy's training text become `<unk>`, so that `<unk>` is trained too."""
    sample: Literal["random", "first"] = "random"
    """Which sentences: drawn without replacement (the paper), or the first ones (the released data)."""
    shared_vocabulary: bool = False
    """Take the vocabulary from the validation sentences too, as the released code does."""


class TextNetwork(Section):
    """The language model around the cell: embedding, tied decoder with bias."""

    width: PositiveInt = 100
    """Embedding and hidden size n; 100 in the released code, 200 in the paper."""
    aggregate: Literal["mean", "sum"] = "mean"
    """What a node does with its inputs: mean (released code), or the paper's Eq. 3, a plain sum."""
    initial_range: PositiveFloat | None = None
    """Weights start from U(−r, r). None: .04·√(745/width), the released model's range at its width; the released search
    has .04 at width 100, from which deep cells hardly start to learn (benchmarks/initial_range.py)."""


class Dropout(Section):
    """Shares dropped. Each mask is drawn once a chunk and used at every time step (variational), words' excepted."""

    words: Dropped = 0.0
    """Whole rows of the embedding."""
    embedding: Dropped = 0.0
    """Of the embedded words."""
    input: Dropped = 0.0
    """Of what the cell reads of them."""
    hidden: Dropped = 0.0
    """Of every state that an edge reads; one mask for all edges and steps."""
    output: Dropped = 0.0
    """Of what the decoder reads."""


class TextRecipe(Recipe):
    """How a language model is trained. The defaults are those of the released search of recurrent cells, but for one
    early stop."""

    epochs: PositiveInt = 10
    batch: PositiveInt = 128
    """Streams that the training text is cut into, read side by side."""
    validation_batch: PositiveInt = 32
    """The same for validation; 256 in the released search, which leaves 27 tokens a stream."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """SGD without momentum, as released; or Adam, whose rate is about a thousandth."""
    learning_rate: PositiveFloat = 20.0
    """Of a cosine its peak."""
    schedule: Literal["drops", "cosine"] = "drops"
    """Of the learning rate: a tenth where `drops` says so, as released; or a climb over the first twentieth of the
    tokens, then half a cosine to zero, at whose end the weights have settled."""
    clip: PositiveFloat = 0.25
    """Largest norm of the gradient."""
    drops: tuple[PositiveInt, ...] = (3, 1)
    """The learning rate is divided by ten when so many epochs are left: of ten, after the seventh and the ninth."""
    bptt: PositiveInt = 35
    """Time steps a chunk through which gradients flow."""
    random_lengths: bool = True
    """Draw chunk lengths from N(bptt, 5), or, one time in twenty, N(bptt/2, 5), within [5, bptt + 20], with the
    learning rate in proportion to the length."""
    dropout: Dropout = Dropout()
    l2: NonNegativeFloat = 0.0
    """torch's weight_decay."""
    activation_penalty: NonNegativeFloat = 0.0
    """AR: times the mean square of the dropped-out outputs."""
    temporal_penalty: NonNegativeFloat = 0.0
    """TAR: times the mean square of the outputs' change from step to step."""
    averaging: PositiveInt | None = None
    """NT-ASGD: average the weights from the epoch on in which validation is worse than the best of all but the last so
    many epochs. None: never."""
    patience: PositiveInt | None = 4
    """Stop after so many epochs in a row without a new best validation perplexity."""
    overfit_ratio: PositiveFloat | None = None
    """Stop when the validation loss exceeds this many running training losses; 3 in the released search."""


NO_LATENCY = "a step of a recurrent cell takes as long as its edges are many: --resource cell_params weighs the same"


NO_LATENCY_BUDGET = (
    "no table predicts what a step of a language model takes; take --macs, --params or --memory, and time what is "
    "found with `autoshrink latency`"
)


class TextSettings(SearchSettings):
    """Everything that decides what a search on text does."""

    populations = True
    task: Literal["text"] = "text"
    data: TextData = TextData()
    network: TextNetwork = TextNetwork()
    recipe: TextRecipe = TextRecipe()
    nodes: Annotated[int, Field(ge=2, le=64)] = 6
    candidates: PositiveInt | Literal["all"] = 5
    judge: Literal["performance"] = "performance"
    resource: ResourceName = "cell_params"
    """The released search weighs the cell too, and not the embedding, which no edge can shrink."""

    @property
    def samples_a_step(self) -> int:
        """Tokens: a chunk of every stream."""
        return self.sprint_batch * self.recipe.bptt

    @field_validator("resource")
    @classmethod
    def _has_a_table(cls, resource: ResourceName) -> ResourceName:
        if resource == "latency":
            raise ValueError(NO_LATENCY)
        return resource

    @field_validator("budget")
    @classmethod
    def _is_counted(cls, budget: BudgetSettings) -> BudgetSettings:
        if budget.latency is not None:
            raise ValueError(NO_LATENCY_BUDGET)
        return budget

    @field_validator("limits")
    @classmethod
    def _has_no_latency(cls, limits: Limits) -> Limits:
        if "latency" in limits.given():
            raise ValueError(NO_LATENCY)
        return limits


PAPER: Overrides = {
    "paired": False,
    "reselect": False,
    "choice": "finalists",
    "beside": (),
    "draw": "independent",
    "candidates": 10,
    "formula": "released-text",
    "penalty": 1.0,
    "stop": {"edges": 4},
    "data": {
        "sample": "first",
        "validation_sentences": 300,
        "shared_vocabulary": True,
        "max_vocabulary": None,
        "min_count": 1,
    },
    "network": {"initial_range": 0.04},
    "recipe": {"validation_batch": 256, "overfit_ratio": 3.0},
}
"""What the released search does otherwise: the first sentences and not random ones, a vocabulary that knows the
validation text, K = 10, an end at four edges, its own score, an operation drawn for each node by itself, a seed for
each candidate, all its early stops, weights that start from ±.04 whatever the width, and the highest recorded S named
best. Its embeddings start from pretrained vectors, which are not part of this project."""

AT_BUDGET: Overrides = {
    "resource": "params",
    "recipe": {"learning_rate": 20.0, "schedule": "cosine", "batch": 8, "patience": None},
}
"""Models of equal cost are close to one another, and a rate that stays high to the end tells more of the last chunks
than of them; and of the same tokens more streams make fewer steps (benchmarks/text_recipes.py)."""

PYDOCS: Overrides = {
    "candidates": 3,
    "data": {"sentences": 1500, "validation_sentences": 400, "max_vocabulary": 2000},
    "network": {"width": 40},
    "recipe": {"epochs": 4, "batch": 8, "learning_rate": 10.0, "drops": [1]},
    "finalists": 3,
    "repeats": 2,
}
"""The text built into Python: a search of minutes on two CPU cores."""
