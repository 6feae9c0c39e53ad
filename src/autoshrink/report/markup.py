"""Tables and lists of the page, as HTML."""

from __future__ import annotations

from collections.abc import Iterable

from autoshrink.escaping import escape


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, numeric: frozenset[int] = frozenset()) -> str:
    """A table of texts, which are escaped; `numeric` columns are aligned to the right."""

    def cells(kind: str, texts: Iterable[str]) -> str:
        return "".join(
            f'<{kind} class="num">{escape(text)}</{kind}>' if i in numeric else f"<{kind}>{escape(text)}</{kind}>"
            for i, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells("th", head)}</tr></thead><tbody>{body}</tbody></table></div>'


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values, both escaped."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows) + "</dl>"
