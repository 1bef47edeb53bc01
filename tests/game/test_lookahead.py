"""`unroll` is exact: closed forms, finite differences and plain Python loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.game.lookahead import unroll
from gan_jax.game.player import Player

OPTIMISERS = {
    "momentum": optax.sgd(0.1, momentum=0.7, nesterov=True),
    "rmsprop": optax.rmsprop(0.05, eps_in_sqrt=True),
    "adam": optax.adam(0.05, 0.5, 0.9, eps_root=1e-16),
    "adamw": optax.adamw(0.05, 0.5, 0.9, eps_root=1e-16, weight_decay=0.1),
    "clipped": optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.05, 0.5, 0.9, eps_root=1e-16)),
}


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def player(params, tx, steps=0, grads=None):
    """Return a player whose optimiser has seen `steps` updates along `grads` (its moments are then not 0)."""
    opt = tx.init(params)
    for _ in range(steps):
        _, opt = tx.update(grads, opt, params)
    return Player(params, {"of": jnp.ones(2)}, opt)


def small_d(seed=0):
    """Return (params, loss): a D with one hidden layer, and -log D(real) - log(1 - D(fake)) of fakes [b, 2]."""
    rng = np.random.default_rng(seed)
    params = {"w": jnp.asarray(rng.normal(size=(2, 3))), "v": jnp.asarray(rng.normal(size=3))}
    real = jnp.asarray(rng.normal(size=(4, 2)))

    def loss(params, fake):
        real_score, fake_score = (jnp.tanh(x @ params["w"]) @ params["v"] for x in (real, fake))
        return (jax.nn.softplus(-real_score) + jax.nn.softplus(fake_score)).mean()

    return params, loss


def slope(f, x, direction, h=1e-6):
    """Return f's derivative along a direction, by central differences."""
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


# f(x, y) = x y: G descends f in x; D ascends it in y, so that y_K = y + K eta x, and f(x, y_K) = x y + K eta x^2


def bilinear(k, first_order, eta=0.1):
    """Return the gradient in x of f(x, y_K(x)) at (0.7, -0.3)."""
    tx = optax.sgd(eta)

    def surrogate(x):
        d = unroll(lambda y, i: -x * y, player(jnp.asarray(-0.3), tx), tx, k, first_order=first_order)
        return x * d.params

    return jax.grad(surrogate)(jnp.asarray(0.7))


@pytest.mark.parametrize("k", [0, 1, 2, 5, 10])
def test_bilinear(x64, k):
    """The surrogate's gradient is y + 2 K eta x, and y + K eta x with the gradient stopped at D's answer."""
    np.testing.assert_allclose(bilinear(k, False), -0.3 + 2 * k * 0.1 * 0.7, rtol=1e-14)
    np.testing.assert_allclose(bilinear(k, True), -0.3 + k * 0.1 * 0.7, rtol=1e-14)


# Finite differences, float64


@pytest.mark.parametrize("k", [1, 3, 7])
def test_finite_differences_through_adam(x64, k):
    """The gradient through K Adam updates, moments and all, is that of central differences."""
    tx, (params, loss) = OPTIMISERS["adam"], small_d()
    fake = np.random.default_rng(1).normal(size=(4, 2))

    def surrogate(fake, d, first_order=False):
        ahead = unroll(lambda p, _: loss(p, fake), d, tx, k, first_order=first_order)
        return -loss(ahead.params, fake)

    both = jax.jit(jax.value_and_grad(surrogate))
    for updates_before in (0, 3):
        d = player(params, tx, updates_before, jax.grad(loss)(params, fake[::-1]))
        grad = both(fake, d)[1]
        for seed in range(4):
            direction = np.random.default_rng(seed).normal(size=fake.shape)
            expected = slope(lambda fake, d=d: both(fake, d)[0], fake, direction)
            np.testing.assert_allclose((grad * direction).sum(), expected, rtol=1e-6, atol=1e-9)
    if k == 3:
        stopped = jax.jit(jax.grad(lambda fake, d: surrogate(fake, d, True)))(fake, d)
        assert np.abs(grad - stopped).max() > 1e-3  # the part that flows through D's answer is there


@pytest.mark.parametrize("name", OPTIMISERS)
def test_any_optimiser(x64, name):
    """Value: a plain Python loop of optax updates, state and all. Gradient: central differences."""
    tx, (params, loss) = OPTIMISERS[name], small_d()
    fake = np.random.default_rng(1).normal(size=(4, 2))
    d = player(params, tx, 2, jax.grad(loss)(params, fake[::-1]))

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def surrogate(fake):
        ahead = unroll(lambda p, _: loss(p, fake), d, tx, 4)
        return -loss(ahead.params, fake), ahead

    @jax.jit
    def update(now, opt):
        updates, opt = tx.update(jax.grad(loss)(now, fake), opt, now)
        return jax.tree.map(lambda p, u: p + u, now, updates), opt

    now, opt = d.params, d.opt
    for _ in range(4):
        now, opt = update(now, opt)
    (_, ahead), grad = surrogate(fake)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), ahead, Player(now, d.stats, opt))

    direction = np.random.default_rng(2).normal(size=fake.shape)
    expected = slope(lambda fake: surrogate(fake)[0][0], fake, direction)
    np.testing.assert_allclose((grad * direction).sum(), expected, rtol=1e-6)


