"""How several language models learn as one program: what `TextLearner` does, with a leading axis of candidates.

Shape letters: K live candidates, T time steps of a chunk, B streams.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn

from autoshrink.architecture import Architecture, LanguageModel
from autoshrink.config import TextRecipe
from autoshrink.networks import LanguageNetwork, Masks
from autoshrink.networks.language_population import LanguagePopulation
from autoshrink.seeding import derive_seed
from autoshrink.training.loop import Validation
from autoshrink.training.population import PopulationBatch
from autoshrink.training.text import Streams, chunk_lengths
from autoshrink.training.text_learner import ADAM, draw_masks, make_optimiser, rate

CLIP_EPSILON = 1e-6
"""torch's `clip_grad_norm_` adds it to the norm."""


class TextPopulation:
    """Language models trained together, each as `TextLearner` trains it alone; see
    `autoshrink.training.population.Population`.

    All take the same chunks. Seeds may differ only where no chunk's length is drawn: see `groups`.

    Args:
        networks: around recurrent cells, of one width and vocabulary, freshly built, on the streams' device.
        recipe: optimiser, dropout, chunks.
        data: training and validation streams, on one device.
        seeds: of each network; decide chunk lengths and dropout, epoch by epoch.

    Attributes:
        population: what is trained.
        average: the means of the weights of those whose averaging has begun (NT-ASGD); None before the first has.
        averaged: how many steps each one's average holds; None before its averaging began.
        curves: validation performance of each after every epoch, by which averaging begins.
    """

    def __init__(
        self,
        networks: Sequence[LanguageNetwork],
        recipe: TextRecipe,
        data: tuple[Streams, Streams],
        *,
        seeds: Sequence[int],
    ) -> None:
        assert len(seeds) == len(networks)
        assert not recipe.random_lengths or len(set(seeds)) == 1, "chunks of different lengths are not one program"
        self.population = LanguagePopulation.of(networks)
        self.average: LanguagePopulation | None = None
        self.averaged: list[int | None] = [None] * len(networks)
        self.curves: list[list[float]] = [[] for _ in networks]
        self.size = len(networks)
        self.seen = 0
        self.validated = 0
        self.guess_loss = math.log(len(networks[0].embedding))
        self._recipe = recipe
        self._train, self._validation = data
        self.epoch_samples = self._train.tokens
        self._seeds = list(seeds)
        # Masks have the same shapes for every candidate.
        self._example = networks[0]
        self._optimiser = make_optimiser(self.population, recipe)

    def epoch(self, epoch: int) -> Iterator[PopulationBatch]:
        """One pass over the training streams, the states carried from chunk to chunk."""
        recipe = self._recipe
        seeds = self._seeds[:1] if len(set(self._seeds)) == 1 else self._seeds
        generators = [torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch)) for seed in seeds]
        state = self.population.initial_state(self._train.width)
        start = 0
        for length in chunk_lengths(len(self._train), recipe, generators[0]):
            stop = start + length
            for group in self._optimiser.param_groups:
                group["lr"] = rate(recipe, epoch + start / len(self._train)) * length / recipe.bptt
            inputs, targets = self._train.inputs[start:stop], self._train.targets[start:stop]
            losses, state = self._step(inputs, targets, state, self._draw(generators))
            start = stop
            self.seen += length * self._train.width
            yield PopulationBatch(losses, length * self._train.width)

    def _draw(self, generators: Sequence[torch.Generator]) -> Masks:
        """Masks of a chunk: one draw for all, or each candidate's own with a leading K."""
        drawn = [draw_masks(self._example, self._recipe, self._train.width, each) for each in generators]
        if len(drawn) == 1:
            return drawn[0]
        each = {field.name: [getattr(masks, field.name) for masks in drawn] for field in fields(Masks)}
        return Masks(**{name: None if masks[0] is None else torch.stack(masks) for name, masks in each.items()})

    def _step(self, inputs: Tensor, targets: Tensor, state: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """The mean losses (K,) of a chunk, without their penalties, and the states (K, B, n) after it."""
        recipe = self._recipe
        outputs, state = self.population.features(inputs, state, masks)
        dropped = outputs
        if masks.output is not None:
            dropped = outputs * (masks.output.unsqueeze(1) if masks.output.dim() == 3 else masks.output)
        losses = self.population.loss(dropped, targets)
        totals = losses
        if recipe.activation_penalty:
            totals = totals + recipe.activation_penalty * _mean_square(dropped)
        if recipe.temporal_penalty and len(inputs) > 1:
            totals = totals + recipe.temporal_penalty * _mean_square(outputs[:, 1:] - outputs[:, :-1])
        self._optimiser.zero_grad(set_to_none=True)
        # No weight is shared, so the sum's gradient is each one's own.
        totals.sum().backward()  # type: ignore[no-untyped-call]
        clip_each(self.population.parameters(), recipe.clip)
        self._optimiser.step()
        self._update_average()
        return losses.detach(), state.detach()

    def validate(self) -> list[Validation]:
        """Perplexity on the whole validation text, of the averaged weights of those that have them."""
        self.validated += self._validation.tokens
        validations = measure_each(self._evaluated(), self._validation, self._recipe.bptt)
        window = self._recipe.averaging
        for k, (curve, validation) in enumerate(zip(self.curves, validations, strict=True)):
            earlier = curve[:-window] if window is not None else []
            if self.averaged[k] is None and earlier and validation.performance < max(earlier):
                self.averaged[k] = 0
            curve.append(validation.performance)
        return validations

    def _update_average(self) -> None:
        """One step more in the means of those that have one."""
        if all(steps is None for steps in self.averaged):
            return
        if self.average is None:
            self.average = self.population.kept(range(self.size))
        shares = torch.tensor([0.0 if steps is None else 1 / (steps + 1) for steps in self.averaged])
        with torch.no_grad():
            for mean, weight in zip(self.average.parameters(), self.population.parameters(), strict=True):
                mean.lerp_(weight, _each(shares.to(weight), weight))
        self.averaged = [None if steps is None else steps + 1 for steps in self.averaged]

    @torch.no_grad()
    def _evaluated(self) -> LanguagePopulation:
        """What is judged: each one's mean once that has seen a step, else its weights."""
        if self.average is None:
            return self.population
        # Who has no mean yet has rows that mean nothing.
        without = [k for k, steps in enumerate(self.averaged) if not steps]
        for mean, weight in zip(self.average.parameters(), self.population.parameters(), strict=True):
            mean[without] = weight[without]
        return self.average

    def keep(self, positions: Sequence[int]) -> None:
        """Go on with these only; what only the others' cells had is gone too."""
        before, self.population = self.population, self.population.kept(positions)
        self._optimiser = _gone_on(self._optimiser, before, self.population, positions)
        self.average = self.average and self.average.kept(positions)
        self.averaged = [self.averaged[k] for k in positions]
        self.curves = [self.curves[k] for k in positions]
        self._seeds = [self._seeds[k] for k in positions]
        self.size = len(positions)


def _gone_on(
    optimiser: torch.optim.Optimizer, before: LanguagePopulation, after: LanguagePopulation, positions: Sequence[int]
) -> torch.optim.Optimizer:
    """The optimiser of those that were kept; what Adam remembers of a weight moves as the weight does."""
    found = type(optimiser)(after.parameters(), **optimiser.defaults)
    states = [optimiser.state[parameter] for parameter in before.parameters()]
    if not all(states):
        return found
    held = copy.deepcopy(before)
    for key in ADAM[1:]:
        for place, state in zip(held.parameters(), states, strict=True):
            place.data = state[key]
        for parameter, moment in zip(after.parameters(), held.kept(positions).parameters(), strict=True):
            found.state[parameter] |= {ADAM[0]: states[0][ADAM[0]].clone(), key: moment.detach()}
    return found


def groups(architectures: Sequence[Architecture], seeds: Sequence[int], recipe: TextRecipe) -> list[list[int]]:
    """Positions of those that can be one population, ascending, in order: cells of any wiring and activations that have
    one width and take the same chunks.

    Candidates of one seed do (a search that pairs them), and all do where no length is drawn. Otherwise even the number
    of steps differs with the seed, and those of other seeds are other groups. torch's own modules are trained alone.
    """
    found: dict[tuple[str, int, int], list[int]] = {}
    for position, (architecture, seed) in enumerate(zip(architectures, seeds, strict=True)):
        assert isinstance(architecture, LanguageModel)
        key = ("seed", seed if recipe.random_lengths else 0, architecture.width)
        if architecture.cell is None:
            key = ("alone", position, architecture.width)
        found.setdefault(key, []).append(position)
    return list(found.values())


@torch.no_grad()
def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale each candidate's gradients, (K, …) in every parameter, to a norm of `limit` at most, as torch's
    `clip_grad_norm_` does for one network."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    factors = (limit / (torch.linalg.vector_norm(norms, dim=0) + CLIP_EPSILON)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(_each(factors, gradient))


@torch.no_grad()
def measure_each(population: LanguagePopulation, streams: Streams, chunk: int) -> list[Validation]:
    """What `autoshrink.training.text_learner.measure` says of each candidate."""
    state = population.initial_state(streams.width)
    found = []
    for start in range(0, len(streams), chunk):
        rows = slice(start, start + chunk)
        outputs, state = population.features(streams.inputs[rows], state)
        losses = population.token_losses(outputs, streams.targets[rows])
        found.append(losses if streams.counted is None else losses * streams.counted[rows])
    # One wait for the device; sums on the CPU, since Apple's MPS has no float64.
    chunks = torch.split(torch.cat(found, dim=1).cpu(), chunk, dim=1)
    sums = torch.stack([losses.double().sum(dim=1) for losses in chunks], dim=1)
    validations = []
    for parts in sums.flatten(1):
        loss = float(parts.sum()) / streams.tokens
        scaled = tuple((-parts * (len(parts) / streams.tokens)).tolist())
        validations.append(Validation(-loss, loss, parts=scaled))
    return validations


def _mean_square(states: Tensor) -> Tensor:
    """(K, …) to (K,)."""
    return states.pow(2).flatten(1).mean(dim=1)


def _each(values: Tensor, like: Tensor) -> Tensor:
    """(K,) in a shape that multiplies (K, …)."""
    return values.view(-1, *[1] * (like.dim() - 1))
