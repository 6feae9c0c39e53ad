"""The live page in a real browser: what it shows, that it harms nobody, and that everybody can use it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autoshrink.record import replay
from autoshrink.store import read_events
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
