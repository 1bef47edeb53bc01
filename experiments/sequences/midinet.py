"""MidiNet: convolutional nets write a melody bar by bar, each over a chord that is asked and after the bar before.

Yang, Chou and Yang 2017, arXiv 1703.10847. A bar is a roll of 16 steps and 128 pitches. G is told the chord at every
layer, and by a net of its own, the conditioner, the bar before: at every layer ("creative"), or with `--no-creative` at
the last one alone, where the chord has the say. D, which knows the chord, learns once a step, G twice; G also matches
the mean features of D's first layer and the mean bar: the larger these weights, the nearer it stays to the data.

`measure` gives the share of notes `in_chord`, and how far the histograms of `pitches` and of `intervals` from note to
note are from those of held-out bars (total variation); training bars in the place of G's (`train/`) say what can be
had, held-out bars over other chords (`other/in_chord`) what chance gives. `distinct` is the share of bars that are no
repetition of another. `melodies` are eight bars of G, over the chords of held-out tunes.

Differences from the paper and the authors' code (RichardYang40148/MidiNet, v1):
1. Folk tunes (Nottingham) instead of 526 tabs of pop songs; each batch is transposed at random, not the set twelvefold.
2. Adam's rates are 2e-4 and 1500 steps are made; `paper` has 5e-5 and as many steps as 20 epochs of 50,496 bars.
3. As in the code, and not in the paper, G learns twice a step, from the same noise, and noise is normal.
4. Bars are sampled by running statistics of batch norm, in the code by those of the batch; layers with it have no bias.

    python -m experiments midinet                    folk tunes over their chords; --dataset ditties: made ones
    python -m experiments midinet --no-creative      the chord has the say
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.data import tunes
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.game.regularisers import cross_entropy
from gan_jax.metrics import music
from gan_jax.nets import midinet
from gan_jax.run import Count, Decay, Picture, Setup, Share, program

ROWS, SHOWN, BARS = 1000, 3, 8  # bars that are measured, of each kind; melodies that are shown, and their bars


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "nottingham"  # tunes with chords: a TFDS set, or `ditties`
    creative: bool = True  # the bar before is told to every layer of G, not to the last one alone
    steps: Count = 1500  # updates of D
    g_steps: Count = 2  # updates of G for each one of D
    batch_size: Count = 72  # bars of data, and of noise, a step
    z_dim: Count = 100  # the latent, standard normal
    width: Count = 64  # half of the channels of G's transposed convolutions
    hidden: Count = 1024  # units of dense layers
    features: float = 0.1  # weight of half the squares between mean features of D's first layer, in G's loss
    mean: float = 0.01  # weight of half the squares between mean bars, in G's loss
    label: Share = 0.9  # what D is to say of data
    g_lr: float = 2e-4  # Adam's rate for G
    d_lr: float = 2e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment, for both


PRESETS = {
    "default": Config(),
    "paper": Config(steps=14_020, g_lr=5e-5, d_lr=5e-5),  # 20 epochs of 701 batches
    "tiny": Config("ditties", steps=6, batch_size=8, z_dim=4, width=2, hidden=8),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    G, D = midinet.G(cfg.width, cfg.hidden, cfg.creative), midinet.D(cfg.width, cfg.hidden)
    return G, D, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, bar, chord = (jnp.zeros((1, *shape)) for shape in ((cfg.z_dim,), (tunes.BAR, tunes.PITCHES), (13,)))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, chord, bar), create(D, d_tx, rng.at(key, 0, "d"), bar, chord)
    return State(jnp.int32(0), key, g, d)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    x, before = (batch[name].astype(jnp.float32) for name in ("x", "before"))  # [b, 16, 128]
    chord = batch["chord"]  # [b, 13]
    z = rng.normal(rng.at(state.key, state.step, "z"), (len(x), cfg.z_dim))
    written = lambda g: jax.vjp(lambda params: forward(G, params, g.stats, z, chord, before), g.params, has_aux=True)
    judged = lambda params, bars: forward(D, params, state.d.stats, bars, chord)
    fake, to_g, g_stats = written(state.g)
    apart = lambda a, b: ((a - b) ** 2).sum() / 2

    def d_loss(params):
        ((real_score, _), stats), ((fake_score, _), _) = judged(params, x), judged(params, fake)  # each apart
        value = cross_entropy(real_score, cfg.label).mean() + cross_entropy(fake_score, 0.0).mean()
        return value, (real_score, fake_score, stats)

    (d_value, (real, made, d_stats)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, d_tx, d_stats)
    seen = judged(d.params, x)[0][1].mean(0)  # [8, 14]

    def g_loss(fake):
        (score, features), _ = judged(d.params, fake)
        value = losses.non_saturating.g(None, score).mean()
        return value + cfg.features * apart(features.mean(0), seen) + cfg.mean * apart(fake.mean(0), x.mean(0)), value

    def improved(g, fake, to_g, stats):
        (_, value), to_fake = jax.value_and_grad(g_loss, has_aux=True)(fake)
        return descend(g, *to_g(to_fake), g_tx, stats), value

    g, g_value = improved(state.g, fake, to_g, g_stats)  # of the bars that D saw, then of new ones of the same noise
    g, _ = jax.lax.scan(lambda g, _: improved(g, *written(g)), g, length=cfg.g_steps - 1)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": made.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def drawn(cfg, state, key, chord, before):
    """Return bars [n, 16, 128] of 0 and 1 over chords [n, 13], after bars: at each step the most probable pitch."""
    given = rng.normal(key, (len(chord), cfg.z_dim)), chord, before.astype(jnp.float32)
    p, _ = forward(build(cfg)[0], state.g.params, state.g.stats, *given, train=False)
    return jax.nn.one_hot(p.argmax(-1), p.shape[-1], dtype=jnp.int32)


def sample(cfg, state, key, n):
    """Return bars over chords, and after bars, of tunes that are held out."""
    rows = data.examples(data.bars(cfg.dataset), key, n)
    return drawn(cfg, state, rng.at(key, 0, "z"), rows["chord"], rows["before"])


def melodies(cfg, state, key, chords):
    """Return melodies over chords [n, bars], by number, as rolls [n, 16 bars, 128]: each bar after G's own before."""

    def bar(before, given):
        i, chord = given
        now = drawn(cfg, state, jax.random.fold_in(key, i), tunes.chord(chord), before)
        return now, now

    first = jnp.zeros((len(chords), tunes.BAR, tunes.PITCHES), jnp.int32)
    found = jax.lax.scan(bar, first, (jnp.arange(chords.shape[1]), chords.T))[1]
    return found.swapaxes(0, 1).reshape(len(chords), -1, tunes.PITCHES)


