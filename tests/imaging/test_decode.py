import hashlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from skimage.metrics import peak_signal_noise_ratio

from fasa_cli.errors import ImageError
from fasa_cli.imaging import colour
from fasa_cli.imaging.decode import decode_image, read_image
from fasa_cli.imaging.encode import (
    encode_png,
)
from fasa_cli.imaging.formats import HEAD_BYTES, IMAGE_SUFFIXES, SUPPORTED_FORMATS, sniff_format
from fasa_cli.results import DecodedImage

# pytest resets the filters that the module sets for itself.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ORIENTATION = 274


def photo(height: int = 37, width: int = 53, seed: int = 0) -> np.ndarray:
    """H x W x 3 uint8: a smooth gradient with a little noise, different at every corner."""
    noise = np.random.default_rng(seed).integers(0, 30, (height, width, 3))
    ramp = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 100, height)[:, None, None]
    return (noise + ramp * np.array([1.0, 0.7, 0.4])).astype(np.uint8)


def saved(image: Image.Image | np.ndarray, file_format: str, **options: Any) -> bytes:
    """The bytes of an image saved by Pillow."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.copy().save(stream, file_format, **options)  # a save leaves its settings behind
    return stream.getvalue()


def two_frames(image: Image.Image, file_format: str) -> bytes:
    """An animation, or a file of two pages: the image, then the image upside down."""
    return saved(image, file_format, save_all=True, append_images=[image.rotate(180)])


def exif_with(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def tiff(samples: np.ndarray, tags: dict[int, object] | None = None) -> bytes:
    """A one-strip grey TIFF, written by hand: little-endian, any sample type, any extra tags."""
    height, width = samples.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    entries: dict[int, object] = {
        256: width,
        257: height,
        258: samples.itemsize * 8,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: height,
        279: samples.nbytes,
        339: kinds[samples.dtype.kind],
    }
    entries.update(tags or {})
    directory = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items())
    )
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    data += b"\0" * (len(data) % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(entries)) + directory + struct.pack("<I", 0)


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG whose header may promise anything."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def samples() -> dict[str, bytes]:
    """One small file of every format and of the variants that are decoded differently."""
    image = Image.fromarray(photo())
    grey = np.asarray(image.convert("L"))
    exif = exif_with(6)
    return {
        "jpeg": saved(image, "JPEG", exif=exif),
        "jpeg progressive": saved(image, "JPEG", progressive=True),
        "jpeg cmyk": saved(image.convert("CMYK"), "JPEG"),
        "mpo": two_frames(image, "MPO"),
        "png": saved(image, "PNG", exif=exif),
        "png palette": saved(image.convert("P"), "PNG", transparency=3),
        "png 16 bit": saved(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        "apng": two_frames(image, "PNG"),
        "webp": saved(image, "WEBP", exif=exif),
        "webp lossless": saved(image, "WEBP", lossless=True),
        "webp animated": two_frames(image, "WEBP"),
        "tiff": saved(image, "TIFF"),
        "tiff lzw": saved(image, "TIFF", compression="tiff_lzw", exif=exif),
        "tiff deflate": saved(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": saved(image, "TIFF", compression="jpeg"),
        "tiff fax": saved(image.convert("1"), "TIFF", compression="group4"),
        "tiff pages": two_frames(image, "TIFF"),
        "tiff float": tiff(grey.astype(np.float32) / 255),
        "bmp": saved(image, "BMP"),
        "bmp palette": saved(image.convert("P"), "BMP"),
        "gif": saved(image, "GIF"),
        "gif animated": two_frames(image, "GIF"),
        "avif": saved(image, "AVIF", exif=exif),
        "avif animated": two_frames(image, "AVIF"),
    }


SAMPLES = samples()


# --- Formats --------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", SAMPLES)
def test_every_variant_decodes_to_upright_rgb(variant: str) -> None:
    decoded = decode_image(SAMPLES[variant], variant)
    height, width = (37, 53) if decoded.orientation == 1 else (53, 37)
    assert decoded.format in SUPPORTED_FORMATS
    assert decoded.stored_size == (53, 37)
    assert decoded.pixels.shape == (height, width, 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.pixels.flags.writeable
    assert decoded.bytes == len(SAMPLES[variant])
    assert decoded.sha256 == hashlib.sha256(SAMPLES[variant]).hexdigest()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]
    + [("TIFF", {"compression": c}) for c in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits")],
)
def test_lossless_formats_give_the_very_pixels(file_format: str, options: dict[str, Any]) -> None:
    decoded = decode_image(saved(photo(), file_format, **options), "photo")
    np.testing.assert_array_equal(decoded.pixels, photo())
    assert decoded.format == file_format
    assert decoded.mode == "RGB"
    assert decoded.warnings == ()


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_close(file_format: str) -> None:
    smooth = cv2.GaussianBlur(photo(), (0, 0), 2)
    decoded = decode_image(saved(smooth, file_format, quality=95), "photo")
    assert peak_signal_noise_ratio(smooth, decoded.pixels) > 35


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(saved(photo(), "PNG"))
    assert read_image(path).format == "PNG"


def test_sniffing_agrees_with_what_is_decoded() -> None:
    for variant, data in SAMPLES.items():
        assert sniff_format(data[:HEAD_BYTES]) == decode_image(data, variant).format


UNSUPPORTED = {
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"],
    "Photoshop PSD": [b"8BPS\0\x01"],
}
SNIFFED = UNSUPPORTED | {
    "HEIC": [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf",
    ],
    "JPEG XL": [b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "camera RAW": [b"II*\0\x10\0\0\0CR\x02\0", b"FUJIFILMCCD-RAW 0201", b"\0\0\0\x18ftypcrx \0"],
}


@pytest.mark.parametrize(
    ("file_format", "head"), [(name, head) for name, heads in SNIFFED.items() for head in heads]
)
def test_formats_are_told_by_their_first_bytes(file_format: str, head: bytes) -> None:
    assert sniff_format(head) == file_format
    with pytest.raises(ImageError, match=rf"^a\.x: {file_format} "):
        decode_image(head, "a.x")


@pytest.mark.parametrize("file_format", UNSUPPORTED)
def test_known_formats_that_are_not_supported_say_so(file_format: str) -> None:
    with pytest.raises(ImageError, match=rf"^a\.x: {file_format} is not supported; convert it to"):
        decode_image(UNSUPPORTED[file_format][0], "a.x")


@pytest.mark.parametrize("tags", [{50706: 0x00000401}, {254: 1, 330: 8}])
def test_the_preview_of_a_camera_raw_file_is_never_taken_for_the_photo(
    tags: dict[int, object],
) -> None:
    with pytest.raises(ImageError, match=r"shot\.dng: .*camera RAW"):
        decode_image(tiff(np.zeros((4, 4), np.uint8), tags), "shot.dng")


@pytest.mark.parametrize(
    "data",
    [b"BMW is a maker of cars and engines", b"\0\0\0\x18ftypmp42\0\0\0\0isom", b"RIFFxxxxWAVE"],
)
def test_other_files_are_no_images(data: bytes) -> None:
    assert sniff_format(data) is None
    with pytest.raises(ImageError, match=r"note\.txt: not an image; supported are JPEG, PNG"):
        decode_image(data, "note.txt")


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif"} <= (
        IMAGE_SUFFIXES
    )
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in IMAGE_SUFFIXES)


# --- Damage ---------------------------------------------------------------------------------


def decoded_or_error(data: bytes, name: str) -> DecodedImage | str:
    """The image, or the message of the ImageError; anything else fails the test."""
    try:
        return decode_image(data, name, max_pixels=1_000_000)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("variant", SAMPLES)
def test_a_cut_file_is_refused_or_complete_in_its_first_frame(variant: str) -> None:
    data = SAMPLES[variant]
    whole = decode_image(data, variant).pixels
    cuts = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 12, len(data))}
    first_frame_end = len(data) - 4  # PNG's last checksum
    if variant in ("mpo", "tiff pages"):
        first_frame_end = len(data) // 2 - 20
    for cut in cuts:
        decoded = decoded_or_error(data[:cut], variant)
        if isinstance(decoded, str):
            assert decoded.startswith(f"{variant}: ")
            continue
        assert cut >= first_frame_end, f"cut at {cut} of {len(data)} went unnoticed"
        np.testing.assert_array_equal(decoded.pixels, whole)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_a_cut_of_a_large_file_is_refused(file_format: str) -> None:
    """Larger than the decoders' 64 kB buffers, so that they are fed in pieces."""
    data = saved(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8), file_format)
    assert len(data) > 64 * 1024
    for share in (0.2, 0.5, 0.9, 0.999):
        with pytest.raises(ImageError):
            decode_image(data[: int(len(data) * share)], "photo")


