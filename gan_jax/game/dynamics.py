"""Ways to play the game: rules by which N players move, as pure functions of their losses and parameters.

A rule is made of one optax optimiser for each player, and is a pair of functions: `init(players)` gives its memory,
`update(losses, players, memory)` the players after one move of all, and the new memory. players: a tuple of
parameters. losses: for each player the function of all of them, `loss(*players)`, that it descends.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class Rule(NamedTuple):
    """One way to move; it holds no values."""

    init: Callable  # players -> memory
    update: Callable  # (losses, players, memory) -> (players, memory)


def field(losses, players):
    """Return the gradient of each player's loss with respect to its own parameters, a tuple like players."""
    return tuple(jax.grad(loss, i)(*players) for i, loss in enumerate(losses))


def jacobian(losses, players):
    """Return (v, w -> J w, w -> J^T w): the field and the products with its Jacobian, matrix-free."""
    v, forward = jax.linearize(lambda players: field(losses, players), players)
    transposed = jax.linear_transpose(forward, players)
    return v, forward, lambda w: transposed(w)[0]


def _begin(txs):
    return lambda players: tuple(tx.init(p) for tx, p in zip(txs, players, strict=True))


def _directions(txs, grads, opts, players):
    """Return (what each optimiser adds to its player, the optimisers' new states)."""
    moved = [tx.update(g, opt, p) for tx, g, opt, p in zip(txs, grads, opts, players, strict=True)]
    return tuple(u for u, _ in moved), tuple(opt for _, opt in moved)


def _adjusted(txs, adjust) -> Rule:
    """Return the simultaneous rule on the field that `adjust(losses, players)` makes of the players' own."""

    def update(losses, players, opts):
        directions, opts = _directions(txs, adjust(losses, players), opts, players)
        return optax.apply_updates(players, directions), opts

    return Rule(_begin(txs), update)


def _plus(a, scale, b):
    return jax.tree.map(lambda a, b: a + scale * b, a, b)


def simultaneous(*txs) -> Rule:
    """Return the rule by which all move at once, each against where the others are."""
    return _adjusted(txs, field)


def alternating(*txs) -> Rule:
    """Return the rule by which they move in turn, each against where those before it have gone."""

    def update(losses, players, opts):
        players, opts = list(players), list(opts)
        for i, (tx, loss) in enumerate(zip(txs, losses, strict=True)):
            direction, opts[i] = tx.update(jax.grad(loss, i)(*players), opts[i], players[i])
            players[i] = optax.apply_updates(players[i], direction)
        return tuple(players), tuple(opts)

    return Rule(_begin(txs), update)


def negative_momentum(*rates, beta: float = -0.5) -> Rule:
    """Return alternating gradient descent with heavy-ball momentum `beta` (Gidel et al. 2019, arXiv 1807.04740)."""
    return alternating(*(optax.sgd(rate, beta) for rate in rates))


def extragradient(*txs) -> Rule:
    """Return the rule that looks one move ahead and moves, from where it was, by the field there.

    Adam makes it ExtraAdam, whose moments take part in both moves (Gidel et al. 2019, arXiv 1802.10551).
    """

    def update(losses, players, opts):
        directions, opts = _directions(txs, field(losses, players), opts, players)
        ahead = optax.apply_updates(players, directions)
        directions, opts = _directions(txs, field(losses, ahead), opts, players)
        return optax.apply_updates(players, directions), opts

    return Rule(_begin(txs), update)


def optimistic(*txs) -> Rule:
    """Return the rule that moves twice as far as its optimiser says, and takes the last direction back.

    Daskalakis, Ilyas, Syrgkanis and Zeng 2018 (arXiv 1711.00141); with Adam their Optimistic Adam.
    """

    def init(players):
        return _begin(txs)(players), jax.tree.map(jnp.zeros_like, players)

    def update(losses, players, memory):
        opts, last = memory
        directions, opts = _directions(txs, field(losses, players), opts, players)
        players = jax.tree.map(lambda p, now, before: p + 2 * now - before, players, directions, last)
        return players, (opts, directions)

    return Rule(init, update)


def consensus(*txs, gamma: float = 0.1) -> Rule:
    """Return the rule on v + gamma J^T v: all also descend |v|^2 / 2 (Mescheder et al. 2017, arXiv 1705.10461)."""

    def adjust(losses, players):
        v, _, transposed = jacobian(losses, players)
        return _plus(v, gamma, transposed(v))

    return _adjusted(txs, adjust)


def symplectic(*txs, align: bool = True, epsilon: float = 0.1) -> Rule:
    """Return symplectic gradient adjustment, v + l A^T v, A = (J - J^T) / 2 (Balduzzi et al. 2018, arXiv 1802.05642).

    align: l is the sign of <v, h> <A^T v, h> / n + epsilon, with h = J^T v; otherwise l is 1. n is the number of
    parameters here; the authors' notebook divides by that of tensors, so that epsilon weighs less there.
    """

    def adjust(losses, players):
        v, forward, transposed = jacobian(losses, players)
        h = transposed(v)
        turned = jax.tree.map(lambda a, b: (a - b) / 2, h, forward(v))
        size = sum(leaf.size for leaf in jax.tree.leaves(v))
        sign = jnp.sign(optax.tree.vdot(v, h) * optax.tree.vdot(turned, h) / size + epsilon) if align else 1.0
        return _plus(v, sign, turned)

    return _adjusted(txs, adjust)


def competitive(rate: float, iterations: int = 20) -> Rule:
    """Return competitive gradient descent of two players (Schäfer and Anandkumar 2019, arXiv 1906.10103).

    Each move is the Nash equilibrium of the game that the losses' own gradients and mixed second derivatives make, with
    a price of |move|^2 / (2 rate). The linear systems are solved by GMRES, matrix-free, in that many iterations.
    """

    def update(losses, players, memory):
        (f, g), (x, y) = losses, players
        v_x, v_y = field(losses, players)
        xy = jax.linearize(lambda y: jax.grad(f, 0)(x, y), y)[1]  # w in y's space -> D_xy f w
        yx = jax.linearize(lambda x: jax.grad(g, 1)(x, y), x)[1]

        def solved(there, back, own, other):
            system = lambda u: _plus(u, -(rate**2), there(back(u)))
            right = _plus(own, -rate, there(other))
            return jax.scipy.sparse.linalg.gmres(system, right, tol=1e-6, restart=iterations, maxiter=1)[0]

        return (_plus(x, -rate, solved(xy, yx, v_x, v_y)), _plus(y, -rate, solved(yx, xy, v_y, v_x))), memory

    return Rule(lambda players: (), update)


def lookahead_minmax(rule: Rule, k: int = 5, alpha: float = 0.5) -> Rule:
    """Return the rule whose players go back, after each k moves, to alpha of the way that they made.

    Lookahead-minmax (Chavdarova et al. 2021, arXiv 2006.14567), no kin of `unroll`: nobody sees others' answers.
    """

    def init(players):
        return rule.init(players), jax.tree.map(jnp.asarray, players), jnp.int32(0)

    def update(losses, players, memory):
        inner, slow, n = memory
        players, inner = rule.update(losses, players, inner)
        back = (n + 1) % k == 0
        players = jax.tree.map(lambda p, s: jnp.where(back, s + alpha * (p - s), p), players, slow)
        slow = jax.tree.map(lambda p, s: jnp.where(back, p, s), players, slow)
        return players, (inner, slow, n + 1)

    return Rule(init, update)
