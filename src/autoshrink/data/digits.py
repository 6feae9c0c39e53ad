"""The built-in handwritten digits of scikit-learn: 1,797 grey images of 8×8 pixels, ten classes."""

import numpy as np
import numpy.typing as npt

from autoshrink.data.images import TEST, TRAIN, ArrayImages, Indices
from autoshrink.data.sources import ImageReader, Place
from autoshrink.errors import DataError

# scikit-learn publishes one set; which fifth of each class is the test split is fixed here for good.
_SPLIT_SEED = 20_200_207
_TEST_FRACTION = 1 / 5


class DigitsReader(ImageReader):
    """The digits: a fixed, stratified fifth is the test split, the rest the train split."""

    description = "1,797 handwritten digits, 1×8×8, 10 classes (part of scikit-learn)"

    def splits(self, place: Place) -> tuple[str, ...]:  # noqa: ARG002 - there is one set
        """Train and test."""
        return (TRAIN, TEST)

    def open(self, place: Place, split: str) -> ArrayImages:
        """Open a split; pixels are the published 0..16 scaled to 0..255.

        Source: scikit-learn `load_digits`, the test part of the UCI "Optical Recognition of Handwritten Digits" set.
        Raises DataError for the validation split, which does not exist.
        """
        # Imported here: scikit-learn's data sets take half a second to import, and only this set needs them.
        import sklearn  # noqa: PLC0415
        from sklearn.datasets import load_digits  # noqa: PLC0415

        if split not in self.splits(place):
            raise DataError(f"digits has no {split} split; it has train and test")
        published = load_digits()
        labels = published.target.astype(np.int64)
        chosen = np.flatnonzero(_is_test(labels) == (split == TEST))
        return ArrayImages(
            name="digits",
            location="digits",
            classes=tuple(str(digit) for digit in range(10)),
            labels=labels[chosen],
            pixels=np.rint(published.images[chosen, np.newaxis] * (255 / 16)).astype(np.uint8),
            natural_size=8,
            state=f"scikit-learn {sklearn.__version__}, {split}",
        )


DIGITS = DigitsReader()


def _is_test(labels: Indices) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for digit in range(10):
        order = np.random.Generator(np.random.PCG64([_SPLIT_SEED, digit])).permutation(np.flatnonzero(labels == digit))
        chosen[order[: round(len(order) * _TEST_FRACTION)]] = True
    return chosen
