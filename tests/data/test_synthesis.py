"""Forgeries: exact masks, reproducible, and only what the mask says is changed."""

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.config import DataConfig
from fasa_cli.data import synthesis
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.synthesis import Forger
from fasa_cli.errors import ConfigError

KINDS = ("splice", "copy_move", "removal", "local", "denoise", "superres")


def textured(seed, size=(220, 260)):
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (9, 11, 3)).astype(np.uint8), size[::-1])
    return np.clip(coarse + rng.normal(0, 6, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    (folder / "photos").mkdir()
    (folder / "masks").mkdir()
    for seed in range(3):
        Image.fromarray(textured(seed)).save(folder / "photos" / f"{seed}.png")
        mask = np.zeros((220, 260), np.uint8)
        cv2.circle(mask, (120, 100), 50, 255, -1)
        Image.fromarray(mask).save(folder / "masks" / f"{seed}.png")
    return PhotoPool(folder / "photos", folder / "masks")


def forger(pool, **changes):
    return Forger(pool, DataConfig(crop=96, **changes))


def test_the_same_seed_gives_the_same_forgery(pool):
    for seed in range(12):
        one = forger(pool).forge(np.random.default_rng(seed))
        other = forger(pool).forge(np.random.default_rng(seed))
        assert one.kind == other.kind
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.target_mask, other.target_mask)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_with_a_mask_that_fits(pool, kind):
    maker = forger(pool, kinds={kind: 1.0}, authentic_share=0.0)
    forgeries = [maker.forge(np.random.default_rng(seed)) for seed in range(25)]
    made = [forgery for forgery in forgeries if forgery.kind == kind]
    assert len(made) >= 15
    for forgery in forgeries:
        assert forgery.image.dtype == np.uint8
        assert forgery.image.shape == (*forgery.target_mask.shape, 3)
        assert forgery.target_mask.any() == (forgery.kind != "authentic")
        assert forgery.target_mask.mean() <= 0.8


def test_windows_are_cut_on_the_jpeg_grid():
    photo = np.zeros((203, 301, 3), np.uint8)
    photo[..., 0] = (np.arange(301) % 251)[None]
    photo[..., 1] = np.arange(203)[:, None]
    for seed in range(20):
        window, _ = synthesis._cut(photo, None, 96, np.random.default_rng(seed))
        assert window.shape == (96, 96, 3)
        assert window[0, 0, 1] % 8 == 0
        assert np.flatnonzero(photo[0, :, 0] == window[0, 0, 0])[0] % 8 in (0, 251 % 8)


def test_a_share_is_left_authentic(pool):
    maker = forger(pool, authentic_share=1.0)
    for seed in range(5):
        forgery = maker.forge(np.random.default_rng(seed))
        assert forgery.kind == "authentic"
        assert not forgery.target_mask.any()


def test_unknown_kinds_are_refused(pool):
    with pytest.raises(ConfigError, match="no teleport; there are splice, copy_move"):
        forger(pool, kinds={"teleport": 1.0})


@pytest.mark.parametrize("kind", ["rerender", "regenerate"])
def test_decoding_needs_an_autoencoder(pool, kind):
    with pytest.raises(ConfigError, match=f"{kind} needs .*--autoencoder"):
        forger(pool, kinds={kind: 1.0})


@pytest.mark.parametrize("kinds", [{}, {"splice": 0.0}, {"splice": 2.0, "local": -1.0}])
def test_kinds_that_cannot_be_drawn_are_refused(pool, kinds):
    with pytest.raises(ConfigError, match="weights"):
        forger(pool, kinds=kinds)


class Inverting:
    """In place of an autoencoder: what it has touched cannot be missed."""

    def rerender(self, image):
        self.seen = image.shape
        return 255 - image

    def varied(self, strength, rng):
        return self


def test_rerendering_changes_the_region_and_nothing_far_from_it(pool):
    renderer = Inverting()
    maker = Forger(pool, DataConfig(crop=96, kinds={"rerender": 1.0}), renderer)
    window = textured(7, (128, 160))
    exact = 0  # the renderer at the picture's own scale
    for seed in range(10):
        forged, mask = maker._rerender(window, None, np.random.default_rng(seed))
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
        np.testing.assert_array_equal(forged[~near], window[~near])
        assert mask.any()
        framed = np.pad(mask, 10).astype(np.uint8)  # beyond the border nothing is marked
        core = cv2.erode(framed, np.ones((21, 21), np.uint8))[10:-10, 10:-10].astype(bool)
        if core.any():  # the inverse, with the mean colour that was there
            sums = forged[core].astype(int) + window[core]
            exact += (np.abs(sums - np.median(sums, axis=0)) <= 1).mean() > 0.9
    assert 2 <= exact <= 7


def test_what_is_rendered_keeps_its_size_and_mean_colour(pool):
    maker = Forger(pool, DataConfig(crop=96, kinds={"rerender": 1.0}), Inverting())
    cut = textured(7, (61, 90)) // 4 + np.array([90, 100, 80], np.uint8)
    for seed in range(10):
        rendered = maker._renderer(np.random.default_rng(seed))(cut)
        assert rendered.shape == cut.shape
        assert np.abs(rendered.astype(int) - cut).mean() > 5
        np.testing.assert_allclose(rendered.mean((0, 1)), cut.mean((0, 1)), atol=1.5)


def test_regenerating_fills_and_decodes_a_hole(pool):
    maker = Forger(pool, DataConfig(crop=96, kinds={"regenerate": 1.0}), Inverting())
    window = textured(7, (128, 160))
    for seed in range(10):
        forged, mask = maker._regenerate(window, None, np.random.default_rng(seed))
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
        np.testing.assert_array_equal(forged[~near], window[~near])
        assert mask.any()
        core = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        if core.any():  # filled and inverted: neither the photo nor its inverse is left
            assert np.abs(forged[core].astype(int) - window[core]).mean() > 5
            assert np.abs(forged[core].astype(int) - (255 - window[core])).mean() > 5


def test_whole_photos_keep_their_size(pool):
    maker = forger(pool, authentic_share=0.0)
    for seed in range(8):
        forgery, index = maker.forge_photo(np.random.default_rng(seed))
        assert forgery.image.shape == (220, 260, 3)
        assert forgery.kind != "authentic"
        far = ~cv2.dilate(forgery.target_mask.astype(np.uint8), np.ones((31, 31))).astype(bool)
        np.testing.assert_array_equal(forgery.image[far], pool.photo(index)[far])
    forgery, _ = maker.forge_photo(np.random.default_rng(0), longest=130)
    assert forgery.image.shape == (110, 130, 3)
    assert forgery.target_mask.shape == (110, 130)
