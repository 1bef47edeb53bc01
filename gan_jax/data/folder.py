"""Pictures of your own: a folder, flat or a folder a class, an .npy or an .npz."""

from gan_jax.data.source import Source
from gan_jax.errors import UserError


def load(path: str, **choices) -> Source:
    """Return the source of the pictures under `path`."""
    raise UserError(f"{path}: folders can't be read yet.")
