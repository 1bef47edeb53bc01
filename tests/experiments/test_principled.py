"""The experiment of section 2 in plain loops, and the norms of both gradients where they are known."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments import principled
from gan_jax.game import rng

CFG = dataclasses.replace(
    principled.PRESETS["ring"], g_steps=1, sigmas=(0.0, 0.3), batch_size=4, z_dim=2, width=4, g_lr=2e-2, d_lr=1e-2
)
net = oracle.with_norm(oracle.mlp)


@jax.jit
def judged(g, d, z, x, real_noise, fake_noise):
    """D ascends log D(x + e) + log(1 - D(G(z) + e')); both gradients of G, by which -log D is descended."""
    p = lambda w, x: oracle.sigmoid(net(w, d.stats, x)[0][:, 0])
    made = lambda theta: net(theta, g.stats, z)[0]

    def d_loss(w):
        answers = zip(p(w, x + real_noise), p(w, made(g.params) + fake_noise), strict=True)
        return -sum(jnp.log(real) + jnp.log(1 - fake) for real, fake in answers) / 4, net(w, d.stats, x + real_noise)[1]

    of_g = lambda f: jax.grad(lambda theta: sum(map(f, p(d.params, made(theta) + fake_noise))) / 4)(g.params)
    grads = of_g(lambda p: jnp.log(1 - p)), of_g(lambda p: -jnp.log(p))
    norms = [jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(one))) for one in grads]
    return oracle.moved(oracle.adam, d, d_loss, CFG.d_lr, CFG.b1), grads[1], norms


def paper(start, xs, anew=True):
    """Return (G, [D of each sigma], norms [sigma][of both gradients] at the last step) of the algorithm; sigma by sigma.

    anew: whether all Ds begin again when G stands still.
    """
    at = lambda tree, i: jax.tree.map(lambda a: a[i], tree)
    g, ds = oracle.started(start.g), [oracle.started(at(start.d, i)) for i in range(2)]
    for t, x in enumerate(xs):
        if t == CFG.g_steps and anew:
            new = oracle.double(principled.anew(CFG, rng.at(start.key, t, "d")))
            ds = [oracle.started(at(new, i)) for i in range(2)]
        noise = lambda name, shape, t=t: jax.random.normal(rng.at(start.key, t, name), shape)
        z, found = noise("z", (4, 2)), []
        for d, sigma in zip(ds, np.float32(CFG.sigmas), strict=True):
            found.append(judged(g, d, z, x, sigma * noise("real", (4, 2)), sigma * noise("fake", (4, 2))))
        stats = net(g.params, g.stats, z)[1]
        if t < CFG.g_steps:
            g = oracle.adam(g, found[0][1], CFG.g_lr, CFG.b1)
        g, ds = g._replace(stats=stats), [d for d, *_ in found]
    return g, ds, [norms for *_, norms in found]


def test_step_is_the_paper_s(monkeypatch):
    """Three steps in float64, the last two of D alone, begun anew: params, statistics, norms; with the old D, not."""
    oracle.normed(principled, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(3, 4, 2))
        start, end, metrics = oracle.played(principled, CFG, [{"x": x} for x in xs])
        found = [end.g, *(jax.tree.map(lambda a, i=i: a[i], end.d) for i in range(2))]
        g, ds, norms = paper(start, xs)
        oracle.same(found, [g, *ds])
        said = [[metrics[f"{name}/{sigma:g}"] for name in ("minimax", "non_saturating")] for sigma in CFG.sigmas]
        oracle.same(said, norms)
        g, ds, _ = paper(start, xs, anew=False)
        oracle.same(end.g, g)  # no D that comes later moves it
        oracle.differ(found[1:], ds)


@pytest.mark.parametrize("score, shares", [(-20.0, (0, 1)), (0.0, (0.5, 0.5)), (20.0, (1, 0))])
def test_both_gradients_of_a_known_d(score, shares, monkeypatch):
    """G(z) = z + w, D(x) = sigmoid(3 x_1 + 4 x_2 + c): the norms are 5 D and 5 (1 - D), as far as D rejects samples."""
    c, x = np.float32(score), jnp.zeros((1, 2))

    def forward(D, params, stats, x):
        return x @ params + c, stats

    monkeypatch.setattr(principled, "forward", forward)
    monkeypatch.setattr(principled, "descend", lambda *_: None)
    state = principled.State(jnp.int32(0), jax.random.key(0), None, None)
    fake, to_g = jax.vjp(lambda w: x + w[None], jnp.zeros(2))
    d = principled.Player(jnp.float32([3, 4]), {}, None)
    _, grads, found = principled.judged(CFG, state, x, fake, to_g, d, 0.0)
    np.testing.assert_allclose([found["minimax"], found["non_saturating"]], 5 * np.array(shares), atol=1e-6)
    np.testing.assert_allclose(grads, -shares[1] * np.array([3, 4]), atol=1e-6)
    assert found["accuracy"] == (0.5 if score else 0)
    np.testing.assert_allclose(found["cross_entropy"], np.logaddexp(0, -score) + np.logaddexp(0, score), rtol=1e-6)


def test_the_paper_s_nets():
    """DCGAN's G for 64x64: 3,576,707 weights by its table (dense, three transposed convolutions with norm, a last one)."""
    cfg = principled.PRESETS["paper"]
    module = functools.partial(principled.dcgan.G, (64, 64, 3), cfg.width)
    params = jax.eval_shape(module().init, jax.random.key(0), jnp.zeros((1, cfg.z_dim)))["params"]
    channels = 512, 256, 128, 64
    table = 100 * 16 * 512 + sum(2 * c for c in channels) + 3
    table += sum(16 * a * b for a, b in zip(channels, (*channels[1:], 3), strict=True))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == table == 3_576_707
