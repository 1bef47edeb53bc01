"""`python -m gan_jax.prepare NAME`: download a TFDS set and prepare it as array_record (needs TensorFlow, once).

`python -m gan_jax.prepare --folder PATH --size 64` prepares pictures of your own, as a run with these flags would.
"""

import dataclasses
import os
from typing import Annotated

import tyro

from gan_jax import data
from gan_jax.data import builders
from gan_jax.errors import UserError, first_line
from gan_jax.run import cli


@dataclasses.dataclass(frozen=True)
class Flags:
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = ()  # TFDS sets
    folder: str = ""  # pictures of your own: a folder, an .npy or an .npz
    size: int = 0  # cut these to squares and shrink them to this side [as they are]
    skip_bad: bool = False  # leave out those that can't be read


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.prepare", description=__doc__)
    if bool(flags.names) == bool(flags.folder):
        raise UserError("name TFDS sets to prepare, or say --folder PATH.")
    for name in flags.names:
        tfds_set(name)
    if flags.folder:
        choices = ({"size": str(flags.size)} if flags.size else {}) | ({"skip_bad": "yes"} if flags.skip_bad else {})
        source = data.load(data.settled(os.path.join(flags.folder, ""), **choices))  # a path, whatever it is called
        print(source.says)


def tfds_set(name: str):
    """Download and prepare a set. Raises UserError where that fails."""
    try:
        builder = builders.of_tfds(name, os.environ.get("TFDS_DATA_DIR"), file_format="array_record")
        builder.download_and_prepare()
    except UserError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{name} could not be prepared: {reason}\nIs there a network, and TensorFlow?") from None
    print(f"{name} is ready in {builder.data_path}")


if __name__ == "__main__":
    cli.run(main, compile_cache=False)
