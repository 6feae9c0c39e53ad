"""Elements as text."""

from __future__ import annotations

from autoshrink.escaping import escape


def tag(name: str, *content: str, **attributes: object) -> str:
    """An element as text: `content` is markup already, attribute values are escaped.

    Underscores in attribute names become hyphens and one at the end falls away, so ``class_`` and ``stroke_width``
    work. An attribute that is None is left out.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{shown}>{''.join(content)}</{name}>" if content else f"<{name}{shown}/>"


def plain(value: object) -> str:
    """A value as it stands in an attribute: lengths with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