@pytest.mark.parametrize("variant", ["jpeg", "png", "gif", "bmp", "tiff", "webp", "avif"])
def test_bytes_after_the_picture_are_allowed(variant: str) -> None:
    whole = decode_image(SAMPLES[variant], variant)
    longer = decode_image(SAMPLES[variant] + b"\0\0 made by a camera", variant)
    np.testing.assert_array_equal(longer.pixels, whole.pixels)


def test_the_end_marker_of_a_thumbnail_does_not_count() -> None:
    thumbnail = saved(photo(12, 16), "JPEG")
    block = b"Exif\0\0" + thumbnail
    data = SAMPLES["jpeg progressive"]
    app1 = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    data = data[:2] + app1 + data[2:]
    assert decode_image(data, "a").stored_size == (53, 37)
    with pytest.raises(ImageError, match="stops before its end-of-image marker"):
        decode_image(data[:-200], "a")


def test_a_wrong_png_checksum_is_refused() -> None:
    data = bytearray(SAMPLES["png"])
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(ImageError, match="PNG file is damaged"):
        decode_image(bytes(data), "a.png")


def test_a_jpeg_that_was_ended_early_is_marked() -> None:
    """A cut file given an end marker decodes; what is missing comes out as plain grey."""
    data = saved(photo(200, 300), "JPEG", quality=95)
    decoded = decode_image(data[: len(data) // 2] + b"\xff\xd9", "a")
    assert any("mid-grey" in warning for warning in decoded.warnings)


def test_an_empty_file_says_so() -> None:
    with pytest.raises(ImageError, match="the file is empty"):
        decode_image(b"", "a")


def mutated(data: bytes, generator: np.random.Generator) -> bytes:
    """A few bytes overwritten, or a stretch zeroed, removed or repeated."""
    changed = bytearray(data)
    start = int(generator.integers(len(changed)))
    stretch = slice(start, start + int(generator.integers(1, 200)))
    kind = generator.integers(4)
    if kind == 0:
        for _ in range(int(generator.integers(1, 30))):
            changed[int(generator.integers(len(changed)))] = int(generator.integers(256))
    elif kind == 1:
        changed[stretch] = bytes(len(changed[stretch]))
    elif kind == 2:
        del changed[stretch]
    else:
        changed[start:start] = changed[stretch]
    return bytes(changed)


@pytest.mark.parametrize("variant", SAMPLES)
def test_a_mutated_file_is_an_image_or_an_image_error(variant: str) -> None:
    generator = np.random.default_rng(list(variant.encode()))
    for _ in range(60):
        data = mutated(SAMPLES[variant], generator)
        if generator.integers(3) == 0:  # checksums hide most of the decoder: attack the head too
            data = mutated(data[:200], generator) + data[200:]
        decoded = decoded_or_error(data, "a")
        if isinstance(decoded, str):
            assert "\n" not in decoded
        else:
            height, width = decoded.pixels.shape[:2]
            sides = (width, height) if decoded.orientation < 5 else (height, width)
            assert decoded.stored_size == sides


@pytest.mark.parametrize(
    "error", [KeyError("x"), MemoryError(), zlib.error("bad"), RecursionError("deep"), EOFError()]
)
def test_whatever_the_decoder_raises_is_an_image_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setitem(Image.OPEN, "BMP", (fail, None))
    with pytest.raises(
        ImageError, match=r"a\.bmp: BMP file (is damaged or incomplete|with a damaged header)"
    ):
        decode_image(SAMPLES["bmp"], "a.bmp")


def test_nothing_is_printed(tmp_path: Path) -> None:
    """Pillow warns of bad EXIF and logs odd TIFFs; stderr is the command's own."""
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01" * 30))
    code = f"from fasa_cli.imaging.decode import read_image; read_image({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def png_with_text() -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "a side chunk")
    buffer = io.BytesIO()
    Image.fromarray(photo(20, 30)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_a_png_with_a_broken_side_chunk_is_read_with_a_warning() -> None:
    data = bytearray(png_with_text())
    data[data.index(b"side chunk")] ^= 1
    image = decode_image(bytes(data), "a.png")
    np.testing.assert_array_equal(image.pixels, photo(20, 30))
    (warning,) = image.warnings
    assert "tEXt" in warning
    assert decode_image(png_with_text(), "a.png").warnings == ()


# --- Size -----------------------------------------------------------------------------------


def test_too_many_declared_pixels_are_refused_before_decoding() -> None:
    bomb = png(20_000, 20_000, b"\0" * 100)
    with pytest.raises(ImageError, match=r"20000 x 20000 pixels.*limit of 200000000.*cut"):
        decode_image(bomb, "bomb.png")


@pytest.mark.parametrize("variant", SAMPLES)
def test_the_limit_holds_for_every_format(variant: str) -> None:
    decode_image(SAMPLES[variant], variant, max_pixels=53 * 37)
    with pytest.raises(ImageError, match="declares 53 x 37 pixels, more than the limit of 1960"):
        decode_image(SAMPLES[variant], variant, max_pixels=53 * 37 - 1)


def test_the_limit_may_be_above_pillows_own() -> None:
    """Pillow alone would stop at 179 million; here only the missing rows are wrong."""
    with pytest.raises(ImageError, match="damaged or incomplete"):
        decode_image(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 14_000, 14_000, 1,
                                         24, 0, 0, 0, 0, 0, 0), "a")  # fmt: skip


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_at_all_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError):
        decode_image(png(*size, b""), "a.png")
    with pytest.raises(ImageError):
        decode_image(tiff(np.zeros((2, 2), np.uint8), {256: size[0], 257: size[1]}), "a.tif")


def test_one_pixel_is_an_image() -> None:
    np.testing.assert_array_equal(decode_image(saved(photo(1, 1), "PNG"), "a").pixels, photo(1, 1))


# --- Orientation ----------------------------------------------------------------------------


def stored_for(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores so that `orientation` restores `upright`, pixel by pixel.

    The EXIF standard says where the stored row 0 and column 0 are in the upright picture.
    """
    height, width = upright.shape[:2]
    stored_shape = (height, width, 3) if orientation < 5 else (width, height, 3)
    stored = np.empty(stored_shape, np.uint8)
    for row in range(stored_shape[0]):
        for column in range(stored_shape[1]):
            y, x = {
                1: (row, column),  # row 0 at the top, column 0 at the left
                2: (row, width - 1 - column),  # top, right
                3: (height - 1 - row, width - 1 - column),  # bottom, right
                4: (height - 1 - row, column),  # bottom, left
                5: (column, row),  # left, top
                6: (column, width - 1 - row),  # right, top
                7: (height - 1 - column, width - 1 - row),  # right, bottom
                8: (height - 1 - column, row),  # left, bottom
            }[orientation]
            stored[row, column] = upright[y, x]
    return stored


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation(orientation: int, compression: str | None) -> None:
    upright = photo(9, 14)
    stored = stored_for(upright, orientation)
    data = saved(stored, "TIFF", exif=exif_with(orientation), compression=compression)
    check_upright(data, upright, stored, orientation)


@pytest.mark.parametrize(
    ("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, file_format: str, options: dict[str, Any]) -> None:
    upright = photo(9, 14)
    stored = stored_for(upright, orientation)
    data = saved(stored, file_format, exif=exif_with(orientation), **options)
    check_upright(data, upright, stored, orientation)


def check_upright(data: bytes, upright: np.ndarray, stored: np.ndarray, orientation: int) -> None:
    decoded = decode_image(data, "a")
    np.testing.assert_array_equal(decoded.pixels, upright)
    assert decoded.pixels.flags.c_contiguous
    assert decoded.orientation == orientation
    assert decoded.stored_size == (stored.shape[1], stored.shape[0])
    assert decoded.display_size == (14, 9)
    assert decoded.warnings == ()


@pytest.mark.parametrize("file_format", ["JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_lossy_exif_orientation(orientation: int, file_format: str) -> None:
    upright = cv2.GaussianBlur(photo(64, 96), (0, 0), 3)
    stored = stored_for(upright, orientation)
    data = saved(stored, file_format, exif=exif_with(orientation), quality=95)
    decoded = decode_image(data, "a")
    assert decoded.orientation == orientation
    assert peak_signal_noise_ratio(upright, decoded.pixels) > 35


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_impossible_orientation_is_ignored_with_a_warning(orientation: int) -> None:
    decoded = decode_image(saved(photo(), "PNG", exif=exif_with(orientation)), "a")
    np.testing.assert_array_equal(decoded.pixels, photo())
    assert decoded.orientation == 1
    assert decoded.warnings == (f"EXIF orientation {orientation} is not one of 1-8; ignored",)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1\1\1\1"])
def test_broken_exif_is_a_warning_not_an_error(block: bytes, file_format: str) -> None:
    decoded = decode_image(saved(photo(), file_format, exif=block), "a")
    assert decoded.orientation == 1
    assert "EXIF unreadable" in decoded.warnings[0]


# --- Depths and modes -----------------------------------------------------------------------


def ramp16() -> np.ndarray:
    return np.arange(65536, dtype=np.uint16).reshape(256, 256)


def grey_of(data: bytes) -> np.ndarray:
    """The grey plane of a decoded file, after a check that all channels are equal."""
    pixels = decode_image(data, "a").pixels
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 0]


@pytest.mark.parametrize("writer", ["png", "tiff", "big-endian tiff"])
def test_16_bit_grey_is_scaled_not_clipped(writer: str) -> None:
    data = {
        "png": lambda: encode_png(ramp16()),
        "tiff": lambda: tiff(ramp16()),
        "big-endian tiff": lambda: saved(
            Image.frombytes("I;16B", (256, 256), ramp16().astype(">u2").tobytes()), "TIFF"
        ),
    }[writer]()
    np.testing.assert_array_equal(grey_of(data), np.rint(ramp16() / 257).astype(np.uint8))


def test_16_bit_grey_is_turned_upright_too() -> None:
    stored = ramp16()[:30, :50].copy()
    expected = np.rot90(np.rint(stored / 257).astype(np.uint8), -1)
    np.testing.assert_array_equal(grey_of(tiff(stored, {ORIENTATION: 6})), expected)


def test_16_bit_colour_keeps_the_high_byte() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    for suffix in (".png", ".tiff"):
        done, data = cv2.imencode(suffix, deep[:, :, ::-1])
        assert done
        pixels = decode_image(data.tobytes(), "a").pixels
        np.testing.assert_array_equal(pixels, (deep >> 8).astype(np.uint8))


def test_white_is_zero_is_inverted() -> None:
    inverted = grey_of(tiff(ramp16(), {262: 0}))
    np.testing.assert_array_equal(inverted, 255 - np.rint(ramp16() / 257).astype(np.uint8))


def test_12_bit_grey_is_scaled_by_its_own_white() -> None:
    """Two samples of 12 bits in three bytes: black and white."""
    packed = np.tile(np.array([0x00, 0x0F, 0xFF], np.uint8), 2)[None]
    data = tiff(packed, {256: 4, 258: 12, 339: 1})
    np.testing.assert_array_equal(grey_of(data), [[0, 255, 0, 255]])


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_32_bit_integers_within_16_bits_are_read_as_such(dtype: type) -> None:
    expected = np.rint(ramp16() / 257).astype(np.uint8)
    np.testing.assert_array_equal(grey_of(tiff(ramp16().astype(dtype))), expected)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(np.int32, -1_000_000, 500), (np.uint32, 7, 4_000_000_000)]
)
def test_wider_integers_are_stretched_with_a_warning(dtype: type, low: int, high: int) -> None:
    values = np.linspace(low, high, 600).reshape(20, 30).astype(dtype)
    values[0, 0], values[-1, -1] = low, high
    expected = np.rint((values.astype(np.float64) - low) / (high - low) * 255)
    np.testing.assert_array_equal(grey_of(tiff(values)), expected.astype(np.uint8))
    assert decode_image(tiff(values), "a").warnings == (
        f"integer samples {low}..{high} stretched to 0..255",
    )


def test_floats_from_0_to_1_are_scaled_by_255() -> None:
    values = np.random.default_rng(0).random((20, 30), dtype=np.float32) * np.float32(0.6)
    expected = np.rint(values.astype(np.float64) * 255).astype(np.uint8)
    np.testing.assert_array_equal(grey_of(tiff(values)), expected)
    assert decode_image(tiff(values), "a").warnings == ()


def test_other_floats_are_stretched_with_a_warning() -> None:
    values = np.array([[-2.0, 0.0, 8.0], [np.nan, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(grey_of(tiff(values)), [[0, 51, 255], [0, 255, 0]])
    assert decode_image(tiff(values), "a").warnings == (
        "3 samples are not finite numbers",
        "float samples -2..8 stretched to 0..255",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.5, 1e38])
def test_constant_or_empty_floats_are_still_an_image(value: float) -> None:
    pixels = decode_image(tiff(np.full((2, 3), value, np.float32)), "a").pixels
    assert pixels.shape == (2, 3, 3)


def test_grey_bilevel_and_palette() -> None:
    grey = photo()[:, :, 0]
    np.testing.assert_array_equal(grey_of(saved(grey, "PNG")), grey)
    bilevel = grey > 90
    for file_format in ("PNG", "TIFF", "BMP", "GIF"):
        data = saved(Image.fromarray(bilevel), file_format)
        np.testing.assert_array_equal(grey_of(data), bilevel * np.uint8(255))
    palette = Image.fromarray(photo()).convert("P")
    expected = np.asarray(palette.convert("RGB"))
    for file_format in ("PNG", "TIFF", "BMP", "GIF"):
        decoded = decode_image(saved(palette, file_format), "a")
        np.testing.assert_array_equal(decoded.pixels, expected)
        assert decoded.mode == "P"


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[:, :, None] / 255
    return rgb * share + 255 * (1 - share)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_opaque_alpha_is_dropped_untouched(file_format: str) -> None:
    opaque = np.dstack([photo(), np.full((37, 53), 255, np.uint8)])
    options = {"lossless": True} if file_format == "WEBP" else {}
    decoded = decode_image(saved(opaque, file_format, **options), "a")
    np.testing.assert_array_equal(decoded.pixels, photo())
    assert decoded.warnings == ()


def test_transparency_is_composited_over_white() -> None:
    alpha = np.random.default_rng(2).integers(0, 256, (37, 53), dtype=np.uint8)
    alpha[:5], alpha[5:10] = 0, 255
    decoded = decode_image(saved(np.dstack([photo(), alpha]), "PNG"), "a")
    np.testing.assert_allclose(decoded.pixels, over_white(photo(), alpha), atol=1)
    np.testing.assert_array_equal(decoded.pixels[5:10], photo()[5:10])
    assert (decoded.pixels[:5] == 255).all()
    assert decoded.warnings == ("transparent pixels; composited over white",)


def test_grey_alpha_and_transparent_colours() -> None:
    grey, alpha = photo()[:, :, 0], photo()[:, :, 1]
    pair = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    pixels = decode_image(saved(pair, "PNG"), "a").pixels
    np.testing.assert_allclose(pixels, over_white(np.dstack([grey] * 3), alpha), atol=1)

    indices = np.arange(6, dtype=np.uint8).reshape(2, 3)
    palette = Image.fromarray(indices)
    palette.putpalette(bytes(range(18)))
    for file_format in ("PNG", "GIF"):
        pixels = decode_image(saved(palette, file_format, transparency=4), "a").pixels
        assert (pixels[1, 1] == 255).all()
        np.testing.assert_array_equal(pixels[1, 2], (15, 16, 17))


def test_premultiplied_tiff_alpha() -> None:
    premultiplied = np.dstack([photo() // 2, np.full((37, 53), 128, np.uint8)])
    plain = saved(premultiplied, "TIFF")
    with Image.open(io.BytesIO(plain)) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        assert image.tag_v2[338] == (2,)
    entry = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    data = plain.replace(entry, struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert data != plain
    pixels = decode_image(data, "a").pixels
    np.testing.assert_allclose(pixels, premultiplied[:, :, :3] + 127.0, atol=3)


def test_cmyk_without_a_profile_uses_the_plain_formula() -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    decoded = decode_image(saved(cmyk, "TIFF"), "a")
    np.testing.assert_array_equal(decoded.pixels, photo())
    assert decoded.mode == "CMYK"
    assert decoded.warnings == ("CMYK converted to RGB",)


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    smooth = cv2.GaussianBlur(photo(), (0, 0), 2)
    data = saved(Image.fromarray(smooth).convert("CMYK"), "JPEG", quality=98)
    assert peak_signal_noise_ratio(smooth, decode_image(data, "a").pixels) > 33


def test_an_unusable_cmyk_profile_is_a_warning() -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (b"no profile", srgb):
        decoded = decode_image(saved(cmyk, "TIFF", icc_profile=profile), "a")
        np.testing.assert_array_equal(decoded.pixels, photo())
        assert decoded.warnings == ("embedded CMYK profile unusable", "CMYK converted to RGB")


def test_a_cmyk_profile_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CMYK profile can be made here, so the conversion is only seen to be asked for."""
    asked = []

    def convert(image: Image.Image, profile: object) -> Image.Image:
        asked.append(profile)
        return Image.new("RGB", image.size, (1, 2, 3))

    monkeypatch.setattr(colour, "_convert_by_profiles", convert)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(Image.fromarray(photo()).convert("CMYK"), "TIFF", icc_profile=srgb)
    decoded = decode_image(data, "a")
    assert len(asked) == 1
    assert (decoded.pixels == (1, 2, 3)).all()
    assert decoded.warnings == ("CMYK converted to RGB by its embedded profile",)


def test_rgb_profiles_are_not_applied() -> None:
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    decoded = decode_image(saved(photo(), "PNG", icc_profile=swapped), "a")
    np.testing.assert_array_equal(decoded.pixels, photo())


def test_lab_and_ycbcr_tiffs_become_rgb() -> None:
    smooth = cv2.GaussianBlur(photo(), (0, 0), 2)
    image = Image.fromarray(smooth)
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(image, to_lab)
    assert lab is not None
    decoded = decode_image(saved(lab, "TIFF"), "a")
    assert decoded.mode == "LAB"
    assert decoded.warnings == ("LAB converted to RGB",)
    np.testing.assert_allclose(decoded.pixels, smooth.astype(float), atol=4)

    decoded = decode_image(saved(image.convert("YCbCr"), "TIFF", compression="tiff_lzw"), "a")
    np.testing.assert_allclose(decoded.pixels, smooth.astype(float), atol=3)


# --- Frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["mpo", "apng", "webp animated", "tiff pages", "gif animated"])
def test_only_the_first_frame_is_read(variant: str) -> None:
    decoded = decode_image(SAMPLES[variant], variant)
    assert decoded.frames == 2
    assert "2 frames; only the first was analysed" in decoded.warnings
    distance = np.abs(decoded.pixels - photo().astype(float)).mean()
    assert distance < 10 < np.abs(decoded.pixels[::-1, ::-1] - photo().astype(float)).mean()


def test_a_broken_second_page_counts_as_none() -> None:
    data = SAMPLES["tiff pages"]
    decoded = decode_image(data[: len(data) // 2], "a")
    assert decoded.frames == 1
    assert decoded.warnings == ("further frames unreadable; only the first was analysed",)


# --- Reading --------------------------------------------------------------------------------


def test_reading_hashes_the_bytes_that_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bühne 1.png"
    path.write_bytes(SAMPLES["png"])
    decoded = read_image(path)
    assert decoded.sha256 == hashlib.sha256(SAMPLES["png"]).hexdigest()
    assert decoded.bytes == len(SAMPLES["png"])


def test_reading_names_the_file_in_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read \(No such file"):
        read_image(tmp_path / "gone.png")
    for path in (str(tmp_path), "zero\0byte.png"):
        with pytest.raises(ImageError, match="cannot be read"):
            read_image(path)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(SAMPLES["jpeg"][:-50])
    with pytest.raises(ImageError, match=r"damaged\.jpg: JPEG file is damaged or incomplete"):
        read_image(str(damaged))