def test_adam_in_numpy(x64):
    """Six Adam updates of a quadratic from moments in mid-run: the recurrence of Kingma and Ba, number by number."""
    lr, b1, b2, eps, root = 0.05, 0.5, 0.9, 1e-8, 1e-16
    curve, target = np.array([0.5, 2.0, -0.3]), np.array([1.0, -2.0, 0.5])
    p, m, v, count = np.array([0.3, 0.1, -0.4]), np.array([0.1, -0.2, 0.05]), np.array([0.3, 0.02, 0.4]), 5
    tx = optax.adam(lr, b1, b2, eps, root)
    adam, *rest = tx.init(jnp.asarray(p))
    adam = adam._replace(count=jnp.int32(count), mu=jnp.asarray(m), nu=jnp.asarray(v))
    loss = lambda p, i: (curve * (p - target) ** 2).sum() / 2
    ahead = jax.jit(lambda d: unroll(loss, d, tx, 6))(Player(jnp.asarray(p), {}, (adam, *rest)))
    for _ in range(6):
        count += 1
        for j in range(3):
            g = curve[j] * (p[j] - target[j])
            m[j] = b1 * m[j] + (1 - b1) * g
            v[j] = b2 * v[j] + (1 - b2) * g**2
            p[j] -= lr * (m[j] / (1 - b1**count)) / (np.sqrt(v[j] / (1 - b2**count) + root) + eps)
    np.testing.assert_allclose(ahead.params, p, rtol=1e-12)
    np.testing.assert_allclose(ahead.opt[0].mu, m, rtol=1e-12)
    np.testing.assert_allclose(ahead.opt[0].nu, v, rtol=1e-12)
    assert ahead.opt[0].count == count


# What it is given, what it gives back


def test_zero_steps_is_the_identity():
    """k = 0 gives the player back, every leaf of it, and the plain gradient."""
    tx, (params, loss) = OPTIMISERS["adam"], small_d()
    fake = jnp.ones((4, 2))
    d = player(params, tx, 2, params)
    jax.tree.map(np.testing.assert_array_equal, unroll(lambda p, _: loss(p, fake), d, tx, 0), d)
    grad = jax.jit(jax.grad(lambda fake: loss(unroll(lambda p, _: loss(p, fake), d, tx, 0).params, fake)))(fake)
    np.testing.assert_allclose(grad, jax.grad(loss, 1)(d.params, fake), rtol=1e-6)


def test_choices_change_no_value(x64):
    """With and without recomputation the same player and gradient; with the gradient stopped the same player."""
    tx, (params, loss) = OPTIMISERS["adam"], small_d()
    d, fake = player(params, tx), jnp.ones((4, 2))

    def ahead(fake, **choice):
        return unroll(lambda p, _: loss(p, fake), d, tx, 5, **choice)

    def surrogate(fake, remat):
        now = ahead(fake, remat=remat)
        return -loss(now.params, fake), now

    grad = jax.jit(jax.grad(surrogate, has_aux=True), static_argnums=1)
    usual, no_remat = grad(fake, True), grad(fake, False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), usual, no_remat)
    stopped = jax.jit(lambda fake: ahead(fake, first_order=True))(fake)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), usual[1], stopped)


def test_loss_is_told_the_number_of_the_update():
    """Update i descends loss(p, i), i = 0..k-1 in this order: p moves towards target i."""
    targets, p = np.float32([1, -2, 5, 0.5]), 0.2
    tx = optax.sgd(0.3)
    loss = lambda p, i: (p - jnp.asarray(targets)[i]) ** 2 / 2
    ahead = unroll(loss, player(jnp.float32(p), tx), tx, 4)
    for target in targets:
        p -= 0.3 * (p - target)
    np.testing.assert_allclose(ahead.params, p, rtol=1e-6)


def test_a_new_minibatch_each_time():
    """The number folds into a key, so each update may draw its own noise."""
    key, tx = jax.random.key(3), optax.sgd(0.3)
    noise = lambda i: jax.random.normal(jax.random.fold_in(key, i), ())
    ahead = unroll(lambda p, i: p * noise(i), player(jnp.float32(0), tx), tx, 5)
    np.testing.assert_allclose(ahead.params, -0.3 * sum(float(noise(i)) for i in range(5)), rtol=1e-5)


