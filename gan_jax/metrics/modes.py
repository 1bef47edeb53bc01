"""Mode coverage of samples from data whose modes are known."""

import jax
import jax.numpy as jnp

STACKED = 25_600  # samples of stacked images, as many as in PacGAN's and PGGAN's tables


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


def stacked_coverage(judge, draw, key, n=STACKED):
    """Return {"modes", "reverse_kl"} of n stacked images in the eyes of a classifier of the grey set.

    A mode is a triple of labels, one for each colour, and is covered by one sample. `reverse_kl` is KL(samples ||
    uniform over all triples) in nats. Metz et al. 2017 (arXiv 1611.02163), with the sample count of PacGAN
    (arXiv 1712.04086); n exact draws score (modes - 1) / 2n on average: 0.0195 for 25,600 of 1000.

    judge: [m, h, w, 1] -> logits [m, classes]. draw: (key, m) -> images [m, h, w, 3].
    """
    m = min(n, 256)  # at a time

    def labels(key):
        colours = draw(key, m).transpose(0, 3, 1, 2)  # [m, 3, h, w]
        return judge(colours.reshape(3 * m, *shape, 1)).argmax(-1).reshape(m, 3) @ classes ** jnp.arange(2, -1, -1)

    shape = jax.eval_shape(lambda key: draw(key, m), key).shape[1:3]
    classes = jax.eval_shape(judge, jax.ShapeDtypeStruct((1, *shape, 1), jnp.float32)).shape[1]
    found = jax.lax.map(labels, jax.random.split(key, -(-n // m))).reshape(-1)[:n]
    share = jnp.zeros(classes**3).at[found].add(1 / n)
    kl = jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1) * classes**3), 0))
    return {"modes": (share > 0).sum(), "reverse_kl": kl}
