"""How training images are varied: by numbers that belong to a batch, into images that Pillow would make as well."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from pydantic import ValidationError

from autoshrink.config.augmentation import AugmentSettings
from autoshrink.data.crops import DRAWS, RandomCrop
from autoshrink.errors import InputError
from autoshrink.training.augmentation import Augmentation, erased, resized_parts
from autoshrink.training.colour import equalised, stretched, warped
from autoshrink.training.device import repeatable
from autoshrink.training.draws import BatchDraws
from autoshrink.training.images import Normalisation

CPU = torch.device("cpu")
PLAIN = {"crop": "none", "flip": 0.0}


def _photo(seed: int = 0, *, channels: int = 3, size: int = 12) -> np.ndarray:
    """Smooth uint8 (size, size, channels): what interpolation and histograms are made for."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)[..., :channels].copy()


def _tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _draws(size: int, part: slice | None = None, *, seed: int = 1, epoch: int = 0, batch: int = 0) -> BatchDraws:
    return BatchDraws(seed, epoch, batch, size, part or slice(0, size))


def _pixels(settings: dict[str, object], images: torch.Tensor, draws: BatchDraws) -> torch.Tensor:
    """What a network would be shown, as pixels 0..255."""
    norm = Normalisation((0.5,) * images.shape[1], (0.25,) * images.shape[1])
    augmentation = Augmentation(AugmentSettings.model_validate(settings), norm, images.shape[2], CPU)
    return (augmentation(images, draws, cut=False) * 0.25 + 0.5) * 255


