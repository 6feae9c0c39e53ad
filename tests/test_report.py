"""The report and the poster: what they say is what the record says, for runs in every state."""

from __future__ import annotations

import random
import re
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from autoshrink import words
from autoshrink.architecture import proxy_architecture
from autoshrink.cell import Cell, Edge
from autoshrink.config import resolve
from autoshrink.cost import count
from autoshrink.record import Event, RunRecord, replay
from autoshrink.report import render, story, summary_svg
from autoshrink.report.page import ARXIV
from autoshrink.score import Comparison, Evaluation, Resources, Spent, compare

IMAGES = 600


def complete(nodes: int) -> Cell:
    ops = ("input", *(("sepconv3x3", "conv1x1")[i % 2] for i in range(nodes - 1)))
    return Cell("conv", ops, tuple((i, j) for j in range(nodes) for i in range(j)))


@dataclass
class FakeRun:
    """Shrinks a real cell and writes the events that a run would write; accuracies are made up."""

    start: Cell
    overrides: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    fail: float = 0.0
    reason: str = "loss is not a number"

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.noise = np.random.default_rng(self.seed)
        self.easy = self.noise.random(IMAGES)
        self.settings = resolve(self.overrides)
        self.events: list[Event] = []

    def add(self, kind: str, **body: Any) -> None:
        number = len(self.events) + 1
        self.events.append(Event(number, 1_700_000_000.0 + 7 * number, kind, body))

    def measure(self, cell: Cell, *, failing: bool) -> Evaluation:
        costs = count(proxy_architecture(cell))
        resources = Resources(costs.macs, costs.params, costs.peak_activation_bytes)
        value = Evaluation(cell, resources, self.random.randrange(9999), "10 epochs × 5,000 images", None, self.reason)
        if failing:
            return value
        used = len(cell.edges) / max(len(self.start.edges), 1)
        level = 0.955 - 0.55 * (0.28 - min(used, 0.28)) - 0.012 * used
        correct = self.easy + 0.02 * self.noise.standard_normal(IMAGES) < level
        spent = Spent(50_000, 3 * 50_000 * resources.macs, 4.2)
        right = tuple(bool(one) for one in correct)
        return replace(value, performance=float(correct.mean()), reason=None, correct=right, spent=spent)

    def opened(self, **environment: Any) -> FakeRun:
        facts = {"torch": "2.8.0", "python": "3.11.7", "device": "cpu", "threads": 2} | environment
        self.add("created", settings=self.settings.to_json(), environment=facts, start=self.start.to_json())
        self.add("opened", pid=1, host="here")
        return self

    def read_data(self, **extra: Any) -> FakeRun:
        body = {
            "name": "digits", "classes": [str(i) for i in range(10)], "input": [1, 8, 8], "train": 1200,
            "validation": IMAGES, "mean": [0.3], "std": [0.37], "fingerprint": "ab12", "notes": [], "skipped": [],
        }  # fmt: skip
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


@pytest.fixture(scope="module")
def finished() -> RunRecord:
    return usual().search(candidates=5).finish().record()


@dataclass
class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data

    def having(self, attribute: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if attribute in attributes]


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
    for frame, one, step in zip(frames, finished.chosen(), story.steps(finished), strict=True):
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
    costs = best.recorded.resources
    values = [float(attributes["value"] or "") for tag, attributes in page.tags if tag == "data"]
    assert values == [best.performance, best.score, costs.macs, costs.params, costs.memory]
    assert words.percent(best.performance) in page.text
    assert words.change(costs.macs, start.recorded.resources.macs) in page.text
    assert f"mean of {len(best.repeats)} fresh seeds" in page.text


def test_evidence_counts_the_decisions_that_are_clear(finished: RunRecord) -> None:
    steps = story.steps(finished)
    score = finished.settings.score
    clear = 0
    compared = 0
    for step in steps:
        if step.runner_up is not None and step.standard_error is not None:
            compared += 1
            lead = score(step.chosen.evaluation) - score(step.runner_up.evaluation)
            clear += lead > 2 * step.standard_error
    assert story.evidence_sentence(steps).startswith(f"{clear} of {words.count(compared, 'decision')}")


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
    usual_penalty = resolve({}).penalty
    assert f"penalty0.05{usual_penalty:g}" in Page(render(finished, name="x")).text


def test_a_long_run_stays_small_and_quick() -> None:
    # Twelve nodes have 66 edges to lose, more than a person searches with.
    record = FakeRun(complete(12), {"penalty": 0.05}).opened().read_data().search(candidates=10).finish().record()
    assert len(record.candidates) > 200
    begun = time.perf_counter()
    source = render(record, name="long")
    assert time.perf_counter() - begun < 2
    assert len(source.encode()) < 1_500_000


def test_poster_parses_and_has_its_own_dark_colours(finished: RunRecord) -> None:
    source = summary_svg(finished, name="digits")
    root = ET.fromstring(source)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme:dark" in source
    assert "url(" not in source
    assert story.headline(finished) in "".join(root.itertext())


def test_figures_are_written_as_people_read_them() -> None:
    assert words.quantity(38_200_000) == "38.2M"
    assert words.quantity(999_950) == "1.00M"
    assert words.quantity(105) == "105"
    assert words.change(54, 100) == f"−46{words.THIN}%"
    assert words.points(0.008) == "+0.8 points"
    assert words.points(0.0) == "±0.0 points"
    assert words.memory(65_536) == f"64.0{words.THIN}KiB"
    assert words.duration(3_725) == f"1{words.THIN}h 2{words.THIN}min"


def test_lead_within_noise_is_called_that(finished: RunRecord) -> None:
    chosen = finished.chosen()[0]
    step = story.Step(1, chosen, (), chosen, 0.004, 0.009, 0.006)
    assert step.clear_lead is False
    assert "within noise" in step.evidence()
    assert "beyond noise" in replace(step, standard_error=0.001).evidence()
    assert "standard error unknown" in replace(step, standard_error=None).evidence()
    assert Comparison(0.004, 0.009).difference == step.difference
