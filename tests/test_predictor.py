"""The one road to a prediction."""

import copy

import cv2
import numpy as np
import pytest
import torch

from fasa_cli import predictor as module
from fasa_cli.config import TINY, PostprocessConfig
from fasa_cli.errors import CheckpointError, DeviceError
from fasa_cli.imaging import degradations
from fasa_cli.model.compact.tiling import localise_in_tiles, to_unit_range
from fasa_cli.model.fasa import Fasa
from fasa_cli.postprocess.hysteresis import apply_hysteresis
from fasa_cli.predictor import Predictor, resolve_device


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(Fasa(TINY), "cpu")


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (64, 64)])
def test_a_prediction_has_the_images_size(predictor, size):
    prediction = predictor.predict(photo(*size))
    assert prediction.probabilities.shape == size
    assert prediction.probabilities.dtype == np.float32
    assert prediction.score == prediction.probabilities.max()
    assert prediction.effective_size == size[::-1]


def test_it_is_the_models_own_answer(predictor):
    image = photo(50, 70)
    with torch.no_grad():
        expected = predictor.model(to_unit_range(torch.from_numpy(image)[None])).probabilities
    np.testing.assert_allclose(predictor.predict(image).probabilities, expected[0, 0], atol=1e-6)


def test_a_mixed_batch_keeps_order_and_answers(predictor):
    images = [photo(32, 48, 1), photo(40, 40, 2), photo(32, 48, 3)]
    for image, prediction in zip(images, predictor.predict_batch(images), strict=True):
        alone = predictor.predict(image)
        np.testing.assert_allclose(prediction.probabilities, alone.probabilities, atol=1e-5)
    assert predictor.predict_batch([]) == []


