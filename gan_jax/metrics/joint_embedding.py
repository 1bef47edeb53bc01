"""The joint embedding of pictures and their captions, whose text half a game may condition on.

A char-CNN-RNN reads captions, a small convolutional net looks at pictures, and products of the two vectors, here
called scores, are to be higher for what belongs together: the structured loss of Reed, Akata, Schiele and Lee 2016
(arXiv 1605.05395), in the symmetric form of their code. There pictures are GoogLeNet's features, which stay; here that
net learns along. It is trained once, on the set's train split, moved a little, and kept in the cache.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gan_jax import data
from gan_jax.data import cache
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.metrics import classifier
from gan_jax.nets.conv import Conv

VERSION = 1  # to be raised with every change of what is trained
BATCH = 64


class Text(nn.Module):
    """Characters [b, t], whole numbers -> [b, size]: convolutions, then a recurrent net whose states are averaged.

    With `width` 256 and three layers it is the authors' hybrid net: kernels of 4, a maximum of 3 after each. Padding is
    no character. Borders are padded (there: not), so that short captions do.
    """

    characters: int
    size: int
    width: int
    layers: int = 1

    @nn.compact
    def __call__(self, text):
        x = jax.nn.one_hot(text - 1, self.characters - 1, dtype=jnp.float32)[:, :, None]  # [b, t, 1, characters - 1]
        for i in range(3 - self.layers, 3):
            x = nn.relu(Conv((3 * self.width // 2, 2 * self.width, self.width)[i], (4, 1))(x))
            x = nn.max_pool(x, (3, 1), (2 if i == 2 and self.layers > 1 else 3, 1), "SAME")
        into, on = nn.Dense(self.width), nn.Dense(self.width)
        x, states = into(x[:, :, 0]), []
        for i in range(x.shape[1]):
            states.append(nn.relu(x[:, i] + on(states[-1]) if i else x[:, i]))
        return nn.Dense(self.size)(sum(states) / len(states))


class Picture(nn.Module):
    """x [b, h, w, c] in [-1, 1] -> [b, size]."""

    size: int

    @nn.compact
    def __call__(self, x):
        for channels in (16, 32):
            x = nn.max_pool(nn.relu(Conv(channels, 5)(x)), (2, 2), (2, 2), "SAME")
        return nn.Dense(self.size)(nn.relu(nn.Dense(128)(x.reshape(x.shape[0], -1))))


class Joint(nn.Module):
    """Pictures x [b, h, w, c], captions [b, t] -> both as vectors [b, size]."""

    text: Text
    picture: Picture
    length: int  # of captions, for the first call

    def __call__(self, x, text=None):
        return self.picture(x), self.text(jnp.zeros((len(x), self.length), int) if text is None else text)


class Embedding(NamedTuple):
    """A trained embedding."""

    net: Joint
    params: Any  # {"text": ..., "picture": ...}


def net(source: data.Source, size: int, width: int, layers: int) -> Joint:
    """Return the nets for a set: vectors of this size, `layers` convolutions on text, the last with `width` channels.

    Raises UserError where x is no image, or there are no captions, a field `text` of tokens.
    """
    text = source.fields.get("text")
    if source.kind != "image" or text is None or text.kind != "tokens":
        raise UserError(
            f"{source.name} has no pictures with captions: say which feature they are, as in "
            "noto_emoji,text=caption,level=char."
        )
    return Joint(Text(text.classes, size, width, layers), Picture(size), *text.shape)


def structured(picture: jax.Array, text: jax.Array, alike: jax.Array) -> jax.Array:
    """Return the symmetric structured loss [] of vectors [b, size], row by row of a picture and its caption.

    Each other caption whose score comes within 1 of the own one's counts by how much, each other picture likewise:
    sums over pairs, divided by b^2. alike [b, b]: pairs of rows with equal captions, which don't count.
    """
    score = picture @ text.T  # [picture, caption]
    own = jnp.diagonal(score)
    too_high = jax.nn.relu(1 + score - own[:, None]) + jax.nn.relu(1 + score - own[None])
    return jnp.where(alike, 0, too_high).mean()


def same(text: jax.Array) -> jax.Array:
    """Return [b, b], true where captions [b, t] are equal."""
    return (text[:, None] == text[None]).all(-1)


def vectors(net: Joint, params: Any, text: jax.Array) -> jax.Array:
    """Return captions [b, t] as vectors [b, size] whose mean square is 1, as that of noise beside them is."""
    t = net.text.apply({"params": params["text"]}, text)
    return t / jnp.sqrt((t**2).mean(1, keepdims=True) + 1e-8)


def found(net: Joint, params: Any, x: jax.Array, text: jax.Array) -> jax.Array:
    """Return the share of pictures x [n, ...] for which, of all captions [n, t], their own has the highest score."""
    apply = lambda row: jax.tree.map(lambda a: a[0], net.apply({"params": params}, row[0][None], row[1][None]))
    picture, vectors = jax.lax.map(apply, (x, text), batch_size=100)
    best = (picture @ vectors.T).argmax(1)
    return (text[best] == text).all(1).mean()


_LOADED = {}


def load(source: data.Source, net: Joint, steps: int, live=lambda steps: classifier.Silent()) -> Embedding:
    """Return the embedding of a set, trained first where there is none yet. live: as `classifier.load` has it."""
    if (source, net, steps) not in _LOADED:
        with jax.ensure_compile_time_eval():
            _LOADED[source, net, steps] = _load(source, net, steps, live)
    return _LOADED[source, net, steps]


def _load(source, net, steps, live):
    sizes = f"{net.text.size}-{net.text.width}-{net.text.layers}-{steps}"
    name = source.fingerprint and f"classifiers/{source.fingerprint}-captions-{sizes}-{VERSION}"
    trained = lambda: traverse_util.flatten_dict(
        jax.tree.map(np.asarray, _train(net, source, steps, live, name)["params"]), sep="/"
    )
    return Embedding(net, traverse_util.unflatten_dict(cache.arrays(name, trained), sep="/"))


def _train(net, source, steps, live, name=""):
    """Return the averaged parameters after so many updates by Adam, rounded up to whole chunks; 0: as they began."""
    if steps < 1:
        return net.init(jax.random.key(0), jnp.zeros((1, *source.shape)))

    def loss(params, batch, key, i):
        x = classifier.shifted(rng.at(key, i, "shift"), batch["x"], source.shape[0] // 14)
        return structured(*net.apply(params, x, batch["text"]), same(batch["text"]))

    whole = classifier.CHUNK * math.ceil(steps / classifier.CHUNK)
    return classifier.averaged(loss, net, source, min(BATCH, source.n), whole, live, name)
