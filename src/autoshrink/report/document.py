"""The frame of a page: one HTML file with its style and script inside. It asks the network for nothing."""

from __future__ import annotations

from importlib import resources

from autoshrink.escaping import escape


def asset(name: str) -> str:
    """The text of a style sheet or script that stands beside this module."""
    return resources.files("autoshrink.report").joinpath(name).read_text(encoding="utf-8")


def document(title: str, main: str, footer: str, *, style: str, script: str) -> str:
    """A whole page.

    Args:
        title: text.
        main: markup.
        footer: markup.
        style: CSS, see `asset`.
        script: JavaScript, without which the page reads as well.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(title)} · autoshrink</title>'
        f"<style>{style}</style></head><body><main>{main}</main>"
        f"<footer>{footer}</footer><script>{script}</script></body></html>\n"
    )


def section(title: str, body: str, *, note: str = "") -> str:
    """A section, nothing without a body; `body` is markup, `title` and `note` are text."""
    shown = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{shown}{body}</section>" if body else ""
