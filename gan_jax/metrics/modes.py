"""Mode coverage of samples from a mixture whose modes are known."""

import jax.numpy as jnp


def coverage(x, means, std):
    """Return {"modes", "high_quality", "reverse_kl"} for samples x [n, c] of a mixture with means [m, c].

    Protocol of VEEGAN (Srivastava et al. 2017, arXiv 1705.07761) and PacGAN (Lin et al. 2018, arXiv 1712.04086): a
    sample belongs to its nearest mean and is of high quality within 3 `std` of it; a mode is covered by one such
    sample. `high_quality` is their share in [0, 1]; an exact sampler of a 2-D mixture reaches 1 - exp(-4.5) = 0.989.
    `reverse_kl` is KL(samples || uniform over the m modes) of their histogram in nats: 0 at best, log m for a single
    mode, and infinite where no sample is of high quality.
    """
    distance = jnp.linalg.norm(x[:, None] - means[None], axis=-1)  # [n, m]
    good = distance.min(1) <= 3 * std
    counts = jnp.zeros(len(means)).at[distance.argmin(1)].add(good)  # [m]
    total = counts.sum()
    share = counts / jnp.maximum(total, 1)
    kl = jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1) * len(means)), 0))
    return {"modes": (counts > 0).sum(), "high_quality": good.mean(), "reverse_kl": jnp.where(total > 0, kl, jnp.inf)}
