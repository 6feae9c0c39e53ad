"""Where the command line writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130
"""Exit statuses."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object, on standard output, and nothing else there."""
    print(json.dumps(value, indent=1))
