"""How a language model learns: SGD or Adam with clipping, variational dropout, chunks of random length, averages.

Shape letters: T time steps of a chunk, B streams, V vocabulary, n width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from autoshrink.config import TextRecipe
from autoshrink.networks import LanguageNetwork, Masks
from autoshrink.seeding import derive_seed
from autoshrink.training.loop import Batch, Stops, Validation
from autoshrink.training.text import Streams, chunk_lengths

SMOOTHING = 0.9
"""Of the running training loss (released search of recurrent cells)."""
DIVERGED_RATIO = 3.0
AVERAGE = "average."
"""Before the names of averaged weights in a state file."""
OPTIMISER = "optimiser."
"""Before those of what the optimiser remembers."""
ADAM = ("step", "exp_avg", "exp_avg_sq")
"""What torch's Adam remembers of a parameter: steps, and the means of the gradient and of its square."""
CLIMB = 0.05
"""Share of a training in which a cosine's learning rate climbs to its peak."""


class TextLearner:
    """One language model trained by one recipe; see `autoshrink.training.loop.Learner`.

    Args:
        network: on the streams' device.
        recipe: optimiser, dropout, chunks.
        data: training and validation streams, on one device.
        seed: decides chunk lengths and dropout, epoch by epoch.

    Attributes:
        network: what is trained.
        average: the mean of the weights since averaging began (NT-ASGD); None before.
        curve: validation performance after every epoch, by which averaging begins.
    """

    def __init__(
        self, network: LanguageNetwork, recipe: TextRecipe, data: tuple[Streams, Streams], *, seed: int
    ) -> None:
        self.network = network
        self.average: AveragedModel | None = None
        self.curve: list[float] = []
        self.seen = 0
        self.validated = 0
        self.guess_loss = math.log(len(network.embedding))
        self._recipe = recipe
        self._train, self._validation = data
        self._seed = seed
        self._factor: float | None = None
        self.epoch_samples = self._train.tokens
        self._optimiser = make_optimiser(network, recipe)

    def scale_learning_rate(self, factor: float) -> None:
        """Learn at the recipe's rate times a factor from now on, whatever the epoch."""
        self._factor = factor

    def take_up(self) -> None:
        """Learn all parameters of the network, also those that it has got since."""
        self._optimiser.param_groups[0]["params"] = list(self.network.parameters())

    def _rate(self, epochs: float) -> float:
        return rate(self._recipe, epochs) if self._factor is None else self._recipe.learning_rate * self._factor

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """One pass over the training streams, the state carried from chunk to chunk."""
        assert start == 0, "an epoch of text is begun anew"
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        state = self.network.initial_state(self._train.width)
        for length in chunk_lengths(len(self._train), self._recipe, generator):
            stop = start + length
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate(epoch + start / len(self._train)) * length / self._recipe.bptt
            loss, state = self._step(self._train.inputs[start:stop], self._train.targets[start:stop], state, generator)
            start = stop
            self.seen += length * self._train.width
            yield Batch(loss, length * self._train.width)

    def _step(self, inputs: Tensor, targets: Tensor, state: Tensor, generator: torch.Generator) -> tuple[float, Tensor]:
        """The mean loss of a chunk, without its penalties, and the state after it."""
        recipe = self._recipe
        masks = draw_masks(self.network, recipe, inputs.shape[1], generator)
        outputs, state = self.network.features(inputs, state, masks)
        dropped = outputs if masks.output is None else outputs * masks.output
        loss = self.network.loss(dropped, targets)
        total = loss
        if recipe.activation_penalty:
            total = total + recipe.activation_penalty * dropped.pow(2).mean()
        if recipe.temporal_penalty and len(outputs) > 1:
            total = total + recipe.temporal_penalty * (outputs[1:] - outputs[:-1]).pow(2).mean()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        self._optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return float(loss.detach()), state.detach()

    def validate(self) -> Validation:
        """Perplexity on the whole validation text, of the averaged weights once there are any."""
        self.validated += self._validation.tokens
        validation = measure(self.evaluated, self._validation, self._recipe.bptt)
        window = self._recipe.averaging
        earlier = self.curve[:-window] if window is not None else []
        if self.average is None and earlier and validation.performance < max(earlier):
            self.start_averaging()
        self.curve.append(validation.performance)
        return validation

    def validate_share(self, share: float) -> Validation:
        """Perplexity on the first of the validation streams, as many as make the share."""
        part = self._validation.first(max(1, round(share * self._validation.width)))
        self.validated += part.tokens
        return measure(self.evaluated, part, self._recipe.bptt)

    def losses(self, batches: int) -> Iterator[Tensor]:
        """See `autoshrink.training.problem.Differentiable`: chunks from the text's beginning on, the state carried from
        one to the next."""
        network, state = self.evaluated, None
        starts = range(0, len(self._train), self._recipe.bptt)
        for start in starts[:batches]:
            rows = slice(start, start + self._recipe.bptt)
            before = network.initial_state(self._train.width) if state is None else state.detach()
            features, state = network.features(self._train.inputs[rows], before)
            yield network.loss(features, self._train.targets[rows])

    def recalibrate_statistics(self, batches: int) -> int:  # noqa: ARG002 - see `SearchLearner`
        """Nothing: a language model has no statistics to take."""
        return 0

    def start_averaging(self) -> None:
        """From now on the weights' mean is what is evaluated."""
        self.average = AveragedModel(self.network)

    @property
    def averaging(self) -> bool:
        """Whether averaging has begun (NT-ASGD)."""
        return self.evaluated is not self.network

    def learning_rate(self, epoch: int) -> float:
        """At the beginning of an epoch, for a chunk of mean length."""
        return self._rate(epoch)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, what Adam remembers of each, and their average."""
        tensors = dict(self.network.state_dict())
        for name, parameter in self.network.named_parameters():
            tensors |= {f"{OPTIMISER}{key}.{name}": one for key, one in self._optimiser.state[parameter].items()}
        if self.average is None:
            return tensors, {"averaged": 0}
        tensors |= {AVERAGE + name: tensor for name, tensor in self.average.module.state_dict().items()}
        return tensors, {"averaged": int(self.average.n_averaged)}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], curve: Sequence[float]) -> None:
        """Go on from what `state` said after the epochs of a curve.

        Raises:
            RuntimeError: weights do not fit the network.
        """
        averages = {name.removeprefix(AVERAGE): tensor for name, tensor in tensors.items() if name.startswith(AVERAGE)}
        weights = {name: one for name, one in tensors.items() if not name.startswith((AVERAGE, OPTIMISER))}
        self.network.load_state_dict(weights)
        for name, parameter in self.network.named_parameters():
            keys = {key: f"{OPTIMISER}{key}.{name}" for key in ADAM if f"{OPTIMISER}{key}.{name}" in tensors}
            if keys:
                self._optimiser.state[parameter] = {key: tensors[full].clone() for key, full in keys.items()}
        if averages:
            self.average = AveragedModel(self.network)
            self.average.module.load_state_dict(averages)
            self.average.n_averaged.fill_(facts["averaged"])
        self.curve = list(curve)

    @property
    def evaluated(self) -> LanguageNetwork:
        """The network to judge and to keep: the averaged one once there is one that has seen a step."""
        if self.average is None or int(self.average.n_averaged) == 0:
            return self.network
        module: LanguageNetwork = self.average.module  # type: ignore[assignment]
        return module


def make_optimiser(network: torch.nn.Module, recipe: TextRecipe) -> torch.optim.Optimizer:
    """The recipe's, over all weights of one network, or of several with a leading axis."""
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.SGD
    return kind(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.l2, foreach=True)


