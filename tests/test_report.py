"""The report and the poster: what they say is what the record says, for runs in every state."""

from __future__ import annotations

import json
import math
import random
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoshrink import findings, formatting, metrics
from autoshrink.cell import Cell, Edge
from autoshrink.config import resolve
from autoshrink.events import Event
from autoshrink.metrics import Metric
from autoshrink.ops import DEFAULTS
from autoshrink.record import RunRecord
from autoshrink.replaying import replay
from autoshrink.report import render, steps, summary_svg
from autoshrink.report.page import ARXIV
from autoshrink.resources import Resources
from autoshrink.results import front, summary
from autoshrink.score import Comparison, Evaluation, Spent, compare
from html_fixtures import Page

SAMPLES = 600
"""Validation images, or sentences."""
WIDTH, VOCABULARY = 48, 2000


def complete(nodes: int, kind: str = "conv") -> Cell:
    ops = ("input", *(DEFAULTS[kind][i % len(DEFAULTS[kind])] for i in range(nodes - 1)))
    return Cell(kind, ops, tuple((i, j) for j in range(nodes) for i in range(j)))


def resources(cell: Cell) -> Resources:
    """Made-up costs that rise with the edges; for recurrent cells those that a language model would have."""
    edges = len(cell.edges)
    if cell.kind == "conv":
        return Resources(2_000_000 + 500_000 * edges, 3_000 + 800 * edges, 65_536 + 4_096 * edges, 2_000 + 800 * edges)
    inside, embedding = (4 + 2 * edges) * WIDTH**2, VOCABULARY * WIDTH
    return Resources(inside + embedding, inside + embedding + VOCABULARY, 4 * (VOCABULARY + 90 * edges), inside)


@dataclass
class FakeRun:
    """Shrinks a real cell and writes the events that a run would write; performances and costs are made up."""

    start: Cell
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    fail: float = 0.0
    reason: str = "loss is not a number"

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.noise = np.random.default_rng(self.seed)
        self.easy = self.noise.random(SAMPLES)
        self.settings = resolve(self.overrides)
        self.metric = metrics.metric_of(self.settings)
        self.events: list[Event] = []

    def add(self, kind: str, **body: Any) -> None:
        number = len(self.events) + 1
        self.events.append(Event(number, 1_700_000_000.0 + 7 * number, kind, body))

    def measure(self, cell: Cell, *, failing: bool) -> Evaluation:
        costs = resources(cell)
        value = Evaluation(cell, costs, self.random.randrange(9999), "10 epochs", None, self.reason)
        if failing:
            return value
        used = len(cell.edges) / max(len(self.start.edges), 1)
        level = 0.955 - 0.55 * (0.28 - min(used, 0.28)) - 0.012 * used
        noise = 0.02 * self.noise.standard_normal(SAMPLES)
        spent = Spent(50_000, 3 * 50_000 * costs.macs, 4.2)
        if self.settings.task == "text":
            parts = -6.4 + level + noise - 0.5 * self.easy
            outcome: dict[str, Any] = {"parts": tuple(map(float, parts)), "performance": float(parts.mean())}
        else:
            right = self.easy + noise < level
            outcome = {"correct": tuple(map(bool, right)), "performance": float(right.mean())}
        return replace(value, reason=None, spent=spent, **outcome)

    def opened(self, **environment: Any) -> FakeRun:
        facts = {"torch": "2.8.0", "python": "3.11.7", "device": "cpu", "threads": 2} | environment
        self.add("created", settings=self.settings.to_json(), environment=facts, start=self.start.to_json())
        self.add("opened", pid=1, host="here")
        return self

    def read_data(self, **extra: Any) -> FakeRun:
        body: dict[str, Any] = {"train": 1200, "validation": SAMPLES, "fingerprint": "ab12", "notes": []}
        if self.settings.task == "text":
            body |= {
                "name": "pydocs", "level": "word", "sentences": 3000, "validation_sentences": 400,
                "vocabulary": VOCABULARY, "unknown_share": 0.0312, "train": 88_832,
            }  # fmt: skip
        else:
            classes = [str(i) for i in range(10)]
            body |= {"name": "digits", "classes": classes, "input": [1, 8, 8], "mean": [0.3], "std": [0.37]}
        self.add("data", **(body | extra))
        return self

    def evaluated(self, step: int, index: int, edge: Edge | None, evaluation: Evaluation) -> None:
        shown = None if edge is None else list(edge)
        self.add("evaluated", step=step, index=index, edge=shown, evaluation=evaluation.to_json(), same_as=None)

    def search(self, steps: int = 999, *, candidates: int = 10) -> FakeRun:
        first = self.measure(self.start, failing=self.fail >= 1)
        self.evaluated(0, 0, None, first)
        if first.failed:
            return self
        self.decide(0, [first])
        cell = self.start
        for step in range(1, steps + 1):
            space = cell.shrink_space()
            if not space:
                break
            drawn = self.random.sample(space, min(candidates, len(space)))
            results = []
            for index, (edge, child) in enumerate(drawn):
                results.append(self.measure(child, failing=index > 0 and self.random.random() < self.fail))
                self.evaluated(step, index, edge, results[-1])
            cell = results[self.decide(step, results)].cell
        return self

    def decide(self, step: int, results: list[Evaluation]) -> int:
        score = self.settings.score
        order = sorted(range(len(results)), key=lambda index: score.preference(results[index]), reverse=True)
        second = order[1] if len(order) > 1 and not results[order[1]].failed else None
        against = None if second is None else compare(results[order[0]], results[second])
        self.add(
            "decided", step=step, index=order[0], runner_up=second,
            difference=against and against.difference, standard_error=against and against.standard_error,
        )  # fmt: skip
        return order[0]

    def finish(self, repeats: int = 3) -> FakeRun:
        self.add("stopped", reason="no edge is left")
        record = self.record()
        start = record.complete()
        cells = [one.cell for one in record.finalists()] + ([start.cell] if start else [])
        for key, cell in {cell.key: cell for cell in cells}.items():
            for repeat in range(repeats):
                evaluation = self.measure(cell, failing=False)
                shifted = replace(evaluation, performance=(evaluation.performance or 0) - 0.004 * self.random.random())
                self.add("remeasured", finalist=key, repeat=repeat, evaluation=shifted.to_json())
        best = self.record().best()
        self.add("finished", best=best.cell.key if best else None)
        return self

    def record(self) -> RunRecord:
        return replay(self.events)


