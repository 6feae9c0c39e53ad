"""Elements of SVG and HTML: what is text is escaped, what is markup is of the type `Markup`."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from autoshrink.escaping import escape


def safe(value: str) -> Markup:
    """Markup as it is; text escaped, with what is not seen or not printed as an escape."""
    return value if isinstance(value, Markup) else Markup(escape(value))  # noqa: S704 - just escaped


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after the other; text among them is escaped."""
    return Markup("").join(map(safe, parts))


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """An element: text in `content` is escaped, as are the values of attributes.

    Underscores in attribute names become hyphens and one at the end falls away, so ``class_`` and ``stroke_width``
    work. An attribute that is None is left out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = joined(content)
    return Markup(f"<{name}{shown}>{inside}</{name}>" if content else f"<{name}{shown}/>")  # noqa: S704 - escaped above


def plain(value: object) -> str:
    """A value as it stands in an attribute: lengths with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
