"""Adversarial training for text: a classifier of sentences must say the same of words moved where it hurts most.

Miyato, Dai and Goodfellow 2017, arXiv 1605.07725. No G draws here: the opponent of the classifier is a perturbation r
of the word vectors s of a sentence, of norm eps over all of it. Adversarial training (AT) adds -log p(y | s + r) of
labelled rows, r along the gradient of -log p(y | s); virtual adversarial training (VAT) adds KL(p(.|s) || p(.|s + r))
of all rows, labelled or not, r along its gradient at a random xi d: one power iteration. Vectors are normalised over
the words as often as they occur: large ones could make any r small. The LSTM is asked after the end alone.

Differences from the paper:
1. GloVe vectors, where a word has one, stand in for the language model that it trains first, on all of the text; what
   the LSTM begins with is random, and it is Flax's.
2. Short sentences, few labels (there 25,000 of 75,000 reviews of films), every word of them, and nets of their size.
3. Two logits and a softmax; the code has one logit, and tests whether it, not its sigmoid, exceeds 0.5.
4. Samples are held-out sentences whose words were moved by `shift`, read as the words nearest to where they came.

As in the code: all words of a row lose the same numbers; noise spares the end, gradients don't; all of these but that
of the vectors are clipped; what is tested is a running average.

    python -m experiments text_adversarial                 200 labelled reviews of films, each a sentence; AT and VAT
    python -m experiments text_adversarial --virtual 0     AT alone; --adversarial 0 --virtual 0: neither
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.data import tokens
from gan_jax.game import Player, create, descend, ema, forward, rng
from gan_jax.nets import sentences
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "rt_polarity,level=word,length=40"  # text with a label y (-1: none)
    labels: Count = 200  # records whose label is known, equally many a class
    vectors: str = "glove50d10k"  # a set of words and their vectors, with which the embedding begins; "": random
    steps: Count = 250  # updates of embedding and classifier
    batch_size: Count = 32  # labelled rows a step, and as many of all rows
    adversarial: float = 1.0  # weight of AT
    virtual: float = 1.0  # weight of VAT
    eps: float = 0.5  # norm of a sentence's perturbation
    xi: float = 0.1  # norm of the noise of which VAT takes the gradient
    shift: float = 20.0  # norm of the perturbation of samples
    dim: Count = 50  # numbers of a word's vector
    width: Count = 64  # units of the LSTM
    hidden: Count = 30  # units of the layer above it
    dropout: Share = 0.5  # share of the vectors' numbers that a row loses
    lr: float = 3e-3  # Adam's rate, multiplied each step by `lr_decay`
    lr_decay: Decay = 0.9998  # factor of both rates each step
    clip: float = 1.0  # most norm of the gradient of all parameters but the vectors
    ema: Decay = 0.99  # decay of the average that is tested, after t steps at most (1 + t) / (10 + t)


IMDB = "imdb_reviews,split=train+unsupervised,level=word,length=400"
PRESETS = {
    "default": Config(),
    "sentences": Config("sentiment_sentences,level=word,length=30"),
    "paper": Config(IMDB, 25_000, "", 15_000, 64, 0.0, 1.0, 5.0, dim=256, width=1024, lr=5e-4, ema=0.999),
    "tiny": Config("phrases", 20, "", steps=6, batch_size=8, dim=4, width=4, hidden=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player  # the embedding
    c: Player  # the classifier
    average: tuple  # the parameters of both, averaged


def build(cfg):
    adam = optax.adam(lambda t: cfg.lr * cfg.lr_decay**t)
    C = sentences.Classifier(data.load(cfg.dataset).classes, cfg.width, cfg.hidden)
    return sentences.Embedding(cfg.dim), C, adam, optax.chain(optax.clip_by_global_norm(cfg.clip), adam)


def init(cfg, key):
    E, C, e_tx, c_tx = build(cfg)
    e = create(E, e_tx, rng.at(key, 0, "e"), data.frequencies(data.load(cfg.dataset)))
    c = create(C, c_tx, rng.at(key, 0, "c"), jnp.zeros((1, 2, cfg.dim)), jnp.zeros(1, jnp.int32))
    return State(jnp.int32(0), key, e, c, (e.params, c.params))


def unit(x):
    """Return x [b, t, d] over the norm of each row."""
    most = jnp.abs(x).max((1, 2), keepdims=True) + 1e-12
    return x / (most * jnp.sqrt(((x / most) ** 2).sum((1, 2), keepdims=True) + 1e-6))


def step(cfg, state, batch):
    E, C, e_tx, c_tx = build(cfg)
    (x, y), every = (batch["labelled"][name] for name in "xy"), batch["x"]["x"]  # [b, t], [b], [b, t]
    key = functools.partial(rng.at, state.key, state.step)

    def embedded(e_params):  # [b, t, d] of both
        table, _ = forward(E, e_params, {}, data.frequencies(data.load(cfg.dataset)))
        kept = rng.uniform(key("dropout"), (2, x.shape[0], 1, cfg.dim)) >= cfg.dropout
        return [table[rows] * k / (1 - cfg.dropout) for rows, k in zip((x, every), kept, strict=True)]

    def error(c_params, s):
        logits, _ = forward(C, c_params, {}, s, data.last(x))
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def divergence(c_params, s):
        log_q = jax.nn.log_softmax(forward(C, c_params, {}, s, data.last(every))[0])
        return (jnp.exp(log_p) * (log_p - log_q)).sum(1).mean()

    (s, s_every), to_e = jax.vjp(embedded, state.e.params)
    with_slope = lambda loss, s: jax.value_and_grad(loss, (0, 1))(state.c.params, s)
    value, (grads, slope) = with_slope(error, s)
    metrics, to_s, to_every = {"loss/labelled": value}, slope, jnp.zeros_like(s_every)
    if cfg.adversarial:
        metrics["loss/adversarial"], more = with_slope(error, s + cfg.eps * unit(slope))
        grads, to_s = optax.tree.add_scale((grads, to_s), cfg.adversarial, more)
    if cfg.virtual:
        log_p = jax.nn.log_softmax(forward(C, state.c.params, {}, s_every, data.last(every))[0])
        words = (jnp.arange(every.shape[1])[None] < data.last(every)[:, None])[..., None]  # the end is none
        d = cfg.xi * unit(words * rng.normal(key("d"), s_every.shape))
        r = cfg.eps * unit(jax.grad(divergence, 1)(state.c.params, s_every + d))
        metrics["loss/virtual"], more = with_slope(divergence, s_every + r)
        grads, to_every = optax.tree.add_scale((grads, to_every), cfg.virtual, more)
    e, c = descend(state.e, to_e([to_s, to_every])[0], e_tx), descend(state.c, grads, c_tx)
    average = ema(state.average, (e.params, c.params), jnp.minimum(cfg.ema, 1 - 9 / (10 + jnp.float32(state.step))))
    return State(state.step + 1, state.key, e, c, average), metrics


def averaged(cfg, state):
    """Return the word vectors [v, d], and (s [b, t, d], x [b, t]) -> logits [b, classes], of the averaged nets."""
    E, C, *_ = build(cfg)
    e_params, c_params = state.average
    table, _ = forward(E, e_params, {}, data.frequencies(data.load(cfg.dataset)), train=False)
    return table, lambda s, x: forward(C, c_params, {}, s, data.last(x), train=False)[0]


def moved(cfg, state, x):
    """Return sentences x [b, t] after words were moved by `shift`, away from the class that is said of them."""
    table, logits = averaged(cfg, state)
    slope = jax.grad(lambda s: -jax.nn.log_softmax(logits(s, x)).max(1).sum())(table[x])
    squared = (table**2).sum(1).at[: len(tokens.SPECIAL)].set(jnp.inf)  # no word becomes padding or an end
    near = lambda s: (squared[None] - 2 * s @ table.T).argmin(1).astype(jnp.int32)
    return jnp.where(x < len(tokens.SPECIAL), x, jax.lax.map(near, table[x] + cfg.shift * unit(slope)))


def sample(cfg, state, key, n):
    return moved(cfg, state, data.examples(data.load(cfg.dataset), key, n)["x"])


def measure(cfg, state, key, train, test):
    if not test or "y" not in test["x"]:
        return {}
    table, logits = averaged(cfg, state)
    x, y = test["x"]["x"], test["x"]["y"]
    said = jax.lax.map(lambda x: logits(table[x][None], x[None])[0].argmax(), x, batch_size=100)
    pairs = Picture(jnp.stack([x[:8], moved(cfg, state, x[:8])]), rows=("held out", "moved"))
    return {"test/error": ((said != y) & (y >= 0)).sum() / (y >= 0).sum(), "sentences": pairs}


def known(cfg, state):
    """Return a new state with the vectors of `vectors` for the words that it has."""
    vectors, names = data.load(f"{cfg.vectors},x=vector,y=word:label"), data.load(cfg.dataset).row["x"].names
    table = lambda: {"table": data.with_vectors(state.e.params["table"], names, vectors)}
    return state._replace(e=state.e._replace(params=table()), average=(table(), state.average[1]))


def setup(cfg):
    joined = data.join(x=data.load(cfg.dataset), labelled=data.only_labelled(data.load(cfg.dataset), cfg.labels))
    begin = functools.partial(known, cfg) if cfg.vectors else None
    return Setup(joined, cfg.batch_size, cfg.steps, kinds=("tokens",), begin=begin)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
