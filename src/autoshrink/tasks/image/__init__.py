"""Image classification: convolutional cells, compared by accuracy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink import formatting
from autoshrink.architecture import (
    Architecture,
    ConvArchitecture,
    MobileArchitecture,
    proxy_architecture,
)
from autoshrink.budget import Budget
from autoshrink.bundle import TrainedClassifier
from autoshrink.cell import Cell
from autoshrink.classification import ClassifierEvaluation
from autoshrink.config import ImageSettings, SearchSettings, image
from autoshrink.crafting import Measure, Source
from autoshrink.design import Design, name_of
from autoshrink.drawing import Part
from autoshrink.errors import InputError
from autoshrink.escaping import word
from autoshrink.findings import budget_name
from autoshrink.latency.predicting import LatencyModel
from autoshrink.latency.table import LatencyTable
from autoshrink.metrics import ACCURACY
from autoshrink.record import RunRecord
from autoshrink.resources import RESOURCES
from autoshrink.spaces.families import DIVISORS, at_budget, families, smallest
from autoshrink.spaces.fitting import share
from autoshrink.spaces.moves import USUAL
from autoshrink.spaces.networks import LEAST, AtBudget, starts
from autoshrink.spaces.sizes import Scalable, Sizes, sides
from autoshrink.tasks.base import Command, Option, Prepared, Shape, Task, Unseen
from autoshrink.tasks.image.fitting import ImageScaling
from autoshrink.tasks.image.skeleton import depth, head, image_skeleton, stem
from autoshrink.watching import Observer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from autoshrink.final.image import ImageTraining

_KEPT_BACK = (
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
)
"""What a search keeps back, a training keeps back too."""


def _predicted(settings: SearchSettings) -> LatencyModel:
    """What networks take, by the settings' table.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    if settings.latency_table is None:
        raise InputError(
            "--latency: a search predicts it, from what operations take on the device; give it --latency-table FILE "
            "(`autoshrink latency --make-table`)"
        )
    return LatencyModel.fitted(LatencyTable.read(Path(settings.latency_table)))


def _to_cost(cost: Callable[[Architecture], int], limit: int) -> tuple[Budget, Callable[[Scalable], float]]:
    """A cost of any kind is fitted as a predicted latency is: all that counts is that it rises with the width."""
    return Budget(latency=limit), cost


