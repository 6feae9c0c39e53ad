"""Fashion-MNIST as files that `--data` reads: two parquet files of PNG images, from the published idx files.

    apt-get install dataset-fashion-mnist          # Debian; or download the four files of the data set
    python benchmarks/fashion_mnist.py [--idx /usr/share/datasets/fashion-mnist] [-o FOLDER]

An idx file is two zero bytes, a type (8: unsigned bytes), the number of axes, their lengths as big-endian 32-bit
numbers, and the values. Source: Xiao et al. 2017, 60,000 training and 10,000 test images, 1×28×28, ten classes.
"""

from __future__ import annotations

import argparse
import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IDX = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path.home() / ".cache/autoshrink-benchmarks/fashion-mnist"
SPLITS = {"train": "train", "test": "t10k"}


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """The array of a gzipped idx file of unsigned bytes.

    Raises SystemExit when it is none.
    """
    content = gzip.decompress(path.read_bytes())
    if content[:3] != b"\0\0\x08":
        raise SystemExit(f"{path}: not an idx file of unsigned bytes")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def png(pixels: npt.NDArray[Any]) -> bytes:
    """A grey picture (H, W) as a PNG file."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "png")
    return held.getvalue()


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idx", type=Path, default=IDX, help="folder of the four .gz files")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for split, prefix in SPLITS.items():
        images = read_idx(options.idx / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(options.idx / f"{prefix}-labels-idx1-ubyte.gz")
        table = pa.table({"image": [{"bytes": png(one), "path": None} for one in images], "label": labels.astype(int)})
        pq.write_table(table, options.output / f"{split}.parquet")
    print(options.output)


if __name__ == "__main__":
    main()
