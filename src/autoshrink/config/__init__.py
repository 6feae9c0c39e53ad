"""Validated settings of a search: frozen, resolved once, stored with the run, unknown keys refused."""

from autoshrink.config.base import (
    DataSettings,
    FireflySettings,
    InheritSettings,
    Limits,
    Overrides,
    PlayoffSettings,
    SearchSettings,
    SharedSettings,
    StopSettings,
    TaskName,
    leaves,
    merge,
)
from autoshrink.config.classifier import (
    ClassifierData,
    ClassifierRecipe,
    ClassifierSettings,
    TrainingContext,
    classifier_settings,
)
from autoshrink.config.image import ImageData, ImageNetwork, ImageRecipe, ImageSettings
from autoshrink.config.resolving import DEFAULT_TASK, remarks, resolve, settings_from_json, stored_settings
from autoshrink.config.text import Dropout, Level, TextData, TextNetwork, TextRecipe, TextSettings
from autoshrink.config.training import CorpusData, FinalSettings, TrainingSettings, training_settings

__all__ = [
    "DEFAULT_TASK",
    "ClassifierData",
    "ClassifierRecipe",
    "ClassifierSettings",
    "CorpusData",
    "DataSettings",
    "Dropout",
    "FinalSettings",
    "FireflySettings",
    "ImageData",
    "ImageNetwork",
    "ImageRecipe",
    "ImageSettings",
    "InheritSettings",
    "Level",
    "Limits",
    "Overrides",
    "PlayoffSettings",
    "SearchSettings",
    "SharedSettings",
    "StopSettings",
    "TaskName",
    "TextData",
    "TextNetwork",
    "TextRecipe",
    "TextSettings",
    "TrainingContext",
    "TrainingSettings",
    "classifier_settings",
    "leaves",
    "merge",
    "remarks",
    "resolve",
    "settings_from_json",
    "stored_settings",
    "training_settings",
]
