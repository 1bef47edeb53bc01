"""Gumbel-softmax GAN: G writes soft tokens, colder and colder, so that gradients of D pass through what it writes.

Kusner and Hernandez-Lobato 2016, arXiv 1611.04051. G is an LSTM whose first state is the latent. Its logits h and
Gumbel noise g make a token y = softmax((h + g) / tau), which is what D, another LSTM, sees and what G sees next; as tau
falls, y nears a token drawn from softmax(h). D descends -log D(x) - log(1 - D(y)), G -log D(y), x one-hot.

Differences from the paper, whose text was not at hand: numbers are as others report them, or as we remember them:
1. It draws strings of its grammar in a way that is not said; `expressions` says how ours are drawn.
2. An end and padding, two tokens, stand where it pads by blanks, and a third token never occurs.
3. Nets of `width` units, which it does not say; the state of D is asked after the last token.
4. Tokens are one-hot, as data are, and soft in their gradient alone (straight through): D knows soft ones at once.
5. D judges `pack` strings together (PacGAN), else G ends at "x" alone, a sixth of the data.
6. D sees all tokens in Gaussian noise (instance noise) that is gone when tau is at rest.
7. G learns four times as fast as D, and tau begins at 3 instead of 5: else D wins for good on some seeds. `paper` has
   none of 4 to 7.
8. Both nets are updated at once, from the same noise.
9. Its trials of other temperatures for the data, larger samples, and noise in half of the first state are not here.

    python -m experiments gumbel                           sums and products of x: how many does the grammar accept?
    python -m experiments gumbel --no-hard --pack 1        soft tokens, judged one by one
    python -m experiments gumbel --preset words            War and Peace in its 1,000 commonest words; or molecules
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, regularisers, rng
from gan_jax.metrics import texts
from gan_jax.nets import packs, strings
from gan_jax.run import Count, Decay, Picture, Setup, Share, program

SAMPLES, HELD = 2000, 1000  # strings that are measured, of G and held out


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "expressions"  # short strings
    steps: Count = 1500  # joint updates of G and D
    batch_size: Count = 128  # strings of data, and of G, a step
    warm: float = 3.0  # temperature at first; it falls along a straight line
    cold: float = 1.0  # temperature at rest
    annealed: Share = 0.8  # share of the steps after which the temperature rests, and the noise is gone
    noise: float = 0.4  # deviation of the instance noise at first
    hard: bool = True  # tokens are one-hot, with the gradient of soft ones
    pack: Count = 4  # strings that D judges together
    width: Count = 64  # units of the LSTMs; the latent has twice as many numbers, even in [-1, 1]
    g_lr: float = 2e-3  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config(
        steps=20_000,
        batch_size=200,
        warm=5.0,
        annealed=0.5,
        noise=0.0,
        hard=False,
        pack=1,
        g_lr=1e-3,
        d_lr=1e-3,
        b1=0.9,
    ),
    "words": Config("war_and_peace,level=word,length=20,vocabulary=1000", batch_size=32),
    # longer strings than the grammar's: D is held back further, and the noise lasts, or D knows all samples
    "molecules": Config("qm9_smiles5k,x=smiles,length=24", steps=8000, annealed=1.0, noise=0.6, d_lr=2e-4),
    "tiny": Config(steps=6, batch_size=8, pack=2, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    adam = lambda lr: optax.adam(lr, cfg.b1)
    D = packs.Packed(strings.SoftD(cfg.width), cfg.pack)
    return strings.SoftG(cfg.width, cfg.hard), D, adam(cfg.g_lr), adam(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    field = data.load(cfg.dataset).row["x"]
    z, x = jnp.zeros((cfg.pack, 2 * cfg.width)), jnp.zeros((cfg.pack, *field.shape, field.classes))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, x, 1.0), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d)


def progress(cfg, t):
    """Return how much of the way from warm to cold lies behind step t: 1 at the end of it, and more afterwards."""
    return t.astype(jnp.float32) / max(1.0, cfg.annealed * cfg.steps)


def temperature(cfg, t):
    return cfg.warm + (cfg.cold - cfg.warm) * jnp.minimum(progress(cfg, t), 1)


def written(cfg, g_params, t, key, n):
    """Return soft tokens [n, t, v] of G at the temperature of step t."""
    field = data.load(cfg.dataset).row["x"]
    z = 2 * rng.uniform(rng.at(key, 0, "z"), (n, 2 * cfg.width)) - 1  # [n, 2 width]
    gumbel = rng.gumbel(rng.at(key, 0, "gumbel"), (n, *field.shape, field.classes))  # [n, t, v]
    return forward(build(cfg)[0], g_params, {}, z, gumbel, temperature(cfg, t))[0]


def step(cfg, state, batch):
    _, D, g_tx, d_tx = build(cfg)
    loss, t = losses.non_saturating, state.step
    x = jax.nn.one_hot(batch["x"], data.load(cfg.dataset).row["x"].classes, dtype=jnp.float32)  # [b, t, v]

    def scored(d_params, x, name):
        seen = regularisers.instance_noise(rng.at(state.key, t, name), x, cfg.noise, progress(cfg, t))
        return forward(D, d_params, {}, seen)[0]  # [b / pack]

    def g_loss(params):
        fake = written(cfg, params, t, rng.at(state.key, t, "g"), x.shape[0])
        return loss.g(None, scored(state.d.params, fake, "fake")).mean(), fake

    def d_loss(params, fake):
        real_score, fake_score = scored(params, x, "real"), scored(params, fake, "fake")
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score)

    (g_value, fake), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, scores), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)
    g, d = descend(state.g, g_grads, g_tx), descend(state.d, d_grads, d_tx)
    real, made = (score.mean() for score in scores)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real, "score/fake": made}
    metrics |= {"temperature": temperature(cfg, t), "largest": fake.max(-1).mean()}  # of a token's numbers: 1 if hard
    return State(t + 1, state.key, g, d), metrics


def sample(cfg, state, key, n):
    return written(cfg, state.g.params, state.step, key, n).argmax(-1).astype(jnp.int32)


def measure(cfg, state, key, train, test):
    """Return what there is to say of samples beside held-out strings: more where all strings are known.

    Where they aren't, it is the perplexity to a model that counted pairs of tokens (`texts.bigram`), and the share of
    runs of tokens that held-out strings have; for these themselves training strings stand in.
    """
    if not train or not test:
        return {}
    source, found, held = data.load(cfg.dataset), {}, test["x"][:HELD]
    classes, known = source.row["x"].classes, source.language
    counted, made = texts.bigram(train["x"], classes), {"g": sample(cfg, state, key, SAMPLES), "data": held}
    for name, x in made.items():
        among = texts.overlaps(train["x"][:HELD] if name == "data" else x, held, classes)
        of = known.of_samples(x, train["x"]) if known else {"perplexity": counted(x)} | among
        found |= {f"{what}/{name}": value for what, value in (of | {"distinct": texts.distinct(x)}).items()}
    shown = jnp.stack([x[: min(16, len(made["data"]))] for x in made.values()])
    return found | {"strings": Picture(shown, rows=tuple(made))}


def setup(cfg):
    packs.check(cfg.batch_size, cfg.pack)
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
