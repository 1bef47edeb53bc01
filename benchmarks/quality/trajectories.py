"""`python -m benchmarks trajectories`: all rules of game/dynamics.py on two games that simultaneous descent loses.

One player descends f(x, y), the other ascends it, and the only equilibrium is 0. Bilinear game: f = x y. Dirac-GAN
(Mescheder et al. 2018, arXiv 1801.04406): the data is the point 0, G's only sample is x, D's score of a point is y
times it, so f = log sigmoid(-x y) and a constant.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness
from gan_jax.game import dynamics
from gan_jax.run.config import Count

GAMES = {"bilinear game": lambda x, y: x * y, "Dirac-GAN": lambda x, y: jax.nn.log_sigmoid(-x * y)}
REACH = 1.6  # of the panels
START = 1.0, 0.5


def rules(rate, k=5):
    """Return {name: rule}, all of plain gradient descent at this rate."""
    txs = [optax.sgd(rate)] * 2
    return {
        "simultaneous": dynamics.simultaneous(*txs),
        "alternating": dynamics.alternating(*txs),
        "negative momentum": dynamics.negative_momentum(rate, rate),
        "optimistic": dynamics.optimistic(*txs),
        "extragradient": dynamics.extragradient(*txs),
        "consensus": dynamics.consensus(*txs, gamma=0.5),
        "symplectic": dynamics.symplectic(*txs),
        "competitive": dynamics.competitive(rate),
        "lookahead": dynamics.lookahead_minmax(dynamics.simultaneous(*txs), k),
        "lookahead, extragradient": dynamics.lookahead_minmax(dynamics.extragradient(*txs), k),
    }


def main(rate: float = 0.2, moves: Count = 200, out: str = "benchmarks/quality/results"):
    """Play, print how far from the equilibrium each rule ends, and draw the way there.

    Args:
        rate: of all rules.
        moves: of both players.
        out: folder of trajectories.jsonl and trajectories.png.
    """
    ways, rows = {}, []
    for game, f in GAMES.items():
        for name, rule in rules(rate).items():
            ways[game, name] = at = played(rule, (f, lambda x, y, f=f: -f(x, y)), moves)
            rows.append({"game": game, "rule": name, "rate": rate, "moves": moves, "distance": float(distance(at)[-1])})
    far = {(row["game"], row["rule"]): row["distance"] for row in rows}
    head = ("rule", *(f"distance after {moves} moves, {game}" for game in GAMES))
    harness.table(head, [(name, *(f"{far[game, name]:.3g}" for game in GAMES)) for name in rules(rate)])
    harness.record("trajectories", rows, out)
    draw(Path(out) / "trajectories.png", ways, moves)


def played(rule, losses, moves):
    """Return the positions [moves + 1, 2] of a rule's game from START."""

    def move(carry, _):
        carry = rule.update(losses, *carry)
        return carry, jnp.stack(carry[0])

    players = tuple(map(jnp.float32, START))
    _, at = jax.jit(lambda: jax.lax.scan(move, (players, rule.init(players)), length=moves))()
    return np.concatenate([[START], at])


def distance(at):
    """Return the distances [...] of points [..., 2] from the equilibrium."""
    return np.linalg.norm(at, axis=-1)


def draw(file, ways, moves):
    """Draw a panel for each game and rule: the way from its start, dark to light, over the field, to its end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    fig = plt.figure(figsize=(10, 9.2), layout="constrained")
    grid = np.linspace(-REACH, REACH, 17)
    x, y = np.meshgrid(grid, grid)
    for part, (game, f) in zip(fig.subfigures(len(GAMES), 1, hspace=0.03), GAMES.items(), strict=True):
        part.suptitle(f"{game}: distance from the equilibrium, at the start \u2192 after {moves} moves")
        panels = {name: at for (of, name), at in ways.items() if of == game}
        u, v = (np.asarray(a) for a in jax.vmap(jax.vmap(jax.grad(f, (0, 1))))(x, y))
        for axis, (name, at) in zip(part.subplots(2, -(-len(panels) // 2)).ravel(), panels.items(), strict=True):
            axis.streamplot(x, y, -u, v, color="0.87", linewidth=0.6, arrowsize=0.5, density=0.7, zorder=0)
            way = LineCollection(
                np.stack([at[:-1], at[1:]], 1), cmap="viridis", linewidths=1.3, capstyle="round", zorder=1
            )
            way.set_array(np.arange(len(at) - 1))
            axis.add_collection(way)
            axis.plot(0, 0, "+", color="0.3", markersize=7, zorder=2)
            axis.plot(*at[0], "o", color="white", markeredgecolor="black", markersize=5, zorder=3)
            axis.plot(*at[-1], "o", color="#b3401b", markersize=4, zorder=3)
            axis.set_title(f"{name}\n{distance(at)[0]:.2f} \u2192 {distance(at)[-1]:.2g}", fontsize=9)
            axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])
    file.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(file, dpi=110)
    plt.close(fig)


if __name__ == "__main__":
    harness.command(main)
