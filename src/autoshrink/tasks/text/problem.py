"""What candidates of a search on text are trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink import formatting
from autoshrink.architecture import Architecture, LanguageModel, RecurrentArchitecture, network_of, recurrent_proxy
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, TextSettings
from autoshrink.data import TextProxy, load_text_proxy, load_unseen_text
from autoshrink.design import Design
from autoshrink.networks import LanguageNetwork, Supernet, build, supernet
from autoshrink.seeding import derive_seed
from autoshrink.tasks.base import Prepared, Unseen
from autoshrink.training.costs import DesignCosts, largest_below
from autoshrink.training.gradients import steps_a_chunk, text_gradients
from autoshrink.training.text import Streams
from autoshrink.training.text_learner import TextLearner, text_stops
from autoshrink.training.text_population import TextPopulation, groups
from autoshrink.watching import Observer

UNSEEN = 2
"""Times the search's validation sentences: what judges what compared searches found, at most."""


def prepare(settings: SearchSettings, observer: Observer) -> Prepared:
    """Read and encode the proxy's sentences.

    Raises:
        DataError: the text cannot be used.
    """
    assert isinstance(settings, TextSettings)
    proxy, data = _load(settings), settings.data
    observer.on_data(
        f"data: {data.spec}: {formatting.count(proxy.train_sentences, 'training sentence')} "
        f"({formatting.count(len(proxy.train), 'token')}), "
        f"{proxy.validation_sentences:,} for validation ({len(proxy.validation):,}); vocabulary "
        f"{len(proxy.vocabulary):,}, level {data.level}"
    )
    for note in proxy.notes:
        observer.remark(note)
    return Prepared(proxy.name, _event(proxy), lambda device: TextProblem(settings, proxy, device))


def unseen(settings: SearchSettings, observer: Observer) -> Unseen:
    """Sentences of the training text beyond those that a search draws: as many as judge in it, times `UNSEEN`.

    Raises:
        DataError: none are left.
    """
    assert isinstance(settings, TextSettings)
    proxy, data = _load(settings), settings.data
    tokens, sentences = load_unseen_text(
        data.spec,
        proxy.vocabulary,
        level=data.level,
        tokens=data.tokens,
        after=data.sentences,
        sentences=UNSEEN * data.validation_sentences,
        sample=data.sample,
        seed=derive_seed(settings.seed, "data"),
    )
    del observer
    counted = f"{formatting.count(sentences, 'sentence')} ({formatting.count(len(tokens), 'token')})"
    judging = dataclasses.replace(proxy, validation=tokens)
    words = f"{counted} of the training text that no search saw"
    return Unseen(words, lambda device: TextProblem(settings, judging, device))


def _load(settings: TextSettings) -> TextProxy:
    data = settings.data
    return load_text_proxy(
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


class TextProblem:
    """See `autoshrink.training.problem.Problem`.

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
        self._train, self._end = proxy.train, end
        self._cut: dict[int, Streams] = {}
        self.device = device
        self._data = (
            self._streams(recipe.batch),
            Streams.of(proxy.validation, recipe.validation_batch, end=end, device=device),
        )
        self.stops = text_stops(recipe, self._vocabulary)
        self.fidelity = (
            f"{formatting.count(recipe.epochs, 'epoch')} × {formatting.count(self._data[0].tokens, 'token')}"
        )

    def architecture(self, design: Design) -> Architecture:
        """The language model around a cell for this vocabulary, or the network that the design is."""
        return network_of(design, lambda cell: self._around(cell, self._network.width))

    def _around(self, cell: Cell, width: int) -> RecurrentArchitecture:
        return recurrent_proxy(cell, vocabulary=self._vocabulary, width=width, aggregate=self._network.aggregate)

    def fitting(self, cells: Sequence[Cell], name: str, limit: int) -> list[str]:
        """The widest narrower network."""

        def fits(width: int) -> bool:
            costs = (
                DesignCosts(partial(network_of, around=lambda one: self._around(one, width)))(cell) for cell in cells
            )
            return min(cost[name] for cost in costs) <= limit

        width = largest_below(self._network.width, fits)
        return [f"--width {width}"] if width else []

    def learner(self, architecture: Architecture, seed: int, *, batch: int | None = None) -> TextLearner:
        """A fresh network on the device."""
        return self.learner_of(self._fresh(architecture, seed), architecture, seed, batch=batch)

    def supernet(self, architecture: Architecture, seed: int) -> Supernet:
        """See `autoshrink.training.problem.Supernets`."""
        network = supernet(architecture, seed=seed, initial_range=self._network.initial_range).to(self.device)
        network.choose(architecture)
        return network

    def learner_of(
        self, network: nn.Module, architecture: Architecture, seed: int, *, batch: int | None = None
    ) -> TextLearner:
        """See `autoshrink.training.problem.Supernets`."""
        assert isinstance(network, LanguageNetwork), "what a text is learned by"
        assert isinstance(architecture, LanguageModel), "of a vocabulary and a width"
        return TextLearner(
            network, self._recipe, (self._streams(batch or self._recipe.batch), self._data[1]), seed=seed
        )

    def _streams(self, batch: int) -> Streams:
        """The training text in so many streams, cut once."""
        if batch not in self._cut:
            self._cut[batch] = Streams.of(self._train, batch, end=self._end, device=self.device, trim=True)
        return self._cut[batch]

    def groups(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> list[list[int]]:
        """See `autoshrink.training.text_population.groups`."""
        return groups(architectures, seeds, self._recipe)

    def population(self, architectures: Sequence[Architecture], seeds: Sequence[int]) -> TextPopulation:
        """Fresh networks on the device, as one program."""
        networks = [self._fresh(*each) for each in zip(architectures, seeds, strict=True)]
        return TextPopulation(networks, self._recipe, self._data, seeds=seeds)

    def _fresh(self, architecture: Architecture, seed: int) -> LanguageNetwork:
        assert isinstance(architecture, LanguageModel)
        return build(architecture, seed=seed, initial_range=self._network.initial_range).to(self.device)

    def layer_gradients(
        self, architecture: Architecture, seed: int, *, batches: int, draw: int
    ) -> list[dict[str, Tensor]]:
        """See `text_gradients`; a chunk has the recipe's mean length."""
        network = self._fresh(architecture, seed)
        return text_gradients(network, self._data[0], bptt=self._recipe.bptt, batches=batches, draw=draw)

    def gradient_samples(self, batches: int) -> int:
        """Tokens that `layer_gradients` reads."""
        train = self._data[0]
        return batches * train.width * steps_a_chunk(train, bptt=self._recipe.bptt, batches=batches)


def _event(proxy: TextProxy) -> dict[str, Any]:
    return {
        "name": proxy.name,
        "level": proxy.vocabulary.level,
        "train": len(proxy.train),
        "validation": len(proxy.validation),
        "sentences": proxy.train_sentences,
        "validation_sentences": proxy.validation_sentences,
        "vocabulary": len(proxy.vocabulary),
        "chance": {"performance": -math.log(len(proxy.vocabulary)), "error": 0.0},
        "unknown_share": proxy.unknown_share,
        "fingerprint": proxy.fingerprint,
        "notes": list(proxy.notes),
    }
