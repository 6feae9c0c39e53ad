"""The spoken digits as pictures that `--data` reads: spectrograms, one grey PNG a recording.

    git clone https://github.com/Jakobovski/free-spoken-digit-dataset     # 3,000 recordings, CC BY-SA 4.0
    python benchmarks/spectrograms.py --wav free-spoken-digit-dataset/recordings --size 64 -o spectrograms-64
    autoshrink search --data spectrograms-64 --size 64 --macs 1M

Writes `train/DIGIT/SPEAKER_TAKE.png` and `test/DIGIT/…`, split as the data set says: takes 0 to 4 of every speaker and
digit are the test images, so every speaker is heard in training too. `--group '/(\\w+)_'` keeps speakers apart where
images are kept back for validation.

A picture is one second wide, the recording in its middle (of a longer one, 1 in 150, its own middle), and as high as
half the sampling rate, low frequencies at the bottom. A column is the power spectrum of 2 × SIZE samples under a Hann
window, in decibels from 80 below the loudest of the picture (black) to it (white).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import wavfile
from scipy.signal import spectrogram

TEST_TAKES = 5
"""The data set's own split."""
DECIBELS = 80
"""From black to white: 8-bit pixels and 16-bit samples (96 dB) can tell that much apart."""
FAINTEST = 1e-12
"""Power that silence is taken for; that of one 16-bit step is about 10⁴ times as much."""


def picture(samples: npt.NDArray[Any], rate: int, size: int) -> npt.NDArray[np.uint8]:
    """The spectrogram of one second, uint8 (size, size).

    Args:
        samples: int16 or float, of one channel.
        rate: of samples, in Hz.
        size: height and width in pixels.
    """
    window, hop = 2 * size, rate // size
    length = (size - 1) * hop + window
    begin = (len(samples) - length) // 2
    middle = samples[max(0, begin) : max(0, begin) + length]
    before = (length - len(middle)) // 2
    second = np.pad(middle.astype(float), (before, length - len(middle) - before))
    _, _, power = spectrogram(second, rate, window="hann", nperseg=window, noverlap=window - hop)
    loud = 10 * np.log10(np.maximum(power[:0:-1], FAINTEST))  # top down, without the constant part
    drawn: npt.NDArray[np.uint8] = np.round(255 * np.clip(1 + (loud - loud.max()) / DECIBELS, 0, 1)).astype(np.uint8)
    return drawn


def place(path: Path) -> Path:
    """Where a recording's picture goes: split, digit, speaker and take.

    The data set names its files DIGIT_SPEAKER_TAKE.wav; in folders by digit, SPEAKER_TAKE.wav is understood too.

    Raises SystemExit for any other name.
    """
    digit, speaker, take = f"__{path.parent.name}_{path.stem}".split("_")[-3:]
    if not (len(digit) == 1 and digit.isdigit() and take.isdigit()):
        raise SystemExit(f"{path}: its name is not DIGIT_SPEAKER_TAKE.wav, nor DIGIT/SPEAKER_TAKE.wav")
    return Path("test" if int(take) < TEST_TAKES else "train", digit, f"{speaker}_{take}.png")


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    local = Path(os.environ.get("AUTOSHRINK_DATA", "."), "spoken-digits")
    parser.add_argument("--wav", type=Path, default=local, help="folder of the recordings; $AUTOSHRINK_DATA knows them")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("-o", "--output", type=Path, required=True)
    said = parser.parse_args()
    recordings = sorted(said.wav.rglob("*.wav"))
    if not recordings:
        raise SystemExit(f"{said.wav}: no .wav files; clone the data set as `--help` says, and name its folder")
    for path in recordings:
        rate, samples = wavfile.read(path)
        to = said.output / place(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(samples, rate, said.size)).save(to)
    print(f"{said.output}: {len(recordings):,} pictures of {said.size}×{said.size} pixels")


if __name__ == "__main__":
    main()