def usual() -> FakeRun:
    return FakeRun(complete(6), {"penalty": 0.05}, fail=0.06).opened(command="autoshrink search --seed 0").read_data()


def text(**overrides: Any) -> FakeRun:
    run = FakeRun(complete(6, "recurrent"), {"task": "text", "penalty": 0.05} | overrides, fail=0.12)
    return run.opened(command="autoshrink search --task text").read_data()


@pytest.fixture(scope="module", params=["image", "text"])
def finished(request: pytest.FixtureRequest) -> RunRecord:
    return {"image": usual, "text": text}[request.param]().search(candidates=5).finish().record()


def metric_of(record: RunRecord) -> Metric:
    return metrics.metric_of(record.settings)


def test_every_tag_is_closed(finished: RunRecord) -> None:
    page = Page(render(finished, name="runs/digits"))
    assert page.wrong == []
    assert page.open == []


def test_ids_are_unique_and_every_use_refers_to_one(finished: RunRecord) -> None:
    page = Page(render(finished, name="digits"))
    ids = [attributes["id"] for attributes in page.having("id")]
    assert len(ids) == len(set(ids))
    assert {attributes["href"] for tag, attributes in page.tags if tag == "use"} <= {f"#{one}" for one in ids}


def test_page_asks_the_network_for_nothing(finished: RunRecord) -> None:
    source = render(finished, name="digits")
    page = Page(source)
    assert not page.having("src")
    links = [attributes["href"] for attributes in page.having("href") if not (attributes["href"] or "").startswith("#")]
    assert links == [ARXIV]
    for loading in ("url(", "@import", "fetch(", "XMLHttpRequest", "<link", "import("):
        assert loading not in source


