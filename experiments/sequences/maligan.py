"""MaliGAN: G learns from its own samples as if by likelihood, each weighed by how much likelier D finds it in data.

Che, Li, Zhang, Hjelm, Li, Song and Bengio 2017, arXiv 1702.07983. With r = D / (1 - D), the odds of D, the weights of
samples x_i are r_i / sum_j r_j, less a baseline b that grows from 0 to 1, and G ascends sum_i weight_i log p(x_i),
the weights held fixed: no gradient passes through tokens. Mixed MLE: each of m data strings keeps its first N tokens,
and n samples go on from there; weights are over these n, and the N tokens are learned by likelihood. N falls from all
tokens to none; then weights are over all samples, MaliGAN alone. G, an LSTM, begins with likelihood alone.

Differences from the paper, whose text was not at hand:
1. b is in units of the mean weight, 1 over the samples: as printed it would outweigh all of them.
2. D makes one update before each of G, on the same samples (there k, on others), and is new when the game begins.
3. N and b move along straight lines. Sizes and rates are ours, also those of `paper`. There is no tree search.

    python -m experiments maligan                          sums and products of x; --preset shakespeare: words
    python -m experiments maligan --mixed 0                MaliGAN alone; --mle 1000: likelihood alone
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.data.tokens import PAD
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import texts
from gan_jax.nets import strings
from gan_jax.run import Count, Picture, Setup, Share, program

SAMPLES = 1000  # strings that are measured, of each kind


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "expressions"  # short strings
    steps: Count = 1000  # updates of G
    mle: int = 500  # first updates, by likelihood alone
    batch_size: Count = 64  # strings of data, and of G, a step
    samples: Count = 4  # strings that go on from one beginning
    mixed: Share = 0.5  # share of the game's steps in which strings keep a beginning; 0: none do
    dim: Count = 16  # numbers of a token's vector
    width: Count = 64  # units of the LSTMs
    g_lr: float = 2e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    calm: Share = 0.5  # share of the steps after which G's rate is slower
    slower: Share = 0.1  # share of g_lr then


PRESETS = {
    "default": Config(),
    "shakespeare": Config("tiny_shakespeare,level=word,length=20,vocabulary=1000", dim=32),
    "molecules": Config("zinc20k,x=smiles,length=64", dim=32),
    "paper": Config("tiny_shakespeare,level=word,length=20", 20_000, 10_000, dim=200, width=200),
    "tiny": Config(steps=6, mle=1, batch_size=8, samples=2, dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    before: dict  # G's parameters as likelihood alone left them


def build(cfg):
    of = data.load(cfg.dataset).row["x"].classes, cfg.dim, cfg.width
    rate = lambda t: cfg.g_lr * jnp.where(t < cfg.calm * cfg.steps, jnp.float32(1), jnp.float32(cfg.slower))
    return strings.G(*of), strings.D(*of), optax.adam(rate), optax.adam(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape), jnp.int32)
    g = create(G, g_tx, rng.at(key, 0, "g"), x, jnp.zeros((*x.shape, 1)), jnp.zeros(x.shape[1], bool))
    return State(jnp.int32(0), key, g, create(D, d_tx, rng.at(key, 0, "d"), x), g.params)


def log_p(cfg, params, x):
    """Return log p of each token of strings x, after those before it [b, t]."""
    none = jnp.zeros((*x.shape, 1), jnp.float32), jnp.zeros(x.shape[1], bool)
    return forward(build(cfg)[0], params, {}, x, *none)[0][0]


def written(cfg, params, key, given, kept):
    """Return log p of each token, and the tokens [b, t], of strings that keep the first ones of those given."""
    gumbel = rng.gumbel(key, (*given.shape, data.load(cfg.dataset).row["x"].classes))
    return forward(build(cfg)[0], params, {}, given, gumbel, jnp.arange(given.shape[1]) >= kept)[0]


def schedule(cfg, t, length):
    """Return how many tokens are kept at step t, int32, and the baseline."""
    played, game = jnp.maximum(t - cfg.mle, 0).astype(jnp.float32), max(1, cfg.steps - cfg.mle)
    share = 1 - played / (cfg.mixed * game) if cfg.mixed else jnp.float32(0)
    return jnp.ceil(length * jnp.clip(share, 0, 1)).astype(jnp.int32), jnp.minimum(played / game, 1)


def weighed(score, kept, baseline):
    """Return weights of samples, the odds of D over their sum, less the baseline's share [m, n]; score [m, n] likewise.

    The sum is over the n samples that have a beginning in common; where no token is kept, over all.
    """
    m, n = score.shape
    alone = jax.nn.softmax(score.ravel()).reshape(m, n)
    return jnp.where(kept > 0, jax.nn.softmax(score, 1) / m, alone) - baseline / (m * n)


def step(cfg, state, batch):
    _, D, g_tx, d_tx = build(cfg)
    x, t = batch["x"], state.step  # [b, t]
    kept, baseline = schedule(cfg, t, x.shape[1])

    def learn(state):
        value, grads = jax.value_and_grad(lambda params: -log_p(cfg, params, x).sum(1).mean())(state.g.params)
        g = descend(state.g, grads, g_tx)
        return state._replace(g=g, before=g.params), (value, *[0 * value] * 3, *[0 * value + 0.5] * 2)

    def play(state):
        given = x[: len(x) // cfg.samples].repeat(cfg.samples, 0)  # [b, t]
        of = lambda params: written(cfg, params, rng.at(state.key, t, "gumbel"), given, kept)
        each, back, made = jax.vjp(of, state.g.params, has_aux=True)  # log p [b, t]

        def d_loss(params):
            real, fake = (forward(D, params, {}, rows)[0] for rows in (x, made))  # [b]
            return losses.non_saturating.d(real, fake).mean(), [jax.nn.sigmoid(score).mean() for score in (real, fake)]

        (d_value, p), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
        d = descend(state.d, d_grads, d_tx)
        score = forward(D, d.params, {}, made)[0].reshape(-1, cfg.samples)  # [m, n]
        weights = weighed(score, kept, baseline).reshape(-1, 1).astype(each.dtype)
        free = jnp.arange(x.shape[1])[None] >= kept
        ascended = jnp.where(free, weights, 1 / len(x))  # [b, t], of log p
        values = -(each * ~free).sum() / len(x), -(ascended * each).sum(), d_value
        found = *values, 1 / (weighed(score, kept, 0.0) ** 2).sum(), *p  # as many samples as count
        return state._replace(g=descend(state.g, back(-ascended)[0], g_tx), d=d), found

    state, found = jax.lax.cond(t < cfg.mle, learn, play, state)
    names = "loss/likelihood", "loss/g", "loss/d", "effective", "p/real", "p/fake"
    return state._replace(step=t + 1), dict(zip(names, found, strict=True)) | {"kept": kept}


def drawn(cfg, params, key, n):
    return written(cfg, params, key, jnp.zeros((n, *data.load(cfg.dataset).shape), jnp.int32), 0)[1]


def sample(cfg, state, key, n):
    return drawn(cfg, state.g.params, key, n)


def measure(cfg, state, key, train, test):
    """Return the perplexity of held-out strings, and how much samples overlap with them, before the game and after."""
    if not train or not test:
        return {}
    source, found, shown, held = data.load(cfg.dataset), {}, {}, test["x"][:SAMPLES]
    classes, words = source.row["x"].classes, held != PAD
    for name, params in {"likelihood": state.before, "gan": state.g.params}.items():
        made = drawn(cfg, params, rng.at(key, 0, name), SAMPLES)
        of = texts.overlaps(made, held, classes) | {"distinct": texts.distinct(made)}
        of["perplexity"] = jnp.exp(-(log_p(cfg, params, held) * words).sum() / words.sum())
        if source.language:
            log_g = log_p(cfg, params, jnp.asarray(source.language.strings)).sum(1)
            of |= source.language.of_samples(made, train["x"]) | source.language.of_model(log_g)
        found |= {f"{what}/{name}": value for what, value in of.items()}
        shown[name] = made[:12]
    found |= {f"{name}/data": value for name, value in texts.overlaps(train["x"][:SAMPLES], held, classes).items()}
    return found | {"strings": Picture(jnp.stack([*shown.values()]), rows=tuple(shown))}


def setup(cfg):
    if cfg.batch_size % cfg.samples:
        raise UserError(f"--batch-size is {cfg.batch_size}; it must be a multiple of --samples, {cfg.samples}.")
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
