"""What makes a photo's result weaker than its score: size, compression, tiles, bars."""

from __future__ import annotations

from fasa_cli.imaging.metadata import PhotoMetadata
from fasa_cli.results import DecodedImage, Prediction

_LARGE = 12_600_000  # pixels; whatever a camera of today takes is no special case
_SMALL_SIDE = 256  # pixels; about what the model was trained on
_STRONG_COMPRESSION = (
    75  # JPEG quality; below it the statistics that editing changes are mostly gone
)


def cautions(
    image: DecodedImage, metadata: PhotoMetadata, prediction: Prediction
) -> tuple[str, ...]:
    """Sentences for the photo's record, what the decoder noted among them."""
    width, height = image.display_size
    notes = [f"The file: {warning}." for warning in image.warnings]
    if min(width, height) < _SMALL_SIDE:
        notes.append(
            f"Small: {width} x {height} pixels hold little of what editing changes in a photo."
        )
    if metadata.jpeg_quality is not None and metadata.jpeg_quality < _STRONG_COMPRESSION:
        notes.append(
            f"Recompressed: JPEG quality is about {metadata.jpeg_quality}, as after being shared. "
            "Signs of editing may be gone, and the blocks of compression may be marked."
        )
    if tuple(prediction.effective_size) != (width, height):
        seen = "{} x {}".format(*prediction.effective_size)
        notes.append(
            f"Resized for the model: it saw {seen} of {width} x {height} pixels; small edits may "
            "be missed."
        )
    if prediction.tiles > 1 and width * height > _LARGE:
        notes.append(f"Large: analysed in {prediction.tiles} overlapping tiles.")
    frame = prediction.frame
    if frame is not None and frame.box != (0, 0, width, height):
        x, y, inner_width, inner_height = frame.box
        notes.append(
            f"Bars around the photo were not analysed: it is {inner_width} x {inner_height} pixels "
            f"at ({x}, {y})."
        )
    return tuple(notes)