def test_every_candidate_is_marked_in_every_chart(finished: RunRecord) -> None:
    keys = [attributes["data-key"] for attributes in Page(render(finished, name="digits")).having("data-key")]
    for one in finished.candidates:
        charts = 3 if one.evaluation.failed else 4
        assert keys.count(f"{one.step}.{one.index}") == charts
    assert any(one.evaluation.failed for one in finished.candidates)


def test_film_has_a_frame_for_every_decision(finished: RunRecord) -> None:
    frames = Page(render(finished, name="digits")).having("data-frame")
    assert len(frames) == len(finished.decisions) > 5


def test_frames_show_exactly_the_edges_of_their_cells(finished: RunRecord) -> None:
    source = render(finished, name="digits")
    frames = re.findall(r"data-frame.*?</svg>", source)
    for frame, one, step in zip(frames, finished.chosen(), steps.steps(finished), strict=True):
        assert {tuple(map(int, pair)) for pair in re.findall(r'<use href="#e(\d+)-(\d+)"/>', frame)} == set(
            one.cell.edges
        )
        cuts = re.findall(r'<use href="#e(\d+)-(\d+)" class="cut"/>', frame)
        assert tuple((int(i), int(j)) for i, j in cuts) == step.removed


def test_headline_figures_are_the_records(finished: RunRecord) -> None:
    best, start = finished.best(), finished.complete()
    assert best is not None
    assert start is not None
    page = Page(render(finished, name="digits"))
    costs, metric, score = best.recorded.resources, metric_of(finished), finished.settings.score
    values = [float(attributes["value"] or "") for tag, attributes in page.tags if tag == "data"]
    shown = {"image": [costs.macs, costs.params, costs.memory]}.get(
        finished.settings.task, [costs["cell_params"], costs.params, costs.macs, costs.memory]
    )
    assert values == [metric.value(best.performance), best.score, *shown]
    assert metric.write(best.performance) in page.text
    assert formatting.change(score.cost(costs), score.cost(start.recorded.resources)) in page.text
    assert f"mean of {len(best.repeats)} fresh seeds" in page.text


def test_evidence_counts_the_decisions_that_are_clear(finished: RunRecord) -> None:
    made = steps.steps(finished)
    score = finished.settings.score
    clear = 0
    compared = 0
    for step in made:
        if step.runner_up is not None and step.standard_error is not None:
            compared += 1
            lead = score(step.chosen.evaluation) - score(step.runner_up.evaluation)
            clear += abs(lead) > 2 * step.standard_error
    assert steps.evidence_sentence(made).startswith(f"{clear} of {formatting.count(compared, 'decision')}")


def test_text_from_outside_is_escaped() -> None:
    evil = "<script>alert('&')</script>"
    run = FakeRun(complete(4), {"data": {"spec": evil}}, fail=0.5, reason=evil).opened(command=evil, device=evil)
    record = run.read_data(classes=[evil], notes=[evil], skipped=[evil, {"path": evil}], name=evil).search().record()
    record = replace(record, stopped=evil)
    for source in (render(record, name=evil), summary_svg(record, name=evil)):
        assert "<script>alert" not in source
    page = Page(render(record, name=evil))
    assert page.wrong == []
    assert page.text.count(evil) > 5
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    ET.fromstring(summary_svg(record, name=evil))


def hopeless() -> RunRecord:
    """A perplexity that is no float, beside usual ones."""
    run = text(mode="paper").search(1)
    cell = run.record().chosen()[-1].cell
    for index, performance in enumerate((-900.0, -30.0)):
        evaluation = replace(run.measure(cell, failing=False), performance=performance, parts=None)
        run.evaluated(2, index, cell.edges[index], replace(evaluation, design=cell.without(cell.edges[index])))
    return run.record()


def test_a_hopeless_candidate_is_marked_below_the_axis() -> None:
    source = render(hopeless(), name="x")
    # −30 nats: far below in both charts of performance, and in S.
    assert len(re.findall(r'<path class="dot"[^>]*data-key="2.1"', source)) == 3
    assert not re.search(r'class="tick"[^>]*>[^<]*e\+', source)


