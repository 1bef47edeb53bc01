"""The data sets by name."""

import functools
import os
import re

from gan_jax.data import composed, folder, records, toys
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
    "stacked_mnist": lambda name: composed.stacked(name, load("mnist")),
    "stacked_digits": lambda name: composed.stacked(name, load("digits")),
    "coloured_mnist": lambda name: composed.coloured(name, load("mnist")),
}


@functools.cache
def load(name: str) -> Source:
    """Return the source called `name`.

    A name is one of DATASETS, a ring of any size (ring12), any TFDS set (in TFDS_DATA_DIR), or the path of pictures of
    your own: a folder, an .npy or an .npz. Choices may follow, each with a comma:

        cmp_facades,x=photo,source=label_map       which feature is which field of a batch
        omniglot_small,split=small1,test=small2    which split is trained on, which is held out
        pictures/cats,size=64                      the side of the squares that pictures are cut and shrunk to

    Cheap: records are read only later. Raises UserError where there is no such set or it can't be prepared.
    """
    name, choices = chosen(name)
    if is_path(name):
        return folder.load(name, **choices)
    if name not in DATASETS and not re.fullmatch(r"ring[1-9]\d{0,3}", name):
        return records.load(name, DATASETS, **choices)
    if name == "digits":
        return records.load(name, **choices)
    if choices:
        raise UserError(f"{name} leaves no choice of {', '.join(choices)}: it is made here.")
    return DATASETS[name](name) if name in DATASETS else toys.ring(name, int(name.removeprefix("ring")))


def chosen(name: str) -> tuple[str, dict[str, str]]:
    """Return the name without the choices that follow it, and these."""
    bare, *said = re.split(r",(?=\w+=)", name)
    return bare, dict(one.split("=", 1) for one in said)


def is_path(name: str) -> bool:
    """Return whether a name is the path of pictures rather than that of a set."""
    return (
        ("/" in name.replace(os.sep, "/")
        and not _is_tfds_config(name))
        or name.endswith((".npy", ".npz"))
        or name in (".", "..")
    )


def _is_tfds_config(name):
    """Return whether a name with a slash is a set of TFDS and its configuration ("cmaterdb/bangla")."""
    return re.fullmatch(r"[a-z]\w*/\w[\w.-]*(:[\d.*]+)?", name) is not None and not os.path.exists(name)