def measure(cfg, state, key, train, test):
    if not train or not test:
        return {}
    n = min(ROWS, len(train["x"]), len(test["x"]))
    real, known = ({of: a[: n * (len(a) // n) : len(a) // n] for of, a in part.items()} for part in (test, train))
    batch = data.bars(cfg.dataset).test.make(real, key, 0, n)
    made = drawn(cfg, state, rng.at(key, 0, "z"), batch["chord"], batch["before"]).argmax(-1)
    chords = jnp.asarray(tunes.CHORDS)[real["chord"]]
    found = {"other/in_chord": music.in_chord(real["x"], jnp.roll(chords, n // 2, 0))}
    for name, x in {"": made, "test/": real["x"]}.items():
        found |= {f"{name}in_chord": music.in_chord(x, chords), f"{name}distinct": music.distinct(x)}
        found[f"{name}notes"] = music.begins(x).sum(1).mean(dtype=jnp.float32)
    for name, x in {"": made, "train/": known["x"]}.items():
        for what, of in {"pitches": music.pitch_histogram, "intervals": music.interval_histogram}.items():
            found[f"{name}{what}"] = music.total_variation(of(x), of(real["x"]))
    return found | {"melodies": shown(cfg, state, rng.at(key, 0, "melodies"), test)}


def shown(cfg, state, key, rows):
    """Return a Picture of G's melodies over the chords of the first tunes of these bars, and of the tunes."""
    at = tunes.beginnings(rows["before"], SHOWN, BARS)
    chords = rows["chord"][at]  # [shown, bars]
    tune = jax.nn.one_hot(rows["x"][at].reshape(SHOWN, -1), tunes.PITCHES, dtype=jnp.int32)
    under = jnp.repeat(jnp.asarray(tunes.ROLLS)[chords], tunes.BAR, 1)
    x = jnp.maximum(jnp.stack([melodies(cfg, state, key, chords), tune]), under[None])
    return Picture(x, rows=("G over the chords (below C4) of tunes", "these tunes"))


def setup(cfg):
    return Setup(data.bars(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("series",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
