"""C-RNN-GAN: an LSTM writes music, tone after tone, and one that reads it from both ends tells it from real tunes.

Mogren 2016, arXiv 1611.09904. A tone is a row of real numbers: how long after the one before it starts, how long it
lasts, its pitch. G sees noise and its own tone before. It first learns to tell the next tone of real tunes, of longer
and longer beginnings; then both play. D judges at every tone, and its answer is the mean. Who wins by far waits: D
while its loss is below 0.7 times G's, G while its own is below 0.7 times D's. G's aim is that D's features of its tunes
are on average those of real ones (feature matching), or with `--matching none` that D takes them for real.

`measure` gives the paper's measures of samples beside held-out tunes: `polyphony`, the share of moments at which
several tones start; `scale`, the share of tones in the scale that fits best; `repetitions` of three tones in a row;
`span`, half tones from the lowest to the highest tone; and the mean `wait` and `length` of a tone, in steps.

Differences from the paper and the authors' code (olofmogren/c-rnn-gan):
1. Classical piano from rolls, which say no loudness, so a tone has three numbers of four, with the pitch in half tones
   instead of a frequency, each with mean 0 and deviation 1. 32 tones instead of 100; one a step, no three.
2. Smaller nets and Adam, which the code has as a choice; `paper` has 350 units and gradient descent.
3. l2 is 0.1 in the code, where it counts for G alone; here it is small and for both, as the paper has it.
4. The code halves LSTM outputs at random (dropout), of which the paper says nothing; here they are whole.
5. Freezing is the paper's. In the code G never learns while a loss is below 2: the line that is left of its condition.
6. Both losses that are compared are of the same batch; the code compares those of the batch before.
7. Learning to tell the next tone begins with a state of zeros, in the code with that in which writing ended.
8. Means of features are matched, as by Salimans et al. 2016. The paper (`--matching pairs`) matches those of a real
   tune to those of one of G's that has nothing to do with it, and a G whose tunes are all alike serves that best.

    python -m experiments crnngan                           piano pieces
    python -m experiments crnngan --preset folk             folk tunes with chords; --preset chorales
    python -m experiments crnngan --matching none           G raises D's answer
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import music
from gan_jax.nets import crnngan
from gan_jax.run import Count, Decay, Setup, Share, program

ROWS = 256  # tunes that are measured, of each kind
STAGES, LONGER = 6, 4  # of learning to tell the next tone, and by how many tones each is longer than the one before


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "piano_midi_rolls"  # music: a TFDS set of tunes or rolls, or `ditties`
    length: Count = 32  # tones of a tune
    steps: Count = 1200  # updates: of G alone first, then of both
    pretrain: int = 300  # updates of G by real tunes
    batch_size: Count = 20  # real tunes a step, and as many of G's
    width: Count = 64  # units of each LSTM
    matching: Literal["means", "pairs", "none"] = "means"  # of D's features, which G matches; none: G raises D's answer
    frozen: Share = 0.7  # of the other's loss: a player whose loss is below it doesn't learn; 0: both always learn
    adam: bool = True  # Adam instead of gradient descent
    g_lr: float = 5e-4  # rate for G
    d_lr: float = 5e-4  # rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment, for both
    clip: float = 5.0  # most norm of the gradient of either
    l2: float = 1e-3  # weight of half the squares of all parameters, for each player


PRESETS = {
    "default": Config(),
    "paper": Config(  # 500 epochs of 3,697 pieces, 6 of them by real tunes
        length=100, steps=92_000, pretrain=1104, width=350, matching="pairs", adam=False, g_lr=0.1, d_lr=0.05, l2=0.1
    ),
    "folk": Config("nottingham"),
    "chorales": Config("jsb_chorales"),
    "tiny": Config("ditties", 5, steps=6, pretrain=1, batch_size=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    rule = (lambda lr: optax.adam(lr, cfg.b1)) if cfg.adam else optax.sgd
    tx = lambda lr: optax.chain(optax.clip_by_global_norm(cfg.clip), rule(lr))
    return crnngan.G(cfg.width), crnngan.D(cfg.width), tx(cfg.g_lr), tx(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z = latent(cfg, rng.at(key, 0, "z"), 1)
    g = create(G, g_tx, rng.at(key, 0, "g"), rows(cfg, z))
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), rows(cfg, z)[:, 1:]))


def latent(cfg, key, n):
    return rng.uniform(key, (n, (1 + cfg.length) * 3))  # [n, z]: before the first tone, and at each


def rows(cfg, z):
    return z.reshape(len(z), 1 + cfg.length, -1)


def decay(cfg, params):
    """Return l2 / 2 times the squares of all parameters."""
    return cfg.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(params))


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, x, b = losses.non_saturating, batch["x"], len(batch["x"])  # [b, t, 3]
    noise = rows(cfg, latent(cfg, rng.at(state.key, state.step, "z"), b))  # [b, 1 + t, 3]

    def learn(state):
        longest = LONGER * (1 + STAGES * state.step // max(cfg.pretrain, 1))
        counts = (jnp.arange(cfg.length) < longest).astype(x.dtype)[None, :, None]

        def error(params):
            told, _ = forward(G, params, {}, noise, x)
            value = ((told - x) ** 2 * counts).mean() / counts.mean()
            return value + decay(cfg, params), value

        grads, value = jax.grad(error, has_aux=True)(state.g.params)
        return state._replace(g=descend(state.g, grads, g_tx)), (value, *[0 * value] * 6)

    def play(state):
        made, to_g = jax.vjp(lambda params: forward(G, params, {}, noise)[0], state.g.params)
        judge = lambda params, made: forward(D, params, {}, jnp.concatenate([x, made]))[0]
        (score, seen), back = jax.vjp(judge, state.d.params, made)  # [2b], [2b, t, features]; once, for both players
        d_loss = lambda score: loss.d(score[:b], score[b:]).mean()
        g_loss = lambda score: loss.g(None, score[b:]).mean()
        mean = lambda seen: seen if cfg.matching == "pairs" else seen.mean(0, keepdims=True)
        apart = lambda seen: ((mean(seen[:b]) - mean(seen[b:])) ** 2).sum((1, 2)).mean()
        d_value, to_d_score = jax.value_and_grad(d_loss)(score)
        g_value, to_score = jax.value_and_grad(g_loss)(score)
        still = jax.tree.map(jnp.zeros_like, (score, seen))
        aim = (to_score, still[1]) if cfg.matching == "none" else (still[0], jax.grad(apart)(seen))

        def move(player, grads, tx):
            more = jax.grad(lambda params: decay(cfg, params))(player.params)
            return descend(player, jax.tree.map(jnp.add, grads, more), tx)

        g_learns, d_learns = g_value >= cfg.frozen * d_value, d_value >= cfg.frozen * g_value
        to_d = lambda: back((to_d_score, still[1]))[0]
        d = jax.lax.cond(d_learns, lambda: move(state.d, to_d(), d_tx), lambda: state.d)
        g = jax.lax.cond(g_learns, lambda: move(state.g, to_g(back(aim)[1])[0], g_tx), lambda: state.g)
        p, learn = jax.nn.sigmoid(score), [of.astype(d_value.dtype) for of in (g_learns, d_learns)]
        return state._replace(g=g, d=d), (0 * d_value, g_value, d_value, p[:b].mean(), p[b:].mean(), *learn)

    state, found = jax.lax.cond(state.step < cfg.pretrain, learn, play, state)
    # 0 where it is not played
    names = "loss/told", "loss/g", "loss/d", "p/real", "p/fake", "learns/g", "learns/d"
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def generate(cfg, state, z):
    return forward(build(cfg)[0], state.g.params, {}, rows(cfg, z), train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return the paper's measures of samples, and of as many held-out tunes."""
    if not test:
        return {}
    undo, real = data.tones(cfg.dataset, cfg.length).row["x"].undo, test["x"][:ROWS]
    of = {"": sample(cfg, state, key, len(real)), "test/": real}
    return {f"{name}{what}": value for name, x in of.items() for what, value in music.of_tones(undo(x)).items()}


def setup(cfg):
    return Setup(data.tones(cfg.dataset, cfg.length), cfg.batch_size, cfg.steps, kinds=("series",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