def test_what_is_there_twice_is_marked_where_the_configuration_says_so(predictor):
    image = cv2.GaussianBlur(photo(200, 300), (0, 0), 1.2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    image[110:190, 190:280] = image[10:90, 20:110]
    plain = predictor.predict(image)
    looking = Predictor(copy.deepcopy(predictor.model), "cpu")
    looking.postprocess = PostprocessConfig(copy_move=True)
    marked, untouched = looking.predict_batch([image, image[:110]])
    assert plain.pairs == untouched.pairs == ()
    (found,) = marked.pairs
    assert abs(found.matrix[0][2]) == pytest.approx(170, abs=0.5)
    inside = marked.probabilities[120:180, 200:270]
    assert inside.min() >= found.probability * 0.5
    assert marked.score == marked.probabilities.max()
    np.testing.assert_array_equal(
        untouched.probabilities, predictor.predict(image[:110]).probabilities
    )


def test_hysteresis_is_applied_where_it_is_configured_and_the_networks_map_stays(predictor):
    image = photo(80, 50)
    plain = predictor.predict(image)
    choosy = Predictor(
        copy.deepcopy(predictor.model),
        "cpu",
        postprocess=PostprocessConfig(minimum_prominence=0.5),
    )
    expected = plain.probabilities.copy()
    apply_hysteresis(expected, 0.5)
    assert (expected < plain.probabilities).any()
    prediction = choosy.predict(image)
    np.testing.assert_array_equal(prediction.probabilities, expected)
    np.testing.assert_array_equal(prediction.network_map, plain.probabilities)
    assert prediction.score == expected.max() < prediction.network_score == plain.score
    threshold = float(np.median(plain.probabilities))
    lowered = (plain.probabilities > threshold) & (expected <= threshold)
    assert prediction.lowered(threshold) == pytest.approx(lowered.mean())
    assert lowered.any()
    assert plain.lowered(threshold) == 0


def test_a_small_photo_gets_the_offset_of_its_size_and_the_networks_map_stays(predictor):
    image = photo(80, 50)
    plain = predictor.predict(image)
    after = PostprocessConfig(size_offsets=((0.001, 3.0), (0.016, -1.0)))
    lenient = Predictor(copy.deepcopy(predictor.model), "cpu", postprocess=after)
    prediction = lenient.predict(image)
    assert prediction.size_offset == pytest.approx(1.0, abs=1e-6)  # 80 x 50 is in the middle

    def logits(probabilities):
        return np.log(probabilities / (1 - probabilities))

    np.testing.assert_allclose(
        logits(prediction.probabilities), logits(plain.probabilities) + 1, atol=1e-3
    )
    np.testing.assert_array_equal(prediction.network_map, plain.probabilities)
    assert prediction.score == prediction.probabilities.max()
    assert plain.size_offset == 0


def framing(predictor):
    """The same model, told to find the photo within its picture."""
    model = copy.deepcopy(predictor.model)
    model.config = model.config.model_copy(update={"framing": True})
    return Predictor(model, "cpu")


def test_bars_change_nothing_for_the_photo_and_are_not_marked(predictor):
    image = photo(96, 80)
    alone = framing(predictor).predict(image)
    barred = cv2.copyMakeBorder(image, 20, 12, 0, 9, cv2.BORDER_CONSTANT)
    prediction = framing(predictor).predict(barred)
    assert prediction.frame.box == (0, 20, 80, 96)
    inside = prediction.frame.crop(prediction.probabilities)
    np.testing.assert_allclose(inside, alone.probabilities, atol=1e-5)
    outside = prediction.probabilities.copy()
    prediction.frame.crop(outside)[:] = 0
    assert outside.max() == 0
    assert prediction.probabilities.shape == barred.shape[:2]


def test_a_crop_off_the_grid_is_seen_on_it(predictor):
    """Cut off the grid, a JPEG gives nearly what it gave whole, but for its border."""
    image = degradations.jpeg(cv2.GaussianBlur(photo(200, 240), (0, 0), 1.0), 80)
    whole = framing(predictor).predict(image)
    cut = framing(predictor).predict(np.ascontiguousarray(image[3:, 5:]))
    assert (whole.frame.grid, cut.frame.grid) == ((0, 0), (5, 3))
    assert cut.probabilities.shape == (197, 235)
    np.testing.assert_allclose(
        cut.probabilities[60:-8, 60:-8], whole.probabilities[63:-8, 65:-8], atol=0.02
    )


def test_large_photos_are_seen_in_tiles_at_native_resolution(predictor, monkeypatch):
    image = photo(80, 50)
    whole = predictor.predict(image)
    monkeypatch.setattr(module, "LARGEST_WHOLE_PIXELS", 1000)
    monkeypatch.setattr(
        module, "localise_in_tiles", lambda *args: localise_in_tiles(*args, tile=64)
    )
    prediction = predictor.predict(image)
    assert (whole.tiles, prediction.tiles) == (1, 2)
    assert prediction.effective_size == (50, 80)
    assert prediction.score == prediction.probabilities.max()
    np.testing.assert_allclose(prediction.probabilities, whole.probabilities, atol=0.05)


@pytest.mark.parametrize("size", [(3, 300), (300, 3)])
def test_a_very_long_photo_is_seen_in_tiles(predictor, monkeypatch, size):
    monkeypatch.setattr(module, "LARGEST_WHOLE_SIDE", 64)
    prediction = predictor.predict(photo(*size))
    assert prediction.probabilities.shape == size
    assert prediction.effective_size == size[::-1]


def test_a_model_that_resizes_sees_large_photos_smaller(monkeypatch):
    torch.manual_seed(0)
    resizing = Predictor(Fasa(TINY.model_copy(update={"input_size": 64})), "cpu")
    monkeypatch.setattr(module, "LARGEST_WHOLE_PIXELS", 1000)
    prediction = resizing.predict(photo(80, 50))
    assert (prediction.probabilities.shape, prediction.tiles) == ((80, 50), 1)
    assert prediction.effective_size == (64, 64)


class TightMemory(torch.nn.Module):
    """A model that holds `most` images at a time; `batches` are the sizes that were tried."""

    def __init__(self, model, most):
        super().__init__()
        self.model, self.config, self.working_size = model, model.config, model.working_size
        self.most, self.batches = most, []

    def forward(self, images):
        self.batches.append(len(images))
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return self.model(images)


def test_cuda_out_of_memory_halves_the_batch_and_says_so(predictor, caplog):
    tight = TightMemory(predictor.model, most=2)
    limited = Predictor(tight, "cpu")
    images = [photo(32, 32, seed) for seed in range(8)]
    predictions = limited.predict_batch(images)
    assert tight.batches == [8, 4, 2, 2, 2, 2]
    for image, prediction in zip(images, predictions, strict=True):
        alone = predictor.predict(image)
        np.testing.assert_allclose(prediction.probabilities, alone.probabilities, atol=1e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA ran out of memory with 8 images at a time; continuing with 4",
        "CUDA ran out of memory with 4 images at a time; continuing with 2",
    ]
    tight.batches.clear()
    limited.predict_batch(images[:3])
    assert tight.batches == [2, 1]  # it has learnt


def test_one_image_that_does_not_fit_is_an_error(predictor):
    with pytest.raises(torch.cuda.OutOfMemoryError):
        Predictor(TightMemory(predictor.model, most=0), "cpu").predict(photo(32, 32))


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "tiles"])
def test_bfloat16_answers_nearly_the_same(predictor, monkeypatch, whole):
    if not whole:
        monkeypatch.setattr("fasa_cli.predictor.LARGEST_WHOLE_PIXELS", 64 * 64)
    native = Fasa(TINY.model_copy(update={"input_size": None}))
    image = photo(96, 80)
    exact = Predictor(native, "cpu").predict(image)
    fast = Predictor(native, "cpu", precision="bfloat16").predict(image)
    assert fast.probabilities.dtype == np.float32
    assert (fast.probabilities != exact.probabilities).any()
    np.testing.assert_allclose(fast.probabilities, exact.probabilities, atol=0.05)


