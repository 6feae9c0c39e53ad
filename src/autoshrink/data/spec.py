"""What a data SPEC is made of: a name or a path, and, for parquet files, which columns are read.

The columns are part of the SPEC (`photos#label=fine&image=photo`), so that whatever keeps one, a run's settings or a
trained model, keeps them too.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode


@dataclass(frozen=True)
class Columns:
    """The columns that the images and the labels stand in, by name; None where the file decides."""

    image: str | None = None
    label: str | None = None


ANY_COLUMNS = Columns()


def with_columns(place: str, columns: Columns) -> str:
    """Return a SPEC of a name or a path and columns. Columns that it names already stay where `columns` has none."""
    place, own = parted(place)
    named = {
        "image": own.image if columns.image is None else columns.image,
        "label": own.label if columns.label is None else columns.label,
    }
    said = urlencode({key: name for key, name in named.items() if name is not None})
    return f"{place}#{said}" if said else place


def parted(spec: str) -> tuple[str, Columns]:
    """Return the name or path, and the columns, of a SPEC. A path that exists is one, whatever signs it holds."""
    place, sign, said = spec.rpartition("#")
    pairs = dict(parse_qsl(said, keep_blank_values=True)) if sign else {}
    if not pairs or pairs.keys() - {"image", "label"} or _exists(spec):
        return spec, ANY_COLUMNS
    return place, Columns(pairs.get("image"), pairs.get("label"))


def _exists(spec: str) -> bool:
    try:
        return Path(spec).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
