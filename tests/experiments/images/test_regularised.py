"""The step of the regularised GAN against plain formulas, with each of them and with none."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.images import regularised
from gan_jax import UserError, data
from gan_jax.game import augment, rng
from gan_jax.run import cli

SHAPE, B = (8, 8, 1), 8  # large enough to be moved by a pixel
CFG = dataclasses.replace(regularised.PRESETS["tiny"], batch_size=B, z_dim=3, lr=1e-2, start=1, epoch=1, least=0.25)


class Linear(nn.Module):
    out: tuple[int, ...]

    @nn.compact
    def __call__(self, x, train=True):
        y = nn.Dense(int(np.prod(self.out)))(x.reshape(len(x), -1))
        return y.reshape(-1, *self.out)


@pytest.fixture
def small(monkeypatch):
    """Nets of a batch norm and a layer, on images of 8x8."""
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, {"x": data.Field(SHAPE, "image")}))
    build = regularised.build
    nets = lambda cfg: (oracle.Normed(Linear(SHAPE)), oracle.Normed(Linear(())), build(cfg)[2])
    monkeypatch.setattr(regularised, "build", nets)


@oracle.with_norm
def G(p, z):
    return oracle.dense(p["Dense_0"], z).reshape(-1, *SHAPE)


@oracle.with_norm
def D(p, x):
    return oracle.dense(p["Dense_0"], x.reshape(len(x), -1))[:, 0]


relu = lambda x: jnp.where(x > 0, x, 0)


def played(use, root, t, g, d, means, x):
    """The players and the running means after step t."""
    key = lambda name: rng.at(root, t, name)
    z = rng.normal(key("z"), (B, 3))
    near = z + 0.05 * rng.normal(key("near"), (B, 3))
    seen = lambda name, x: augment.diff_augment(key(name), x) if "diffaugment" in use else x
    made = lambda g_params: (G(g_params, g.stats, z)[0], G(g_params, g.stats, near)[0])

    def d_loss(params):
        of = lambda x: D(params, d.stats, x)[0]
        fake, near_fake = made(g.params)
        (real_score, stats), fake_score = D(params, d.stats, seen("reals", x)), of(seen("fakes", fake))
        value = (relu(1 - real_score) + relu(1 + fake_score)).mean()
        if "lecam" in use and t >= 1:
            a_real, a_fake = means
            value += 0.3 * ((relu(real_score - a_fake) ** 2).mean() + (relu(a_real - fake_score) ** 2).mean())
        if "cr" in use or "bcr" in use:
            value += 10 * ((of(x) - of(augment.translate(key("real"), x))) ** 2).mean()
        if "bcr" in use:
            value += 10 * ((of(fake) - of(augment.translate(key("fake"), fake))) ** 2).mean()
        if "zcr" in use:
            value += 20 * ((of(fake) - of(near_fake)) ** 2).mean()
        return value, (stats, jnp.stack([real_score.mean(), fake_score.mean()]))

    grads, (d_stats, said) = jax.grad(d_loss, has_aux=True)(d.params)
    d = oracle.adam(d, grads, CFG.lr, CFG.b1, stats=d_stats)

    def g_loss(params):
        fake, near_fake = made(params)
        scores = D(d.params, d.stats, seen("of g", fake))[0]
        k = max(int(B * 0.99**t), B // 4) if "topk" in use else B
        value = -jnp.sort(scores)[B - k :].mean()
        if "zcr" in use:
            value -= 0.5 * ((fake - near_fake) ** 2).mean()
        return value, G(params, g.stats, z)[1]

    g = oracle.moved(oracle.adam, g, g_loss, CFG.lr, CFG.b1)
    return g, d, 0.99 * means + 0.01 * said


@pytest.mark.parametrize("use", [(), ("diffaugment", "lecam", "bcr", "zcr", "topk"), ("cr",)], ids="-".join)
def test_step_is_the_papers(small, use):
    """Three steps in float64, statistics and running means too."""
    cfg = dataclasses.replace(CFG, use=use)
    draw = np.random.default_rng(0)
    batches = [{"x": draw.uniform(-1, 1, (B, *SHAPE))} for _ in range(3)]
    with jax.enable_x64(True):
        start, end, _ = oracle.played(regularised, cfg, batches)
        (g, d), means = oracle.started(start.g, start.d), jnp.zeros(2)
        for t, batch in enumerate(batches):
            now = functools.partial(played, use, start.key, t)
            g, d, means = jax.jit(now)(g, d, means, batch["x"])
        oracle.same([end.g, end.d], [g, d])
        np.testing.assert_allclose(jnp.stack(end.means), means, atol=1e-12)


def test_flags():
    """Several words; one that there is not is said, with all that there are."""
    cfg = cli.parse(regularised.Config, regularised.PRESETS, ["--use", "lecam", "topk"])[0]
    assert cfg.use == ("lecam", "topk")
    with pytest.raises(UserError, match="there is no leecam to use; choose from diffaugment, "):
        regularised.setup(dataclasses.replace(CFG, use=("leecam",)))
