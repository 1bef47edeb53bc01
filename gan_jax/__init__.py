"""gan_jax: generative adversarial networks in JAX, one readable file each (`experiments/`), and what they share."""

from gan_jax.errors import UserError as UserError
from gan_jax.run.rundir import load as load
