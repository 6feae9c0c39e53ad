"""A classifier's figures: by hand, against scikit-learn, and the laws that any of them obeys."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from autoshrink.classification import (
    BINS,
    TOP,
    Calibration,
    ClassifierEvaluation,
    ClassifierFigures,
    Confusion,
    Outcomes,
    Share,
)
from autoshrink.errors import InputError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def drawn(seed: int, images: int, classes: int) -> tuple[Floats, Indices]:
    """Logits that know something of the classes, the last of which may have no image."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(2, classes - 1), images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.0
    return logits, labels


def named(classes: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(classes))


def figures(logits: npt.NDArray[Any], labels: Indices) -> ClassifierFigures:
    return ClassifierFigures.of(Outcomes.of(logits, labels), named(logits.shape[1]))


def outcomes(confidence: list[float], right: list[bool]) -> Outcomes:
    """Of two classes; only confidence and correctness count."""
    labels, predicted = np.zeros(len(right), dtype=np.int64), np.array([0 if one else 1 for one in right])
    return Outcomes(np.arange(len(right)), labels, predicted, predicted, np.array(confidence), -np.log(confidence))


seeds = st.integers(0, 10_000)


# By hand


def test_a_table_worked_out_by_hand() -> None:
    """Probabilities .7 .2 .1 and so on; class 2 is never recognised, "d" has no image and is never predicted."""
    shares = np.array(
        [
            [0.7, 0.2, 0.06, 0.04],  # a, right
            [0.3, 0.6, 0.06, 0.04],  # a, taken for b
            [0.1, 0.8, 0.06, 0.04],  # b, right
            [0.1, 0.5, 0.36, 0.04],  # c, taken for b
            [0.1, 0.4, 0.36, 0.14],  # c, taken for b
        ]
    )
    labels = np.array([0, 0, 1, 2, 2])
    found = ClassifierFigures.of(Outcomes.of(np.log(shares), labels), ("a", "b", "c", "d"))
    assert found.confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]]
    assert found.accuracy == Share(2, 5)
    assert found.loss == pytest.approx(-math.log(0.7 * 0.3 * 0.8 * 0.36 * 0.36) / 5)
    assert found.top is None
    rows = [(one.images, one.predicted, one.accuracy.value, one.precision.value, one.f1) for one in found.per_class]
    assert rows == [(2, 1, 0.5, 1.0, 2 / 3), (1, 4, 1.0, 0.25, 0.4), (2, 0, 0.0, None, 0.0), (0, 0, None, None, None)]
    macro = (found.macro.accuracy, found.macro.precision, found.macro.f1)
    assert macro == pytest.approx((1.5 / 3, 1.25 / 3, (2 / 3 + 0.4) / 3))
    assert found.confusions(5) == (Confusion(2, 1, 2), Confusion(0, 1, 1))
    assert found.confusions(1) == (Confusion(2, 1, 2),)
    assert [one.name for one in found.worst(9)] == ["c", "a", "b"]
    assert found.calibration.confidence == pytest.approx((0.7 + 0.6 + 0.8 + 0.5 + 0.4) / 5)


def test_calibration_error_by_hand() -> None:
    """Ten bins: (.5, .6] holds one right of two at .55 and .60, (.9, 1] two right of two at .95 and 1."""
    found = Calibration.of(outcomes([0.55, 0.60, 0.95, 1.0], [True, False, True, True]), bins=10)
    assert found.error == pytest.approx((2 * abs(0.5 - 0.575) + 2 * abs(1 - 0.975)) / 4)
    assert [one.images for one in found.bins] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert (found.bins[5].low, found.bins[5].high) == (0.5, 0.6)
    assert (found.bins[5].accuracy, found.bins[0].accuracy, found.bins[0].confidence) == (0.5, None, None)
    assert found.confidence == pytest.approx(0.775)


@pytest.mark.parametrize("bins", [1, 2, 5, BINS, 100])
def test_a_confidence_on_an_edge_belongs_below_it(bins: int) -> None:
    edges = [number / bins for number in range(1, bins + 1)]
    found = Calibration.of(outcomes(edges, [True] * bins), bins=bins)
    assert [one.images for one in found.bins] == [1] * bins
    # A softmax may round to more than 1.
    assert Calibration.of(outcomes([1.0 + 1e-12], [True]), bins=bins).bins[-1].images == 1


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (0, 0, 0.0, 1.0)],
)
def test_published_wilson_intervals(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-6)


