"""Trained models from their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from autoshrink.architecture import ImageArchitecture, LanguageModel
from autoshrink.bundle import Facts, ImageInterface, TextInterface, TrainedClassifier, TrainedLanguageModel
from autoshrink.data import Preprocessing, Vocabulary


def trained_classifier(
    architecture: ImageArchitecture,
    network: nn.Module,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    facts: Mapping[str, Any],
) -> TrainedClassifier:
    interface = ImageInterface(classes, preprocessing)
    return TrainedClassifier(architecture, network, interface, Facts.model_validate(facts))


def trained_language_model(
    architecture: LanguageModel, network: nn.Module, vocabulary: Vocabulary, facts: Mapping[str, Any]
) -> TrainedLanguageModel:
    return TrainedLanguageModel(architecture, network, TextInterface(vocabulary), Facts.model_validate(facts))