def states() -> dict[str, RunRecord]:
    return {
        "only created": FakeRun(complete(5)).opened().record(),
        "data read": FakeRun(complete(5)).opened().read_data().record(),
        "start failed": FakeRun(complete(5), fail=1).opened().read_data().search().record(),
        "one step": FakeRun(complete(5)).opened().read_data().search(1).finish().record(),
        "half way": FakeRun(complete(5)).opened().read_data().search(4).record(),
        "no data event": FakeRun(complete(4)).opened().search().record(),
        "not measured again": FakeRun(complete(5)).opened().read_data().search().finish(repeats=0).record(),
        "measured once": FakeRun(complete(5)).opened().read_data().search().finish(repeats=1).record(),
        "nothing within limits": FakeRun(complete(4), {"limits": {"max_macs": 1}}).opened().search().finish().record(),
        "limits": FakeRun(complete(5), {"limits": {"max_macs": 9_000_000}}).opened().search().finish().record(),
        "no edges": FakeRun(Cell("conv", ("input", "conv1x1"), ())).opened().search().finish().record(),
        "memory": FakeRun(complete(5), {"resource": "memory"}).opened().search().finish().record(),
        "text, nothing yet": FakeRun(complete(5, "recurrent"), {"task": "text"}).opened().record(),
        "text, half way": text().search(4).record(),
        "text, measured once": text().search().finish(repeats=1).record(),
        "text, no edges": FakeRun(Cell("recurrent", ("input", "tanh"), ()), {"task": "text"})
        .opened()
        .search()
        .finish()
        .record(),
        "text, by memory": text(resource="memory").search().finish().record(),
        "text, the released score": text(mode="paper").search().finish().record(),
        "text, one hopeless candidate": hopeless(),
    }


@pytest.mark.parametrize("state", states())
def test_runs_in_every_state_have_a_page_and_a_picture(state: str) -> None:
    record = states()[state]
    source = render(record, name=state)
    page = Page(source)
    assert page.wrong == []
    ET.fromstring(summary_svg(record, name=state))
    assert ("unfinished" in page.text) == (not record.finished)
    assert len(page.having("data-frame")) == len(record.decisions)
    for bad in ("nan", "inf", "None"):
        assert not re.search(rf"\b{bad}\b", page.text)
        assert f'"{bad}"' not in source
    unlike = {"image": "perplexity", "text": "accuracy"}[record.settings.task]
    poster = summary_svg(record, name=state)
    for shown in (page.text, page.titles, poster.partition("</style>")[2], json.dumps(summary(record, run=Path("x")))):
        assert unlike not in shown.lower().replace("stop_accuracy", "")
    assert json.dumps([summary(record, run=Path("x")), front(record)], allow_nan=False)


def test_one_seed_is_called_one_seed() -> None:
    assert "recorded in the search, one seed" in render(states()["not measured again"], name="x")


def test_no_command_is_invented() -> None:
    source = render(states()["half way"], name="x")
    assert "autoshrink search" not in source
    assert "The command line is not recorded" in source


def test_failed_candidates_are_listed_with_their_reason(finished: RunRecord) -> None:
    failed = sum(one.evaluation.failed for one in finished.candidates)
    text = Page(render(finished, name="x")).text
    assert text.count("loss is not a number") >= failed > 0


def test_changed_settings_come_with_their_default(finished: RunRecord) -> None:
    usual_penalty = resolve({"task": finished.settings.task}).penalty
    assert f"penalty0.05{usual_penalty:g}" in Page(render(finished, name="x")).text


def test_a_long_run_stays_small_and_quick() -> None:
    # Twelve nodes have 66 edges to lose, more than a person searches with.
    record = FakeRun(complete(12), {"penalty": 0.05}).opened().read_data().search(candidates=10).finish().record()
    assert len(record.candidates) > 200
    begun = time.process_time()
    source = render(record, name="long")
    assert time.process_time() - begun < 2
    assert len(source.encode()) < 1_500_000


def test_poster_parses_and_has_its_own_dark_colours(finished: RunRecord) -> None:
    source = summary_svg(finished, name="digits")
    root = ET.fromstring(source)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in source
    assert "url(" not in source
    assert findings.headline(finished) in "".join(root.itertext())