@given(of=st.integers(1, 5000), data=st.data())
def test_an_intervals_ends_are_1_96_standard_errors_away_by_their_own_variance(of: int, data: st.DataObject) -> None:
    """Wilson's definition, of which the formula is the solution."""
    hits = data.draw(st.integers(0, of))
    share, (low, high) = hits / of, Share(hits, of).interval
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / of), rel=1e-4, abs=1e-9)


# Against scikit-learn


@settings(max_examples=25, deadline=None)
@given(seed=seeds, images=st.integers(1, 60), classes=st.integers(2, 12))
def test_scikit_learn_says_the_same(seed: int, images: int, classes: int) -> None:
    logits, labels = drawn(seed, images, classes)
    found, everyone = figures(logits, labels), list(range(classes))
    predicted = logits.argmax(axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found.confusion.tolist() == sk.confusion_matrix(labels, predicted, labels=everyone).tolist()
    assert found.accuracy.value == sk.accuracy_score(labels, predicted)
    assert found.loss == pytest.approx(sk.log_loss(labels, shares, labels=everyone))
    if classes > TOP:
        assert found.top is not None
        assert found.top.value == sk.top_k_accuracy_score(labels, logits, k=TOP, labels=everyone)
    present = sorted(set(labels.tolist()))
    options: dict[str, Any] = {"labels": present, "average": "macro", "zero_division": 0}
    assert found.macro.accuracy == pytest.approx(sk.recall_score(labels, predicted, **options))
    assert found.macro.precision == pytest.approx(sk.precision_score(labels, predicted, **options))
    assert found.macro.f1 == pytest.approx(sk.f1_score(labels, predicted, **options))


# Laws


@settings(max_examples=25, deadline=None)
@given(seed=seeds, images=st.integers(1, 60), classes=st.integers(2, 8))
def test_the_order_of_the_images_changes_not_a_digit(seed: int, images: int, classes: int) -> None:
    logits, labels = drawn(seed, images, classes)
    order = np.random.default_rng(seed + 1).permutation(images)
    assert figures(logits, labels).to_json() == figures(logits[order], labels[order]).to_json()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, images=st.integers(1, 60), classes=st.integers(2, 8))
def test_the_order_of_the_classes_permutes_the_matrix_and_nothing_else(seed: int, images: int, classes: int) -> None:
    logits, labels = drawn(seed, images, classes)
    order = np.random.default_rng(seed + 1).permutation(classes)
    found, other = figures(logits, labels), figures(logits[:, order], np.argsort(order)[labels])
    assert (other.confusion == found.confusion[np.ix_(order, order)]).all()
    assert (other.accuracy, other.top) == (found.accuracy, found.top)
    assert (other.loss, other.calibration.error) == pytest.approx((found.loss, found.calibration.error))
    assert vars(other.macro) == pytest.approx(vars(found.macro))


@settings(max_examples=25, deadline=None)
@given(seed=seeds, images=st.integers(2, 60), classes=st.integers(2, 8))
def test_parts_joined_are_the_whole(seed: int, images: int, classes: int) -> None:
    logits, labels = drawn(seed, images, classes)
    cut = images // 2
    parts = [Outcomes.of(logits[:cut], labels[:cut]), Outcomes.of(logits[cut:], labels[cut:], np.arange(cut, images))]
    joined, whole = Outcomes.joined(parts), Outcomes.of(logits, labels)
    for name, values in vars(whole).items():
        assert (getattr(joined, name) == values).all(), name


@settings(max_examples=25, deadline=None)
@given(seed=seeds, images=st.integers(1, 60), classes=st.integers(2, 8))
def test_bins_add_up(seed: int, images: int, classes: int) -> None:
    logits, labels = drawn(seed, images, classes)
    found = figures(logits, labels)
    bins = [one for one in found.calibration.bins if one.images]
    assert sum(one.images for one in bins) == images
    assert sum(one.images * (one.accuracy or 0.0) for one in bins) == pytest.approx(found.accuracy.hits)
    confidence = sum(one.images * (one.confidence or 0.0) for one in bins) / images
    assert confidence == pytest.approx(found.calibration.confidence)
    gap = abs(found.calibration.confidence - (found.accuracy.value or 0.0))
    assert gap <= found.calibration.error + 1e-12, "bins can only cancel each other in the mean"


