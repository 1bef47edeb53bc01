"""BEGAN's step against the paper's objective in plain loops, its balance, and the end of a run that has converged."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from experiments import began
from gan_jax.game import rng
from gan_jax.nets import autoencoder

CFG = dataclasses.replace(
    began.PRESETS["ring"], batch_size=2, width=8, z_dim=3, code=4, gamma=0.5, lambda_k=0.3, lr=1e-2
)


@jax.jit
def paper(g, d, k, z_d, z_g, x, gamma):
    """L_D, L_G and the move of k, row by row: two noises, D and G and k all from where they were."""
    G = oracle.mlp

    def L(w, v):
        again = oracle.mlp(w["G_0"], oracle.mlp(w["MLP_0"], v))
        return (jnp.abs(v[0] - again[0]) + jnp.abs(v[1] - again[1])) / 2

    l_x = lambda w: sum(L(w, row) for row in x) / 2
    l_z = lambda w, theta, z: sum(L(w, G(theta, row)) for row in z) / 2
    new_d = oracle.moved(oracle.adam, d, lambda w: (l_x(w) - k * l_z(w, g.params, z_d), {}), CFG.lr, CFG.b1)
    new_g = oracle.moved(oracle.adam, g, lambda theta: (l_z(d.params, theta, z_g), {}), CFG.lr, CFG.b1)
    k = jnp.maximum(0, jnp.minimum(1, k + CFG.lambda_k * (gamma * l_x(d.params) - l_z(d.params, g.params, z_g))))
    return new_g, new_d, k


def started(cfg, k):
    state = jax.jit(functools.partial(began.init, cfg))(jax.random.key(0))
    return state._replace(k=jnp.float32(k))


def test_step_is_the_paper_s(monkeypatch):
    """Two steps equal the loops in float64; with another gamma they would not."""
    init = began.init
    monkeypatch.setattr(began, "init", lambda cfg, key: init(cfg, key)._replace(k=jnp.float32(0.5)))
    with jax.enable_x64(True):
        xs = np.random.default_rng(0).normal(size=(2, 2, 2))
        start, end, _ = oracle.played(began, CFG, [{"x": x} for x in xs])

        def theirs(gamma):
            players = *oracle.started(start.g, start.d), start.k
            for t, x in enumerate(xs):
                uniform = lambda name, t=t: rng.uniform(rng.at(start.key, t, name), (2, CFG.z_dim), minval=-1)
                players = paper(*players, uniform("z_d"), uniform("z_g"), x, gamma)
            return players

        ours = end.g, end.d, end.k
        oracle.same(ours, theirs(CFG.gamma))
        oracle.differ(ours, theirs(0.6))
        assert 0 < end.k < 1


def test_k_moves_towards_the_balance_and_stays_between_0_and_1():
    """k rises while samples are easier than gamma asks, falls while they are harder, and never leaves [0, 1]."""
    step = jax.jit(began.step, static_argnums=0)
    far = {"x": jnp.full((2, 2), 50.0)}  # data that D reconstructs badly
    up = dataclasses.replace(CFG, lambda_k=1e-3)
    after, metrics = step(up, started(CFG, 0.5), far)
    assert 0.5 < after.k < 1 and metrics["k"] == after.k
    np.testing.assert_allclose(after.k - 0.5, 1e-3 * (0.5 * metrics["error/real"] - metrics["loss/g"]), rtol=1e-3)
    assert step(dataclasses.replace(CFG, lambda_k=1e3), started(CFG, 0.5), far)[0].k == 1
    down = dataclasses.replace(CFG, lambda_k=1e3, gamma=0.0)
    assert step(down, started(CFG, 0.5), far)[0].k == 0


def test_convergence_is_the_error_plus_the_imbalance():
    """M is L(x) in perfect balance, and more by what is missing to it."""
    _, metrics = jax.jit(functools.partial(began.step, CFG))(started(CFG, 0.2), {"x": jnp.ones((2, 2))})
    missing = abs(0.5 * metrics["error/real"] - metrics["loss/g"])
    np.testing.assert_allclose(metrics["convergence"], metrics["error/real"] + missing, rtol=1e-6)


def test_a_run_ends_where_it_has_converged(tmp_path):
    """With a threshold above M the first row ends the run; with 0 it goes on to its last step."""
    flags = ["--preset=ring", "--batch-size=8", "--width=8", "--steps=6", "--log-every=2", "--eval-every=0"]
    ended, results = began.main([*flags, "--stop-below=1e6", f"--out={tmp_path / 'short'}"])
    assert ended.step == 2 and results["steps"] == 2
    whole, _ = began.main([*flags, f"--out={tmp_path / 'whole'}"])
    assert whole.step == 6


def test_nets_without_batch_norm_pass_their_input_on():
    """At the start different images have different reconstructions, and different latents different samples."""
    x = jax.random.uniform(jax.random.key(0), (4, 28, 28, 1), minval=-1)
    out = lambda net: jax.jit(lambda x: net.init_with_output(jax.random.key(1), x)[0])
    again, _ = out(autoencoder.Conv(16, 8, norm=False))(x)
    fake = out(autoencoder.Decoder((28, 28, 1), 8))(x[:, 0, :16, 0])
    assert again.std(0).mean() > 0.05 and fake.std(0).mean() > 0.05


def test_images_are_not_bounded_by_the_nets():
    """Where a tanh is saturated no gradient comes through: G turned black and stayed so. Samples are cut off."""
    z = 100 * jax.random.normal(jax.random.key(0), (4, 16))
    x, _ = autoencoder.Decoder((28, 28, 1), 8).init_with_output(jax.random.key(1), z)
    (again, _), _ = autoencoder.Conv(16, 8, norm=False).init_with_output(jax.random.key(1), x)
    assert min(abs(x).max(), abs(again).max()) > 2