def test_figures_are_written_as_people_read_them() -> None:
    assert formatting.quantity(38_200_000) == "38.2M"
    assert formatting.quantity(999_950) == "1.00M"
    assert formatting.quantity(105) == "105"
    assert formatting.change(54, 100) == f"−46{formatting.THIN}%"
    assert formatting.memory(65_536) == f"64.0{formatting.THIN}KiB"
    assert formatting.duration(3_725) == f"1{formatting.THIN}h 2{formatting.THIN}min"


def test_lead_within_noise_is_called_that(finished: RunRecord) -> None:
    chosen = finished.chosen()[0]
    metric = metric_of(finished)
    step = steps.Step(1, chosen, chosen.cell, (), (), (), chosen, 0.004, 0.009, 0.006, 0.009, metric, metric)
    assert step.clear_lead is False
    assert "within noise" in step.evidence()
    assert "beyond noise" in replace(step, standard_error=0.001, lead_error=0.001).evidence()
    assert "standard error unknown" in replace(step, standard_error=None, lead_error=None).evidence()
    assert Comparison(0.004, 0.009).difference == step.difference


def test_an_image_page_speaks_of_images_and_a_text_page_of_tokens(finished: RunRecord) -> None:
    page = Page(render(finished, name="x")).text
    metric = metric_of(finished)
    cost = finished.settings.score.weighs.title
    for wanted in (
        f"{metric.name.capitalize()} on {metric.validation}: mean of 3 fresh seeds",
        f"{formatting.quantity(finished.spent().samples)} training {metric.sample}s",
        f"S = {metric.symbol} − 0.05·log₁₀({cost} / 10⁶)",
        "Score: Eq. 5, S = Perf − λ·log₁₀(Res / 10⁶)",
        f"{metric.name.capitalize()} against {cost}",
        f"A failed candidate has no {metric.name}",
        f"Δ {metric.name}: chosen minus runner-up on the same {metric.validation}",
        metric.axis,
    ):
        assert wanted in page, wanted


def test_text_data_are_described() -> None:
    page = Page(render(text().search(1).record(), name="x")).text
    for wanted in (
        "levelword", "train88,832 tokens", "sentences3,000", "validation600 tokens", "validation sentences400",
        "vocabulary2,000", f"unknown share3.1{formatting.THIN}% of the validation tokens are <unk>",
    ):  # fmt: skip
        assert wanted in page, wanted


def test_the_released_score_is_quoted_and_its_slope_used() -> None:
    record = text(mode="paper", penalty=1.0).search(3).record()
    page = Page(render(record, name="x")).text
    assert "S = ¼·(200 − perplexity) − log₁₀(|E|·n² / 10⁶)" in page
    assert "as the released search of recurrent cells, S = ¼·(200 − perplexity) − λ·log₁₀(|E|·n² / 10⁶)" in page
    compared = [step for step in steps.steps(record) if step.standard_error]
    assert compared
    for step in compared:
        performance = step.chosen.evaluation.performance
        assert performance is not None
        # dS/dPerf = perplexity / 4
        expected = (step.standard_error or 0.0) * math.exp(-performance) / 4
        assert step.lead_error == pytest.approx(expected)
        assert step.clear_lead == (abs(step.lead or 0.0) > 2 * expected)


def pair(task: str, best: tuple[float, int], start: tuple[float, int], **overrides: Any) -> RunRecord:
    """A finished run whose starting cell and best cell have these performances and edges' worth of costs."""
    kind = {"image": "conv", "text": "recurrent"}[task]
    run = FakeRun(complete(5, kind), {"task": task, "penalty": 0.0, "finalists": 1} | overrides).opened().read_data()
    cell = run.start.without((0, 1))
    for step, (one, (performance, cost)) in enumerate(((run.start, start), (cell, best))):
        costs = Resources(cost, cost, cost, cost)
        evaluation = Evaluation(one, costs, 0, "1 epoch", performance)
        run.evaluated(step, 0, (0, 1) if step else None, evaluation)
        run.add("decided", step=step, index=0, runner_up=None, difference=None, standard_error=None)
    run.add("finished", best=cell.key)
    return run.record()


