"""Copy-move by matching: copies are found, look-alikes are not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fasa_cli.imaging import degradations
from fasa_cli.imaging.decode import read_image
from fasa_cli.postprocess import copy_move
from fasa_cli.postprocess.copy_move import (
    LocatedPair,
    add_marks,
    copy_move_map,
    find_pairs,
    marks_of_pairs,
)
from fasa_cli.results import CopyMovePair

EXAMPLES = Path(__file__).parents[2] / "examples"
CENTRE, RADIUS = (240, 130), 45  # of the part that is copied: the camera on its tripod
PLACE = (400, 390)  # where its copy goes


def photo(name="camera.jpg"):
    return read_image(EXAMPLES / "authentic" / name).pixels


def disc(size, centre, radius):
    canvas = np.zeros(size[:2], np.uint8)
    return cv2.circle(canvas, centre, radius, 1, -1) > 0


def copied(image, scale=1.0, angle=0.0, mirrored=False):
    """The photo with its disc copied to `PLACE`, the copy's mask and the map."""
    matrix = np.array(cv2.getRotationMatrix2D(CENTRE, angle, scale))
    if mirrored:
        matrix[:, 2] += 2 * CENTRE[0] * matrix[:, 0]
        matrix[:, 0] *= -1
    matrix[:, 2] += np.subtract(PLACE, CENTRE)
    size = image.shape[1::-1]
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC)
    mask = disc(image.shape, PLACE, round(RADIUS * scale))
    return np.where(mask[..., None], moved, image), mask, matrix


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize(
    "change",
    [{}, {"scale": 0.8}, {"scale": 1.2, "angle": 20}, {"mirrored": True}],
    ids=["moved", "smaller", "larger and turned", "mirrored"],
)
@pytest.mark.parametrize("quality", [None, 80])
def test_a_copy_is_found_where_it_is_and_where_it_came_from(change, quality):
    image, mask, matrix = copied(photo(), **change)
    if quality:
        image = degradations.jpeg(image, quality)
    found = find_pairs(image)
    assert len(found) == 1
    copy, regions = found[0]
    assert copy.probability > 0.5
    assert copy.matches >= 4
    ours = np.array(copy.matrix)
    there = overlap(regions[1], mask) > overlap(regions[0], mask)
    if not there:  # which is the copy cannot be known, so the map may be the inverse
        ours = cv2.invertAffineTransform(ours)
    target, source = regions if not there else regions[::-1]
    assert overlap(target, mask) > 0.6
    assert overlap(source, disc(image.shape, CENTRE, RADIUS)) > 0.6
    np.testing.assert_allclose(ours @ [*CENTRE, 1], matrix @ [*CENTRE, 1], atol=1.5)
    np.testing.assert_allclose(ours[:, :2], matrix[:, :2], atol=0.05)
    x, y, width, height = copy.boxes[1 if there else 0]
    np.testing.assert_allclose([x + width / 2, y + height / 2], PLACE, atol=12)


@pytest.mark.parametrize("name", ["camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"])
def test_nothing_is_found_in_untouched_photos(name):
    assert find_pairs(photo(name)) == []


def test_look_alikes_are_no_copies():
    """The same tile over and over, each taken with grain of its own and not quite in place."""
    rng = np.random.default_rng(0)
    tile = cv2.GaussianBlur(rng.uniform(0, 255, (64, 64)).astype(np.float32), (0, 0), 3)
    tile = cv2.normalize(tile, None, 60, 190, cv2.NORM_MINMAX)
    rows = []
    for _ in range(4):
        moved = [
            cv2.warpAffine(
                tile,
                cv2.getRotationMatrix2D((32, 32), rng.uniform(-3, 3), rng.uniform(0.94, 1.06)),
                (64, 64),
                borderMode=cv2.BORDER_REFLECT,
            )
            for _ in range(6)
        ]
        rows.append(np.hstack(moved))
    wall = np.repeat(np.vstack(rows)[..., None], 3, axis=2)
    wall = (wall + rng.normal(0, 6, wall.shape)).clip(0, 255).astype(np.uint8)
    assert find_pairs(wall) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((200, 200, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8),
        np.random.default_rng(0).integers(0, 256, (3, 400, 3), dtype=np.uint8),
    ],
    ids=["one pixel", "flat", "noise", "strip"],
)
def test_what_holds_no_copy_is_no_trouble(image):
    assert find_pairs(image) == []


