"""Training transforms: size, alignment of image and mask, reproducibility."""

import numpy as np
import pytest

from fasa_cli.config import DataConfig
from fasa_cli.data.augmentation import augment, crop_or_pad, publish, recompressed
from fasa_cli.data.synthesis import Forgery


def marked(height, width):
    """An image whose pixels are bright exactly where its mask is set."""
    mask = np.zeros((height, width), bool)
    mask[height // 4 : height // 2, width // 3 : width // 2] = True
    image = np.where(mask[..., None], 230, 20).astype(np.uint8).repeat(3, axis=2)
    return Forgery(image, mask, "splice")


@pytest.mark.parametrize("size", [(64, 64), (100, 150), (30, 200), (50, 40)])
def test_samples_are_square_crops_with_the_mask_along(size):
    config = DataConfig(crop=64, blur=0.5, jpeg=0.5, resize=0.5)
    for seed in range(20):
        sample = augment(marked(*size), config, np.random.default_rng(seed))
        assert sample.image.shape == (64, 64, 3)
        assert sample.target_mask.shape == (64, 64)
        bright = sample.image[..., 1] > 125
        assert (bright != sample.target_mask).mean() < 0.03


def test_the_same_generator_gives_the_same_sample():
    config = DataConfig(crop=64, blur=0.5, jpeg=0.5, resize=0.5)
    one, other = (augment(marked(90, 90), config, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)


def test_crops_lie_on_the_jpeg_grid_and_prefer_the_mask():
    image = np.zeros((203, 305, 3), np.uint8)
    image[..., 0] = np.arange(203)[:, None]
    mask = np.zeros((203, 305), bool)
    mask[150:170, 200:240] = True
    seen = 0
    for seed in range(30):
        crop, cut = crop_or_pad(image, mask, 64, np.random.default_rng(seed))
        assert crop[0, 0, 0] % 8 == 0
        seen += cut.any()
    assert seen > 15


def test_a_small_picture_is_mirrored_at_its_last_whole_block():
    image = np.random.default_rng(0).integers(0, 256, (70, 51, 3), np.uint8)
    mask = image[..., 0] > 200
    crop, cut = crop_or_pad(image, mask, 96, np.random.default_rng(0))
    assert crop.shape == (96, 96, 3)
    np.testing.assert_array_equal(crop[:64, :48], image[:64, :48])
    np.testing.assert_array_equal(crop[64:], crop[32:64][::-1])
    np.testing.assert_array_equal(crop[:, 48:], crop[:, :48][:, ::-1])
    np.testing.assert_array_equal(cut, crop[..., 0] > 200)


def test_a_small_picture_is_not_enlarged_to_fill_the_crop():
    """Enlarging would take from all of a small photo the traces that it has."""
    config = DataConfig(crop=96, blur=0, jpeg=0, resize=0)
    checks = np.indices((40, 200)).sum(0) % 2 * 255  # the finest pattern there is
    image = checks[..., None].repeat(3, axis=2).astype(np.uint8)
    sample = Forgery(image, np.zeros((40, 200), bool), "authentic")
    crop = augment(sample, config, np.random.default_rng(0)).image
    inner = np.abs(np.diff(crop[:40, :, 0].astype(int), axis=1))
    assert crop.shape == (96, 96, 3)
    assert (inner == 255).all()


def test_published_pictures_stay_whole():
    config = DataConfig(crop=64, blur=0.5, jpeg=0.5, resize=0.0)
    for seed in range(10):
        sample = publish(marked(30, 200), config, np.random.default_rng(seed))
        assert sample.image.shape == (30, 200, 3)
        assert ((sample.image[..., 1] > 125) != sample.target_mask).mean() < 0.03
    always = config.model_copy(update={"resize": 1.0})
    sample = publish(marked(100, 200), always, np.random.default_rng(0))
    assert sample.image.shape[:2] == sample.target_mask.shape != (100, 200)


def test_what_is_recompressed_keeps_its_size_and_its_mask_in_place():
    before, moved = marked(90, 121), 0
    for seed in range(60):
        image, mask = recompressed(before.image, before.target_mask, np.random.default_rng(seed))
        assert image.shape == (90, 121, 3)
        assert image.dtype == np.uint8
        assert mask.shape == (90, 121)
        bright = image[..., 1] > 125
        assert (bright != mask).mean() < 0.03
        moved += not np.array_equal(mask, before.target_mask)
    assert 10 < moved < 50  # off the JPEG grid, and not always


def test_pictures_are_recompressed_as_often_as_asked_for():
    plain = DataConfig(crop=64, blur=0, jpeg=0, resize=0)
    always = plain.model_copy(update={"recompress": 1.0})
    sample = marked(64, 64)
    sample.image[::2] //= 2
    for config, changes in ((plain, False), (always, True)):
        changed = 0
        for seed in range(12):
            image = augment(sample, config, np.random.default_rng(seed)).image
            same = any(np.array_equal(image, one) for one in (sample.image, sample.image[:, ::-1]))
            changed += not same
        assert (changed > 6) is changes
