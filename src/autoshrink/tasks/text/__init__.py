"""Language modelling: recurrent cells, compared by perplexity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink import formatting
from autoshrink.architecture import (
    Architecture,
    LanguageModel,
    LibraryArchitecture,
    RecurrentArchitecture,
    language_model,
    recurrent_proxy,
)
from autoshrink.budget import Budget, shown
from autoshrink.bundle import TrainedLanguageModel
from autoshrink.cell import Cell
from autoshrink.config import SearchSettings, TextSettings, text
from autoshrink.crafting import Measure, Source
from autoshrink.design import Design, name_of
from autoshrink.errors import InputError
from autoshrink.escaping import word
from autoshrink.findings import budget_name
from autoshrink.metrics import PERPLEXITY
from autoshrink.record import RunRecord
from autoshrink.resources import RESOURCES
from autoshrink.spaces import Space
from autoshrink.spaces.languages import LEAST, MOVES, LanguagesAtBudget, families, fitted, library, use
from autoshrink.tasks.base import Command, Option, Prepared, Shape, Task, Unseen
from autoshrink.tasks.text.fitting import LanguageScaling
from autoshrink.watching import Observer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from autoshrink.evaluating.text import TextEvaluation
    from autoshrink.final.text import TextTraining

VOCABULARY, WIDTH = 10_000, 200
"""Of a recurrent cell whose file names neither: the language model in which the paper compares (AutoShrink, §"RNN")."""


class TextTask(Task):
    """See `Task`."""

    name = "text"
    about = "predict the next word"
    model = "language model"
    cell_kind = "recurrent"
    architecture_kinds = ("recurrent", "lstm", "gru", "mingru")
    trained = TrainedLanguageModel
    metric = PERPLEXITY
    settings = TextSettings
    built_in = "pydocs"
    quick = text.PYDOCS
    paper = text.PAPER
    at_budget = text.AT_BUDGET
    searches_networks = True
    sizes = "--width or --vocabulary"
    shorter = "--sentences 1000 --width 50 --epochs 3"
    data = "text"
    on_own_data = "--task text --data path/to/text.txt"
    search_options = (
        Option("--level", "data.level", str, "Text: word (default) or char."),
        Option("--sentences", "data.sentences", int, "Text: training lines, at most."),
        Option("--validation-sentences", "data.validation_sentences", int, "Text: validation lines, at most."),
        Option("--vocabulary", "data.max_vocabulary", int, "Text: words, at most; rarer ones are <unk>."),
        Option("--width", "network.width", int, "Text: embedding and hidden size."),
    )
    cost_options = (
        Option("--vocabulary", "vocabulary", int, "Words of a language model."),
        Option("--width", "width", int, "Embedding and hidden size of a language model."),
    )
    craft_options = (Option("--vocabulary", "vocabulary", int, "Words of a language model."),)

    train_options = (
        Option("--width", "width", int, "Text: embedding and hidden size."),
        Option("--params", "params", "count", "Text: the widest with at most so many parameters, e.g. 1M."),
        Option("--level", "data.level", str, "Text: word (default) or char."),
        Option("--vocabulary", "data.max_vocabulary", int, "Text: words, at most. Default: all seen twice."),
    )

    def prepare(self, settings: SearchSettings, observer: Observer) -> Prepared:
        from autoshrink.tasks.text.problem import prepare  # noqa: PLC0415 - torch takes seconds to import

        return prepare(settings, observer)

    def unseen(self, settings: SearchSettings, observer: Observer) -> Unseen:
        from autoshrink.tasks.text.problem import unseen  # noqa: PLC0415 - torch takes seconds to import

        return unseen(settings, observer)

    def proxy(self, cell: Cell, settings: SearchSettings, data: Mapping[str, Any]) -> RecurrentArchitecture:
        assert isinstance(settings, TextSettings)
        network = settings.network
        return recurrent_proxy(cell, vocabulary=data["vocabulary"], width=network.width, aggregate=network.aggregate)

    def space(self, settings: SearchSettings, start: Design | None, data: Mapping[str, Any]) -> Space[Any] | None:
        """At a budget: language models around hand-made and published cells, and what exchanges make of them."""
        del start
        return self.space_after(settings, data) if settings.budget.given() else None

    def space_after(
        self,
        settings: SearchSettings,
        data: Mapping[str, Any],
        found: Sequence[Design] = (),
        without: Collection[str] = (),
    ) -> LanguagesAtBudget:
        """The same, some of the models left out, and beside them what was found, scaled in width."""
        limits: dict[str, Any] = settings.budget.given()
        budget, words = Budget(**limits), data["vocabulary"]
        made = fitted(families(words), budget)
        named = {name: one for name, one in made.items() if name not in without} or made
        keys = {one.key for one in named.values()}
        models = {one.key: one for one in found if isinstance(one, RecurrentArchitecture)}
        others = {one.key: one for one in fitted(models, budget).values() if one.key not in keys}
        begun: Any = (*named.values(), *others.values())
        if not begun:
            asked = " ".join(
                f"--{name} {formatting.plain(RESOURCES[name].unit.limit(limits[name]))}" for name in limits
            )
            least = min((use(one, budget) for one in families(words).values()), key=lambda one: one.used)
            says = f"{asked}: no language model of {words:,} words uses {100 * LEAST:.0f} to 100 % of it"
            if least.share > 1:
                says += f"; the smallest, of width 1, takes {shown(least.used, least.name)}"
            raise InputError(f"{says}: allow more, or take a smaller --vocabulary")
        allowed = frozenset(MOVES if settings.moves is None else settings.moves)
        return LanguagesAtBudget(begun[0], budget, allowed, settings.ops, others=begun[1:], called=tuple(named))

    def hand_made(
        self, data: Mapping[str, Any], cost: Callable[[Architecture], int], limit: int
    ) -> Mapping[str, Architecture]:
        scaled = {name: self.scaled(one, cost, limit) for name, one in library(data["vocabulary"]).items()}
        return {name: one for name, one in scaled.items() if one is not None}

    def default_network(self, cell: Cell, **sizes: int) -> Architecture:
        return self.sized(recurrent_proxy(cell, vocabulary=VOCABULARY, width=WIDTH), **sizes)

    def sized(self, architecture: Architecture, **sizes: int) -> Architecture:
        return language_model(architecture, **sizes)

    def next_commands(self, record: RunRecord, folder: Path) -> list[Command]:
        cell, width = word(folder / "best.cell.json"), record.settings.to_json()["network"]["width"]
        sizes = f"--vocabulary {record.data['vocabulary']} --width {width}" if "vocabulary" in record.data else ""
        spec, run, trained = word(record.settings.data.spec), word(folder), word(folder / "trained")
        reading = "".join(
            f" {option} {word(value)}" for option, value in self.reading_options(record.settings, record.data)
        )
        best, full = record.best(), "train it in full"
        if record.octaves:
            at = f"autoshrink train {run} --budget {budget_name(record)} --data {spec}{reading}"
            return [(f"{at} -o {trained}", "train that of one budget in full")]
        if best is not None and name_of(best.design) == "architecture":
            architecture = word(folder / "best.arch.json")
            return [(f"autoshrink train {architecture} --data {spec}{reading} -o {trained}", full)]
        return [
            (f"autoshrink cost {cell} {sizes}".rstrip(), "what it costs, part by part"),
            (f"autoshrink train {cell} --data {spec}{reading} -o {trained}", full),
        ]

    def reading_options(self, settings: SearchSettings, data: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        del settings
        return (("--level", "char"),) if data.get("level") == "char" else ()

    def skeleton(self, begin: Source, said: Mapping[str, Any]) -> LanguageModel:
        if said.keys() & {"shape", "classes", "stages", "pool", "stem", "head", "activation"}:
            raise InputError(
                "a language model has no input shape, classes, stages, stem, head or activation; "
                "it takes a vocabulary and a budget of macs, params or memory"
            )
        found = self.default_network(begin.found) if isinstance(begin.found, Cell) else begin.found
        assert isinstance(found, LanguageModel)
        return language_model(found, vocabulary=said.get("vocabulary"))

    def scaling(
        self, skeleton: Architecture, budget: Budget, said: Mapping[str, Any], measure: Measure | None
    ) -> LanguageScaling:
        del said, measure
        assert isinstance(skeleton, LanguageModel)
        return LanguageScaling(skeleton, budget)

    def part_shapes(self, architecture: Architecture) -> Mapping[str, Shape]:
        assert isinstance(architecture, LanguageModel)
        return dict.fromkeys(("embedding", "cell", "decoder"), (None, architecture.width, None, None))

    def size_options(self, architecture: Architecture) -> str:
        assert isinstance(architecture, LanguageModel)
        return f"--width {architecture.width}"

    def sizes_of(self, architecture: Architecture) -> dict[str, int]:
        assert isinstance(architecture, LanguageModel)
        return {"vocabulary": architecture.vocabulary, "width": architecture.width}

    def described(self, architecture: Architecture) -> tuple[str, list[tuple[str, ...]]]:
        if isinstance(architecture, LibraryArchitecture):
            layers = f"{architecture.layers} layer{'' if architecture.layers == 1 else 's'}"
            name = "minGRU" if architecture.kind == "mingru" else f"torch.nn.{architecture.kind.upper()}"
            return f"{name}, {layers}: no cell to draw", []
        assert isinstance(architecture, RecurrentArchitecture)
        return f"a node takes the {architecture.aggregate} over its predecessors", []

    def output_nodes(self, architecture: Architecture) -> tuple[int, ...] | None:
        return architecture.plan().outputs if isinstance(architecture, RecurrentArchitecture) else None

    def training(self) -> TextTraining:
        from autoshrink.final.text import TextTraining  # noqa: PLC0415 - torch takes seconds to import

        return TextTraining()

    def after_training(self, folder: Path, *, tested: bool) -> list[Command]:
        name = word(folder)
        kept = (
            f"autoshrink evaluate {name} --split validation",
            "its perplexity on the validation text; there is no test text",
        )
        return [
            (f"autoshrink evaluate {name}", "its perplexity on the test split") if tested else kept,
            (f'autoshrink generate {name} --prompt "The"', "what it writes"),
        ]

    def exporter(self) -> Any:
        from autoshrink.deploy.text import TextExporter  # noqa: PLC0415 - only here

        return TextExporter(self)

    def form(self, architecture: Architecture, network: Any) -> Any:
        from autoshrink.onnx.recurrent import step_form  # noqa: PLC0415 - torch takes seconds to import

        del architecture
        return step_form(network)

    evaluate_options = (
        Option(
            "--streams",
            "streams",
            int,
            "Language models: pieces of the text read side by side, faster, with less memory of what came before. "
            "Default: 1.",
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
    ) -> TextEvaluation:
        from autoshrink.evaluating.text import evaluate_text  # noqa: PLC0415 - only here

        del progress, understood
        if not isinstance(model, TrainedLanguageModel):
            raise InputError(f"{name}: an exported language model; evaluate the folder that `autoshrink train` left")
        return evaluate_text(model, data=data, split=split, **said)

    def evaluation_shown(self, found: TextEvaluation) -> Iterable[RenderableType]:
        return found.shown()

    predict_options = (
        Option("--prompt", "prompt", str, "Language models: what to go on with."),
        Option("--length", "length", int, "Language models: words (or characters) to write. Default: 80."),
        Option(
            "--temperature",
            "temperature",
            float,
            "Below 1 safer, above 1 wilder; 0 is the likeliest word. Default: 0.8.",
        ),
        Option("--seed", "seed", int, "Language models: decides the draws. Default: 0."),
    )

    def open_exported(self, session: Any, card: Any) -> Any:
        from autoshrink.deploy.predict import OnnxLanguageModel  # noqa: PLC0415 - needs the extra `onnx`

        return OnnxLanguageModel(session, card)


TEXT = TextTask()