def test_the_same_photo_gives_the_same_finding():
    image, _, _ = copied(photo())
    assert [one.pair for one in find_pairs(image)] == [one.pair for one in find_pairs(image)]


def test_boxes_are_in_pixels_of_a_large_photo():
    image, mask, _ = copied(photo())
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = find_pairs(large)
    assert len(found) == 1
    assert found[0].regions[0].size <= copy_move.LARGEST
    centres = [np.add(box[:2], np.divide(box[2:], 2)) / 3 for box in found[0].pair.boxes]
    assert min(np.linalg.norm(centre - PLACE) for centre in centres) < 12
    matrix = np.array(found[0].pair.matrix)
    moved = np.abs(matrix @ [0, 0, 1] / 3)
    np.testing.assert_allclose(moved, np.abs(np.subtract(PLACE, CENTRE)), atol=2)
    assert mask.any()


def test_mirrored_descriptors_are_those_of_the_mirror_image():
    """Against OpenCV's own descriptors of the flipped photo, at the same places."""
    grey = cv2.cvtColor(photo("chelsea.jpg"), cv2.COLOR_RGB2GRAY)
    sift = cv2.SIFT.create(nfeatures=200)
    points, descriptors = sift.detectAndCompute(grey, None)
    width = grey.shape[1]
    flipped = [
        cv2.KeyPoint(
            width - 1 - one.pt[0], one.pt[1], one.size, (180 - one.angle) % 360, 1.0, one.octave
        )
        for one in points
    ]
    expected = sift.compute(np.ascontiguousarray(grey[:, ::-1]), flipped)[1]
    ours = copy_move._mirrored(descriptors)

    def alike(one, other):
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        return np.median((one * other).sum(1) / norms)

    assert alike(ours, expected) > 0.98
    assert alike(descriptors, expected) < 0.8


# --- Marks --------------------------------------------------------------------------------------


def finding(probability=0.9):
    first, second = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    first[2:8, 2:8] = second[10:16, 30:36] = True
    identity = ((1.0, 0.0, 28.0), (0.0, 1.0, 8.0))
    pair = CopyMovePair(((2, 2, 6, 6), (30, 10, 6, 6)), identity, probability, 9)
    return LocatedPair(pair, (first, second))


def marked(probabilities, *findings):
    answer = probabilities.copy()
    add_marks(answer, copy_move_map(findings, marks_of_pairs(probabilities, findings)))
    return answer


def test_both_regions_are_marked_alike_where_nothing_sets_one_apart():
    answer = marked(np.full((20, 40), 0.2, np.float32), finding())
    both = finding().regions[0] | finding().regions[1]
    np.testing.assert_allclose(answer[both], 0.9, atol=1e-6)


def test_the_region_that_looks_forged_is_marked_more():
    one = finding()
    network = np.full((20, 40), 0.2, np.float32)
    network[one.regions[1]] = 0.6
    marks = copy_move_map([one], marks_of_pairs(network, [one]))
    assert marks[one.regions[1]].min() == pytest.approx(0.9)
    assert marks[one.regions[0]].max() < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_pair_lowers_nothing_that_the_network_marks(seed):
    """Whatever else was done to the photo: another forgery's marks stay, inside pairs too."""
    network = np.random.default_rng(seed).random((20, 40), np.float32)
    before = network.copy()
    answer = marked(network, finding(1.0), finding(0.6))
    assert (answer >= before).all()
    np.testing.assert_array_equal(network, before)  # it was only read
    outside = ~(finding().regions[0] | finding().regions[1])
    np.testing.assert_array_equal(answer[outside], before[outside])


def test_a_large_photo_is_marked_at_its_own_size():
    answer = marked(np.zeros((1300, 2600), np.float32), finding(0.8))
    assert answer[300, 300] == pytest.approx(0.8)
    assert answer[13 * 65, 33 * 65] == pytest.approx(0.8)
    assert (answer > 0.5).mean() == pytest.approx(72 / 800, abs=1e-3)
