"""The step of controllable invariance against its objective in plain loops; codes, samples and the nuisance."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from experiments.labels import invariance
from gan_jax import UserError

CFG = dataclasses.replace(invariance.PRESETS["tiny"], batch_size=4, code=3, width=3, lr=1e-2, gamma=0.7, l2=0.01)
BITS = 63  # of a record, without the one that is the nuisance


def net(p, x):
    return oracle.mlp(p, x, hidden=1)


def beside(x, s):
    return jnp.stack([jnp.concatenate([row, jnp.eye(2)[of]]) for row, of in zip(x, s, strict=True)])


def cross_entropy(logits, labels):
    """The mean of -log softmax at the labels."""
    log_p = [row[y] - jnp.log(jnp.exp(row).sum()) for row, y in zip(logits, labels, strict=True)]
    return -sum(log_p) / len(log_p)


@functools.partial(jax.jit, static_argnames="after")
def paper(e, m, d, r, x, y, s, gamma, after=True):
    """D descends -log q(s|h); then E and M descend -log q(y|h) + gamma log q(s|h), against the new D; then R."""
    h = net(e.params, beside(x, s))
    adam = lambda player, grads, lr: oracle.adam(player, grads, lr, CFG.b1)
    new = d
    for _ in range(CFG.d_steps):
        new = adam(new, jax.grad(lambda p: cross_entropy(net(p, h), s))(new.params), CFG.lr)
    against = new if after else d

    def value(em):
        code = net(em[0], beside(x, s))
        decay = CFG.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(em))
        return cross_entropy(net(em[1], code), y) - gamma * cross_entropy(net(against.params, code), s) + decay

    to_e, to_m = jax.grad(value)((e.params, m.params))
    to_r = jax.grad(lambda p: ((net(p, beside(h, s)) - x) ** 2).mean())(r.params)
    return adam(e, to_e, CFG.lr), adam(m, to_m, CFG.lr), new, adam(r, to_r, CFG.lr)


def test_step_is_the_paper_s():
    """Three steps in float64; with another gamma, or against D as it was, they would differ."""
    with jax.enable_x64(True):
        draw = np.random.default_rng(0)
        batches = [
            {"x": draw.standard_normal((4, BITS)), "y": draw.integers(10, size=4), "s": np.array([0, 1, 1, 0])}
            for _ in range(3)
        ]
        start, end, _ = oracle.played(invariance, CFG, batches)

        def theirs(gamma=CFG.gamma, **how):
            players = oracle.started(start.e, start.m, start.d, start.r)
            for batch in batches:
                players = paper(*players, **batch, gamma=gamma, **how)
            return list(players)

        found = [end.e, end.m, end.d, end.r]
        oracle.same(found, theirs())
        oracle.differ(found, theirs(gamma=0.0))
        oracle.differ(found, theirs(after=False))


def test_the_nuisance_is_no_part_of_x_and_samples_have_the_other_one():
    of, plain = invariance.source(CFG), np.asarray(invariance.data.load(CFG.dataset).whole()["x"])
    rows = jax.jit(lambda: of.make(of.whole(), jax.random.key(0), 0, of.n))()
    np.testing.assert_array_equal(rows["s"], plain[:, 20] > 0.5)
    assert rows["x"].shape[1] == BITS == plain.shape[1] - 1
    state = jax.jit(functools.partial(invariance.init, CFG))(jax.random.key(0))
    # an R that is s alone: one-hot rows times a kernel
    r = jax.tree.map(jnp.zeros_like, state.r.params)
    first, last = r["MLP_0"]["Dense_0"], r["MLP_0"]["Dense_1"]
    first["kernel"] = first["kernel"].at[-2:, 0].set(jnp.array([1.0, 2.0]))
    last["kernel"] = last["kernel"].at[0].set(1.0)
    state = state._replace(r=state.r._replace(params=r))
    x, s = rows["x"][:6], rows["s"][:6]
    np.testing.assert_allclose(invariance.redrawn(CFG, state, x, s, 1 - s)[:, 0], 2.0 - s)
    drawn = np.asarray(invariance.sample(CFG, state, jax.random.key(1), 50))[:, 0]
    assert set(np.unique(drawn)) <= {1.0, 2.0}


def test_measure_says_what_codes_say(monkeypatch):
    """A code that is s and one that says nothing: a new classifier finds the one, and not the other."""
    of = invariance.source(CFG)
    state = jax.jit(functools.partial(invariance.init, CFG))(jax.random.key(0))
    train, test = of.whole(), of.test.whole()
    full = lambda x, s: jnp.stack([s.astype(float), 0.0 * s, 0.0 * s], 1)
    monkeypatch.setattr(invariance, "coded", lambda cfg, state, x, s: full(x, s))
    measure = jax.jit(functools.partial(invariance.measure, CFG))
    found = measure(state, jax.random.key(0), train, test)
    assert found["s/from code"] == 1
    monkeypatch.setattr(invariance, "coded", lambda cfg, state, x, s: full(x, 0 * s))
    measure = jax.jit(lambda *of: invariance.measure(CFG, *of))
    blind = measure(state, jax.random.key(0), train, test)
    np.testing.assert_allclose(blind["s/from code"], blind["s/most frequent"])
    assert found["y/from x"] > 0.8 > found["y/most frequent"]


def test_pictures_need_a_nuisance():
    with pytest.raises(UserError, match="no nuisance"):
        invariance.source(dataclasses.replace(CFG, dataset="digits", nuisance="s"))
