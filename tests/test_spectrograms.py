"""Pictures of the spoken digits: what is where in them, and which recordings are the test's."""

from pathlib import Path

import numpy as np
import pytest

from spectrograms import DECIBELS, picture, place

RATE = 8000


@pytest.mark.parametrize("size", [32, 64, 96])
def test_a_tone_is_one_bright_row_while_it_sounds(size: int) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE // 2) / RATE)
    drawn = picture(tone, RATE, size)
    assert drawn.shape == (size, size)
    bright = drawn[:, size // 2].argmax()
    assert bright == size - size // 4  # 1 of 4 kHz: the row above a quarter of them
    sounding = drawn[bright] > 200
    assert sounding[size // 2 - size // 5 : size // 2 + size // 5].all()
    assert not sounding[: size // 5].any()
    assert not sounding[-(size // 5) :].any()


def test_a_hundredth_of_the_amplitude_is_forty_decibels_darker() -> None:
    times = np.arange(RATE) / RATE
    drawn = picture(np.sin(2 * np.pi * 1000 * times) + np.sin(2 * np.pi * 3000 * times) / 100, RATE, 64)
    assert drawn[48, 32] - drawn[16, 32] == pytest.approx(255 * 40 / DECIBELS, abs=2)


def test_a_long_recording_keeps_its_middle_and_silence_is_a_picture() -> None:
    long = np.zeros(3 * RATE)
    long[: RATE // 2] = np.sin(np.arange(RATE // 2))
    np.testing.assert_array_equal(picture(long, RATE, 64), picture(np.zeros(0), RATE, 64))


def test_takes_below_five_are_the_test_images_however_the_files_lie() -> None:
    assert place(Path("recordings/7_jackson_4.wav")) == Path("test/7/jackson_4.png")
    assert place(Path("train/7/jackson_5.wav")) == Path("train/7/jackson_5.png")
    for wrong in ("7/jackson.wav", "seven/jackson_5.wav", "noise.wav"):
        with pytest.raises(SystemExit, match="DIGIT_SPEAKER_TAKE"):
            place(Path(wrong))
