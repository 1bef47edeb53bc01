"""3D-VAE-GAN: a solid from one picture: an encoder reads it into the latent from which 3D-GAN's generator draws.

Wu, Zhang, Xue, Freeman and Tenenbaum 2016, arXiv 1610.07584. E reads mean and variance of a normal code off a picture y
of the solid x. With z drawn from it and x' = G(z), D learns as in 3D-GAN, from solids and from samples G(N(0, 1)), E
descends kl KL(q(z|y) || N(0, 1)) + again d(x', x), and G 3D-GAN's loss of samples + again d(x', x).

`measure` makes solids of held-out pictures, from the mean of the code, beside the mean of all training solids and the
training solid whose picture is nearest: average precision, and intersection over union (IoU) of voxels from 0.5 on.

Differences from the paper:
1. Pictures are what is seen of the voxels along one axis, grey by depth; there they are photographs.
2. ModelNet10, all classes in one net, 32^3 voxels (`paper`: a set of 64^3), narrower nets; there ShapeNet and IKEA.
3. G's last layer has a bias, by which a tenth of each voxel is full at first. Without one, as there and in `paper`, its
   weights fell below 0 to empty most voxels: of rectified channels they then make no voxel fuller than a half.
4. d is the voxels' cross entropy; there |x' - x|. `paper` has it, its weights, D's rate, E's stride (E is from memory).
5. Left open there: D, whose statistics are of data, moves first; z of q and of the prior are a batch each for G's norm.

    python -m experiments vaegan3d         ten classes of ModelNet10; --dataset modelnet10_voxels,only=chair: one
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


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "modelnet10_voxels"  # solids, a TFDS set by name or `primitives`
    steps: Count = 200  # updates of D, E and G
    batch_size: Count = 16  # rows of data, and of noise, a step
    axis: int = 1  # along which pictures are taken, 0 to 2
    z_dim: Count = 200  # the code, standard normal
    width: Count = 8  # channels of solids at half of the resolution, and of E's first layer
    stride: Count = 1  # of that layer
    filled: Share = 0.1  # of voxels when G begins, by a bias of its last layer; 0: no bias
    kl: float = 0.1  # weight of the divergence
    again: float = 1.0  # weight of d(x', x)
    entropy: bool = True  # d is the voxels' cross entropy, otherwise the length of their differences
    g_lr: float = 2.5e-3  # Adam's rate for G
    e_lr: float = 1e-3  # Adam's rate for E
    d_lr: float = 3e-4  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment, for all
    held_above: Share = 0.8  # accuracy of D on the last batch above which it doesn't learn


_paper = {"filled": 0.0, "kl": 5.0, "again": 1e-4, "entropy": False}
PRESETS = {
    "default": Config(),
    "paper": Config("adrenal_mnist3d", 100_000, 100, width=64, stride=4, d_lr=1e-5, **_paper),
    "tiny": Config("primitives", steps=6, batch_size=4, z_dim=4, width=2, d_lr=2.5e-3),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    d: Player
    accuracy: jax.Array  # of D on the last batch


def source_of(cfg):
    return data.sights(data.load(cfg.dataset), cfg.axis)


def build(cfg):
    E, G = gan3d.E(cfg.z_dim, cfg.width, cfg.stride), gan3d.G(data.load(cfg.dataset).shape, cfg.width, cfg.filled)
    tx = {of: optax.adam(rate, cfg.b1) for of, rate in (("e", cfg.e_lr), ("g", cfg.g_lr), ("d", cfg.d_lr))}
    return E, G, gan3d.D(cfg.width), tx


def init(cfg, key):
    (*nets, tx), fields = build(cfg), source_of(cfg).fields
    inputs = (jnp.zeros((1, *of)) for of in (fields["source"].shape, (cfg.z_dim,), fields["x"].shape))
    players = (create(net, tx[of], rng.at(key, 0, of), x) for of, net, x in zip("egd", nets, inputs, strict=True))
    return State(jnp.int32(0), key, *players, jnp.float32(0))


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def again_loss(cfg, again, x):
    """Return how far solids `again` [b, d, h, w, c] are from x, of -1 and 1: d [b]."""
    if cfg.entropy:
        return -jnp.log(jnp.maximum((1 + again * x) / 2, 1e-6)).sum((1, 2, 3, 4))  # of the probability of what is true
    return jnp.sqrt((((again - x) / 2) ** 2).sum((1, 2, 3, 4)))  # of voxels that are 0 or 1


def step(cfg, state, batch):
    E, G, D, tx = build(cfg)
    loss, x, y = losses.non_saturating, batch["x"], batch["source"]  # [b, d, h, w, c], [b, h, w, c]
    noise, prior = (latent(cfg, rng.at(state.key, state.step, of), x.shape[0]) for of in ("noise", "z"))  # [b, z]

    def encode(e_params):
        (mean, log_var), stats = forward(E, e_params, state.e.stats, y)  # [b, z]
        kl = 0.5 * (jnp.exp(log_var) + mean**2 - 1 - log_var).sum(1)  # [b]
        return (mean + jnp.exp(log_var / 2) * noise, kl.mean()), stats

    def decode(g_params, z):
        again, stats = forward(G, g_params, state.g.stats, z)
        made, stats = forward(G, g_params, stats, prior)
        return (again_loss(cfg, again, x).mean(), made), stats

    (z, kl), to_e, e_stats = jax.vjp(encode, state.e.params, has_aux=True)
    (off, made), to_g, g_stats = jax.vjp(decode, state.g.params, z, has_aux=True)  # G runs once, for all three

    def d_loss(d_params):
        real_score, stats = forward(D, d_params, state.d.stats, x)  # [b], over the data alone; D keeps their stats
        fake_score, _ = forward(D, d_params, state.d.stats, made)
        return loss.d(real_score, fake_score).mean(), (real_score, fake_score, stats)

    d_value, to_d, (real_score, fake_score, d_stats) = jax.vjp(d_loss, state.d.params, has_aux=True)
    learns, d = state.accuracy <= cfg.held_above, state.d._replace(stats=d_stats)
    d = jax.lax.cond(learns, lambda: descend(d, *to_d(jnp.ones_like(d_value)), tx["d"]), lambda: d)
    right = jnp.concatenate([real_score > 0, fake_score < 0]).mean(dtype=jnp.float32)

    g_loss = lambda made: loss.g(None, forward(D, d.params, d.stats, made)[0]).mean()  # of the new D
    g_value, to_made = jax.value_and_grad(g_loss)(made)
    g_grads, to_z = to_g((jnp.asarray(cfg.again, off.dtype), to_made))
    (e_grads,) = to_e((to_z, jnp.asarray(cfg.kl, kl.dtype)))
    e, g = descend(state.e, e_grads, tx["e"], e_stats), descend(state.g, g_grads, tx["g"], g_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real_score.mean(), "score/fake": fake_score.mean()}
    metrics |= {"kl": kl, "again": off, "accuracy": right, "held": 1 - learns.astype(jnp.float32)}
    return State(state.step + 1, state.key, e, g, d, right), metrics


def generate(cfg, state, z):
    return forward(build(cfg)[1], state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def reconstruct(cfg, state, y):
    """Return the solids [b, d, h, w, c] of pictures y [b, h, w, c], from the means of their codes."""
    (mean, _), _ = forward(build(cfg)[0], state.e.params, state.e.stats, y, train=False)
    return generate(cfg, state, mean)


def measure(cfg, state, key, train, test):
    """Return how solids made of held-out pictures overlap with the true ones, beside answers without a net."""
    if not train or not test:
        return {}
    make = lambda records: source_of(cfg).test.make({"x": records}, key, 0, len(records))
    truth = make(test["x"][:: max(1, len(test["x"]) // 300)][:300])
    x, y = truth["x"] > 0, truth["source"]
    seen = jax.lax.map(lambda one: make(one[None])["source"].ravel(), train["x"], batch_size=200)  # [train, pixels]
    apart = (seen**2).sum(1)[None] - 2 * y.reshape(len(y), -1) @ seen.T  # [test, train], less |y|^2
    nearest = data.decode({"x": train["x"][apart.argmin(1)]})["x"]
    mean = train["x"].mean(0, dtype=jnp.float32) / 255
    mean = jnp.broadcast_to(mean - jnp.quantile(mean, 1 - mean.mean()), x.shape)  # as full as solids are on average
    made = jax.lax.map(lambda one: reconstruct(cfg, state, one[None])[0], y, batch_size=50)
    answers = {"": made, "mean/": mean, "nearest/": nearest}
    found = {f"{name}iou": voxels.overlap(of > 0, x).mean() for name, of in answers.items()}
    found |= {f"{name}precision": voxels.average_precision(of, x).mean() for name, of in answers.items()}
    shown = jnp.stack([truth["x"], made, nearest])[:, :: max(1, len(x) // 8)][:, :8]
    found["solids"] = Picture(shown, rows=("true", "made of its picture", "of the nearest picture"))
    return found | {"pictures": Picture(y[None, :: max(1, len(x) // 8)][:, :8], rows=("pictures",))}


def setup(cfg):
    return Setup(source_of(cfg), cfg.batch_size, cfg.steps, kinds=("voxels",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