def test_weights_are_identified(tiny_weights):
    loaded = Predictor.from_checkpoint(tiny_weights, "cpu")
    assert loaded.weights.path == tiny_weights
    assert loaded.weights.preset == "tiny"
    assert len(loaded.weights.sha256) == 64
    assert loaded.weights.parameters == sum(p.numel() for p in Fasa(TINY).parameters())


def test_auto_takes_what_is_there():
    expected = (
        "cuda"
        if torch.cuda.is_available()
        else "mps"
        if torch.backends.mps.is_available()
        else "cpu"
    )
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "meta"])
def test_a_device_that_is_not_there_is_an_error(name):
    with pytest.raises(DeviceError, match=name):
        resolve_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu():
    torch.manual_seed(0)
    model = Fasa(TINY)
    image = photo(96, 80)
    on_cpu = Predictor(model, "cpu").predict(image).probabilities
    on_cuda = Predictor(model, "cuda").predict(image).probabilities
    np.testing.assert_allclose(on_cuda, on_cpu, atol=2e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_an_error():
    with pytest.raises(DeviceError, match="0 CUDA devices"):
        resolve_device("cuda")


def test_a_cpu_sees_in_tiles_what_would_take_much_memory(predictor, monkeypatch):
    image = photo(70, 90)
    whole = predictor.predict(image)
    monkeypatch.setattr(module, "LARGEST_WHOLE_ON_CPU", 70 * 90 - 1)
    monkeypatch.setattr(
        module, "localise_in_tiles", lambda *args: localise_in_tiles(*args, tile=64)
    )
    prediction = predictor.predict(image)
    assert (whole.tiles, prediction.tiles) == (1, 4)
    np.testing.assert_allclose(prediction.probabilities, whole.probabilities, atol=0.05)


def test_a_batch_is_no_larger_than_memory_allows(monkeypatch):
    torch.manual_seed(0)
    predictor = Predictor(Fasa(TINY), "cpu")
    images = [np.full((40, 48, 3), 20 * number, np.uint8) for number in range(5)]
    whole = predictor.predict_batch(images)
    sizes = []
    predict = predictor._predict_whole
    monkeypatch.setattr(
        predictor, "_predict_whole", lambda batch: sizes.append(len(batch)) or predict(batch)
    )
    monkeypatch.setattr("fasa_cli.predictor._SMALL_BATCH", 0)
    monkeypatch.setattr("fasa_cli.predictor.free_memory", lambda: 2 * 40 * 48 * 170)
    parts = predictor.predict_batch(images)
    assert sizes == [2, 2, 1]
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    monkeypatch.setattr("fasa_cli.predictor.free_memory", lambda: 0)
    sizes.clear()
    predictor.predict_batch(images[:2])
    assert sizes == [1, 1]


def test_weights_that_do_not_fit_into_memory_are_refused(tiny_weights, monkeypatch):
    monkeypatch.setattr("fasa_cli.predictor.free_memory", lambda: 1000)
    with pytest.raises(CheckpointError, match=r"needs about .* free"):
        Predictor.from_checkpoint(tiny_weights, "cpu")