FEWEST_STEPS = 100
"""Of a candidate's training; with fewer, networks that learned something and networks at chance are a seed apart."""


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
    compared = image.DIGITS_COMPARED
    paper = image.PAPER
    at_budget = image.AT_BUDGET
    searches_networks = True
    sizes = "--size or --widths"
    shorter = "--size 16 --nodes 6 --train-per-class 200 --epochs 8"
    data = "images"
    on_own_data = "--data path/to/images --size 32"
    search_options = (
        Option("--size", "data.size", int, "Height and width of the images, pixels."),
        Option("--channels", "data.channels", int, "1 or 3. Default: 1 where every image is grey."),
        Option("--train-per-class", "data.train_per_class", int, "Training images a class, at most."),
        Option("--validation-per-class", "data.validation_per_class", int, "Validation images a class, at most."),
        *_KEPT_BACK,
        Option("--max-corrupt", "data.max_corrupt", float, "Share of unreadable files to put up with."),
        Option("--augment/--no-augment", "recipe.augment", bool, "Random flips and crops. Off by default."),
        Option("--stem", "network.stem", int, "Channels of the first convolution."),
        Option("--widths", "network.widths", "numbers", "Channels of every node, by stage, e.g. 16,32,64."),
        Option("--activation", "network.activation", str, "relu, swish, hardswish, relu6, gelu, leaky_relu."),
    )
    craft_options = (
        Option("--input", "shape", "shape", "Channels, height, width, e.g. 3x224x224."),
        Option("--classes", "classes", int, "Classes to tell apart."),
        Option("--stages", "stages", str, "Cells x width of every stage, e.g. 1x12,3x24,4x44."),
        Option("--pool", "pool", "numbers", "With --stages: pooling before each. Default: 1,2,2,…"),
        Option("--stem", "stem", stem, "First convolution: channels, or channels/stride, e.g. 44/2."),
        Option("--head", "head", head, "Channels of the last 1×1 convolution, or none."),
        Option("--activation", "activation", str, "relu, swish, hardswish, relu6, gelu, leaky_relu."),
        Option(
            "--depth",
            "depth",
            depth,
            "auto: scale the number of cells too; fixed. Default: fixed with --stages.",
            scales=True,
        ),
        Option(
            "--divisor", "divisor", int, "Scaled widths are multiples of it; 1 comes closest. Default: 4.", scales=True
        ),
    )

    train_options = (
        Option("--recipe", "preset", str, "Images: small, large, published or adamw."),
        Option("--from", "start", str, "Images: start from the weights that a training left."),
        Option("--optimiser", "recipe.optimiser", str, "Images: sgd, rmsprop, adam or adamw."),
        Option("--ema", "recipe.ema", float, "Images: what the averaged weights keep a step; 0 for none."),
        Option("--accumulate", "recipe.accumulation", int, "Images: cut each batch into so many, for less memory."),
        Option("--precision", "recipe.precision", str, "Images: auto, float32, bfloat16 or float16."),
        Option(
            "--validation-share",
            "data.validation_share",
            float,
            "Images: of the training images, where no validation split is given.",
        ),
        *_KEPT_BACK,
        Option("--stream/--no-stream", "data.stream", bool, "Images: read from disk in every epoch."),
        Option("--workers", "data.workers", "workers", "Images: processes that decode streamed images."),
    )
    unnamed = "which images? give --data a folder, a parquet file or a name (`autoshrink data list`)"

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        from autoshrink.tasks.image.problem import prepare  # noqa: PLC0415 - torch takes seconds to import

        found = prepare(settings, observer)
        assert isinstance(found.settings, ImageSettings)
        recipe = found.settings.recipe
        steps = recipe.epochs * max(1, found.event["train"] // recipe.images_a_step)
        if steps < FEWEST_STEPS and settings.mode == "sound":
            epochs = formatting.count(recipe.epochs, "epoch")
            observer.remark(
                f"{epochs} of {found.event['train']:,} images: a candidate has {steps} steps of training, in which "
                "networks hardly begin to learn; a smaller --batch or more --epochs gives figures worth comparing"
            )
        return found

    def unseen(self, settings: SearchSettings, observer: Observer) -> Unseen:
        from autoshrink.tasks.image.problem import unseen  # noqa: PLC0415 - torch takes seconds to import

        return unseen(settings, observer)

    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> ConvArchitecture:
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

    def space(self, settings: SearchSettings, start: Design | None, data: Mapping[str, Any]) -> AtBudget | None:
        """At a budget: hand-made networks, and what exchanges make of them."""
        del start
        return self.space_after(settings, data) if settings.budget.given() else None

    def space_after(
        self,
        settings: SearchSettings,
        data: Mapping[str, Any],
        found: Sequence[Design] = (),
        without: Collection[str] = (),
    ) -> AtBudget:
        """The same, some hand-made networks left out, and beside them what was found, scaled in width and depth."""
        limits: dict[str, Any] = settings.budget.given()
        asked = " ".join(f"--{name} {formatting.plain(RESOURCES[name].unit.limit(limits[name]))}" for name in limits)
        seconds = _predicted(settings) if "latency" in limits else None
        if seconds is not None:
            limits["latency"] /= 1e9
        channels, height, width = data["input"]
        budget, classes = Budget(**limits), len(data["classes"])
        allowed = USUAL if settings.moves is None else frozenset(settings.moves)
        made = starts((channels, height, width), classes, budget, seconds, smaller="size" in allowed)
        named = {name: one for name, one in made.items() if name not in without} or made
        keys = {one.key for one in named.values()}
        fitted = at_budget({one.key: one for one in found}, budget, seconds=seconds).values()  # type: ignore[misc]
        others = {one.key: one for one in fitted if share(one, budget, seconds) >= LEAST and one.key not in keys}
        begun = (*named.values(), *others.values())
        if not begun:
            side = sides(height)[-1] if "size" in allowed else height
            least = smallest(families((channels, side, side), classes, read=height), budget, seconds)
            raise InputError(
                f"{asked}: no hand-made network for {channels}×{height}×{width} uses {100 * LEAST:.0f} to 100 % of it; "
                + (f"the smallest takes {' and '.join(map(str, least))}: allow more" if least else "allow more or less")
            )
        return AtBudget(begun[0], budget, seconds, allowed, settings.ops, height, others=begun[1:], called=tuple(named))

    def scaled(self, network: Architecture, cost: Callable[[Architecture], int], limit: int) -> Architecture | None:
        assert isinstance(network, ConvArchitecture | MobileArchitecture)
        budget, seconds = _to_cost(cost, limit)
        return at_budget({"": network}, budget, seconds=seconds, divisors=DIVISORS, deepens=False).get("")

    def hand_made(
        self, data: Mapping[str, Any], cost: Callable[[Architecture], int], limit: int
    ) -> Mapping[str, Architecture]:
        channels, height, width = data["input"]
        budget, seconds = _to_cost(cost, limit)
        found = at_budget(
            families((channels, height, width), len(data["classes"])), budget, seconds=seconds, divisors=DIVISORS
        )
        return {name: network for name, network in found.items() if share(network, budget, seconds) >= LEAST}

    def default_network(self, cell: Cell, **sizes: int) -> Architecture:
        return self.sized(proxy_architecture(cell), **sizes)

    def next_commands(self, record: RunRecord, folder: Path) -> list[Command]:
        run, architecture = word(folder), word(folder / "best.arch.json")
        spec, trained = word(record.settings.data.spec), word(folder / "trained")
        reading = "".join(
            f" {option} {word(value)}" for option, value in self.reading_options(record.settings, record.data)
        )
        best = record.best()
        if record.octaves:
            at = f"autoshrink train {run} --budget {budget_name(record)} --data {spec}{reading}"
            return [(f"{at} -o {trained}", "train that of one budget in full")]
        if best is not None and name_of(best.design) == "architecture":
            return [(f"autoshrink train {architecture} --data {spec}{reading} -o {trained}", "train it in full")]
        # Its own size in the search: at the complete graph's, what was saved would be spent again.
        size = "1M" if best is None else formatting.quantity(best.recorded.resources.macs)
        return [
            (f"autoshrink craft {run} --macs {size} -o {architecture}", "a network of it, of a size that you choose"),
            (f"autoshrink train {architecture} --data {spec}{reading} -o {trained}", "train that in full"),
        ]

    def reading_options(self, settings: SearchSettings, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        del data
        assert isinstance(settings, ImageSettings)
        options = (("--test-share", settings.data.test_share), ("--group", settings.data.group))
        return tuple((option, str(value)) for option, value in options if value is not None)

    def skeleton(self, begin: Source, said: Mapping[str, Any]) -> Scalable:
        if "vocabulary" in said:
            raise InputError("vocabulary: a number for language models; this cell is for images")
        return image_skeleton(begin, said)

    def scaling(
        self, skeleton: Architecture, budget: Budget, said: Mapping[str, Any], measure: Measure | None
    ) -> ImageScaling:
        assert isinstance(skeleton, ConvArchitecture | MobileArchitecture)
        deepens = said.get("depth") == "auto" or ("depth" not in said and "stages" not in said)
        return ImageScaling(skeleton, budget, deepens, said.get("divisor", 4), measure)

    def part_shapes(self, architecture: Architecture) -> Mapping[str, Shape]:
        assert isinstance(architecture, ConvArchitecture | MobileArchitecture)
        plan, sizes = architecture.plan(), Sizes.of(architecture)
        shapes: dict[str, Shape] = {"stem": (None, None, plan.first_size, plan.stem.out_channels)}
        # A stage's last cell or block comes last, and is the one to stay.
        last = {one.name.partition(".")[0]: one for one in plan.parts}
        for (name, one), cells, width in zip(last.items(), sizes.cells, sizes.widths, strict=True):
            shapes[name] = (cells, width, one.size, one.out_channels)
        shapes["head"] = (None, None, plan.final_size, plan.features)
        shapes["classifier"] = (None, None, (1, 1), plan.classes)
        return shapes

    def parts_word(self, architecture: Architecture) -> str:
        return "blocks" if isinstance(architecture, MobileArchitecture) else "cells"

    def size_options(self, architecture: Architecture) -> str:
        assert isinstance(architecture, ConvArchitecture | MobileArchitecture)
        stem, head, sizes = architecture.stem, architecture.head, Sizes.of(architecture)
        stride = f"/{stem.stride}" if stem.stride > 1 else ""
        stages = ",".join(f"{cells}x{width}" for cells, width in zip(sizes.cells, sizes.widths, strict=True))
        option = "--stages" if isinstance(architecture, ConvArchitecture) else "blocks"
        parts = [f"--stem {stem.channels}{stride}", f"{option} {stages}"]
        return " ".join(parts + ([f"--head {head.channels}"] if head else []))

    def described(self, architecture: Architecture) -> tuple[str, list[tuple[str, ...]]]:
        if isinstance(architecture, ConvArchitecture):
            return _around_cells(architecture)
        if not isinstance(architecture, MobileArchitecture):
            return "", []
        plan = architecture.plan()
        rows: list[tuple[str, ...]] = [
            ("stage", "block", "blocks", "width", "expansion", "kernel", "stride", "squeeze", "activation", "size")
        ]
        stem, head = plan.stem, plan.head
        rows.append(("input", "", "", str(plan.input[0]), "", "", "", "", "", _size(plan.input[1:])))
        first = ("stem", "", "", str(stem.out_channels), "", str(stem.kernel), str(stem.reduction))
        rows.append((*first, "", "", _size(plan.first_size)))
        sizes = {block.name.partition(".")[0]: block.size for block in plan.parts}
        for (name, size), stage in zip(sizes.items(), architecture.stages, strict=True):
            squeeze = "" if stage.squeeze is None else f"{stage.squeeze:g} of {stage.squeeze_of}"
            numbers = (stage.blocks, stage.width, stage.expansion, stage.kernel, stage.stride)
            rows.append((name, stage.block, *map(str, numbers), squeeze, stage.activation or "", _size(size)))
        if head:
            rows.append(("head", "", "", str(plan.features), "", "1", "1", "", "", _size(plan.final_size)))
        # Columns that say nothing of this network are left out.
        kept = [n for n, column in enumerate(zip(*rows[1:], strict=True)) if set(column) - {"", "inverted"}]
        kinds = " and ".join(dict.fromkeys(_BLOCKS[stage.block] for stage in architecture.stages))
        return f"{kinds}, {plan.activation}: no cell to draw", [tuple(row[n] for n in kept) for row in rows]

    def outline(self, design: Any) -> tuple[Part, ...]:
        if not isinstance(design, MobileArchitecture):
            return ()
        plan = design.plan()
        last = {block.name.partition(".")[0]: block for block in plan.parts}
        parts = [Part("input", "", plan.input[0], plan.input[1:]), _stem_part(design)]
        for (name, block), stage in zip(last.items(), design.stages, strict=True):
            words = f"{stage.blocks} × {stage.block} {stage.kernel}×{stage.kernel}"
            words += f", widened {stage.expansion:g}×" if stage.expansion != 1 else ""
            words += ", squeezed" if stage.squeeze is not None else ""
            parts.append(Part(name, words, block.out_channels, block.size))
        if plan.head:
            parts.append(Part("head", "1×1", plan.features, plan.final_size))
        return (*parts, Part("classifier", "mean, then classes", plan.classes, (1, 1)))

    def training(self) -> ImageTraining:
        from autoshrink.final.image import ImageTraining  # noqa: PLC0415 - torch takes seconds to import

        return ImageTraining()

    def after_training(self, folder: Path, *, tested: bool) -> list[Command]:
        name = word(folder)
        kept = (
            f"autoshrink evaluate {name} --split validation",
            "its figures on the images kept back; there is no test split",
        )
        return [
            (f"autoshrink evaluate {name}", "its accuracy on the test split") if tested else kept,
            (f"autoshrink export {name} -o model.onnx", "a file for other programs"),
        ]

    input_name = "images"
    output_name = "logits"

    def exporter(self) -> Any:
        from autoshrink.deploy.image import ImageExporter  # noqa: PLC0415 - only here

        return ImageExporter(self)

    evaluate_options = (
        Option("--batch", "batch", int, "Image classifiers: images that go through it at once. Default: 128."),
        Option(
            "--report", "report", Path, "Image classifiers: write a page with charts and mistakes to this .html file."
        ),
    )

    def evaluate(
        self,
        model: Any,
        *,
        name: str,
        data: str | None,
        split: str,
        said: Mapping[str, Any],
        progress: Callable[[int, int], None] | None,
        understood: Callable[[str], None],
    ) -> ClassifierEvaluation:
        from autoshrink.evaluating.images import DEFAULT_BATCH, evaluate_images  # noqa: PLC0415 - only here
        from autoshrink.evaluating.models import image_model  # noqa: PLC0415
        from autoshrink.report.evaluation_page import GALLERY  # noqa: PLC0415

        return evaluate_images(
            image_model(model, name),
            data=data,
            split=split,
            batch=said.get("batch", DEFAULT_BATCH),
            mistakes=GALLERY if "report" in said else 0,
            progress=progress,
            understood=understood,
        )

    def evaluation_shown(self, found: ClassifierEvaluation) -> Iterable[RenderableType]:
        from autoshrink.evaluating.tables import tables  # noqa: PLC0415 - only here

        return tables(found)

    def evaluation_page(self, found: ClassifierEvaluation) -> str:
        from autoshrink.report.evaluation_page import evaluation_page  # noqa: PLC0415 - only here

        return evaluation_page(found)

    predict_options = (Option("--top", "top", int, "Classes named for each image, at most. Default: 5."),)

    def open_exported(self, session: Any, card: Any) -> Any:
        from autoshrink.deploy.predict import OnnxClassifier  # noqa: PLC0415 - needs the extra `onnx`

        return OnnxClassifier(session, card)


_BLOCKS = {
    "inverted": "inverted residual blocks",
    "fused": "fused residual blocks",
    "basic": "residual blocks",
    "separable": "separable convolutions",
}
"""In words."""


def _around_cells(network: ConvArchitecture) -> tuple[str, list[tuple[str, ...]]]:
    """What the pictures of a network's cells do not say."""
    rows: list[tuple[str, ...]] = [("stage", "cells", "width", "pool", "output", "size")]
    sizes = {part.name.partition(".")[0]: part for part in network.plan().parts}
    for (name, last), stage in zip(sizes.items(), network.stages, strict=True):
        numbers = (stage.cells, stage.width, stage.pool, last.out_channels)
        rows.append((name, *map(str, numbers), _size(last.size)))
    return f"input {network.sizes}, stem {network.stem.words}", rows


def _stem_part(network: MobileArchitecture) -> Part:
    plan = network.plan()
    kernel = plan.stem.kernel
    return Part("stem", f"{kernel}×{kernel}, {plan.activation}", plan.stem.out_channels, plan.first_size)


def _size(size: tuple[int, int]) -> str:
    return "×".join(map(str, size))


IMAGE = ImageTask()
