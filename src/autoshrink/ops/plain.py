"""An operation made of standard pieces, as plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from autoshrink.ops.base import Source
from autoshrink.ops.pieces import Convolution, Piece

_CLASS = '''class {name}(nn.Module):
    """{words}."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inner: Callable[[], nn.Module],
        outer: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
{layers}
    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
{body}
'''


def source_of(name: str, pieces: Sequence[tuple[str, Piece]], *, residual: bool = False) -> Source:
    """A class with a layer for each piece; one 1×1 convolution is the file's ``ConvBN``, none is ``nn.Identity``."""
    if not pieces:
        return Source("", "nn.Identity()")
    if [piece for _, piece in pieces] == [Convolution()] and not residual:
        return Source("", "ConvBN({reads}, {writes}, {last})", dropped=f"{pieces[0][0]}.")
    last = max((place for place, (_, piece) in enumerate(pieces) if piece.activated), default=-1)
    lines: list[str] = []
    channels, applied = "in_channels", "x"
    for place, (part, piece) in enumerate(pieces):
        made = channels
        if isinstance(piece, Convolution) and piece.dense:
            made = "out_channels" if piece.widens == 1 else f"{piece.widens} * out_channels"
        after = "inner" if place != last else "nn.Identity" if residual else "outer"
        callee, options = piece.source(channels, made, after)
        lines += _call(f"self.{part} = {callee}", options)
        channels, applied = made, f"self.{part}({applied})"
    *before, final = (piece.what for _, piece in pieces)
    words, inside = f"{', '.join(before)}, then {final}" if before else final, " " * 8
    body = f"{inside}return {applied}"
    if residual:
        words += "; plus the input if it fits"
        lines.append(f"{inside}self.adds = in_channels == out_channels")
        body = f"{inside}y = {applied}\n{inside}return x + y if self.adds else y"
    title = "".join(part.capitalize() for part in name.split("_")).replace("conv", "Conv")
    definition = _CLASS.format(name=title, words=words, layers="".join(f"{line}\n" for line in lines), body=body)
    return Source(definition, f"{title}({{reads}}, {{writes}}, {{inner}}, {{last}})")


def _call(callee: str, options: Sequence[str]) -> list[str]:
    inside, line = " " * 8, ", ".join(options)
    if len(inside) + len(callee) + len(line) + 2 <= 88:
        return [f"{inside}{callee}({line})"]
    return [f"{inside}{callee}(", f"{inside}    {line}", f"{inside})"]
