"""3D-GAN: solids as voxels, from a latent; a D that wins is held back, and what it sees tells classes apart.

Wu, Zhang, Xue, Freeman and Tenenbaum 2016, arXiv 1610.07584. G doubles a cube four times by transposed convolutions,
with batch norm and ReLU between them, from a latent uniform on [0, 1); D mirrors it. D learns at a far lower rate than
G, and of a batch only if it was right about no more than 80 % of the batch before, of data and fakes together; G, which
ascends log D(G(z)), learns of every one.

`measure` sets samples beside held-out shapes by the intersection over union (IoU) of their voxels, and draws the
training shapes that are nearest to samples; `python -m benchmarks gan3d_features` has a linear SVM on D's features.

Differences from the paper:
1. ModelNet10 instead of ShapeNet, all classes in one net, as in the paper for its features; there each class has a net
   of its own for synthesis, here `--dataset modelnet10_voxels,only=chair`.
2. 32^3 voxels instead of 64^3, so three doublings of four, narrower nets and smaller batches; `paper` has its nets.
3. Both learn at 5e-4 (there G at 2.5e-3 and D at 1e-5), for some thousand steps; `paper` has the published rates.
4. D has biases instead of batch norm and sees how far the solids of its batch differ, as PGGAN's, and a bias fills a
   tenth of G's voxels at first: with the paper's nets all samples are the same few voxels (docs/results/shapes.md).
   `--no-spread --filled 0`, and `paper`, have these.
5. Voxels are -1 and 1 outside of the nets, which have 0 and 1 in and a sigmoid, as there.
6. The paper leaves open: D's batch norm sees data and fakes apart and keeps the statistics of data, of every batch; its
   accuracy is that of training mode, before the update; D moves first, and G against the new D, from the same fakes;
   weights begin as DCGAN's.

    python -m experiments gan3d                                           all classes of ModelNet10
    python -m experiments gan3d --dataset modelnet10_voxels,only=chair    one class
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import voxels
from gan_jax.nets import gan3d
from gan_jax.run import Count, Decay, Picture, Setup, Share, program

ROWS = 128  # of samples, of training shapes and of held-out ones that are compared


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "modelnet10_voxels"  # solids, a TFDS set by name or `primitives`
    steps: Count = 2500  # updates of G
    batch_size: Count = 16  # rows of data, and of noise, a step
    z_dim: Count = 200  # the latent, uniform in [0, 1)
    width: Count = 8  # channels at half of the resolution
    filled: Share = 0.1  # of voxels when G begins, by a bias of its last layer; 0: no bias
    spread: bool = True  # D sees how far a batch's solids differ, and has no batch norm
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment, for both
    held_above: Share = 0.8  # accuracy of D on the last batch above which it doesn't learn


PRESETS = {
    "default": Config(),
    "paper": Config("adrenal_mnist3d", 100_000, 100, width=64, filled=0, spread=False, g_lr=2.5e-3, d_lr=1e-5),
    "tiny": Config("primitives", steps=6, batch_size=4, z_dim=4, width=2, g_lr=2.5e-3, d_lr=2.5e-3),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    accuracy: jax.Array  # of D on the last batch


def build(cfg):
    G = gan3d.G(data.load(cfg.dataset).shape, cfg.width, cfg.filled)
    D = (gan3d.SpreadD if cfg.spread else gan3d.D)(cfg.width)
    return G, D, optax.adam(cfg.g_lr, cfg.b1), optax.adam(cfg.d_lr, cfg.b1)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape))
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, jnp.float32(0))


def latent(cfg, key, n):
    return rng.uniform(key, (n, cfg.z_dim))  # [n, z]


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    x = batch["x"]  # [b, d, h, w, c]
    z = latent(cfg, rng.at(state.key, state.step, "z"), x.shape[0])  # [b, z]
    generate = lambda g_params: forward(G, g_params, state.g.stats, z)
    fake, to_g, g_stats = jax.vjp(generate, state.g.params, has_aux=True)  # G runs once, for both players

    def d_loss(d_params):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b], over the reals alone; D keeps their stats
        fake_score, _ = forward(D, d_params, state.d.stats, fake)  # [b], over the fakes alone
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    d_value, to_d, (real_score, fake_score, d_stats) = jax.vjp(d_loss, state.d.params, has_aux=True)
    learns = state.accuracy <= cfg.held_above
    d = state.d._replace(stats=d_stats)
    d = jax.lax.cond(learns, lambda: descend(d, *to_d(jnp.ones_like(d_value)), d_tx), lambda: d)
    right = jnp.concatenate([real_score > 0, fake_score < 0]).mean(dtype=jnp.float32)

    def g_loss(fake):
        fake_score, _ = forward(D, d.params, d.stats, fake)  # of the new D
        return loss.g(None, fake_score).mean()

    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    g = descend(state.g, *to_g(fake_grad), g_tx, g_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    metrics |= {"accuracy": right, "held": 1 - learns.astype(jnp.float32)}
    return State(state.step + 1, state.key, g, d, right), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def discriminate(cfg, state, x):
    """Return D's score [b] of x [b, d, h, w, c], by the running statistics."""
    _, D, *_ = build(cfg)
    return forward(D, state.d.params, state.d.stats, x, train=False)[0]


def measure(cfg, state, key, train, test):
    """Return how samples, and as many training shapes, stand for held-out ones, and how near they are to training."""
    if not train or not test:
        return {}
    solid = lambda records: data.decode({"x": records})["x"] > 0
    x = sample(cfg, state, key, min(ROWS, len(test["x"])))
    made, real, known, found = x > 0, solid(test["x"][: len(x)]), solid(train["x"]), {}
    for name, these in {"": made, "train/": known[: len(x)]}.items():
        among = voxels.overlaps(these, real)  # [these, real]
        found |= {f"{name}coverage": voxels.coverage(among), f"{name}matched": among.max(0).mean()}
    to_known = voxels.overlaps(made, known)
    found |= {"nearest": to_known.max(1).mean(), "test/nearest": voxels.overlaps(real, known).max(1).mean()}
    found |= {"filled": made.mean(), "test/filled": real.mean()}
    nearest = data.decode({"x": train["x"][to_known[:8].argmax(1)]})["x"]
    return found | {"beside": Picture(jnp.stack([x[:8], nearest]), rows=("samples", "nearest training shapes"))}


def setup(cfg):
    return Setup(data.load(cfg.dataset), cfg.batch_size, cfg.steps, kinds=("voxels",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
