"""What every data source has to keep, built in or added: call these on small data that the source reads."""

from __future__ import annotations

import numpy as np

from autoshrink.data import open_images, open_text
from autoshrink.data.carving import content_digests
from autoshrink.data.decoding import Reading
from autoshrink.data.images import SPLITS, ImageSource, Indices, payload_of
from autoshrink.data.opening import splits_of


def check_images(spec: str) -> None:
    """Every split of image data keeps the contract of `ImageSource`, and no image stands in two splits.

    Args:
        spec: names data of which all images can be decoded, and no two are equal.

    Raises:
        AssertionError: something is not kept; the message says what.
        DataError: the data cannot be opened.
    """
    splits = splits_of(spec)
    assert splits, f"{spec}: no splits"
    assert set(splits) <= set(SPLITS), f"{spec}: splits {splits}; they are called {SPLITS}"
    classes = {open_images(spec, split=split).classes for split in splits}
    assert len(classes) == 1, f"{spec}: the classes are not the same in every split: {classes}"
    digests = [_checked(open_images(spec, split=split), open_images(spec, split=split)) for split in splits]
    together = np.concatenate(digests)
    assert len(np.unique(together)) == len(together), f"{spec}: an image stands in two splits, or twice in one"


def check_corrupt(spec: str, corrupt: int) -> None:
    """Images that cannot be decoded are reported and not raised, and hide no others.

    Args:
        spec: names data with a training split.
        corrupt: how many of its images cannot be decoded.

    Raises:
        AssertionError: others are reported.
        DataError: the data cannot be opened.
    """
    source = open_images(spec)
    reading = Reading(source, size=8, channels=None, max_corrupt=1)
    reading.attempt(range(len(source.labels)))
    assert len(reading.corrupt.skipped) == corrupt, (
        f"{spec}: {len(reading.corrupt.skipped)} of {corrupt} corrupt images are reported"
    )
    assert len(reading.pictures) == len(source.labels) - corrupt, f"{spec}: a corrupt image hides others"
    assert all(one.path and one.reason for one in reading.corrupt.skipped), (
        f"{spec}: a corrupt image without place or reason"
    )


def check_text(spec: str) -> None:
    """Every split of a text is read alike any number of times, and no document stands in two splits.

    Args:
        spec: names a text that can be read.

    Raises:
        AssertionError: something is not kept; the message says what.
        DataError: the text cannot be opened.
    """
    source, again = open_text(spec), open_text(spec)
    for documents in source.files.values():
        for document in documents:
            lines = list(document.lines())
            assert lines == list(document.lines()), f"{document.location}: other lines the second time"
            blocks = "".join(document.blocks()).split()
            assert blocks == " ".join(lines).split(), f"{document.location}: blocks and lines are not the same text"
    places = [document.location for documents in source.files.values() for document in documents]
    assert len(set(places)) == len(places), f"{spec}: a document stands in two splits, or twice in one"
    for split in (*source.given, *source.carved):
        sentences = list(source.segments(split))
        assert sentences, f"{spec}: nothing in the {split} split"
        assert sentences == list(again.segments(split)), f"{spec}: other sentences when opened again"
        count = source.count(split)
        assert len(source.pick(split, range(count))) == count, f"{spec}: as many {split} sentences as are counted"


def _checked(source: ImageSource, again: ImageSource) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """One split, opened twice; the digests of its images."""
    count, place = len(source.labels), source.location
    everything = np.arange(count)
    assert source.labels.dtype == np.int64, f"{place}: labels of type {source.labels.dtype}, not int64"
    assert ((source.labels >= 0) & (source.labels < len(source.classes))).all(), f"{place}: a label of no class"
    assert len(set(source.classes)) == len(source.classes), f"{place}: two classes of one name"
    named = [source.describe(index) for index in range(count)]
    assert all(name.isprintable() for name in named), f"{place}: names of images that cannot be printed"
    assert len(set(named)) == count, f"{place}: two images of one name"
    assert source.paths is None or len(source.paths) == count, f"{place}: not one path an image"
    digests = content_digests(source, everything)
    assert np.array_equal(digests, content_digests(again, everything)), f"{place}: other images when opened again"
    assert np.array_equal(source.labels, again.labels), f"{place}: other labels when opened again"
    assert named == [again.describe(index) for index in range(count)], f"{place}: another order when opened again"
    assert source.identity(everything) == again.identity(everything), f"{place}: another identity when opened again"
    some = everything[1::2][::-1]
    assert np.array_equal(content_digests(source, some), digests[some]), f"{place}: other images when some are read"
    _check_order(source, everything)
    return digests


def _check_order(source: ImageSource, everything: Indices) -> None:
    place = source.location
    order = source.order(everything, 1)
    assert np.array_equal(np.sort(order), everything), f"{place}: an order that is no permutation"
    assert np.array_equal(order, source.order(everything, 1)), f"{place}: an order that its seed does not decide"
    held = dict(source.payloads(everything))
    for index, handle in zip(order.tolist(), source.handles(order), strict=True):
        same = np.array_equal(np.asarray(payload_of(handle)), np.asarray(held[index]))
        assert same, f"{place}: handles in another order than asked for"
