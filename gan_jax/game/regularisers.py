"""Regularisers and tricks that are a term, a weight or an argument of a loss; the caller reduces rows [b].

Augmentations, T in what follows, stand in `gan_jax.game.augment`; running means are `ema`'s.
"""

import math

import jax.numpy as jnp
from jax.nn import relu, softplus

from gan_jax.game import rng


def lecam(real_score, fake_score, real_mean, fake_mean):
    """Return the rows [b] that D adds to its loss, times 0.3, in LeCam GAN (Tseng et al. 2021, arXiv 2104.03310).

    real_mean, fake_mean: running means (decay 0.99) of D's scores of the two, which have no gradient. D is pulled back
    where a real one scores above the fakes' mean, or a fake one below the reals'. This is the authors' code; the paper
    squares the differences of either sign.
    """
    return relu(real_score - fake_mean) ** 2 + relu(real_mean - fake_score) ** 2


def consistency(score, other):
    """Return (D(x) - D(T(x)))^2 [b], which D adds to its loss, of the scores of x and of T(x).

    CR: for reals, times 10 (Zhang et al. 2020, arXiv 1910.12027). bCR: for reals and for fakes, which are held fixed,
    10 each (Zhao et al. 2020, arXiv 2002.04724). zCR, there: for G(z) and G(z + noise), times 20 in StudioGAN's BigGAN
    (noise of 0.05), times 0.2 in ADA's comparison (noise of 0.1).
    """
    return (score - other) ** 2


def apart(x, other):
    """Return -(G(z) - G(z + noise))^2 [b], the mean over all numbers, which zCR's G adds to its loss.

    Times 0.5 in StudioGAN's BigGAN, times 0.02 in ADA's comparison.
    """
    return -((x - other) ** 2).mean(range(1, x.ndim))


def top_k(loss, score, k):
    """Return the mean of a loss [b] over the k fakes that D scores highest; k may be traced (Sinha et al. 2020).

    score [b]: D's. Of equal ones the first count. Top-k training of GANs, arXiv 2002.06224.
    """
    rank = jnp.argsort(jnp.argsort(-score))
    return jnp.where(rank < k, loss, 0).sum() / k


def top_k_count(b, epoch, decay=0.99, least=0.5):
    """Return k after so many epochs: all of b at first, `decay` times as many an epoch, never less than least * b."""
    return jnp.maximum(jnp.floor(b * decay**epoch), math.floor(b * least)).astype(jnp.int32)


def instance_noise(key, x, sigma, share=0.0):
    """Return x with Gaussian noise of deviation sigma (1 - share), which D sees of reals and fakes alike.

    share: how much of the way to no noise lies behind, such as step / steps; beyond 1 it counts as 1. (Sonderby et al.
    2017, arXiv 1610.04490; Arjovsky and Bottou 2017, arXiv 1701.04862.)
    """
    level = (sigma * jnp.clip(1 - share, 0, 1)).astype(x.dtype)
    return x + level * rng.normal(key, x.shape).astype(x.dtype)


def labels(key, b, real=(1.0, 1.0), fake=(0.0, 0.0), flip=0.0):
    """Return D's labels (of reals [b], of fakes [b]), even in their ranges; with probability `flip` one of the other's.

    How to train a GAN (Chintala et al. 2016, github.com/soumith/ganhacks) takes (0.7, 1.2) and (0, 0.3), and flips
    "occasionally". One-sided smoothing (Salimans et al. 2016, arXiv 1606.03498): real = (0.9, 0.9).
    """
    uniform = lambda name, low, high: rng.uniform(rng.at(key, 0, name), (b,), minval=low, maxval=high)

    def of(name, own, other):
        flipped = uniform(f"flip {name}", 0, 1) < flip
        return jnp.where(flipped, uniform(f"other {name}", *other), uniform(name, *own))

    return of("real", real, fake), of("fake", fake, real)


def cross_entropy(score, label):
    """Return -label log sigmoid(score) - (1 - label) log(1 - sigmoid(score)) [b]; labels may lie beyond [0, 1].

    With the label 1 for reals and 0 for fakes, the two are `losses.non_saturating.d`.
    """
    return softplus(score) - label * score
