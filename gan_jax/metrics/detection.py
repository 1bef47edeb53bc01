"""How well boxes with classes and scores find what is in pictures, inside jit.

PASCAL VOC's protocol (Everingham et al. 2010, IJCV 88): a detection is right where its intersection over union with the
thing of its class that it overlaps most is at least `least`, and no other one of a higher score has found that thing.
"""

import jax
import jax.numpy as jnp

from gan_jax.nets import boxes


def right(box, score, truth, there, least=0.5):
    """Return (which detections are right, which thing each is about or -1), of one class in one picture: [n], [n].

    box [n, 4], score [n]; of -inf: no detection. truth [m, 4], there [m]: the things, and which of these rows are any.
    """
    overlap = jnp.where(there[None], boxes.iou(box, truth), 0)  # [n, m]
    about = jnp.where((overlap.max(1) >= least) & (score > -jnp.inf), overlap.argmax(1), -1)
    of_it = about[:, None] == jnp.arange(len(truth))[None]  # [n, m]
    first = jnp.where(of_it, score[:, None], -jnp.inf).argmax(0)  # [m]: of each thing the detection that finds it
    return (about >= 0) & (first[about] == jnp.arange(len(box))), about


def average_precision(score, good, things):
    """Return the area under precision over recall of detections [n] of one class, of which `good` [n] are right.

    things: how many there are to be found. The precision at a recall is the highest at this recall or more, as VOC has
    it from 2010 on; detections are taken one by one, equal scores in order. NaN where there are no things.
    """
    order = jnp.argsort(-score)
    found = good[order].astype(jnp.float32)
    precision = jnp.cumsum(found) / jnp.arange(1, len(found) + 1)
    return (jax.lax.cummax(precision, reverse=True) * found).sum() / things


def scores(box, score, truth, y, least=0.5, counts=None, false=None):
    """Return {"map", "recall", "ap/K" and "recall/K" of each class K} of all pictures together.

    box [p, n, classes, 4], score [p, n, classes]: detections after suppression, -inf: none. truth [p, m, 4], y [p, m]:
    the things and their classes, -1: none. counts [p, m]: things that are to be found; what is found of the others
    counts neither for nor against (VOC's "difficult"). false [p, n, classes]: detections that count against, by default
    all, where they are about nothing. "map" and "recall" are means over the classes that have things.
    """
    counts = y >= 0 if counts is None else counts & (y >= 0)
    false = jnp.ones(score.shape, bool) if false is None else false

    def of_class(k, box, score, false):  # [p, n, 4], [p, n], [p, n]
        good, about = jax.vmap(lambda *of: right(*of, least))(box, score, truth, y == k)
        counted = jnp.where(about < 0, false, jnp.take_along_axis(counts, jnp.maximum(about, 0), 1))
        good, things = good & counted, (counts & (y == k)).sum()
        score = jnp.where(counted, score, -jnp.inf)
        return average_precision(score.ravel(), good.ravel(), things), good.sum(dtype=jnp.float32) / things, things > 0

    classes = score.shape[2]
    of_each = lambda k: of_class(k, *(a[:, :, k] for a in (box, score, false)))
    ap, recall, some = zip(*map(of_each, range(classes)), strict=True)
    mean = lambda of: jnp.where(jnp.stack(some), jnp.stack(of), 0).sum() / jnp.stack(some).sum()
    each = {f"{name}/{k}": one for name, of in (("ap", ap), ("recall", recall)) for k, one in enumerate(of)}
    return {"map": mean(ap), "recall": mean(recall)} | each


def by_size(box, score, truth, y, pixels, sizes):
    """Return {"recall/small": the share of small things that are found, "map/small", ...}, of middle, of large ones.

    box, score, truth, y: as `scores` has them, boxes in parts of a picture's sides. pixels: how many a picture has.
    sizes: the sides in pixels, the root of the area, from which things are middle, and large. A detection that is about
    no thing counts against the size that it has itself. NaN where no thing has a size.
    """
    side = lambda box: jnp.sqrt(boxes.area(box) * pixels)
    found, edges = {}, (0, *sizes, jnp.inf)
    for name, least, most in zip(("small", "middle", "large"), edges, edges[1:], strict=False):
        of_size = lambda box, least=least, most=most: (least <= side(box)) & (side(box) < most)
        of = scores(box, score, truth, y, counts=of_size(truth), false=of_size(box))
        things = [(of_size(truth) & (y == k)).sum() for k in range(score.shape[2])]
        right = sum(jnp.where(n > 0, n * of[f"recall/{k}"], 0) for k, n in enumerate(things))
        found |= {f"recall/{name}": right / sum(things), f"map/{name}": of["map"]}
    return found
