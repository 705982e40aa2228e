"""The single entry point for a prediction: validation, scan and robustness all use `Predictor`.

picture -> frame (bars, JPEG grid) -> network -> offset of its size -> hysteresis -> copy-move marks
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import ModelConfig, PostprocessConfig
from fasa_cli.environment import free_memory
from fasa_cli.errors import CheckpointError, DeviceError
from fasa_cli.imaging.decode import Photo, as_pixels, decode_image, read_image
from fasa_cli.imaging.framing import find_frame
from fasa_cli.model.compact.tiling import localise_in_tiles, to_unit_range
from fasa_cli.model.fasa import Fasa, image_score
from fasa_cli.model.weights import build_model, speed_up
from fasa_cli.postprocess.copy_move import (
    LocatedPair,
    add_marks,
    copy_move_map,
    find_pairs,
    marks_of_pairs,
)
from fasa_cli.postprocess.damage import set_aside
from fasa_cli.postprocess.hysteresis import apply_hysteresis
from fasa_cli.postprocess.size_offset import add_offset, offset_for_size
from fasa_cli.results import CopyMovePair, DecodedImage, Frame, Prediction, WeightsInfo
from fasa_cli.text import gigabytes

# Ours: a photo is analysed whole where memory allows (about 200 bytes a pixel); a larger one in
# tiles (model/compact/tiling.py), which takes a CPU an eighth longer and half the memory.
LARGEST_WHOLE_PIXELS = 12_600_000
LARGEST_WHOLE_ON_CPU = 2_100_000  # pixels
_BYTES_PER_PIXEL = 170  # Ours: of a photo analysed whole, measured with `compact`
_SMALL_BATCH = 500_000_000  # bytes; below it nothing is asked
LARGEST_WHOLE_SIDE = 8_192  # the DCT's matrix has the side's square of entries
_THREADS = os.cpu_count() or 1  # that search for copy-move pairs while the model runs

_log = logging.getLogger(__name__)


class Predictor:
    """Images in, `Prediction`s at the images' own sizes out."""

    def __init__(
        self,
        model: Fasa,
        device: str = "auto",
        *,
        path: Path | None = None,
        sha256: str = "",
        precision: str = "float32",
        postprocess: PostprocessConfig | None = None,
    ):
        """`precision` is that of the products: "float32", or "bfloat16" where speed counts more.
        Without `postprocess` predictions are the network's own.

        Raises:
            DeviceError: `device` is asked for and not there.
        """
        self.device = resolve_device(device)
        self.precision = precision
        self.postprocess = postprocess or PostprocessConfig()
        self.model = model.to(self.device).eval()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        self._largest_batch: int | None = None  # until CUDA memory has shown its limit
        self.weights = WeightsInfo(path, sha256, model.config.preset, parameters)

    @classmethod
    def from_checkpoint(
        cls,
        path: Path,
        device: str = "auto",
        *,
        encoder_weights: str | None = None,
        precision: str = "float32",
        copy_move: bool | None = None,
        postprocess: bool = True,
    ) -> Predictor:
        """`copy_move` says whether to search for copy-move pairs; None: as the checkpoint says.
        Without `postprocess` predictions are the network's own.

        Raises:
            CheckpointError: the weights cannot be used; the message says why.
            DeviceError: `device` is asked for and not there.
        """
        resolve_device(device)  # the cheaper refusals first
        _refuse_too_large(path)
        checkpoint = read_checkpoint(path)
        model = build_model(checkpoint, encoder_weights)
        after = checkpoint.postprocess if postprocess else PostprocessConfig()
        if copy_move is not None:
            after = after.model_copy(update={"copy_move": copy_move})
        predictor = cls(
            model,
            device,
            path=path,
            sha256=checkpoint.sha256,
            precision=precision,
            postprocess=after,
        )
        speed_up(predictor.model)
        return predictor

    @property
    def config(self) -> ModelConfig:
        """The model's configuration."""
        return self.model.config

    def predict(self, image: Photo | DecodedImage) -> Prediction:
        """Localise in one photo: a file's path or bytes, a Pillow image, or H x W x 3 uint8 RGB.
        In what is damaged in a file nothing is marked.

        Raises:
            ImageError: the file cannot be read, or the array is no RGB image.
        """
        if isinstance(image, bytes):
            image = decode_image(image, "bytes")
        elif isinstance(image, str | os.PathLike):
            image = read_image(image)
        if isinstance(image, DecodedImage):
            return set_aside(self.predict_batch([image.pixels])[0], image.damaged)
        return self.predict_batch([as_pixels(image)])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Localise in several images of any sizes; those of equal size run together.

        When a CUDA device runs out of memory, this and all later batches are halved until they
        fit, and the log says so.
        """
        framed = [self._framed(image) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, (pixels, _) in enumerate(framed):
            groups.setdefault(pixels.shape, []).append(index)
        predictions: dict[int, Prediction] = {}
        with ThreadPoolExecutor(_THREADS) as threads:
            searched = images if self.postprocess.copy_move else ()
            found = [threads.submit(find_pairs, image) for image in searched]
            for indices in groups.values():
                group = self._predict_equal([framed[index][0] for index in indices])
                predictions.update(zip(indices, group, strict=True))
        answers = [
            _unframed(predictions[index], frame, images[index])
            for index, (_, frame) in enumerate(framed)
        ]
        pairs = [one.result() for one in found] or [[] for _ in images]
        return [
            _postprocessed(answer, self.postprocess, own)
            for answer, own in zip(answers, pairs, strict=True)
        ]

    def _framed(self, image: np.ndarray) -> tuple[np.ndarray, Frame | None]:
        """The photo in a picture, mirrored on to the start of its JPEG grid; and where it lies."""
        if not self.config.framing:
            return image, None
        frame = find_frame(image)
        pixels = frame.crop(image)
        top, left = frame.margin
        if top or left:
            pixels = cv2.copyMakeBorder(pixels, top, 0, left, 0, cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(pixels), frame

    def _predict_equal(self, images: list[np.ndarray]) -> list[Prediction]:
        height, width = images[0].shape[:2]
        in_tiles = not _fits(images[0]) or (
            self.device.type == "cpu" and height * width > LARGEST_WHOLE_ON_CPU
        )
        if self.config.input_size is None and in_tiles:
            return [self._predict_in_tiles(image) for image in images]
        predictions: list[Prediction] = []
        while len(predictions) < len(images):
            batch = self._that_fit(images[len(predictions) :][: self._largest_batch])
            try:
                predictions += self._predict_whole(batch)
            except torch.cuda.OutOfMemoryError:
                if len(batch) == 1:
                    raise
                self._largest_batch = len(batch) // 2
            else:
                continue
            # Not within `except`, where the error would keep the tensors of the attempt alive.
            torch.cuda.empty_cache()
            _log.warning(
                "CUDA ran out of memory with %d images at a time; continuing with %d",
                len(batch),
                self._largest_batch,
            )
        return predictions

    def _that_fit(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        """As many of a batch as main memory is free for, at least one; on a GPU all of them."""
        height, width = self.model.working_size(*batch[0].shape[:2])
        need = height * width * _BYTES_PER_PIXEL
        if self.device.type != "cpu" or len(batch) * need < _SMALL_BATCH:
            return batch
        free = free_memory()
        if free is None or len(batch) * need <= free:
            return batch
        fitting = max(1, free // need)
        _log.warning("memory is free for %d images at a time, not %d", fitting, len(batch))
        return batch[:fitting]

    def _predict_in_tiles(self, image: np.ndarray) -> Prediction:
        with self._answering():
            probabilities, tiles = localise_in_tiles(self.model, image)
        size = (image.shape[1], image.shape[0])
        return Prediction(probabilities, float(probabilities.max()), size, tiles)

    def _predict_whole(self, images: list[np.ndarray]) -> list[Prediction]:
        height, width = images[0].shape[:2]
        # A model that resizes its input needs no more pixels than fit.
        seen = [image if _fits(image) else _shrunk(image) for image in images]
        batch = torch.from_numpy(np.stack(seen))
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # so that the copy does not hold up this process
        with self._answering():
            batch = batch.to(self.device, non_blocking=True)
            probabilities = self.model(to_unit_range(batch)).probabilities
            if probabilities.shape[-2:] != (height, width):
                probabilities = torch.nn.functional.interpolate(
                    probabilities, (height, width), mode="bilinear", align_corners=False
                )
            scores = image_score(probabilities).tolist()
        working = self.model.working_size(*seen[0].shape[:2])
        maps = probabilities[:, 0].cpu().numpy()
        return [
            Prediction(one, score, effective_size=(working[1], working[0]))
            for one, score in zip(maps, scores, strict=True)
        ]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        lower = self.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=lower),
        ):
            yield


def _refuse_too_large(path: Path) -> None:
    """
    Raises:
        CheckpointError: memory is not free for the weights, which are there twice while they load.
    """
    try:
        need = 2 * path.stat().st_size
    except OSError:  # who reads it says why
        return
    free = free_memory()
    if free is not None and need > free:
        raise CheckpointError(
            f"{path}: loading these weights needs about {gigabytes(need)} of memory, and "
            f"{gigabytes(free)} are free; close other programs, or take smaller weights"
        )


def be_deterministic() -> None:
    """Make predictions bit-reproducible with the same libraries on the same kind of device.

    For the whole process, and before a model runs: one thread, since sums depend on how they are
    shared out, and no kernel that adds in the order of chance. Slower.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when CUDA starts
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(1)


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda, then mps, then cpu; anything else must be there.

    Raises:
        DeviceError: no such device on this machine; the message says what there is.
    """
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name}: no such device; use auto, cuda, cuda:N, mps or cpu") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceError(f"{name}: this machine has {count} CUDA devices; use --device auto")
    if device.type == "mps" and not mps:
        raise DeviceError("mps: not on this machine; use --device auto")
    if device.type not in ("cuda", "mps", "cpu"):
        raise DeviceError(f"{name}: no such device; use auto, cuda, cuda:N, mps or cpu")
    return device


def _unframed(prediction: Prediction, frame: Frame | None, image: np.ndarray) -> Prediction:
    """The prediction at the picture's size; bars are not marked."""
    if frame is None:
        return prediction
    top, left = frame.margin
    inside = prediction.probabilities[top:, left:]
    if inside.shape == image.shape[:2]:
        probabilities = np.ascontiguousarray(inside)
    else:
        probabilities = np.zeros(image.shape[:2], np.float32)
        frame.crop(probabilities)[:] = inside
    score = float(probabilities.max())
    size = (image.shape[1], image.shape[0])  # nothing was scaled
    return replace(
        prediction, probabilities=probabilities, score=score, effective_size=size, frame=frame
    )


