"""gan_jax: generative adversarial networks in JAX, one readable file each (`experiments/`), and what they share."""

from gan_jax.errors import UserError as UserError
from gan_jax.run.loaded import load as load
from gan_jax.run.program import fit as fit