def rate(recipe: TextRecipe, epochs: float) -> float:
    """The learning rate after so many epochs, for a chunk of mean length."""
    if recipe.schedule == "drops":
        return recipe.learning_rate * 0.1 ** sum(recipe.epochs - int(epochs) <= left for left in recipe.drops)
    done = min(1.0, epochs / recipe.epochs)
    if done < CLIMB:
        # The first chunk learns too.
        return recipe.learning_rate * max(done, 0.1 * CLIMB) / CLIMB
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - CLIMB) / (1 - CLIMB)))


def draw_masks(network: LanguageNetwork, recipe: TextRecipe, streams: int, generator: torch.Generator) -> Masks:
    """Dropout masks of a chunk; drawn on the CPU, so that every device draws the same."""
    vocabulary, width = network.embedding.shape
    device = network.embedding.device

    def mask(share: float, *shape: int) -> Tensor | None:
        if share == 0:
            return None
        return (torch.rand(*shape, generator=generator) >= share).to(device, torch.float32).div_(1 - share)

    dropout = recipe.dropout
    return Masks(
        words=mask(dropout.words, vocabulary),
        embedding=mask(dropout.embedding, streams, width),
        input=mask(dropout.input, streams, width),
        hidden=mask(dropout.hidden, streams, width),
        output=mask(dropout.output, streams, width),
    )


@torch.no_grad()
def measure(network: LanguageNetwork, streams: Streams, chunk: int) -> Validation:
    """Mean loss of every token of a text, each counted once whatever the streams and the chunks.

    A part of the result is one chunk of one stream.
    """
    state = network.initial_state(streams.width)
    sums = []
    for start in range(0, len(streams), chunk):
        rows = slice(start, start + chunk)
        outputs, state = network.features(streams.inputs[rows], state)
        losses = network.token_losses(outputs, streams.targets[rows])
        if streams.counted is not None:
            losses = losses * streams.counted[rows]
        # On the CPU, since Apple's MPS has no float64.
        sums.append(losses.cpu().double().sum(dim=0))
    parts = torch.stack(sums).flatten()
    loss = float(parts.sum()) / streams.tokens
    scaled = tuple((-parts * (len(parts) / streams.tokens)).tolist())
    return Validation(-loss, loss, parts=scaled)


def text_stops(recipe: TextRecipe, vocabulary: int) -> Stops:
    """The recipe's early stops; a model that ends no better than guessing has failed."""
    return Stops(
        epochs=recipe.epochs,
        smoothing=SMOOTHING,
        patience=recipe.patience,
        overfit_ratio=recipe.overfit_ratio,
        diverged_ratio=DIVERGED_RATIO,
        worst=-math.log(vocabulary),
    )
