"""InfoGAN's step against its algorithm in plain loops, and its measure on images whose categories are known."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments.labels import infogan
from gan_jax import data
from gan_jax.game import rng

CFG = dataclasses.replace(
    infogan.PRESETS["ring"], batch_size=3, width=8, z_dim=2, categories=3, continuous=2, info=0.5, g_lr=1e-2, d_lr=3e-2
)


net = oracle.with_norm(oracle.mlp)


def bound(out, code):
    """L_I of one row: H(c) + log Q(c | x), Q a softmax for the category and N(mean, 1) for the other codes."""
    p = jnp.exp(out[1:4]) / jnp.exp(out[1:4]).sum()
    total = math.log(3) + jnp.log(p[jnp.argmax(code[:3])])
    for i in (3, 4):
        total += math.log(2) + jnp.log(jnp.exp(-((code[i] - out[1 + i]) ** 2) / 2) / math.sqrt(2 * math.pi))
    return total


@jax.jit
def paper(g, d, z, codes, x, told):
    """D ascends log D(x) + log(1 - D(G(z))) + lambda L_I, Q with it; G ascends log D(G(z)) + lambda L_I."""

    def d_loss(w):
        (real, stats), (fake, _) = net(w, d.stats, x), net(w, d.stats, net(g.params, g.stats, z)[0])
        total = 0.0
        for r, f, code in zip(real, fake, codes, strict=True):
            total -= (
                jnp.log(oracle.sigmoid(r[0])) + jnp.log(1 - oracle.sigmoid(f[0])) + told * CFG.info * bound(f, code)
            )
        return total / 3, stats

    def g_loss(theta):
        made, stats = net(theta, g.stats, z)
        rows = zip(net(d.params, d.stats, made)[0], codes, strict=True)
        return -sum(jnp.log(oracle.sigmoid(f[0])) + CFG.info * bound(f, code) for f, code in rows) / 3, stats

    adam = lambda player, loss, lr: oracle.moved(oracle.adam, player, loss, lr, CFG.b1)
    return [adam(g, g_loss, CFG.g_lr), adam(d, d_loss, CFG.d_lr)]


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64; with a trunk that is not moved by L_I they would not."""
    oracle.normed(infogan, monkeypatch)
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 3, 2))
        start, end, _ = oracle.played(infogan, CFG, [{"x": x} for x in xs])

        def theirs(told):
            players = oracle.started(start.g, start.d)
            for t, x in enumerate(xs):
                z = infogan.latent(CFG, rng.at(start.key, t, "z"), 3)
                players = paper(*players, infogan.joined(z), z["code"], x, told)
            return players

        oracle.same([end.g, end.d], theirs(1.0))
        oracle.differ([end.g, end.d], theirs(0.0))


def test_the_latent_is_noise_and_a_code():
    """One category a row, all of them equally likely, and uniform numbers around it."""
    drawn = infogan.latent(CFG, jax.random.key(0), 3000)
    z, code = infogan.joined(drawn), drawn["code"]
    assert z.shape == (3000, 7) and (z[:, 2:] == code).all()
    assert (code[:, :3].sum(1) == 1).all() and set(np.unique(code[:, :3])) == {0, 1}
    assert np.abs(code[:, :3].mean(0) - 1 / 3).max() < 0.03
    for column in (0, 1, 5, 6):
        assert -1 <= z[:, column].min() < -0.99 < 0.99 < z[:, column].max() < 1
    assert np.abs(np.corrcoef(z.T)[5:, :5]).max() < 0.06  # no part repeats another


def test_the_bound_on_the_information():
    """A Q that knows the category scores its entropy, log 3; one that knows nothing scores 0."""
    code = jnp.array([[0.0, 1, 0, 0.3, -0.2]])
    knows, guesses = (
        infogan.information(CFG, jnp.array([[*logits, 0.3, -0.2]]), code) for logits in ((0, 1e3, 0), (0, 0, 0))
    )
    np.testing.assert_allclose(knows[0], math.log(3), rtol=1e-6)
    np.testing.assert_allclose(guesses[0], 0, atol=1e-6)
    np.testing.assert_allclose(knows[1], 2 * math.log(2) - math.log(2 * math.pi), rtol=1e-5)


def test_the_error_is_that_of_the_best_assignment(monkeypatch):
    """Renamed categories make no error; what then disagrees does, and two categories can't both be one digit."""
    cfg = dataclasses.replace(infogan.PRESETS["images"], width=1)
    state = jax.jit(functools.partial(infogan.init, cfg))(jax.random.key(0))
    y = np.repeat(np.arange(10), 4).astype(np.int32)
    said = np.random.default_rng(0).permutation(10)[y]
    said[:6] = (*[said[0]] * 2, *[said[8]] * 2, *[said[4]] * 2)  # half of digit 0 is called 2; of 1, nothing is lost
    x = np.zeros((40, 8, 8, 1), np.uint8)
    x[:, 0, 0, 0] = said
    real = infogan.forward

    def reads_the_pixel(net, params, stats, x, train):
        if not isinstance(net, infogan.infogan.D):
            return real(net, params, stats, x, train=train)
        q = jax.nn.one_hot(jnp.round((x[:, 0, 0, 0] + 1) * 127.5).astype(int), 12)
        return (x[:, 0, 0, 0], q), stats

    monkeypatch.setattr(infogan, "forward", reads_the_pixel)
    found = jax.jit(functools.partial(infogan.measure, cfg))(state, jax.random.key(0), {}, {"x": x, "y": y})
    np.testing.assert_allclose(found["error"], 2 / 40, rtol=1e-5)
    assert found["code1"].x.shape == found["code2"].x.shape == (10, 10, 8, 8, 1)
    assert data.load("digits").classes == 10
