"""Update rules: on quadratic games each is a linear map, written here with matrices; and who converges on two games."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax.game import dynamics

SIZES = 3, 2
RATE = 0.1


@functools.cache
def game(seed):
    """(losses of a random quadratic game of two players, M, b), the field being M p + b."""
    draw = np.random.default_rng(seed)
    n = sum(SIZES)
    own, b = draw.normal(size=(2, n, n)), draw.normal(size=n)
    own = (own + own.transpose(0, 2, 1)) / 2
    cut = SIZES[0]
    m = np.concatenate([own[0][:cut], own[1][cut:]])

    def loss(i):
        return lambda x, y: (p := jnp.concatenate([x, y])) @ own[i] @ p / 2 + b @ p

    return (loss(0), loss(1)), m, b


def played(rule, losses, players, steps=7):
    """All positions [steps, n] of a rule's game."""
    memory, seen = rule.init(players), []
    update = jax.jit(functools.partial(rule.update, losses))
    for _ in range(steps):
        players, memory = update(players, memory)
        seen.append(np.concatenate([np.ravel(p) for p in players]))
    return np.stack(seen)


def by_matrix(name, m, b, p, steps=7):
    """The same positions by matrices alone."""
    cut, eye, seen = SIZES[0], np.eye(len(p)), []
    v = lambda p: m @ p + b
    move = before = np.zeros_like(p)
    slow = p
    for t in range(steps):
        if name == "simultaneous":
            p = p - RATE * v(p)
        if name in ("alternating", "negative_momentum"):
            for part in (slice(cut), slice(cut, None)):
                new = p.copy()
                new[part] -= RATE * v(p)[part]
                if name == "negative_momentum":
                    new[part] -= 0.5 * move[part]
                    move = move.copy()
                    move[part] = new[part] - p[part]
                p = new
        if name == "extragradient":
            p = p - RATE * v(p - RATE * v(p))
        if name == "optimistic":
            p, before = p - 2 * RATE * v(p) + RATE * before, v(p)
        if name == "consensus":
            p = p - RATE * (v(p) + 0.3 * m.T @ v(p))
        if name in ("symplectic", "aligned"):
            turned, h = (m - m.T).T / 2 @ v(p), m.T @ v(p)
            sign = np.sign((v(p) @ h) * (turned @ h) / len(p) + 0.1) if name == "aligned" else 1
            p = p - RATE * (v(p) + sign * turned)
        if name == "competitive":
            d = np.zeros_like(m)
            d[:cut, cut:], d[cut:, :cut] = m[:cut, cut:], m[cut:, :cut]  # the mixed second derivatives
            p = p - RATE * np.linalg.solve(eye - RATE**2 * d @ d, v(p) - RATE * d @ v(p))
        if name == "lookahead":
            p = p - RATE * v(p)
            if (t + 1) % 3 == 0:
                p = slow = slow + 0.4 * (p - slow)
        seen.append(p)
    return np.stack(seen)


