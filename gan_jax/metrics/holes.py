"""Pictures [n, h, w, c] in [-1, 1] whose hole was filled: how far from the truth."""

import jax.numpy as jnp


def errors(made, x, mask):
    """Return {"psnr", "l1", "l2"}: how far pictures are from x in their hole [n, h, w, 1], each a mean over pictures.

    l1 and l2 are means over the hole's pixels and channels of the distance and its square, in pictures in [0, 1]; psnr
    is -10 log10 of l2 of each picture, in dB.
    """
    within = lambda error: (mask * error).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * x.shape[3])  # [n]
    l1, l2 = within(jnp.abs(made - x) / 2), within(((made - x) / 2) ** 2)
    return {"psnr": (-10 * jnp.log10(l2 + 1e-10)).mean(), "l1": l1.mean(), "l2": l2.mean()}
