"""An operation made of standard pieces, as plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from autoshrink.ops.base import Convolution, Piece, Source

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
        return {applied}
'''


def source_of(name: str, pieces: Sequence[tuple[str, Piece]]) -> Source:
    """A class with a layer for each piece; one 1×1 convolution is the file's ``ConvBN``, without a class of its own."""
    if [piece for _, piece in pieces] == [Convolution()]:
        return Source("", "ConvBN({reads}, {writes}, {last})", dropped=f"{pieces[0][0]}.")
    last = max((place for place, (_, piece) in enumerate(pieces) if isinstance(piece, Convolution)), default=-1)
    lines: list[str] = []
    channels, applied = "in_channels", "x"
    for place, (part, piece) in enumerate(pieces):
        made = channels
        if isinstance(piece, Convolution):
            made = channels if piece.depthwise else "out_channels"
            options = [f"{channels}, {made}, {'outer' if place == last else 'inner'}"]
            options += [f"kernel={piece.kernel}"] if piece.kernel > 1 else []
            options += [f"dilation={piece.dilation}"] if piece.dilation > 1 else []
            options += [f"groups={channels}"] if piece.depthwise else []
            lines += _call(f"self.{part} = ConvBN", options)
        elif piece.average:
            options = [f"{piece.kernel}, stride=1", f"padding={piece.kernel // 2}", "count_include_pad=False"]
            lines += _call(f"self.{part} = nn.AvgPool2d", options)
        else:
            lines += _call(f"self.{part} = nn.MaxPool2d", [f"{piece.kernel}, stride=1", f"padding={piece.kernel // 2}"])
        channels, applied = made, f"self.{part}({applied})"
    title = "".join(part.capitalize() for part in name.split("_")).replace("conv", "Conv")
    definition = _CLASS.format(
        name=title,
        words=", then ".join(piece.what for _, piece in pieces),
        layers="".join(f"{line}\n" for line in lines),
        applied=applied,
    )
    return Source(definition, f"{title}({{reads}}, {{writes}}, {{inner}}, {{last}})")


def _call(callee: str, options: Sequence[str]) -> list[str]:
    inside, line = " " * 8, ", ".join(options)
    if len(inside) + len(callee) + len(line) + 2 <= 88:
        return [f"{inside}{callee}({line})"]
    return [f"{inside}{callee}(", f"{inside}    {line}", f"{inside})"]