def _postprocessed(
    prediction: Prediction, config: PostprocessConfig, pairs: list[LocatedPair]
) -> Prediction:
    """The prediction after the size's offset, hysteresis and copy-move marks; the network's map
    stays beside it."""
    network = prediction.probabilities
    frame = prediction.frame
    pixels = network.size if frame is None else frame.box[2] * frame.box[3]
    offset = offset_for_size(config.size_offsets, pixels)
    if not config.minimum_prominence and not pairs and not offset:
        return prediction
    probabilities = network.copy()
    if offset:
        add_offset(probabilities, offset)
    if config.minimum_prominence:
        apply_hysteresis(probabilities, config.minimum_prominence)
    marks: np.ndarray | None = None
    found: list[CopyMovePair] = []
    if pairs:
        of_pairs = marks_of_pairs(network, pairs)
        marks = copy_move_map(pairs, of_pairs)
        add_marks(probabilities, marks)
        for (pair, _), (one, other) in zip(pairs, of_pairs, strict=True):
            found.append(replace(pair, marks=(round(one, 6), round(other, 6))))
    return replace(
        prediction,
        probabilities=probabilities,
        score=float(probabilities.max()),
        network=network,
        size_offset=offset,
        copy_move_score=0.0 if marks is None else float(marks.max()),
        pairs=tuple(found),
        copy_move=marks,
    )


def _fits(image: np.ndarray) -> bool:
    height, width = image.shape[:2]
    return height * width <= LARGEST_WHOLE_PIXELS and max(height, width) <= LARGEST_WHOLE_SIDE


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    factor = min(
        (LARGEST_WHOLE_PIXELS / (height * width)) ** 0.5, LARGEST_WHOLE_SIDE / max(height, width)
    )
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
