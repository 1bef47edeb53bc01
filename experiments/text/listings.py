"""Listings: a GAN writes names of places to stay, asked for places that are booked and rated well, or for others.

After Diehl Martinez and Kamalu 2018, arXiv 1806.11432 (from memory): a GAN of LSTMs writes Airbnb listings, and beside
D a loss rewards words that are wanted. Here a bag of words C learns from listings which words go with success; G
descends its cross-entropy for the label asked, D's answer on (text, label), and -log p of listings, that alone at
first. Words are a softmax of logits and Gumbel noise, as in Kusner and Hernandez-Lobato 2016, arXiv 1611.04051.

Differences from the paper:
1. C finds what is wanted; there it is a list of words, and the distance of word vectors to them.
2. The default writes names of up to 8 words, the preset `descriptions` 16 words of a text; nets are small.
3. Words are drawn hard, with the gradient of the soft ones, and none is one that the vocabulary lacks; 1611.04051 has
   soft ones, colder and colder, and a latent.
4. Success is at least `reviews` in the last year, which is the least that was booked, and a rating from `rating` on.
5. The likelihood stays in G's loss.

    python -m experiments listings         names of places in Antwerp; --feedback 0: without C
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import texts
from gan_jax.nets import listings
from gan_jax.run import Count, Picture, Setup, Share, program

NAMES = "airbnb_antwerp,x=name,y=,level=word,length=8,numbers=review_scores_rating+number_of_reviews_ltm"


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = f"{NAMES},split=train[:60%],test=train[60%:]+test"  # text; `numbers`, or a label y: 1 is wanted
    steps: Count = 800  # updates, of both kinds
    mle: int = 600  # first updates, by likelihood alone
    batch_size: Count = 32  # rows a step
    rating: float = 4.75  # of 5, from which on a place is rated well
    reviews: float = 5.0  # in the last year, from which on it is booked
    adversarial: float = 1.0  # weight of D's answer in G's loss
    feedback: float = 1.0  # weight of C's
    likelihood: float = 1.0  # weight of -log p of a word of the listings
    tau: float = 1.0  # temperature of the softmax whose gradient is taken
    dim: Count = 32  # numbers of a word's vector
    width: Count = 64  # units of the LSTMs
    g_lr: float = 2e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    c_lr: float = 1e-3  # Adam's rate for C
    slower: Share = 0.1  # share of g_lr once D answers
    decay: float = 0.1  # of C's weights


PRESETS = {
    "default": Config(),
    "descriptions": Config(Config.dataset.replace("x=name", "x=description").replace("length=8", "length=16")),
    "tiny": Config("phrases", 6, 1, batch_size=8, dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    c: Player
    before: dict  # G's parameters as likelihood alone left them


def build(cfg):
    rate = lambda t: cfg.g_lr * jnp.where(t < cfg.mle, jnp.float32(1), jnp.float32(cfg.slower))
    tx = {"g": optax.adam(rate), "d": optax.adam(cfg.d_lr), "c": optax.adamw(cfg.c_lr, weight_decay=cfg.decay)}
    return listings.G(2, cfg.dim, cfg.width), listings.D(2, cfg.dim, cfg.width), listings.Bag(2), tx


def init(cfg, key):
    G, D, C, tx = build(cfg)
    field = data.load(cfg.dataset).row["x"]
    y, x = jnp.zeros(1, jnp.int32), jnp.zeros((1, *field.shape, field.classes))
    inputs = {"g": (G, y, x), "d": (D, x, y), "c": (C, x)}
    g, d, c = (create(net, tx[of], rng.at(key, 0, of), *given) for of, (net, *given) in inputs.items())
    return State(jnp.int32(0), key, g, d, c, g.params)


def wanted(cfg, records):
    """Return 1 for places that are booked and rated well, 0 for others, int32 [b]."""
    if "y" in records:
        return records["y"]
    rating, reviews = records["numbers"].T  # a place that nobody rated has NaN
    return ((rating >= cfg.rating) & (reviews >= cfg.reviews)).astype(jnp.int32)


def gumbel(cfg, key, n):
    """Return the noise [n, t, v] that draws n texts."""
    field = data.load(cfg.dataset).row["x"]
    return rng.gumbel(key, (n, *field.shape, field.classes))


def step(cfg, state, batch):
    G, D, C, tx = build(cfg)
    loss, y = losses.non_saturating, wanted(cfg, batch)  # [b]
    x = jax.nn.one_hot(batch["x"], data.load(cfg.dataset).row["x"].classes, dtype=jnp.float32)  # [b, t, v]
    named = lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def unlikely(g_params):
        (logits, _), _ = forward(G, g_params, {}, y, x)
        return optax.softmax_cross_entropy(logits, x).mean()

    def learn(state):
        value, grads = jax.value_and_grad(unlikely)(state.g.params)
        g = descend(state.g, grads, tx["g"])
        return state._replace(g=g, before=g.params), (value, *[0 * value] * 3, *[0 * value + 0.5] * 2)

    def play(state):
        def g_loss(g_params):
            noise = gumbel(cfg, rng.at(state.key, state.step, "gumbel"), x.shape[0])
            (_, fake), _ = forward(G, g_params, {}, y, noise, cfg.tau)  # [b, t, v]
            fooled = loss.g(None, forward(D, state.d.params, {}, fake, y)[0]).mean()
            missed, nll = named(forward(C, state.c.params, {}, fake)[0]), unlikely(g_params)
            value = cfg.adversarial * fooled + cfg.feedback * missed + cfg.likelihood * nll
            return value, (fake, fooled, missed, nll)

        def d_loss(d_params, fake):
            real_score, fake_score = (forward(D, d_params, {}, words, y)[0] for words in (x, fake))  # [b]
            return loss.d(real_score, fake_score).mean(), [jax.nn.sigmoid(s).mean() for s in (real_score, fake_score)]

        g_grads, (fake, fooled, missed, nll) = jax.grad(g_loss, has_aux=True)(state.g.params)
        (value, p), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)
        g, d = descend(state.g, g_grads, tx["g"]), descend(state.d, d_grads, tx["d"])
        return state._replace(g=g, d=d), (nll, fooled, value, missed, *p)

    state, found = jax.lax.cond(state.step < cfg.mle, learn, play, state)
    c_value, c_grads = jax.value_and_grad(lambda params: named(forward(C, params, {}, x)[0]))(state.c.params)
    names = "loss/likelihood", "loss/g", "loss/d", "loss/feedback", "p/real", "p/fake", "loss/c"
    state = state._replace(step=state.step + 1, c=descend(state.c, c_grads, tx["c"]))
    return state, dict(zip(names, (*found, c_value), strict=True))


def written(cfg, g_params, key, y):
    """Return texts [n, t] that G writes where it is asked for labels y [n]."""
    _, words = forward(build(cfg)[0], g_params, {}, y, gumbel(cfg, key, len(y)), cfg.tau, train=False)[0]
    return words.argmax(-1).astype(jnp.int32)


def sample(cfg, state, key, n):
    return written(cfg, state.g.params, key, jnp.ones(n, jnp.int32))


def measure(cfg, state, key, train, test):
    if not train or not {"y", "numbers"} & test.keys():
        return {}
    x, y, v = train["x"], wanted(cfg, train), data.load(cfg.dataset).row["x"].classes
    odds, perplexity = texts.odds(test["x"], wanted(cfg, test), v), texts.bigram(test["x"], v)  # G and C saw none of it
    success = lambda x, of=1.0: (jax.nn.sigmoid(odds(x)) * of).sum() / jnp.broadcast_to(of, len(x)).sum()
    found, shown = {"success/data": success(x, y), "success_other/data": success(x, 1 - y)}, {}
    found |= {"perplexity/data": perplexity(x), "judge": texts.ranked(odds(x), y)}
    for name, params in {"likelihood": state.before, "gan": state.g.params}.items():
        one, other = (written(cfg, params, rng.at(key, i, name), jnp.full(500, i)) for i in (1, 0))
        of = {"success": success(one), "success_other": success(other), "perplexity": perplexity(one)}
        of |= {"distinct": texts.distinct(one), "copied": texts.copied(one, x)}
        found |= {f"{what}/{name}": value for what, value in of.items()}
        shown |= {f"{name}, wanted": one[:8], f"{name}, other": other[:8]}
    return found | {"texts": Picture(jnp.stack(list(shown.values())), rows=tuple(shown))}


def setup(cfg):
    source = data.load(cfg.dataset)
    of = source.row.get("y", source.row.get("numbers"))
    if of is None or (of.kind, of.classes or of.shape) not in (("label", 2), ("row", (2,))):
        said = "numbers=RATING+REVIEWS, or a label y of two classes"
        raise UserError(f"{source.name} does not say which text is wanted: give {said}.")
    return Setup(data.labelled(source) if "y" in source.row else source, cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
