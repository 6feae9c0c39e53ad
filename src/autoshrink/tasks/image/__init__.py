"""Image classification: convolutional cells, compared by accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink import formatting
from autoshrink.architecture import Architecture, ConvArchitecture, ImageArchitecture, proxy_architecture
from autoshrink.bundle import TrainedClassifier
from autoshrink.cell import Cell
from autoshrink.config import ImageSettings, Overrides, SearchSettings, image
from autoshrink.escaping import word
from autoshrink.metrics import ACCURACY
from autoshrink.record import RunRecord
from autoshrink.tasks.base import Command, Option, Prepared, Task
from autoshrink.watching import Observer

if TYPE_CHECKING:
    from autoshrink.final.classifier import ClassifierFacts, ClassifierRequest


class ImageTask(Task):
    """See `Task`."""

    name = "image"
    about = "classify"
    model = "image classifier"
    cell_kind = "conv"
    architecture_kinds = ("conv", "mobile")
    trained = TrainedClassifier
    metric = ACCURACY
    settings = ImageSettings
    built_in = "digits"
    quick = image.DIGITS
    paper = image.PAPER
    sizes = "--size or --widths"
    shorter = "--size 16 --nodes 6 --train-per-class 200 --epochs 8"
    on_own_data = "--data path/to/images --size 32"
    search_options = (
        Option("--size", "data.size", int, "Height and width of the images, pixels."),
        Option("--channels", "data.channels", int, "1 or 3. Default: 1 where every image is grey."),
        Option("--train-per-class", "data.train_per_class", int, "Training images a class, at most."),
        Option("--validation-per-class", "data.validation_per_class", int, "Validation images a class, at most."),
        Option(
            "--test-share",
            "data.test_share",
            float,
            "Images: of data without a test split, kept back for `evaluate` alone.",
        ),
        Option(
            "--group",
            "data.group",
            str,
            "Images: what in a file name says which belong together, e.g. '(person\\d+)'.",
        ),
        Option("--max-corrupt", "data.max_corrupt", float, "Share of unreadable files to put up with."),
        Option("--augment/--no-augment", "recipe.augment", bool, "Random flips and crops. Off by default."),
        Option("--stem", "network.stem", int, "Channels of the first convolution."),
        Option("--widths", "network.widths", "numbers", "Channels of every node, by stage, e.g. 16,32,64."),
        Option("--activation", "network.activation", str, "relu, swish, hardswish, relu6, gelu, leaky_relu."),
    )

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        """Decode the proxy's images."""
        from autoshrink.tasks.image.problem import prepare  # noqa: PLC0415 - torch takes seconds to import

        return prepare(settings, observer)

    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> ConvArchitecture:
        """The paper's proxy network (Table 1) for the run's images."""
        assert isinstance(settings, ImageSettings)
        channels, height, width = data["input"]
        return proxy_architecture(
            cell,
            shape=(channels, height, width),
            classes=len(data["classes"]),
            stem=settings.network.stem,
            widths=settings.network.widths,
            activation=settings.network.activation,
        )

    def default_network(self, cell: Cell, **sizes: int | None) -> Architecture:
        """The paper's proxy network: Table 1, T = 1, 3×32×32, ten classes."""
        return self.sized(proxy_architecture(cell), **sizes)

    def next_commands(self, record: RunRecord, folder: Path) -> list[Command]:
        """Craft it to a size, and train that."""
        from autoshrink.crafting.sources import reading_options  # noqa: PLC0415 - it asks the tasks

        run, architecture = word(folder), word(folder / "best.arch.json")
        spec, trained = word(record.settings.data.spec), word(folder / "trained")
        reading = "".join(f" {option} {word(value)}" for option, value in reading_options(record))
        best = record.best()
        # Its own size in the search: at the complete graph's, what was saved would be spent again.
        size = "1M" if best is None else formatting.quantity(best.recorded.resources.macs)
        return [
            (f"autoshrink craft {run} --macs {size} -o {architecture}", "a network of it, of a size that you choose"),
            (f"autoshrink train {architecture} --data {spec}{reading} -o {trained}", "train that in full"),
        ]

    def train_request(
        self, target: Architecture | Cell | None, overrides: Overrides, **sizes: int | None
    ) -> ClassifierRequest:
        """A classifier's training; a cell becomes the paper's proxy network for the images' size."""
        from autoshrink.errors import InputError  # noqa: PLC0415
        from autoshrink.final.classifier import ClassifierRequest  # noqa: PLC0415 - torch takes seconds to import

        if any(value is not None for value in sizes.values()):
            raise InputError(
                "width and params are for language models; `autoshrink craft` fits a classifier to a budget"
            )
        assert target is None or isinstance(target, Cell | ImageArchitecture)
        return ClassifierRequest(target, overrides)

    def resumed_training(self, facts: dict[str, Any], path: Path) -> ClassifierFacts:
        """Of a classifier."""
        from autoshrink.final.classifier import ClassifierFacts  # noqa: PLC0415 - torch takes seconds to import

        return ClassifierFacts.of(facts, path)

    def after_training(self, folder: Path, *, tested: bool) -> list[Command]:
        """Evaluate, export."""
        name = word(folder)
        kept = (
            f"autoshrink evaluate {name} --split validation",
            "its figures on the images kept back; there is no test split",
        )
        return [
            (f"autoshrink evaluate {name}", "its accuracy on the test split") if tested else kept,
            (f"autoshrink export {name} -o model.onnx", "a file for other programs"),
        ]

    def open_exported(self, session: Any, card: Any) -> Any:
        """A classifier."""
        from autoshrink.deploy.predict import OnnxClassifier  # noqa: PLC0415 - needs the extra `onnx`

        return OnnxClassifier(session, card)


IMAGE = ImageTask()
