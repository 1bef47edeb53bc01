"""The data sets by name."""

import functools
import re

from gan_jax.data import composed, records, toys
from gan_jax.data.source import Source

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
    "stacked_mnist": lambda name: composed.stacked(name, load("mnist")),
    "stacked_digits": lambda name: composed.stacked(name, load("digits")),
    "coloured_mnist": lambda name: composed.coloured(name, load("mnist")),
}


@functools.cache
def load(name: str) -> Source:
    """Return the source called `name`: one of DATASETS, a ring of any size, or any TFDS image set (in TFDS_DATA_DIR).

    Cheap: records are read only later. Raises UserError where there is no such set or it can't be prepared.
    """
    if re.fullmatch(r"ring[1-9]\d{0,3}", name):
        return toys.ring(name, int(name.removeprefix("ring")))
    return DATASETS[name](name) if name in DATASETS else records.load(name, DATASETS)
