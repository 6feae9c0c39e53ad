"""Stems of all forms, for tests that draw architectures."""

from __future__ import annotations

from hypothesis import strategies as st

from autoshrink.architecture import Stem


def stems(most: int) -> st.SearchStrategy[Stem]:
    """Of up to so many channels: one 3×3 convolution half the time, else with all that may be around it."""
    channels = st.integers(1, most)
    return st.builds(Stem, channels=channels, stride=st.integers(1, 2)) | st.builds(
        Stem,
        channels=channels,
        stride=st.integers(1, 4),
        kernel=st.sampled_from((1, 3, 5, 7)),
        separable=st.none() | channels,
        pool=st.integers(1, 3),
    )
