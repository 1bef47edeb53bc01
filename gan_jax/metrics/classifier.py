"""The classifier of a labelled image set, which judges its samples.

Two convolutions and two dense layers on shifted images, averaged over training; trained once, on the set's train split,
and kept in the cache by the fingerprint of the data.
"""

import contextlib
import dataclasses
import functools
import hashlib
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from gan_jax import data
from gan_jax.data import cache
from gan_jax.errors import UserError
from gan_jax.game import player, rng
from gan_jax.nets.conv import Conv

VERSION = 1  # to be raised with every change of what is trained
BATCH, EPOCHS, LEAST_STEPS, RATE, EMA = 128, 6, 1500, 2e-3, 0.99
CHUNK = 50  # steps a dispatch
PAUSE = 10  # seconds between two times that an unfinished training is kept


class Net(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> (logits [b, classes], features [b, 128])."""

    classes: int

    @nn.compact
    def __call__(self, x):
        for channels in (16, 32):
            x = nn.max_pool(nn.relu(Conv(channels, 5)(x)), (2, 2), (2, 2), "SAME")
        features = nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(features), features


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier: call it for logits."""

    net: Net
    params: Any
    accuracy: float  # on the test split, in [0, 1]; nan where that has no labels
    digest: str  # names the parameters: part of the protocol of every number that it measured

    def __call__(self, x):
        """Return logits [n, classes] for x [n, h, w, c] in [-1, 1], in chunks of 500."""
        return self._apply(x)[0]

    def features(self, x):
        """Return the last hidden layer [n, 128]."""
        return self._apply(x)[1]

    def _apply(self, x):
        apply_one = lambda one: jax.tree.map(lambda a: a[0], self.net.apply(self.params, one[None]))
        return jax.lax.map(apply_one, x, batch_size=500)


class Silent(contextlib.nullcontext):
    """Shows no progress."""

    def __enter__(self):
        """Return what `say` is called of."""
        return self

    def say(self, step, metrics):
        """Say nothing."""


_LOADED = {}


def load(source, live=lambda steps: Silent()) -> Classifier:
    """Return the classifier of a labelled image set, trained first where there is none yet; not for use inside jit.

    live: (steps) -> a context manager whose `say(step, metrics)` shows how far training is. Raises UserError for sets
    without labels or without a test split.
    """
    if source not in _LOADED:
        _LOADED[source] = _load(source, live)
    return _LOADED[source]


def _load(source, live):
    if not (source.classes and source.test and source.kind == "image"):
        raise UserError(f"{source.name} can't train a classifier: it needs images, labels and a split called test.")
    net = Net(source.classes)
    name = source.fingerprint and f"classifiers/{source.fingerprint}-{VERSION}"
    trained = lambda: traverse_util.flatten_dict(jax.tree.map(np.asarray, _train(net, source, live, name)), sep="/")
    params = traverse_util.unflatten_dict(cache.arrays(name, trained), sep="/")
    unrated = Classifier(net, params, 0.0, digest(params))
    test = data.resident(source.test)
    made = lambda raw: source.test.make(raw, jax.random.key(0), 0, source.test.n)
    guess = jax.jit(lambda raw: unrated(made(raw)["x"]).argmax(-1))(test)
    right = (np.asarray(guess) == test["y"])[test["y"] >= 0]  # the others have no label
    return dataclasses.replace(unrated, accuracy=float(right.mean()) if right.size else float("nan"))


def digest(params) -> str:
    """Return a digest of parameters."""
    found = hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves(params):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _train(net, source, live, name=""):
    """Return the averaged parameters of a net that learned the labels of moved images."""
    steps = max(EPOCHS * source.n // BATCH, LEAST_STEPS)

    def loss(params, batch, key, i):
        x = shifted(rng.at(key, i, "shift"), batch["x"], source.shape[0] // 14)
        return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x)[0], batch["y"]).mean()

    return averaged(loss, net, data.labelled(source), BATCH, steps, live, name)


def averaged(loss, net, source, b, steps, live, name=""):
    """Return the averaged parameters after training with Adam and a cosine rate, a function of the data alone.

    loss: (params, batch i of b rows, key, i) -> []. name: of the cache's entry; beside it is kept what is done of a
    training that may be cut short.
    """
    tx, key = optax.adam(optax.cosine_decay_schedule(RATE, steps)), jax.random.key(0)

    def step(carry, i, feed):
        p, average = carry
        batch = data.batch(source, feed, key, i, b)
        value, grads = jax.value_and_grad(loss)(p.params, batch, key, i)
        p = player.descend(p, grads, tx)
        decay = jnp.minimum(EMA, i / (i + 10)).astype(jnp.float32)
        return (p, player.ema(average, p.params, decay)), value

    @functools.partial(jax.jit, donate_argnums=0)
    def some(carry, start, feed):
        return jax.lax.scan(lambda carry, i: step(carry, start + i, feed), carry, jnp.arange(CHUNK))

    params = jax.jit(net.init)(key, jnp.zeros((1, *source.shape)))
    carry = player.Player(params, {}, tx.init(params)), jax.tree.map(jnp.copy, params)
    feed = jax.tree.map(jnp.asarray, data.resident(source))
    chunk = lambda carry, start: some(carry, start, feed)
    return finished(chunk, carry, steps, live, name and f"{name}-unfinished")[1]


def finished(some, carry, steps, live, name):
    """Return the carry after so many steps, begun where an earlier training was cut short.

    some: (carry, first step) -> (carry, losses), CHUNK steps on. name: of what the cache keeps of it meanwhile.
    """
    leaves, tree = jax.tree.flatten(carry)
    kept, start = name and cache.kept(name), 0
    like = {str(i): (a.shape, a.dtype) for i, a in enumerate(leaves)}
    if kept and like == {i: (a.shape, a.dtype) for i, a in kept.items() if i != "steps"} and 0 <= kept["steps"] < steps:
        carry, start = jax.tree.unflatten(tree, [jnp.asarray(kept[i]) for i in like]), int(kept["steps"])
    saved = time.monotonic()
    with live(steps) as line:
        for at in range(start, steps, CHUNK):
            carry, value = some(carry, at)
            line.say(min(at + CHUNK, steps), {"loss": np.asarray(value).mean()})
            if name and time.monotonic() - saved > PAUSE:
                found = {str(i): np.asarray(a) for i, a in enumerate(jax.tree.leaves(carry))}
                cache.keep(name, found | {"steps": np.int32(at + CHUNK)})
                saved = time.monotonic()
    if name:
        cache.drop(name)
    return carry


def shifted(key, x, reach):
    """Return images x [b, h, w, c], each moved by up to `reach` pixels both ways; the edge is repeated."""
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), "edge")
    starts = jax.random.randint(key, (x.shape[0], 2), 0, 2 * reach + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), x.shape[1:]))(padded, starts)
