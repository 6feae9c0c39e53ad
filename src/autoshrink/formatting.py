"""Figures as people read them: percent, points, millions, bytes, durations. Minus signs are typographic."""

from __future__ import annotations

import time

from autoshrink.quantity import counted as quantity_of

THIN = "\N{NARROW NO-BREAK SPACE}"


def plain(text: str) -> str:
    """With ordinary spaces, for a terminal and for whoever searches its output."""
    return text.replace(THIN, " ")


def signed(value: float, digits: int) -> str:
    """``+0.4`` or ``−0.4``; a value that rounds to nothing is ``±0``."""
    text = number(abs(value), digits)
    if round(value, digits) == 0:
        return "±" + text
    return ("−" if value < 0 else "+") + text


def number(value: float, digits: int) -> str:
    """A fixed number of digits after the point, with a real minus; three digits and a power from a million on."""
    text = f"{value:.{digits}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−").replace("inf", "∞")


def percent(share: float, digits: int = 1) -> str:
    """A share in [0, 1] as percent."""
    return f"{100 * share:.{digits}f}{THIN}%"


def change(new: float, old: float) -> str:
    """How much `new` differs from `old`, relative to it; `old` is positive."""
    relative = 100 * (new / old - 1)
    # Below one percent whole numbers would hide the difference.
    return f"{signed(relative, 0 if abs(relative) >= 1 else 1)}{THIN}%"


def quantity(value: float, digits: int = 3) -> str:
    """A count with `digits` significant digits and K, M, G or T: ``38.2M``."""
    for power, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        # 999,950 is 1.00M and not 1000K.
        if abs(value) >= power * (1 - 0.5 * 10**-digits):
            return _significant(value / power, digits) + letter
    return f"{value:.0f}"


def round_quantity(value: float) -> str:
    """A round number as an axis has it, no digit more than it takes: ``1.5M``."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= power * (1 - 1e-9):
            return f"{value / power:.4g}{letter}"
    return f"{value:.4g}"


def _significant(value: float, digits: int) -> str:
    whole = len(str(int(abs(value))))
    return f"{value:.{max(digits - whole, 0)}f}"


def memory(value: float) -> str:
    """Bytes as KiB or MiB."""
    if value >= 1 << 20:
        return f"{_significant(value / (1 << 20), 3)}{THIN}MiB"
    return f"{_significant(value / 1024, 3)}{THIN}KiB"


def latency(nanoseconds: float) -> str:
    """Nanoseconds, or three significant digits of µs, ms or s."""
    for power, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanoseconds >= power * (1 - 5e-4):
            return f"{_significant(nanoseconds / power, 3)}{THIN}{unit}"
    return f"{nanoseconds:.0f}{THIN}ns"


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, two units at most."""
    if seconds < 60:
        return f"{seconds:.0f}{THIN}s" if seconds >= 10 else f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest}{THIN}s"
    return f"{minutes // 60}{THIN}h {minutes % 60}{THIN}min"


def moment(at: float) -> str:
    """Unix time as a date and time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def count(how_many: int, noun: str) -> str:
    """``1 edge``, ``2 edges``, ``2 classes``."""
    return quantity_of(how_many, noun)
