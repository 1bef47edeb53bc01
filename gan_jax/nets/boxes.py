"""Boxes [..., 4] as (top, left, bottom, right), in any unit: how they overlap, and how a net says them."""

import jax
import jax.numpy as jnp
import optax

from gan_jax.data.boxes import area

STDS = 0.1, 0.1, 0.2, 0.2  # of `offsets` (y, x, height, width): Fast R-CNN's, by which they are divided


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


def named(proposal, box, y, least=0.5):
    """Return of each proposal (its class, counted from 1, 0: nothing; the offsets to its thing), Fast R-CNN's targets.

    proposal [b, n, 4]; the things box [b, m, 4] and their classes y [b, m], -1: none -> [b, n], [b, n, 4]. A proposal
    is about the thing that it overlaps most, and shows it from an intersection over union of `least` on.
    """
    overlap = jnp.where((y >= 0)[:, None], iou(proposal, box), 0)  # [b, n, m]
    which = overlap.argmax(2)
    label = jnp.where(overlap.max(2) >= least, 1 + jnp.take_along_axis(y, which, 1), 0)
    return label, offsets(proposal, jnp.take_along_axis(box, which[..., None], 1))


def losses(logits, offset, label, target):
    """Return Fast R-CNN's two losses of each proposal: the cross-entropy of its class, and of things the boxes' error.

    logits [..., 1 + classes], offset [..., classes, 4], label [...] and target [..., 4] as `named` has them. The error
    is that of the right class's offsets, squared where it is small (Girshick 2015, arXiv 1504.08083, equation 3).
    """
    own = jnp.take_along_axis(offset, jnp.maximum(label - 1, 0)[..., None, None], -2)[..., 0, :]
    error = jnp.where(label > 0, optax.huber_loss(own, target).sum(-1), 0)
    return optax.softmax_cross_entropy_with_integer_labels(logits, label), error


def detected(proposal, logits, offset, most=0.3):
    """Return (boxes [n, classes, 4] within the picture, scores [n, classes], -inf where suppressed) of one picture.

    proposal [n, 4], in sides of the picture; logits [n, 1 + classes], the first: nothing; offset [n, classes, 4].
    """
    box = jnp.clip(moved(proposal[:, None], offset), 0, 1)
    score = jax.nn.softmax(logits)[:, 1:]
    out = jax.vmap(lambda *of: suppressed(*of, most), (1, 1), 1)(box, score)
    return box, jnp.where(out, -jnp.inf, score)


def outlined(x, box, y):
    """Return pictures x [b, h, w, c] with the outlines of boxes [b, n, 4], in sides of the picture; y [b, n], -1: none.

    Class 0 is red, 1 green, 2 blue, 3 red again; of grey pictures all outlines are white.
    """
    _, h, w, c = x.shape

    def inside(by):  # [b, n, h, w]: the box less so many pixels
        top, left, bottom, right = (jnp.round(box[..., i] * (h, w)[i % 2])[..., None] for i in range(4))
        pixels = lambda size: jnp.arange(size).reshape(1, 1, size)
        along = lambda start, end, size: (start + by <= pixels(size)) & (pixels(size) < end - by)
        return along(top, bottom, h)[..., :, None] & along(left, right, w)[..., None, :]

    line = inside(0) & ~inside(1) & (y >= 0)[..., None, None]
    of = jnp.stack([(line & (y % c == k)[..., None, None]).any(1) for k in range(c)], 3)  # [b, h, w, c]
    return jnp.where(of, 1, jnp.where(of.any(3, keepdims=True), -1, x)).astype(x.dtype)


def shown(x, box, score, least=0.5):
    """Return pictures x [b, h, w, c] with the outlines of boxes [b, n, classes, 4] whose score is at least `least`."""
    y = jnp.where(score >= least, jnp.arange(score.shape[2]).reshape(1, 1, -1), -1)
    return outlined(x, box.reshape(len(x), -1, 4), y.reshape(len(x), -1))