@pytest.mark.parametrize("shift", [0.0, 3.5, -900.0, 1e4])
def test_logits_have_no_zero(shift: float) -> None:
    logits, labels = drawn(0, 40, 6)
    found, shifted = Outcomes.of(logits, labels), Outcomes.of(logits + shift, labels)
    assert (shifted.ranks == found.ranks).all()
    assert shifted.losses == pytest.approx(found.losses, abs=1e-9)
    assert shifted.confidence == pytest.approx(found.confidence, abs=1e-9)


def test_a_perfect_model() -> None:
    labels = np.arange(7).repeat(3)
    found = figures(np.eye(7)[labels] * 1000, labels)
    assert found.accuracy.value == found.macro.accuracy == found.macro.precision == found.macro.f1 == 1.0
    assert found.top == Share(21, 21)
    assert (found.loss, found.calibration.error, found.calibration.confidence) == (0.0, 0.0, 1.0)
    assert found.confusions(10) == ()
    assert found.accuracy.interval[1] == 1.0


def test_a_model_that_is_sure_and_wrong() -> None:
    """Its loss is the gap of the logits, not infinite, and its calibration error is 1."""
    found = figures(np.array([[1000.0, 0.0]]), np.array([1]))
    assert (found.loss, found.calibration.error, found.accuracy.value) == (1000.0, 1.0, 0.0)


def test_equal_logits_are_taken_by_index_in_every_figure() -> None:
    """As argmax does. A top-5 hit is a rank below five, whoever sorts."""
    found = Outcomes.of(np.zeros((8, 8)), np.arange(8))
    assert found.predicted.tolist() == [0] * 8
    assert found.ranks.tolist() == list(range(8))
    assert found.confidence == pytest.approx(1 / 8)
    assert ClassifierFigures.of(found, named(8)).top == Share(5, 8)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_rank_0_is_a_correct_answer(seed: int) -> None:
    logits, labels = drawn(seed, 30, 4)
    found = Outcomes.of(np.round(logits), labels)  # with ties
    assert ((found.ranks == 0) == (found.predicted == found.labels)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_does_not_compute_is_refused_by_the_image(value: float) -> None:
    logits = np.zeros((4, 3), dtype=np.float32)
    logits[2, 1] = value
    with pytest.raises(InputError, match="for image 2 is not finite"):
        Outcomes.of(logits, np.zeros(4, dtype=np.int64))
    with pytest.raises(InputError, match=r"for dog/7\.png"):
        Outcomes.of(logits, np.zeros(4, dtype=np.int64), np.arange(5, 9), "dog/{}.png".format)


@pytest.mark.parametrize(("classes", "known"), [(TOP, False), (TOP + 1, True)])
def test_top_5_is_given_where_it_says_something(classes: int, known: bool) -> None:
    assert (figures(*drawn(0, 10, classes)).top is not None) == known


def test_json_is_json_and_says_everything() -> None:
    found = ClassifierEvaluation(figures(*drawn(0, 10, 7)), "model", "data", "test", 5, None, (), ("a note",), ())
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(value) == {
        "model", "data", "split", "accuracy", "interval", "top5", "loss", "images", "skipped", "params", "macs",
        "notes", "macro", "calibration", "per_class", "confusion", "confusions",
    }  # fmt: skip
    assert (value["params"], value["macs"], value["skipped"], value["notes"]) == (5, None, 0, ["a note"])
    assert np.trace(value["confusion"]) / value["images"] == value["accuracy"]
    assert sum(one["correct"] for one in value["per_class"]) == np.trace(value["confusion"])
    assert len(value["calibration"]["bins"]) == BINS
    assert [one["class"] for one in value["per_class"]] == list(named(7))
    assert value["per_class"][6]["accuracy"] is None, "it has no image"
