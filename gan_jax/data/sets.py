"""The data sets by name."""

import collections
import functools
import os
import re
import sys

from gan_jax.data import (
    chains,
    composed,
    expressions,
    folder,
    moving,
    named,
    phrases,
    records,
    series,
    shopping,
    solids,
    toys,
)
from gan_jax.data.source import Source
from gan_jax.errors import UserError

DATASETS = {
    "ring8": toys.ring,  # Unrolled GAN, as we read its appendix
    "ring8_unit": functools.partial(toys.ring, radius=1.0, std=0.01),  # VEEGAN and PacGAN
    # The public notebook of Unrolled GAN spaces its 8 angles over [0, 2 pi] with both ends, so the first and the last
    # coincide: 7 distinct modes, one of double weight.
    "ring8_notebook": functools.partial(toys.ring, radius=1.0, std=0.01, turn=8 / 7),
    "ring8_unbalanced": functools.partial(toys.ring, weights=range(1, 9)),  # counterclockwise: 1/36, 2/36, ... 8/36
    "grid25": toys.grid,  # VEEGAN and PacGAN
    "spiral": toys.spiral,
    "digits": records.load,  # the 8x8 digits of scikit-learn: the embedded image set
    "digits16": lambda name: composed.enlarged(name, load("digits"), 2),  # nets for 16x16 have two levels
    "binary_digits": lambda name: composed.bits(name, load("digits")),  # the embedded rows
    "labelled_digits": lambda name: composed.inked(name, load("digits")),  # the embedded maps of labels
    "stacked_mnist": lambda name: composed.stacked(name, load("mnist")),
    "stacked_digits": lambda name: composed.stacked(name, load("digits")),
    "coloured_mnist": lambda name: composed.coloured(name, load("mnist")),
    "phrases": phrases.phrases,  # of a small grammar: the embedded text
    "expressions": expressions.expressions,  # "x+x*x" and the like: all strings are known, and their probabilities
    "chains": chains.chains,  # small molecules: the embedded SMILES
    "primitives": solids.primitives,  # boxes, balls and cylinders: the embedded voxels
    "garch_prices": series.prices,  # a price a day: the embedded series
    "hourly_demand": series.hourly,  # of two places, the embedded records of series
    "shop": shopping.shop,  # of made-up orders
    "moving_mnist": lambda name: moving.moving_digits(name, load("mnist")),
    "named_mnist": lambda name: named.named_digits(name, load("mnist,size=16")),
    "named_digits": lambda name: named.named_digits(name, load("digits")),
    "named_digits8": lambda name: named.named_digits(name, load("digits,size=4")),  # hardly legible: for tests
    "moving_digits": lambda name: moving.moving_digits(name, load("digits"), frames=16, side=32),
    "moving_digits8": lambda name: moving.moving_digits(name, load("digits,size=4"), frames=8, side=16),  # for tests
}
COUNTED = {"ring": toys.ring, "gaussians": toys.scattered}  # with how many modes after the name, as ring12


@functools.cache
def load(name: str) -> Source:
    """Return the source called `name`.

    A name is one of DATASETS, one of COUNTED with how many modes (ring12), any TFDS set (in TFDS_DATA_DIR), or the path
    of pictures of your own: a folder, an .npy or an .npz. Choices may follow, each with a comma:

        cmp_facades,x=photo,source=label_map       which feature is which field of a batch
        camvid_small,y=label_map:label,size=64     a map of labels as whole numbers, squares of 64
        jsb_chorales,length=128                    sequences cut or padded, with a mask; all choices: `records.load`
        omniglot_small,split=small1,test=small2    which split is trained on, which is held out
        pictures/cats,size=64                      the side of the squares that pictures are cut and shrunk to
        cifar10_subset,only=horse                  the records of one class alone, by its name or number

    Cheap: records are read only later; a folder is prepared first. Raises UserError where there is no such set or it
    can't be prepared.
    """
    name, choices = chosen(name)
    only = choices.pop("only", None)
    source = _load(name, choices)
    return source if only is None else composed.of_class(source, _class(source, only))


def _load(name, choices):
    if is_path(name):
        return folder.load(absolute(name), **choices)
    counted = _counted(name)
    if name not in DATASETS and not counted:
        return records.load(name, DATASETS, **choices)
    if name == "digits":
        return records.load(name, **choices)
    if choices:
        raise UserError(f"{name} leaves no choice of {', '.join(choices)}: it is made here.")
    return DATASETS[name](name) if name in DATASETS else COUNTED[counted[1]](name, int(counted[2]))


def _class(source, value):
    """Return the number of a class that is said by its name or number."""
    names = source.row["y"].names if source.classes else ()
    if value in names:
        return names.index(value)
    if re.fullmatch(r"\d{1,6}", value) and int(value) < source.classes:
        return int(value)
    there = f"one of {', '.join(names)}" if 0 < len(names) <= 20 else f"a number from 0 to {source.classes - 1}"
    choose = f"choose {there}" if source.classes else "it has no classes"
    raise UserError(f"only={value}: there is no such class of {source.name}; {choose}.")


def settled(name: str, **choices: str) -> str:
    """Return the name with these choices beside those that it has, and a path absolute: the same set from anywhere."""
    bare, said = chosen(name)
    if is_path(bare):
        bare = absolute(bare)
    elif os.path.isdir(bare):  # for both there is a name
        print(f"{bare} is the data set of that name; the folder here is ./{bare}", file=sys.stderr)
    return ",".join([bare, *(f"{key}={value}" for key, value in {**said, **choices}.items())])


def absolute(path: str) -> str:
    """Return the path from the root on; where nothing is there, as it was said."""
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        return os.path.join(os.getcwd(), path)
    return os.path.realpath(path) if ".." in path.split(os.sep) else os.path.abspath(path)


def chosen(name: str) -> tuple[str, dict[str, str]]:
    """Return the name without the choices that follow it, and these. A path may hold what looks like choices."""
    parts = re.split(r",(?=\w+=)", name)
    there = lambda k: os.path.exists(os.path.expanduser(",".join(parts[:k])))
    k = next((k for k in range(len(parts), 0, -1) if there(k)), 1)
    said = [part.split("=", 1) for part in parts[k:]]
    if twice := [key for key, count in collections.Counter(key for key, _ in said).items() if count > 1]:
        raise UserError(f"{name} says {twice[0]}= more than once: which one is meant?")
    return ",".join(parts[:k]), dict(said)


def is_path(name: str) -> bool:
    """Return whether a name is the path of a folder, an .npy or an .npz of your own, rather than that of a set.

    What may be either, `mnist` where there is a folder of that name here, is the set; ./mnist is the folder.
    """
    if name.lower().endswith((".npy", ".npz")) or name in (".", ".."):
        return True
    if re.fullmatch(r"[A-Za-z]\w*(/\w[\w.-]*)?(:[\d.*]+)?", name):
        first = re.split("[/:]", name)[0]
        return os.path.isdir(first) and not _is_set(first)
    return "/" in name.replace(os.sep, "/") or os.path.isdir(name)


def _counted(name):
    """Return the match of a name in COUNTED and a number; None where it is none."""
    return re.fullmatch(rf"({'|'.join(COUNTED)})([1-9]\d{{0,3}})", name)


def _is_set(name):
    """Return whether there is a set of that name, here or of TFDS."""
    prepared = os.path.join(os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets"), name)
    if name in DATASETS or _counted(name) or os.path.isdir(prepared):
        return True
    import tensorflow_datasets as tfds

    return name in tfds.list_builders(with_community_datasets=False)