@pytest.mark.parametrize("task", ["image", "text"])
@pytest.mark.parametrize(
    ("best", "start", "worse"),
    [
        ((-0.2, 10), (-0.3, 20), [False, False, False]),
        ((-0.3, 10), (-0.2, 20), [True, True, False]),
        ((-0.3, 20), (-0.2, 10), [True, True, True]),
        ((-0.2, 20), (-0.2, 20), [False, False, False]),
    ],
)
def test_worse_is_worse_whatever_the_sign(
    task: str, best: tuple[float, int], start: tuple[float, int], worse: list[bool]
) -> None:
    # A penalty of nothing: S is the performance.
    record = pair(task, best, start)
    figures = [record.figures(one.evaluation) for one in record.candidates]
    metric = metric_of(record)
    shown = [
        findings.performance_headline(metric, figures[1], figures[0]),
        findings.score_headline(figures[1], figures[0]),
        findings.cost_headline("params", figures[1], figures[0]),
    ]
    assert [bool(one and one.worse) for one in shown] == worse


def test_a_better_perplexity_falls_and_is_not_coloured_worse() -> None:
    record = pair("text", (-5.0, 10), (-5.1, 20))
    source = render(record, name="x")
    assert '<dd class="delta">−15.6</dd>' in source
    assert "delta worse" not in source
    assert f"9.5{formatting.THIN}% lower perplexity" in findings.headline(record)


def test_costs_that_old_logs_do_not_have_are_left_out() -> None:
    record = pair("text", (-5.0, 10), (-5.1, 20), resource="params")
    old = [replace(one, evaluation=replace(one.evaluation, resources=Resources(9, 9, 9))) for one in record.candidates]
    found = findings.headlines(replace(record, candidates=tuple(old)))
    assert [one.title for one in found] == ["perplexity", "score S", "parameters", "MACs per token", "peak memory"]


def test_the_result_names_its_task_and_metric(finished: RunRecord) -> None:
    value = summary(finished, run=Path("runs/x"))
    metric, best = metric_of(finished), finished.best()
    assert best is not None
    assert (value["task"], value["metric"]) == (finished.settings.task, metric.name)
    assert value["cost"] == {
        "training_macs": finished.spent().training_macs,
        f"{metric.sample}s": finished.spent().samples,
    }
    for figures in (value["best"], value["complete"], *front(finished)):
        assert figures[metric.name] == metric.value(figures["performance"])
        assert figures["cell_params"] == resources(Cell.from_json(figures["cell"]))["cell_params"]
    assert value["best"]["performance"] == best.performance


def test_a_step_may_measure_cells_that_come_of_none() -> None:
    run = FakeRun(complete(4)).opened().read_data()
    first = run.measure(run.start, failing=False)
    run.evaluated(0, 0, None, first)
    run.decide(0, [first])
    other = run.measure(Cell("conv", run.start.ops, ((0, 1), (0, 3))), failing=False)
    run.evaluated(1, 0, None, other)
    run.decide(1, [other])
    page = Page(render(run.record(), name="x"))
    assert "Each step measures some cells" in page.text
    assert "removes one edge" not in page.text
    assert "The shrinking" not in page.text


def test_a_step_may_change_an_operation() -> None:
    run = FakeRun(complete(4)).opened().read_data()
    first = run.measure(run.start, failing=False)
    run.evaluated(0, 0, None, first)
    run.decide(0, [first])
    ops = (*run.start.ops[:2], "conv1x1", run.start.ops[3])
    child = run.measure(Cell("conv", ops, run.start.edges), failing=False)
    change = {"node": 2, "op": "conv1x1"}
    run.add("evaluated", step=1, index=0, edge=None, change=change, evaluation=child.to_json(), same_as=None)
    run.decide(1, [child])
    record = run.record()
    made = steps.steps(record)[1]
    assert (made.removed, made.added, made.changed, made.change) == ((), (), (2,), "2: conv1x1")
    source = render(record, name="x")
    before, after = re.findall(r"data-frame.*?</svg>", source)
    assert '"#n2"' in before
    assert '"#n2-conv1x1"' not in before
    assert '"#n2-conv1x1"' in after
    assert '"#n2"' not in after
    page = Page(source)
    ids = [attributes["id"] for attributes in page.having("id")]
    assert ids.count("n2-conv1x1") == ids.count("n2") == 1
    assert "Each step makes one change" in page.text
    assert "step 1, 2: conv1x1" in source