# Settings


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"flip": True}, "not true"),
        ({"flip": 1.5}, "less than or equal to 1"),
        ({"scale": [0.9, 0.1]}, "smaller value comes first"),
        ({"scale": [0.0, 1.0]}, "greater than 0"),
        ({"ratio": [2, 1]}, "smaller value comes first"),
        ({"jitter": [0, 0, 0, 0.6]}, "less than or equal to 0.5"),
        ({"randaugment": [2, 31]}, "less than or equal to 30"),
        ({"randaugment": [0, 9]}, "greater than 0"),
        ({"cutout": 1}, "cutout"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AugmentSettings.model_validate(wrong)


def test_settings_survive_json() -> None:
    given_ = AugmentSettings(crop="resized", jitter=(0.4, 0.4, 0.4, 0.1), randaugment=(2, 9), erasing=0.5)
    assert AugmentSettings.model_validate(given_.model_dump(mode="json")) == given_


# Random parts


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.floats(0.3, 1),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_boxes_are_inside_and_of_the_area_and_aspect_asked_for(
    size: tuple[int, int], low: float, more: float, ratio: float, seed: int
) -> None:
    height, width = size
    rule = RandomCrop((low, low + more * (1 - low)), (ratio, 1 / ratio))
    boxes = rule.boxes(np.random.default_rng(seed).random((50, DRAWS)), height, width)
    left, top, wide, high = boxes.T
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (left + wide <= width).all()
    assert (top + high <= height).all()
    # Half a pixel of rounding on each side, both ways.
    fallback = (wide == min(width, round(height / ratio))) & (high == min(height, round(width / ratio)))
    largest, smallest = (wide + 0.5) * (high + 0.5), (wide - 0.5) * (high - 0.5)
    assert (
        fallback | ((largest >= rule.scale[0] * height * width) & (smallest <= rule.scale[1] * height * width))
    ).all()
    assert (fallback | (((wide + 0.5) / (high - 0.5) >= ratio) & ((wide - 0.5) / (high + 0.5) <= 1 / ratio))).all()


def test_areas_and_places_of_boxes_are_uniform() -> None:
    rule = RandomCrop((0.1, 0.4), (0.5, 2.0))
    left, top, wide, high = rule.boxes(np.random.default_rng(0).random((20_000, DRAWS)), 1000, 1000).T
    areas = np.sort(wide * high / 1e6)
    assert np.abs(areas - np.linspace(0.1, 0.4, len(areas))).max() < 0.005
    for place, room in ((left, 1000 - wide), (top, 1000 - high)):
        assert abs((place / room).mean() - 0.5) < 5 * 12**-0.5 / 20_000**0.5
    assert np.median(wide / high) == pytest.approx(1, abs=0.03)


def test_an_image_too_long_for_any_aspect_gives_its_middle() -> None:
    boxes = RandomCrop((0.9, 1.0), (0.75, 4 / 3)).boxes(np.random.default_rng(0).random((3, DRAWS)), 10, 100)
    assert boxes.tolist() == [[44, 0, 13, 10]] * 3


def test_a_whole_image_is_cut_to_itself_and_a_part_as_pillow_cuts_it() -> None:
    images = _tensor(_photo(0, size=40), _photo(1, size=40))
    whole = resized_parts(images, torch.tensor([[0, 0, 40, 40]] * 2), 40)
    torch.testing.assert_close(whole, images.float(), atol=0.01, rtol=0)
    part = resized_parts(images, torch.tensor([[3, 7, 20, 30], [0, 0, 40, 40]]), 32)
    pillow = Image.fromarray(_photo(0, size=40)).resize((32, 32), Image.Resampling.BICUBIC, box=(3, 7, 23, 37))
    # Pillow's bicubic has another slope (−½, torch −¾) and sees no pixel outside the box.
    assert (part[0] - _tensor(np.asarray(pillow))[0]).abs()[:, 2:-2, 2:-2].mean() < 3


# Colours, against Pillow


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "pillow"),
    [(stretched, ImageOps.autocontrast), (equalised, ImageOps.equalize)],
    ids=["stretch", "equalise"],
)
def test_histograms_are_changed_as_pillow_does(
    ours: Callable[[torch.Tensor], torch.Tensor], pillow: Callable[[Image.Image], Image.Image], channels: int
) -> None:
    flat = np.full((40, 40, channels), 77, dtype=np.uint8)
    images = [_photo(0, channels=channels, size=40) // 2 + 20, _photo(1, channels=channels, size=40), flat]
    expected = [np.asarray(pillow(Image.fromarray(image.squeeze()))).reshape(image.shape) for image in images]
    changed = ours(_tensor(*images).float() / 255) * 255
    assert (changed - _tensor(*expected).float()).abs().max() <= 1.01


@pytest.mark.parametrize(
    ("place", "enhance"), [(0, ImageEnhance.Brightness), (1, ImageEnhance.Contrast), (2, ImageEnhance.Color)]
)
def test_jitter_multiplies_as_pillow_does(place: int, enhance: Callable[[Image.Image], ImageEnhance._Enhance]) -> None:
    photos = [_photo(seed) for seed in range(4)]
    strengths = [0.0, 0.0, 0.0, 0.0]
    strengths[place] = 0.4
    changed = _pixels({**PLAIN, "jitter": strengths}, _tensor(*photos), _draws(4))
    factors = 1 + 0.4 * (2 * _draws(4).uniform("jitter", 4)[:, place] - 1)
    expected = [np.asarray(enhance(Image.fromarray(one)).enhance(by)) for one, by in zip(photos, factors, strict=True)]
    assert (changed - _tensor(*expected).float()).abs().max() < 2


def test_hue_turns_the_colours_and_keeps_lightness() -> None:
    photos = _tensor(*[_photo(seed) for seed in range(4)])
    changed = _pixels({**PLAIN, "jitter": [0, 0, 0, 0.5]}, photos, _draws(4))
    torch.testing.assert_close(changed.amax(dim=1), photos.float().amax(dim=1), atol=0.1, rtol=0)
    torch.testing.assert_close(changed.amin(dim=1), photos.float().amin(dim=1), atol=0.1, rtol=0)
    assert (changed - photos).abs().mean() > 5


def test_grey_images_have_no_colour_to_jitter() -> None:
    photos = _tensor(*[_photo(seed, channels=1) for seed in range(4)])
    changed = _pixels({**PLAIN, "jitter": [0, 0, 0.4, 0.5]}, photos, _draws(4))
    torch.testing.assert_close(changed, photos.float(), atol=0.01, rtol=0)
    assert _pixels({**PLAIN, "randaugment": [3, 30]}, photos, _draws(4)).shape == photos.shape


def test_warps_by_hand() -> None:
    """A quarter of a turn, and shifts by two whole pixels of eight, one image each way."""
    images, fill = torch.rand(2, 3, 8, 8), torch.full((1, 3, 1, 1), 0.3)
    turned = warped(images, fill, angle=torch.tensor([torch.pi / 2, -torch.pi / 2]))
    torch.testing.assert_close(turned[0], images[0].rot90(1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], images[1].rot90(-1, (1, 2)), atol=1e-5, rtol=0)
    moved = warped(images, fill, move_x=torch.tensor([0.25, -0.25]))
    torch.testing.assert_close(moved[0][..., :6], images[0][..., 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[0][..., 6:], torch.full((3, 8, 2), 0.3), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1][..., 2:], images[1][..., :6], atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_differs_from_image_to_image_and_stays_in_range(channels: int) -> None:
    same = _tensor(*[_photo(5, channels=channels)] * 64)
    changed = _pixels({**PLAIN, "randaugment": [1, 20]}, same, _draws(64))
    assert changed.min() >= -0.01
    assert changed.max() <= 255.01
    kinds = len(torch.unique(changed.round(), dim=0))
    # Fourteen operations, nine of which go two ways; three have nothing to do on a grey image, or go one way.
    assert 14 <= kinds <= 23
    none = _pixels({**PLAIN, "randaugment": [2, 0]}, same, _draws(64))
    assert none.shape == same.shape


def test_without_kornia_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(InputError, match=r"pip install 'autoshrink\[train\]'"):
        _pixels({"randaugment": [2, 9]}, _tensor(_photo()), _draws(1))
    assert _pixels({"crop": "resized", "erasing": 1.0}, _tensor(_photo()), _draws(1)).shape == (1, 3, 12, 12)


# Moves and erasing


def test_flips_come_as_often_as_asked_for() -> None:
    photos = _tensor(*[_photo(seed) for seed in range(3)])
    assert torch.allclose(_pixels({**PLAIN, "flip": 1.0}, photos, _draws(3)), photos.flip(3).float(), atol=0.01)
    many = photos[:1].expand(4000, -1, -1, -1)
    changed = _pixels({**PLAIN, "flip": 0.2}, many, _draws(4000))
    flips = (changed - many).abs().amax(dim=(1, 2, 3)) > 1
    assert abs(int(flips.sum()) - 800) < 5 * (4000 * 0.2 * 0.8) ** 0.5


def test_a_padded_crop_moves_the_mean_colour_in() -> None:
    many = _tensor(*[_photo(3, size=16)] * 200)
    changed = _pixels({"crop": "pad", "flip": 0.0}, many, _draws(200))
    assert len(torch.unique(changed.round(), dim=0)) == 25, "5 × 5 shifts by up to an eighth of 16 pixels"
    corners = changed[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert ((corners - 127.5).abs().amax(dim=1) < 0.01).any(dim=1).sum() > 150


def test_erased_rectangles_hold_noise_and_nothing_else_changes() -> None:
    images = torch.full((300, 3, 40, 40), 9.0)
    changed = erased(images, _draws(300), 0.5)
    gone = (changed != 9).all(dim=1)
    hit = gone.any(dim=(1, 2))
    assert abs(int(hit.sum()) - 150) < 5 * (300 * 0.25) ** 0.5
    assert (images == 9).all(), "what was given stays as it was"
    noise = changed[(changed != 9)]
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    for one in gone[hit]:
        rows, columns = one.any(dim=1).nonzero(), one.any(dim=0).nonzero()
        area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert one.sum() == area
        assert 0.01 < area / 1600 < 0.36


# What decides


EVERYTHING: dict[str, object] = {
    "crop": "resized",
    "scale": [0.3, 1.0],
    "jitter": [0.4, 0.4, 0.4, 0.1],
    "randaugment": [2, 9],
    "erasing": 0.5,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", ["resized", "pad"])
def test_parts_of_a_batch_are_the_same_by_themselves(crop: str, channels: int) -> None:
    """However many processes share a batch, every image is varied in the same way; deterministic algorithms are on."""
    images = _tensor(*[_photo(seed, channels=channels) for seed in range(11)])
    asked = {**EVERYTHING, "crop": crop}
    with repeatable(1):
        whole = _pixels(asked, images, _draws(11))
        for cut in (slice(0, 4), slice(4, 8), slice(8, 11)):
            # Sums over other batch sizes may round otherwise.
            torch.testing.assert_close(_pixels(asked, images[cut], _draws(11, cut)), whole[cut], atol=1e-3, rtol=0)


def test_seed_epoch_and_batch_decide_alone() -> None:
    images = _tensor(*[_photo(seed) for seed in range(6)])
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())
    once = _pixels(EVERYTHING, images, _draws(6))
    torch.rand(3)
    assert torch.equal(once, _pixels(EVERYTHING, images, _draws(6)))
    for other in (_draws(6, seed=2), _draws(6, epoch=1), _draws(6, batch=1)):
        assert not torch.equal(once, _pixels(EVERYTHING, images, other))
    torch.set_rng_state(torch_state)
    _pixels(EVERYTHING, images, _draws(6))
    assert torch.equal(torch.get_rng_state(), torch_state), "the caller's generators are left alone"
    assert str(np.random.get_state()) == numpy_state


def test_half_precision_around_the_loop_changes_nothing() -> None:
    images = _tensor(*[_photo(seed) for seed in range(6)])
    once = _pixels(EVERYTHING, images, _draws(6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(once, _pixels(EVERYTHING, images, _draws(6)))


def test_one_step_switched_off_changes_no_other() -> None:
    images = _tensor(*[_photo(seed) for seed in range(8)])
    with_noise = _pixels({"erasing": 1.0}, images, _draws(8))
    without = _pixels({}, images, _draws(8))
    same = (with_noise - without).abs().amax(dim=1) < 1e-3
    assert (same.float().mean(dim=(1, 2)) > 0.5).all()
