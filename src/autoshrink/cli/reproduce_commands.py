"""``reproduce``: the door to the package `autoshrink_paper`, which lies in ``paper/`` of a checkout."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import typer

from autoshrink.errors import InputError

PACKAGE = "autoshrink_paper"
CHECKOUT = Path(__file__).parents[3] / "paper"
"""Where the package lies if this one is used from a checkout."""


def register(app: typer.Typer) -> None:
    """Add the command to the application: the package's, or one that says how to get that."""
    if (CHECKOUT / PACKAGE).is_dir() and str(CHECKOUT) not in sys.path:
        sys.path.append(str(CHECKOUT))
    if find_spec(PACKAGE) is not None:
        app.command("reproduce")(import_module(f"{PACKAGE}.command").reproduce)
        return
    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("reproduce", context_settings=anything)(missing)


def missing() -> None:
    """Rebuild a table of the paper (research, a package of its own in the source's folder paper/)."""
    raise InputError(
        "reproduce: the paper's tables are a package of their own, which is not installed; "
        "in a checkout of autoshrink's source run: pip install ./paper"
    )