SGD = [optax.sgd(RATE)] * 2
RULES = {
    "simultaneous": dynamics.simultaneous(*SGD),
    "alternating": dynamics.alternating(*SGD),
    "negative_momentum": dynamics.negative_momentum(RATE, RATE),
    "extragradient": dynamics.extragradient(*SGD),
    "optimistic": dynamics.optimistic(*SGD),
    "consensus": dynamics.consensus(*SGD, gamma=0.3),
    "symplectic": dynamics.symplectic(*SGD, align=False),
    "aligned": dynamics.symplectic(*SGD),
    "competitive": dynamics.competitive(RATE),
    "lookahead": dynamics.lookahead_minmax(dynamics.simultaneous(*SGD), 3, 0.4),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", RULES)
def test_quadratic_games(name, seed):
    """Seven moves in a random game of five parameters are those of the matrices, in float64."""
    with jax.enable_x64(True):
        losses, m, b = game(seed)
        p = np.random.default_rng(seed + 10).normal(size=sum(SIZES))
        players = jnp.asarray(p[: SIZES[0]]), jnp.asarray(p[SIZES[0] :])
        np.testing.assert_allclose(played(RULES[name], losses, players), by_matrix(name, m, b, p), rtol=1e-6)


def test_jacobian():
    """Its products are those with the matrix, and the field is its value."""
    with jax.enable_x64(True):
        losses, m, b = game(2)
        p, w = np.random.default_rng(3).normal(size=(2, sum(SIZES)))
        split = lambda a: (jnp.asarray(a[: SIZES[0]]), jnp.asarray(a[SIZES[0] :]))
        v, forward, transposed = dynamics.jacobian(losses, split(p))
        for ours, theirs in ((v, m @ p + b), (forward(split(w)), m @ w), (transposed(split(w)), m.T @ w)):
            np.testing.assert_allclose(np.concatenate(ours), theirs, rtol=1e-12)


def dirac(theta, psi):
    """What D of the Dirac-GAN gains: data at 0, the sample at theta, D(x) = psi x (Mescheder et al. 2018, 1801.04406)."""
    return jax.nn.log_sigmoid(0.0 * psi) + jax.nn.log_sigmoid(-psi * theta)


GAMES = {"bilinear": lambda x, y: x * y, "dirac": dirac}


@pytest.mark.parametrize(
    "name, grows",
    [
        ("simultaneous", True), ("alternating", None), ("negative_momentum", False), ("extragradient", False),
        ("optimistic", False), ("consensus", False), ("symplectic", False), ("aligned", False), ("competitive", False),
        ("lookahead", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("of", GAMES)
def test_who_converges(of, name, grows):
    """Simultaneous descent runs away, alternating stays on its circle, all others come closer to the equilibrium at 0."""
    f = GAMES[of]
    at = played(RULES[name], (f, lambda x, y: -f(x, y)), (jnp.float32(1.0), jnp.float32(0.5)), 1500)
    begin, end = np.hypot(1.0, 0.5), np.linalg.norm(at[-1])
    assert grows is None or (end > begin) == grows
    assert grows is not None or 0.8 < end / begin < 1.2
    assert grows is not False or end < 0.8 * begin


def test_bilinear_rates():
    """On x y: simultaneous grows by sqrt(1 + r^2) a move, extragradient shrinks by sqrt(1 - r^2 + r^4)."""
    losses = (lambda x, y: x * y, lambda x, y: -x * y)
    for name, factor in (("simultaneous", 1 + RATE**2), ("extragradient", 1 - RATE**2 + RATE**4)):
        with jax.enable_x64(True):
            at = played(RULES[name], losses, (jnp.float64(1.0), jnp.float64(0.0)), 50)
        np.testing.assert_allclose(np.linalg.norm(at[-1]), factor**25, rtol=1e-9)


def test_extra_adam_moves_its_moments_twice():
    """After one move Adam's count is 2, and the second half began from the old place."""
    losses = (lambda x, y: x * y + x**2, lambda x, y: -x * y)
    rule = dynamics.extragradient(*[optax.adam(0.1)] * 2)
    players = jnp.float32(1.0), jnp.float32(0.5)
    new, opts = rule.update(losses, players, rule.init(players))
    assert [int(opt[0].count) for opt in opts] == [2, 2]
    tx, opt = optax.adam(0.1), optax.adam(0.1).init(players[0])
    u, opt = tx.update(jnp.float32(2.5), opt)
    ahead = players[0] + u, players[1] + 0.1
    u, _ = tx.update(ahead[1] + 2 * ahead[0], opt)
    np.testing.assert_allclose(new[0], players[0] + u, rtol=1e-5)


def test_three_players():
    """N players: three that chase one another's squares, simultaneously, are their plain descent."""
    losses = tuple(lambda *p, i=i: (p[i] - p[(i + 1) % 3]) ** 2 / 2 for i in range(3))
    rule = dynamics.simultaneous(*[optax.sgd(0.5)] * 3)
    players = tuple(jnp.float32(a) for a in (0.0, 1.0, 4.0))
    new, _ = rule.update(losses, players, rule.init(players))
    np.testing.assert_allclose(new, [0.5, 2.5, 2.0], rtol=1e-6)
