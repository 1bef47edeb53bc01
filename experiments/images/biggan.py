"""BigGAN: wide nets whose blocks all see the noise, sampled by an averaged G from noise that is cut off.

Brock, Donahue and Simonyan 2019, arXiv 1809.11096. z is cut into parts: one is G's input, each block's conditional
batch norms see another beside an embedding of the label that all blocks share. The game is that of hinges with spectral
norm, self-attention and a projection; G also pays beta |W^T W * (1 - I)|^2 for each weight: its filters should be
orthogonal, of any length. An average of G draws samples. Their noise may be truncated (what is farther from 0 is drawn
again): samples become better, and more alike.

`paper` is StudioGAN's for 32x32. Differences from the paper and from it (POSTECH-CVLab/PyTorch-StudioGAN at 947b35e):
1. As StudioGAN has it: Adam's rates 2e-4 with b1 0.5, five updates of D (the paper: 5e-5 for G and 2e-4 for D, b1 0,
   two updates), nets for 32x32, batches of 64, running statistics for samples (the paper: those of fresh batches).
2. The penalty is the paper's (StudioGAN has none there; the authors' PyTorch code half its slope), of weights as they
   are before spectral norm; the embedding is spared, as in that code.
3. Singular vectors move by one power iteration with each update of their net, and G's batch norm keeps statistics of
   its own updates (StudioGAN: both with each forward pass).
4. G's blocks have no biases. Pictures are not mirrored. The default is smaller and has other rates.

    python -m experiments biggan                              handwritten digits of 16x16, and truncated ones
    python -m experiments biggan --dataset cifar10_subset     32x32 in colours, slower
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, ema, forward, losses, rng
from gan_jax.metrics import classifier, labels
from gan_jax.nets import biggan, layers
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # images with labels
    steps: Count = 2000  # updates of G
    batch_size: Count = 32  # rows of data, and of noise, of each update
    d_steps: Count = 2  # updates of D for each one of G
    part: Count = 16  # numbers of the latent for G's input, and for each of its blocks
    shared: Count = 32  # units of the embedding of the label
    width: Count = 8  # a quarter of G's channels, half of D's
    ortho: float = 1e-4  # beta, the weight of G's orthogonal regularisation
    truncation: float = 0.0  # no number of a sample's noise is farther from 0; 0: any may be
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment
    b2: Decay = 0.999  # Adam's decay of the second moment
    ema: Decay = 0.99  # decay of the averaged G, a step
    ema_start: int = 100  # steps before which the average is G itself


_paper = Config("cifar10", steps=100_000, batch_size=64, d_steps=5, part=20, shared=128, width=96, ema=0.9999,
                ema_start=1000, g_lr=2e-4, d_lr=2e-4)  # fmt: skip
PRESETS = {
    "default": Config(),
    "paper": _paper,
    "tiny": Config("digits", steps=6, batch_size=8, d_steps=2, part=2, shared=3, width=2, ema=0.5, ema_start=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def build(cfg):
    source = data.load(cfg.dataset)
    G = biggan.G(source.shape, source.classes, cfg.width, spectral=True, attention=True, shared=cfg.shared)
    D = biggan.D(source.classes, cfg.width, attention=True)
    return G, D, *(optax.adam(lr, cfg.b1, cfg.b2) for lr in (cfg.g_lr, cfg.d_lr))


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = latent(cfg, key, 1, train=True), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z["z"], z["y"]), create(D, d_tx, rng.at(key, 0, "d"), x, z["y"])
    return State(jnp.int32(0), key, g, d, (g.params, g.stats))


def noise(cfg, key, n, cut=0.0):
    """Return z [n, z], normal; cut > 0: and truncated there."""
    shape = n, cfg.part * len(layers.levels(data.load(cfg.dataset).shape, 1)[0])
    return rng.truncated(key, shape, cut) if cut else rng.normal(key, shape)


def latent(cfg, key, n, train=False):  # z [n, z], of samples truncated, and labels y [n], all equally likely
    of_z, which = jax.random.split(key)
    z, classes = noise(cfg, of_z, n, 0.0 if train else cfg.truncation), data.load(cfg.dataset).classes
    return {"z": z, "y": jax.random.randint(which, (n,), 0, classes, jnp.int32)}


def orthogonality(params):
    """Return the sum of |W^T W * (1 - I)|^2 over the weights W [inputs, outputs] of G, all but its embedding."""
    weights = jax.tree.leaves({name: part for name, part in params.items() if name != "shared"})
    weights = [w.reshape(-1, w.shape[-1]) for w in weights if w.ndim > 1]
    return sum(jnp.sum((w.T @ w * (1 - jnp.eye(w.shape[1], dtype=w.dtype))) ** 2) for w in weights)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    rows = lambda a: a.reshape(cfg.batch_size, cfg.d_steps, *a.shape[1:]).swapaxes(0, 1)  # [updates, b, ...]
    pairs = lambda a, b: jnp.stack([a, b], 1).reshape(-1, *a.shape[1:])  # [2 b, ...]: what D says of a row is its own

    def drawn(g_params, i):
        z = latent(cfg, jax.random.fold_in(rng.at(state.key, state.step, "z"), i), cfg.batch_size, train=True)
        fake, stats = forward(G, g_params, state.g.stats, z["z"], z["y"])
        return fake, z["y"], stats

    def d_update(d, ixy):
        i, x, y = ixy
        fake, asked, _ = drawn(state.g.params, i)

        def d_loss(params):
            score, stats = forward(D, params, d.stats, pairs(x, fake), pairs(y, asked))
            real_score, fake_score = score.reshape(-1, 2).T  # [b], [b]
            return losses.hinge.d(real_score, fake_score).mean(), (stats, real_score.mean(), fake_score.mean())

        (value, (stats, *scores)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, d_tx, stats), (value, *scores)

    def g_loss(g_params, d):
        fake, asked, stats = drawn(g_params, cfg.d_steps)
        fake_score, _ = forward(D, d.params, d.stats, fake, asked)
        penalty = orthogonality(g_params)
        return losses.hinge.g(None, fake_score).mean() + cfg.ortho * penalty, (stats, penalty)

    d, said = jax.lax.scan(d_update, state.d, (jnp.arange(cfg.d_steps), rows(batch["x"]), rows(batch["y"])))
    (g_value, (g_stats, penalty)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params, d)
    g = descend(state.g, g_grads, g_tx, g_stats)
    g_ema = ema(state.g_ema, (g.params, g.stats), jnp.where(state.step < cfg.ema_start, 0.0, cfg.ema))
    metrics = dict(zip(("loss/d", "mean/real", "mean/fake"), (a[-1] for a in said), strict=True))
    return State(state.step + 1, state.key, g, d, g_ema), metrics | {"loss/g": g_value, "orthogonality": penalty}


def generate(cfg, state, z):
    return forward(build(cfg)[0], *state.g_ema, z["z"], z["y"], train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often the classifier sees the label asked for, and how much samples differ, with truncation too."""
    cuts = 0.0, 1.0, 0.5  # 0: none
    source, found, shown = data.load(cfg.dataset), {}, []
    y = jnp.arange(source.classes)[:, None]
    for cut in cuts:
        of = lambda key, y, cut=cut: generate(cfg, state, {"z": noise(cfg, key, y.size, cut), "y": y})
        x = labels.asked(of, key, len(y))
        end = f"/{cut}" if cut else ""
        found[f"deviation{end}"] = x.std(1).mean()  # of a pixel, among samples of one label
        if test:
            said = classifier.load(source)(x.reshape(-1, *x.shape[2:])).argmax(1)
            found[f"agreement{end}"] = labels.agreement(said, jnp.repeat(y, x.shape[1]))
        shown.append(x[:, :4])
    columns = tuple(f"|z| < {cut}" if cut else "any z" for cut in cuts for _ in range(4))
    names = source.row["y"].names or tuple(map(str, range(len(y))))
    return found | {"each_label": Picture(jnp.concatenate(shown, 1), rows=names, columns=columns)}


def setup(cfg):
    source = data.load(cfg.dataset)
    if not source.classes:
        raise UserError(f"{cfg.dataset} has no labels; choose a set that has.")
    b, judges = cfg.batch_size * cfg.d_steps, (source,) if source.test else ()
    return Setup(data.labelled(source), b, cfg.steps, judges, ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
