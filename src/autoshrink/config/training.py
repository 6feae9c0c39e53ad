"""Settings of the final training of one architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from autoshrink.config.base import DataSettings, Overrides, Section, merge
from autoshrink.config.explaining import explained
from autoshrink.config.text import Level, TextRecipe
from autoshrink.errors import InputError

PUBLISHED_WIDTH, PUBLISHED_PARAMS = 745, 23_000_700
"""Of the released ShrinkRNN, whose dropout and learning rate the defaults derive from."""
PUBLISHED_RATE = 20.0


class FinalSettings(Section):
    """Everything that decides what a final training does, beside the architecture; `data` and `recipe` are a task's."""

    data: DataSettings
    seed: NonNegativeInt = 0
    device: str = "auto"
    threads: PositiveInt | None = None
    save_every: PositiveFloat = 600.0
    """Seconds between two saves within an epoch, where one can be gone on with; every epoch is saved in any case."""
    tensorboard: bool = False
    """Also log for TensorBoard, into the folder's `tensorboard`."""
    mlflow: str | None = None
    """Also log to this MLflow server or database (`sqlite:///mlflow.db`); `env` is what MLFLOW_TRACKING_URI says."""

    def to_json(self) -> dict[str, Any]:
        """Nested JSON."""
        return self.model_dump(mode="json")


class CorpusData(DataSettings):
    """Which text a language model is trained on, in full."""

    spec: str = "pydocs"
    level: Level = "word"
    tokens: Literal["auto", "spaces", "words"] = "auto"
    max_vocabulary: Annotated[int, Field(ge=3)] | None = None
    min_count: PositiveInt | None = None
    """Words seen less often in the training text become `<unk>`. None: 2, so that `<unk>` is trained too; 1 where the
    text is cut at spaces and has `<unk>` of its own, as published corpora do."""


class TrainingSettings(FinalSettings):
    """Of a language model."""

    data: CorpusData = CorpusData()
    recipe: TextRecipe


def default_rate(width: int, params: int) -> float:
    """The learning rate for a language model: 20 for the released one, less for smaller ones.

    Clipped SGD makes steps of one length whatever the model, so for small ones the released rate is rough, and now and
    then diverges. The weights' norm at the start goes with √(params / width), and the rate with the root of that norm:
    a cautious rule of thumb; deep cells in short trainings do better at 20 (docs/LOG.md has the figures).
    """
    norm = (params / PUBLISHED_PARAMS * PUBLISHED_WIDTH / width) ** 0.5
    return float(f"{PUBLISHED_RATE * min(1.0, norm) ** 0.5:.2g}")


def training_settings(overrides: Overrides, *, width: int, params: int) -> TrainingSettings:
    """Settings of a final training: the released recipe, with learning rate, dropout and decays suited to the model.

    The released ShrinkRNN is 745 wide and trained for thousands of epochs at a constant learning rate, its weights
    averaged once validation stops improving (NT-ASGD). Smaller models get dropout in proportion to their width; short
    trainings end with the learning rate divided by ten twice, a fifth and a twentieth of the epochs before the end.

    Raises:
        InputError: a setting is unknown or out of range; the message names it.
    """
    given = overrides.get("recipe")
    epochs = given.get("epochs", 40) if isinstance(given, Mapping) else 40
    if not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"setting recipe.epochs: a whole number above 0 is needed (got {epochs!r})")
    share = min(1.0, width / PUBLISHED_WIDTH)
    published = {"words": 0.1, "embedding": 0.2, "input": 0.75, "hidden": 0.25, "output": 0.75}
    recipe = {
        "epochs": epochs,
        "batch": 64,
        "learning_rate": default_rate(width, params),
        "validation_batch": 10,
        "drops": sorted({max(1, epochs // 5), max(1, epochs // 20)}, reverse=True),
        "dropout": {name: round(share * value, 4) for name, value in published.items()},
        "l2": 8e-7,
        "temporal_penalty": 1e-3,
        "averaging": 5,
        "patience": None,
    }
    try:
        return TrainingSettings.model_validate(merge({"recipe": recipe}, overrides))
    except ValidationError as error:
        raise InputError(explained(error, TrainingSettings)) from error
