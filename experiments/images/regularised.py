"""What holds D back where data are few: DiffAugment, LeCam, CR, bCR, zCR and top-k as switches of one small GAN.

- `diffaugment`: D sees reals and fakes in other colours, moved and with a hole, in both losses (arXiv 2006.10738).
- `lecam`: D is pulled towards the running means of its scores of the other kind (arXiv 2104.03310).
- `cr`, `bcr`: D's score of a real, and of a fake, does not change where it moves a little (1910.12027, 2002.04724).
- `zcr`: D tells G(z) from G(z + noise) as little as it can, and G makes them as different as it can (2002.04724).
- `topk`: G descends the loss of those fakes alone that D scores highest, fewer and fewer (2002.06224).

Nets are DCGAN's, D divided by its singular values (SN-GAN) so that rows don't share a norm, the loss is the hinge. D
moves first, then G against the new D, from the same noise. `python -m benchmarks regularised` measures each alone.

Differences from the papers:
1. One small net, rate and set for all; weights are the papers' for BigGAN, and were not tuned.
2. Pictures move by up to an eighth of a side, for digits are not mirrored (in CR, bCR they are, too).
3. LeCam begins after `start` steps (there 1,000), and squares what is above 0 alone, as in the authors' code.
4. The share of top-k is a function of the step: an epoch is `epoch` of them.

    python -m experiments regularised                         100 digits, without any
    python -m experiments regularised --use diffaugment lecam
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, augment, create, descend, ema, forward, losses, regularisers, rng
from gan_jax.nets import dcgan
from gan_jax.run import Count, Decay, Setup, Share, program

USES = "diffaugment", "lecam", "cr", "bcr", "zcr", "topk"


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # any image set
    records: int = 100  # of its pictures, those that are trained on; 0: all
    use: tuple[str, ...] = ()  # of diffaugment, lecam, cr, bcr, zcr, topk
    steps: Count = 2000  # updates of D, and of G
    batch_size: Count = 32  # pictures a step
    z_dim: Count = 32  # the latent, standard normal
    width: Count = 16  # channels at full resolution
    lr: float = 5e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment
    lecam: float = 0.3  # LeCam's weight
    start: int = 500  # steps until LeCam's means are good
    consistent: float = 10.0  # weight of cr and of bcr
    near: float = 0.05  # deviation of zcr's noise
    d_zcr: float = 20.0  # zcr's weight in D's loss
    g_zcr: float = 0.5  # and in G's
    epoch: Count = 20  # steps after which top-k takes fewer fakes
    least: Share = 0.5  # of the fakes are used by top-k at last


PRESETS = {
    "default": Config(),
    "all": Config(use=("diffaugment", "lecam", "bcr", "zcr", "topk")),
    "tiny": Config(records=0, use=USES, steps=6, batch_size=8, z_dim=4, width=2, start=2, epoch=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    means: tuple[jax.Array, jax.Array]  # running means of D's scores of reals and of fakes


def build(cfg):
    shape = data.load(cfg.dataset).shape
    return dcgan.G(shape, cfg.width), dcgan.D(cfg.width, spectral=True), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x, zero = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.float32(0)
    g, d = create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, (zero, zero))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    use, x, loss = set(cfg.use), batch["x"], losses.hinge
    key = lambda name: rng.at(state.key, state.step, name)
    z = latent(cfg, key("z"), len(x))  # [b, z]
    near = z + cfg.near * rng.normal(key("near"), z.shape)
    seen = lambda name, x: augment.diff_augment(key(name), x) if "diffaugment" in use else x
    moved = lambda name, x: augment.translate(key(name), x)
    score = lambda d_params, x: forward(D, d_params, state.d.stats, x)

    def drawn(g_params):  # each batch by its own norm
        fake, stats = forward(G, g_params, state.g.stats, z)
        return (fake, forward(G, g_params, state.g.stats, near)[0] if "zcr" in use else fake), stats

    (fake, near_fake), to_g, g_stats = jax.vjp(drawn, state.g.params, has_aux=True)

    def d_loss(d_params):
        (real_score, stats), (fake_score, _) = score(d_params, seen("reals", x)), score(d_params, seen("fakes", fake))
        rows, of = loss.d(real_score, fake_score), lambda x: score(d_params, x)[0]
        if "lecam" in use:
            weight = jnp.where(state.step < cfg.start, 0, cfg.lecam)
            rows += weight * regularisers.lecam(real_score, fake_score, *state.means)
        if use & {"cr", "bcr"}:
            rows += cfg.consistent * regularisers.consistency(of(x), of(moved("real", x)))
        if "bcr" in use:
            rows += cfg.consistent * regularisers.consistency(of(fake), of(moved("fake", fake)))
        if "zcr" in use:
            rows += cfg.d_zcr * regularisers.consistency(of(fake), of(near_fake))
        return rows.mean(), (stats, (real_score.mean(), fake_score.mean()))

    (d_value, (d_stats, said)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx, d_stats)

    def g_loss(made):
        fake, near_fake = made
        fake_score, _ = forward(D, d.params, d.stats, seen("of g", fake))  # of the new D
        rows = loss.g(None, fake_score)
        count = regularisers.top_k_count(len(x), state.step // cfg.epoch, least=cfg.least) if "topk" in use else len(x)
        value = regularisers.top_k(rows, fake_score, count)
        return value + (cfg.g_zcr * regularisers.apart(fake, near_fake).mean() if "zcr" in use else 0)

    g_value, made_grad = jax.value_and_grad(g_loss)((fake, near_fake))
    g = descend(state.g, *to_g(made_grad), tx, g_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "mean/real": said[0], "mean/fake": said[1]}
    return State(state.step + 1, state.key, g, d, ema(state.means, said, 0.99)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    if unknown := sorted(set(cfg.use) - set(USES)):
        raise UserError(f"there is no {', '.join(unknown)} to use; choose from {', '.join(USES)}.")
    return Setup(data.few(data.load(cfg.dataset), cfg.records), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
