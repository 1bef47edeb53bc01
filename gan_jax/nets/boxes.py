"""Boxes [..., 4] as (top, left, bottom, right), in any unit: how they overlap, and how a net says them."""

import jax
import jax.numpy as jnp

STDS = 0.1, 0.1, 0.2, 0.2  # of `offsets` (y, x, height, width): Fast R-CNN's, by which they are divided


def area(box):
    """Return the areas [...] of boxes [..., 4]; 0 of those that are turned inside out."""
    return jnp.maximum(box[..., 2] - box[..., 0], 0) * jnp.maximum(box[..., 3] - box[..., 1], 0)


def iou(a, b):
    """Return intersection over union of boxes a [..., n, 4] with each of b [..., m, 4]: [..., n, m].

    0 where both are empty.
    """
    a, b = a[..., :, None, :], b[..., None, :, :]
    both = area(jnp.concatenate([jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])], -1))
    either = area(a) + area(b) - both
    return both / jnp.where(either > 0, either, 1)


def _centres(box):
    size = jnp.maximum(box[..., 2:] - box[..., :2], 1e-6)
    return box[..., :2] + size / 2, size


def offsets(box, target):
    """Return what moves boxes [..., 4] to their targets, in units of STDS: R-CNN's (Girshick et al. 2014, 1311.2524).

    Of the centre in sizes of the box, of the size as the logarithm of a factor.
    """
    (at, size), (to, new) = _centres(box), _centres(target)
    return jnp.concatenate([(to - at) / size, jnp.log(new / size)], -1) / _stds(box)


def moved(box, offset):
    """Return boxes [..., 4] moved by such offsets [..., 4]; sizes grow at most by the factor 1000 / 16."""
    at, size = _centres(box)
    offset = offset * _stds(offset)
    at = at + size * offset[..., :2]
    half = size * jnp.exp(jnp.minimum(offset[..., 2:], jnp.log(1000 / 16))) / 2
    return jnp.concatenate([at - half, at + half], -1)


def _stds(of):
    return jnp.array(STDS, of.dtype).reshape((1,) * (of.ndim - 1) + (4,))


def suppressed(box, score, most=0.3):
    """Return whether each of boxes [n, 4] is left out because of another one with a higher score [n]: bool [n].

    Greedy non-maximum suppression: from the highest score down, a box is left out where its intersection over union
    with one that stays is more than `most`; of equal scores the first is the higher.
    """
    order = jnp.argsort(-score)
    close = iou(box[order], box[order]) > most  # [n, n], from the highest score down

    def one(i, out):  # out[j]: left out because of one of the first i
        return out | (close[i] & ~out[i] & (jnp.arange(len(out)) > i))

    out = jax.lax.fori_loop(0, len(score), one, jnp.zeros(len(score), bool))
    return jnp.zeros_like(out).at[order].set(out)