def test_under_vmap():
    """A vmap over seeds gives what one seed at a time gives."""
    tx, (params, loss) = OPTIMISERS["momentum"], small_d()
    ds = [player(jax.tree.map(lambda p, s=s: p * s, params), tx) for s in (1.0, -0.5, 2.0)]
    fakes = jax.random.normal(jax.random.key(0), (3, 4, 2))
    grad = jax.grad(lambda fake, d: -loss(unroll(lambda p, _: loss(p, fake), d, tx, 3).params, fake))
    alone, together = jax.jit(grad), jax.jit(jax.vmap(grad))(fakes, jax.tree.map(lambda *a: jnp.stack(a), *ds))
    for one, fake, d in zip(together, fakes, ds, strict=True):
        np.testing.assert_allclose(one, alone(fake, d), rtol=2e-4, atol=1e-6)


# The square root of Adam


@functools.partial(jax.jit, static_argnums=1)
def relu_gradient(eps_root, biases):
    """Return the surrogate's gradient where D has a ReLU unit for each bias; at bias -100 it is dead."""
    tx = optax.adam(0.05, 0.5, 0.9, eps_root=eps_root)
    params = {"w": jnp.ones((2, len(biases))), "b": jnp.float32([biases]), "v": jnp.full(len(biases), -1.0)}
    loss = lambda p, x: jax.nn.softplus(jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"]).mean()
    d = player(params, tx)  # step 0: every moment is 0
    surrogate = lambda x: -loss(unroll(lambda p, _: loss(p, x), d, tx, 3).params, x)
    return jax.grad(surrogate)(jnp.float32([[0.3, 0.1], [0.2, -0.4]]))


def test_dead_unit():
    """A unit whose gradients are exactly 0, at step 0 of Adam, is as if it were not there; without eps_root NaN."""
    alive = relu_gradient(1e-16, (1,))
    assert np.abs(alive).max() > 1e-3
    np.testing.assert_allclose(relu_gradient(1e-16, (-100, 1)), alive, rtol=1e-6)
    assert np.isnan(relu_gradient(0.0, (-100, 1))).any()


# What it costs


def equations(jaxpr):
    """Return how many equations a jaxpr has, those of its inner ones included."""
    inner = [p for eqn in jaxpr.eqns for p in jax.tree.leaves(tuple(eqn.params.values()))]
    inner = [getattr(p, "jaxpr", p) for p in inner]  # a closed jaxpr has an open one
    return len(jaxpr.eqns) + sum(equations(j) for j in inner if hasattr(j, "eqns"))


@pytest.mark.parametrize("remat", [True, False])
def test_program_does_not_grow_with_k(remat):
    """The gradient has the same number of equations for K = 5 and K = 40, so compile time is flat."""
    tx, (params, loss) = OPTIMISERS["adam"], small_d()
    d = player(params, tx)

    def size(k):
        surrogate = lambda fake: -loss(unroll(lambda p, _: loss(p, fake), d, tx, k, remat=remat).params, fake)
        return equations(jax.make_jaxpr(jax.grad(surrogate))(jnp.ones((4, 2))).jaxpr)

    assert size(5) == size(40) > 100


@pytest.mark.parametrize("remat", [True, False])
def test_what_all_updates_share_is_made_once(remat):
    """What D makes of x before its parameters come in, and the gradient of that, stand outside the loop."""
    tx, (params, _) = OPTIMISERS["adam"], small_d()
    loss = lambda p, x: jax.nn.softplus(jnp.tanh(jnp.sinh(x) @ p["w"]) @ p["v"]).mean()
    ahead = lambda x: unroll(lambda p, _: loss(p, x), player(params, tx), tx, 3, remat=remat)
    surrogate = lambda x: -loss(ahead(x).params, x)
    program = jax.make_jaxpr(jax.grad(surrogate))(jnp.ones((4, 2)))
    loops = [eqn for eqn in program.eqns if eqn.primitive.name == "scan"]
    assert len(loops) == 2 and "tanh" in str(loops[0])
    assert not any(word in str(eqn) for eqn in loops for word in ("sinh", "cosh"))
    assert all(word in str(program) for word in ("sinh", "cosh"))


def test_remat_saves_memory():
    """At K = 40 the backward pass needs less than half the temporary memory with recomputation."""
    tx, (params, _) = OPTIMISERS["momentum"], small_d()
    d = player(params, tx)
    loss = lambda p, x: jax.nn.softplus(jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"].T) @ p["w"] @ p["v"]).mean()

    def memory(remat):
        surrogate = lambda x: -loss(unroll(lambda p, _: loss(p, x), d, tx, 40, remat=remat).params, x)
        return jax.jit(jax.grad(surrogate)).lower(jnp.ones((256, 2))).compile().memory_analysis().temp_size_in_bytes

    assert memory(True) < memory(False) / 2
