"""Small drawings made offline with integer arithmetic: byte-identical on every machine."""

import numpy as np

from imageclf.datasets.source import Arrays, Entry
from imageclf.randomness import permutation, random_bits, random_integers

CLASSES = ("circle", "cross", "diamond", "frame", "ring", "saltire", "square", "triangle")
SIDE = 32  # pixels
TRAIN, TEST = 2000, 500  # images
SEED = 20
UNIT = 64  # half the width of a shape, in drawing coordinates

# One stream of random draws for each property.
TRAIN_LABEL, TEST_LABEL, WIDTH, HEIGHT, X, Y, PAPER, INK, SLOPE, SPECK_X, SPECK_Y, NOISE = range(12)


def draw_shapes() -> Arrays:
    """The data set: 2,000 training and 500 test images, balanced over the classes."""
    train = permutation(TRAIN, SEED, TRAIN_LABEL) % len(CLASSES)
    test = permutation(TEST, SEED, TEST_LABEL) % len(CLASSES)
    images = _draw(np.concatenate([train, test]))
    return {"train_images": images[:TRAIN], "train_labels": train, "test_images": images[TRAIN:], "test_labels": test}


def _draw(labels: np.ndarray) -> np.ndarray:
    """Draw each label's shape and two specks in ink, on paper with a brightness slope and noise, (N, H, W, 3)."""
    index = np.arange(len(labels))
    ink = _inked(labels, index) | _specks(index)  # (N, H, W)
    channel = np.arange(3)
    paper = random_integers(256, SEED, PAPER, index[:, None], channel)  # (N, 3)
    # About half the range away, modulo 256: distinct in every channel, and brighter as often as darker.
    inks = (paper + 64 + random_integers(128, SEED, INK, index[:, None], channel)) % 256
    paper, inks = paper.astype(np.int16), inks.astype(np.int16)
    colours = np.where(ink[..., None], inks[:, None, None], paper[:, None, None])  # (N, H, W, 3)
    bright: np.ndarray = np.clip(colours + _slope(index)[..., None] + _noise(index), 0, 255)
    return bright.astype(np.uint8)


def _inked(labels: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The pixels that the shapes cover, bool (N, H, W); size and place are random."""
    width = 7 + random_integers(6, SEED, WIDTH, index)  # half the width, in pixels
    height = width - 2 + random_integers(5, SEED, HEIGHT, index)
    u = _coordinate(width, X, index)[:, None, :]  # (N, 1, W), -UNIT to UNIT in the shape
    v = _coordinate(height, Y, index)[:, :, None]  # (N, H, 1)
    least, most = np.minimum(abs(u), abs(v)), np.maximum(abs(u), abs(v))
    square = most <= 52
    disc = u * u + v * v <= UNIT * UNIT
    shapes = {
        "circle": disc,
        "cross": square & (least <= 16),
        "diamond": abs(u) + abs(v) <= UNIT,
        "frame": square & (most >= 32),
        "ring": disc & (u * u + v * v >= 38 * 38),
        "saltire": square & (most - least <= 20),
        "square": square,
        "triangle": (2 * abs(u) <= v + UNIT) & (v <= 52),
    }
    return np.choose(labels[:, None, None], [shapes[name] for name in CLASSES])


def _coordinate(half: np.ndarray, stream: int, index: np.ndarray) -> np.ndarray:
    """Pixel positions along one axis in drawing coordinates, int64 (N, SIDE): 0 is the shape's middle, UNIT its end."""
    room = SIDE - 2 * half  # (N,)
    begin = random_integers(1 << 16, SEED, stream, index) * (room + 1) >> 16
    from_middle: np.ndarray = 2 * (np.arange(SIDE) - (begin + half)[:, None]) + 1  # half pixels
    seen: np.ndarray = UNIT * from_middle // (2 * half[:, None])
    return seen


def _specks(index: np.ndarray) -> np.ndarray:
    """Two random 3x3 squares, bool (N, H, W), so that the amount of ink does not reveal the shape."""
    both = index[:, None], np.arange(2)
    pixels = np.arange(SIDE)
    inside_x = abs(pixels - random_integers(SIDE, SEED, SPECK_X, *both)[..., None]) <= 1  # (N, 2, W)
    inside_y = abs(pixels - random_integers(SIDE, SEED, SPECK_Y, *both)[..., None]) <= 1
    covered: np.ndarray = (inside_y[..., :, None] & inside_x[..., None, :]).any(axis=1)
    return covered


def _slope(index: np.ndarray) -> np.ndarray:
    """A linear change of brightness across the image, int16 (N, H, W)."""
    steep = random_integers(65, SEED, SLOPE, index[:, None], np.arange(2)).astype(np.int16) - np.int16(32)  # (N, 2)
    along = np.arange(SIDE, dtype=np.int16) - np.int16(SIDE // 2)
    return (steep[:, 0, None, None] * along[:, None] + steep[:, 1, None, None] * along) // SIDE


def _noise(index: np.ndarray) -> np.ndarray:
    """Noise with a triangular distribution, int16 (N, H, W, 3): each value the sum of two bytes."""
    pixels = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    bits = random_bits(SEED, NOISE, index[:, None, None] * SIDE * SIDE + pixels)
    dice = [(bits >> np.uint64(8 * place) & np.uint64(255)).astype(np.int16) for place in range(6)]
    return np.stack([(dice[place] + dice[place + 3] - 255) // 5 for place in range(3)], axis=-1)


ENTRIES = (
    Entry(
        "shapes",
        CLASSES,
        draw=draw_shapes,
        sha256={
            "train_images": "0ba341f5bca1d7b3e88964952b67d3c25093e835c97651117da49a89bbf39a17",
            "train_labels": "63ac0704c90df29abd4a6c79ebfd11966fa82f23ea2b33af5c11c81078404a5f",
            "test_images": "5f0c78ec6e4cd729487a4bfbad898dd1dcc4fa68e387fcc2b29b38e44304c2af",
            "test_labels": "71990e9b4c6c9ba7d91f55b9be18347c3b77d51480266648407ca898492076a8",
        },
    ),
)
