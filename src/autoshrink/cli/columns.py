"""``--image-column`` and ``--label-column``, which become a part of the data SPEC."""

from __future__ import annotations

from typing import Annotated

import typer

from autoshrink.data.spec import ANY_COLUMNS, Columns, with_columns
from autoshrink.errors import InputError

ImageColumnOption = Annotated[
    str | None, typer.Option("--image-column", help="Parquet: the column of the images. Default: as the file says.")
]
LabelColumnOption = Annotated[
    str | None, typer.Option("--label-column", help="Parquet: the column of the labels. Default: as the file says.")
]


def named_data(data: str | None, image_column: str | None, label_column: str | None) -> str | None:
    """The data SPEC of ``--data``, ``--image-column`` and ``--label-column``.

    Raises:
        InputError: columns without data.
    """
    columns = Columns(image_column, label_column)
    if columns == ANY_COLUMNS:
        return data
    if data is None:
        raise InputError("--image-column and --label-column: name the data with --data, too")
    return with_columns(data, columns)
