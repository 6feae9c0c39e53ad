"""The live page in a real browser: what it shows, that it harms nobody, and that everybody can use it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autoshrink.cell import Edge
from autoshrink.commands import Forbid, Pause, Pin, Resume
from autoshrink.launch import search
from autoshrink.record import Candidate, RunRecord
from autoshrink.replaying import replay
from autoshrink.score import Comparison
from autoshrink.store import FILE_NAME, read_events
from autoshrink.telling import tell
from autoshrink.watching import Observer, Watcher
from fakes import loop, new_store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

HOSTILE = "<script>alert(1)</script>"
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, searched with stand-ins, whose data have names that no page may obey."""
    folder = tmp_path_factory.mktemp("page") / "run"
    data = {
        "name": HOSTILE, "train": 900, "validation": 200, "fingerprint": "0", "notes": [HOSTILE],
        "classes": [HOSTILE, "b"], "input": [1, 8, 8], "mean": [0.0], "std": [1.0], "skipped": 0,
    }  # fmt: skip
    with new_store(folder, nodes=5, candidates=4) as store:
        store.append("data", data)
        loop(store).run()
    return folder


@contextmanager
def watched(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """What the command says of its server, while that runs."""
    command = [sys.executable, "-m", "autoshrink", "watch", str(folder), "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
        finally:
            server.kill()


class Visit:
    """A page with everything that went wrong on it."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.goto(url)

    def everything(self) -> Any:
        """The page with every panel on it: those out of sight are asked for when they come near."""
        page = self.page
        page.wait_for_selector("#stage svg, #stage .note")
        for name in ("front", "map", "trajectory", "whatif", "commands-title"):
            page.locator(f"#{name}").scroll_into_view_if_needed()
        page.wait_for_selector("#trajectory svg")
        page.wait_for_selector("#whatif tr", state="attached")
        page.wait_for_selector("#diff svg", state="attached")
        return page

    def close(self, own: str) -> None:
        assert self.wrong == []
        assert self.hosts == {urlsplit(own).netloc}
        self.context.close()


def test_a_finished_run_in_a_browser(browser: Any, run: Path) -> None:
    record = replay(read_events(run))
    with watched(run) as told:
        visit = Visit(browser, told["url"])
        page = visit.everything()
        # What came from the data is text.
        assert HOSTILE in page.inner_text("#data")
        assert page.locator("#status").inner_text() == "finished"
        assert page.locator("script").count() == 1
        # Every edge of the start can be pointed at; its costs are those that the server counts.
        assert page.locator("#stage [data-edge]").count() == len(record.start.edges)  # type: ignore[attr-defined]
        page.locator("#stage [data-thing='edge 0-1']").focus()
        assert "MACs" in page.inner_text("#chosen-words")
        page.keyboard.press("Enter")
        assert page.locator("#edge-verbs").is_visible()
        # The slider shows the start, in which no edge is missing.
        page.locator("#slider").focus()
        page.keyboard.press("Home")
        assert page.inner_text("#slider-at") == "step 0"
        assert page.locator("#stage .edge.gone").count() == 0
        # S with another λ, computed in the page, is the search's own to the last bit.
        scored = """async ([penalty, token]) => {
            const { score } = await import(new URL('page/scoring.js', location.href));
            const headers = { Authorization: `Bearer ${token}` };
            const found = await (await fetch('api/candidates', { headers })).json();
            return found.candidates.map((one) => [one.candidate, score(one, penalty)]);
        }"""
        for penalty in (0.0, 1 / 3, 0.7):
            own = record.settings.changed({"penalty": penalty}).score
            expected = [[f"{one.step}.{one.index}", own(one.evaluation)] for one in record.candidates]
            assert page.evaluate(scored, [penalty, told["token"]]) == expected
        # Two candidates laid over one another.
        first, last = record.chosen()[0], record.chosen()[-1]
        page.fill("#a", "0.0")
        page.fill("#b", f"{last.step}.{last.index}")
        page.locator("#b").blur()
        lacking = len(set(first.cell.edges) - set(last.cell.edges))
        assert page.locator("#diff .only-a").count() == lacking > 0
        assert page.locator("#diff .only-b").count() == 0
        assert page.locator("#diff .both").count() == len(last.cell.edges)
        visit.close(told["url"])


@pytest.mark.parametrize("look", [{"color_scheme": "light"}, {"color_scheme": "dark"}])
def test_axe_finds_no_serious_fault(browser: Any, run: Path, look: dict[str, Any]) -> None:
    with watched(run) as told:
        visit = Visit(browser, told["url"], viewport={"width": 390, "height": 844}, **look)
        page = visit.everything()
        page.locator("#stage [data-thing='edge 0-1']").focus()
        page.keyboard.press("Enter")
        # A phone's width holds everything without scrolling sideways.
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        found = axe.Axe().run(page)
        grave = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert grave == []
        visit.close(told["url"])


def test_a_link_for_looking_cannot_steer(browser: Any, run: Path) -> None:
    with watched(run) as told:
        visit = Visit(browser, told["read_only_url"])
        page = visit.everything()
        buttons = page.locator(".verbs button, #edge-verbs button, #penalty-set, #pick, #focus-form button")
        assert buttons.count() > 8
        assert all(buttons.nth(place).is_disabled() for place in range(buttons.count()))
        assert "looking only" in page.inner_text("#said")
        visit.close(told["url"])


def test_the_list_of_runs_leads_to_each(browser: Any, run: Path) -> None:
    with watched(run.parent) as told:
        visit = Visit(browser, told["url"])
        visit.page.click("#runs a")
        page = visit.everything()
        assert "/runs/run/" in page.url
        visit.close(told["url"])


# --- a person's hand, and kill -9 -------------------------------------------------------------------------------------

TINY = (
    "search --data digits --evaluator trained --nodes 6 --candidates 4 --train-per-class 20 --epochs 3 "
    "--repeats 1 --finalists 1 --beside none --threads 1 --run"
)


def begun(*words: str) -> subprocess.Popen[bytes]:
    """A search in a process of its own."""
    command = [sys.executable, "-m", "autoshrink", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait()


def steer(page: Any, command: str, kept: str) -> str:
    """Click on an edge of the cell as it is now, say what becomes of it, and see it drawn so; its name.

    The search may take an edge away in the very moment: then another is chosen.
    """
    drawn = {"forbid": "forbidden", "pin": "pinned"}[command]
    for _ in range(8):
        there = page.locator("#stage .edge:not(.gone):not(.pinned):not(.forbidden)")
        names = there.evaluate_all("all => all.map((one) => one.dataset.edge)")
        name = next(one for one in reversed(names) if one != kept)
        edge = page.locator(f"#stage [data-thing='edge {name}']")
        if edge.get_attribute("aria-pressed") != "true":
            edge.dispatch_event("click")
        page.click(f"[data-edge-verb={command}]")
        try:
            page.wait_for_selector(f"#stage [data-edge='{name}'].{drawn}", state="attached", timeout=6000)
        except playwright.TimeoutError:
            continue
        return str(name)
    raise AssertionError(f"{command}: no edge was taken")


def history(run: Path) -> list[Any]:
    """A run's log without times and processes, without who said what, and without what was refused."""
    left_out = ("at", "seconds", "id", "author", "environment")

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(inner) for key, inner in value.items() if key not in left_out}
        return [timeless(inner) for inner in value] if isinstance(value, list) else value

    events = [one for one in read_events(run) if one.kind != "opened" and not one.body.get("refused")]
    return [(event.kind, timeless(event.body)) for event in events]


class Repeating(Watcher):
    """Tells a search what another one was told, before the same steps."""

    def __init__(self, folder: Path, other: RunRecord) -> None:
        self._folder = folder
        self._other = other

    def decided(self, candidate: Candidate, score: float, comparison: Comparison | None) -> None:
        for one in self._other.commands:
            if one.step == candidate.step + 1 and one.refused is None:
                tell(self._folder, one.command)


def clicked(browser: Any, run: Path) -> tuple[Edge, Edge]:
    """Watch a search begin, pause it, forbid one edge and pin another by clicking; then everything is killed."""
    searching = begun(*TINY.split(), str(run))
    try:
        while not (run / FILE_NAME).exists() and searching.poll() is None:
            time.sleep(0.1)
        with watched(run) as told:
            visit = Visit(browser, told["url"])
            page = visit.page
            page.wait_for_selector("#now td", timeout=60_000)
            page.wait_for_selector("#stage svg")
            # Paused first: on a busy machine so small a search may be over before an edge is chosen.
            page.click("[data-verb=pause]")
            playwright.expect(page.locator("#status")).to_have_text("paused", timeout=60_000)
            forbidden = steer(page, "forbid", "0-1")
            pinned = steer(page, "pin", forbidden)
            visit.close(told["url"])
    finally:
        killed(searching)
    found = [tuple(map(int, name.split("-"))) for name in (forbidden, pinned)]
    return (found[0][0], found[0][1]), (found[1][0], found[1][1])


def resumed(browser: Any, run: Path, forbidden: Edge, pinned: Edge) -> None:
    """Go on with it, and watch it to its end."""
    searching = begun("resume", str(run))
    try:
        with watched(run) as told:
            visit = Visit(browser, told["url"])
            playwright.expect(visit.page.locator("#status")).to_have_text("finished", timeout=120_000)
            playwright.expect(visit.page.locator("#commands li", has_text="paus")).to_have_count(1)
            for edge, kind in ((forbidden, "forbidden"), (pinned, "pinned")):
                selector = f"#stage [data-edge='{edge[0]}-{edge[1]}'].{kind}"
                visit.page.wait_for_selector(selector, state="attached")
            visit.close(told["url"])
        assert searching.wait(60) == 0
    finally:
        killed(searching)


def test_what_a_person_clicked_outlives_kill_9_and_is_what_tell_does(browser: Any, tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    forbidden, pinned = clicked(browser, run)
    assert replay(read_events(run)).steering.paused
    resumed(browser, run, forbidden, pinned)

    record = replay(read_events(run))
    followed = [one for one in record.commands if one.refused is None]
    assert [one.command for one in followed] == [Pause(), Forbid(edge=forbidden), Pin(edge=pinned), Resume()]
    for place, edge in enumerate((forbidden, pinned), start=1):
        later = [one.cell for one in record.candidates if one.step >= followed[place].step]
        assert len(later) > 3
        assert {edge in cell.edges for cell in later} == {edge == pinned}
    best = record.best()
    assert best is not None
    assert forbidden not in best.cell.edges
    assert pinned in best.cell.edges
    # The same commands at the same steps, told by a script, make the same history.
    search(record.asked, run=other, observer=Observer(watcher=Repeating(other, record)))
    assert history(other) == history(run)
