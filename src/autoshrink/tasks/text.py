"""Language modelling: recurrent cells, compared by perplexity."""

from __future__ import annotations

from typing import Any

import torch

from autoshrink.architecture import Architecture, LanguageModel, RecurrentArchitecture, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, TextSettings
from autoshrink.data import TextProxy, load_text_proxy
from autoshrink.networks import build
from autoshrink.seeding import derive_seed
from autoshrink.tasks.base import Prepared
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, text_stops
from autoshrink.watching import Observer


class TextTask:
    """See `autoshrink.tasks.base.Task`."""

    kind = "recurrent"
    sizes = "--width or --vocabulary"

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        """Read and encode the proxy's sentences."""
        assert isinstance(settings, TextSettings)
        data = settings.data
        proxy = load_text_proxy(
            data.spec,
            level=data.level,
            tokens=data.tokens,
            sentences=data.sentences,
            validation_sentences=data.validation_sentences,
            max_vocabulary=data.max_vocabulary,
            min_count=data.min_count,
            sample=data.sample,
            shared_vocabulary=data.shared_vocabulary,
            seed=derive_seed(settings.seed, "data"),
        )
        for note in proxy.notes:
            observer.remark(note)
        return Prepared(proxy.name, _event(proxy), lambda device: TextProblem(settings, proxy, device))


class TextProblem:
    """See `autoshrink.training.trained.Problem`.

    Args:
        settings: network and recipe.
        proxy: training and validation text.
        device: where candidates are trained.
    """

    def __init__(self, settings: TextSettings, proxy: TextProxy, device: torch.device) -> None:
        recipe, end = settings.recipe, proxy.vocabulary.end
        self._network = settings.network
        self._recipe = recipe
        self._vocabulary = len(proxy.vocabulary)
        self._data = (
            Streams.of(proxy.train, recipe.batch, end=end, device=device, trim=True),
            Streams.of(proxy.validation, recipe.validation_batch, end=end, device=device),
        )
        self.device = device
        self.stops = text_stops(recipe, self._vocabulary)
        self.fidelity = f"{recipe.epochs} epochs × {self._data[0].tokens:,} tokens"

    def architecture(self, cell: Cell) -> RecurrentArchitecture:
        """The language model around a cell for this vocabulary."""
        network = self._network
        return recurrent_proxy(cell, vocabulary=self._vocabulary, width=network.width, aggregate=network.aggregate)

    def learner(self, architecture: Architecture, seed: int) -> TextLearner:
        """A fresh network on the device."""
        assert isinstance(architecture, LanguageModel)
        network = build(architecture, seed=seed, initial_range=self._network.initial_range).to(self.device)
        return TextLearner(network, self._recipe, self._data, seed=seed)


def _event(proxy: TextProxy) -> dict[str, Any]:
    return {
        "name": proxy.name,
        "level": proxy.vocabulary.level,
        "train": len(proxy.train),
        "validation": len(proxy.validation),
        "sentences": proxy.train_sentences,
        "validation_sentences": proxy.validation_sentences,
        "vocabulary": len(proxy.vocabulary),
        "unknown_share": proxy.unknown_share,
        "fingerprint": proxy.fingerprint,
        "notes": list(proxy.notes),
    }
