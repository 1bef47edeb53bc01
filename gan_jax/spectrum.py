"""`python -m gan_jax.spectrum RUN...`: the game that trained runs play, looked at where they are.

Printed and drawn are the eigenvalues of one update there (inside the unit circle, players who are pushed come back) and
how the updates point along the line from the first kept checkpoint to the last; printed, too, are spectral norms.
"""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game.player import Player
from gan_jax.run import cli, loaded, log, plots, rundir
from gan_jax.run.plots import page
from gan_jax.run.program import game as game_of

# A field is players' parameters -> a tree like them, what a move takes away from them. Of a game that is given by its
# losses it is `functools.partial(dynamics.field, losses)`; of an experiment, whose losses nobody outside its step
# knows, `step_field` makes it of that step.


def players(state):
    """Return {name: params} of the players in an experiment's state."""
    return {name: player.params for name, player in state._asdict().items() if isinstance(player, Player)}


def step_field(step, state, batch):
    """Return the field p -> p - F(p), where F is one step at this batch and state, a function of `players(state)`.

    Everything else is held: the batch, the noise (its key and step), the optimisers' memory, statistics, averages. With
    plain descent the field is the gradients times their rates. Its Jacobian is I less that of F, and where it is 0
    eigenvalues of F's inside the unit circle mean that players who are pushed come back. A memory that moves along
    narrows that region: for simultaneous moves with momentum b, both roots r of r + b / r = e + b must be inside.
    """

    def lifted(a):
        """A root, as Adam's of a second moment, has no slope at 0: a dead unit's would be 0 times infinity."""
        return jnp.where(a == 0, jnp.asarray(1e-30, a.dtype), a) if jnp.issubdtype(a.dtype, jnp.inexact) else a

    @jax.jit
    def moved(at, state, batch):
        held = jax.tree.map(lifted, state)
        new, _ = step(held._replace(**{name: getattr(held, name)._replace(params=p) for name, p in at.items()}), batch)
        return jax.tree.map(jnp.subtract, at, players(new))

    return lambda at: moved(at, state, batch)


def eigenvalues(field, at, n: int = 24, tol: float = 1e-5):
    """Return the n eigenvalues of the field's Jacobian at `at` with the largest modulus, complex [n], largest first.

    By ARPACK's restarted Arnoldi iteration on products with the transposed Jacobian, which has the same eigenvalues
    and needs reverse mode alone; of n + 1 parameters or fewer by the whole matrix. tol: relative. Those that do not
    converge are left out. A step moves parameters by little, so take a float64 field.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigs

    flat, unravel = ravel_pytree(at)
    _, pullback = jax.vjp(lambda flat: ravel_pytree(field(unravel(flat)))[0], flat)
    product = lambda w: np.asarray(pullback(jnp.asarray(w.ravel(), flat.dtype))[0])
    if flat.size <= n + 1:
        found = np.linalg.eigvals(np.stack([product(row) for row in np.eye(flat.size)]))
    else:
        start = np.random.default_rng(0).normal(size=flat.size)
        try:
            operator = LinearOperator((flat.size, flat.size), product, dtype=flat.dtype)
            found = eigs(operator, n, v0=start.astype(flat.dtype), tol=tol, return_eigenvectors=False)
        except ArpackError as error:  # did not converge, or, where the field does not change at all, did not begin
            found = getattr(error, "eigenvalues", np.zeros(0))
    return found[np.argsort(-np.abs(found), stable=True)][:n].astype(complex)


def path_angle(field, a, b, at):
    """Return (cosines, norms), one for each t of `at`, at the points a + t (b - a) of the line from a to b.

    cosines: of the angle between b - a and minus the field, the way that the players move there: 1 where they make for
    b, -1 where they make for a. Where a rest attracts them it falls through 0, and a bump there is rotation (Berard et
    al. 2020, arXiv 1906.04848). norms: of the field.
    """
    way = jax.tree.map(jnp.subtract, b, a)
    flat = lambda tree: ravel_pytree(tree)[0]
    fields = [flat(field(jax.tree.map(lambda a, w, t=t: a + t * w, a, way))) for t in at]
    norms = np.array([jnp.linalg.norm(v) for v in fields])
    along = np.array([-v @ flat(way) for v in fields])
    return along / np.maximum(norms * np.linalg.norm(flat(way)), 1e-300), norms


def spectral_norms(params) -> dict[str, float]:
    """Return {path: largest singular value} of every kernel [..., o] as a matrix of o columns."""
    kernels = [(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params) if np.ndim(leaf) > 1]
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {name(path): float(np.linalg.norm(np.reshape(a, (-1, a.shape[-1])), 2)) for path, a in kernels}


@dataclasses.dataclass(frozen=True)
class Flags:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]  # folders, side by side
    n: int = 24  # eigenvalues of the update that are shown: those furthest from 1
    batches: int = 8  # the field is that of the run's next so many batches as one: less noise
    out: str = "spectrum.png"  # the picture
    numbers: str = ""  # a new .json for what is printed and drawn, and what it was computed on


AT = np.linspace(-0.25, 1.25, 61)  # places on the line from the first kept checkpoint, at 0, to the last one, at 1


def look(folder, n: int, batches: int) -> dict:
    """Return what there is to see of a run (of several seeds, of the first), all in float64.

    "steps": of its first and last kept checkpoints; "size": parameters of all players; "update": eigenvalues of the
    Jacobian of one update at the last one; "cosines" and "norms": at the places AT of the line between the two (empty
    where they are one); "spectral": the spectral norms.
    """
    run = loaded.load(folder)
    run.setup()  # of the data that it was trained on
    states = loaded.load(folder, first=True).state, run.state
    states = states if run.seeds == 1 else jax.tree.map(lambda a: a[0], states)
    game = game_of(run.experiment, run.cfg)
    source, b = game.setup.source, game.setup.batch_size
    draw = jax.jit(lambda records, key, i: data.batch(source, records, key, i, b))
    arrays = jax.device_put(data.resident(source))
    drawn = [draw(arrays, states[1].key, states[1].step + i) for i in range(batches)]
    batch = jax.tree.map(lambda *rows: jnp.concatenate(rows), *drawn)
    with jax.enable_x64(True):
        double = lambda a: a.astype(jnp.float64) if a.dtype == jnp.float32 else a
        first, last, batch = jax.tree.map(double, (*states, batch))
        field = step_field(game.step, last, batch)
        a, b = players(first), players(last)
        steps = [int(s.step) for s in states]
        cosines, norms = path_angle(field, a, b, AT) if steps[0] < steps[1] else ((), ())
        return {
            "steps": steps,
            "size": sum(leaf.size for leaf in jax.tree.leaves(b)),
            "update": 1 - eigenvalues(field, b, n),
            "cosines": cosines,
            "norms": norms,
            "spectral": spectral_norms(b),
        }


def say(folder, seen):
    """Print what `look` saw of a run."""
    first, last = seen["steps"]
    outside = sum(np.abs(seen["update"]) > 1)
    print(f"{folder} at step {last}, {seen['size']:,} parameters")
    print(f"  update's eigenvalues furthest from 1, {outside} of {len(seen['update'])} outside the unit circle:")
    print("  " + "  ".join(f"{e.real:.4f}{e.imag:+.4f}i" if e.imag else f"{e.real:.4f}" for e in seen["update"]))
    print("  spectral norms: " + "  ".join(f"{name} {norm:.3g}" for name, norm in seen["spectral"].items()))
    if first < last:
        cosines = " ".join(f"{np.interp(t, AT, seen['cosines']):+.2f}" for t in (0, 0.5, 0.9, 1, 1.1, 1.25))
        print(f"  path from step {first}: cosines {cosines} at 0, 0.5, 0.9, 1, 1.1, 1.25 of the way")


def draw(file: Path, looks: dict[str, dict]):
    """Draw the runs side by side: eigenvalues above, the path below."""
    import matplotlib.pyplot as plt

    fig, axes = plots.figure(2 * len(looks), 3.6, 3.2, across=len(looks))
    every = np.concatenate([[1], *(seen["update"] for seen in looks.values())])
    middle = (every.real.min() + every.real.max()) / 2
    reach = 1.15 * max(np.ptp(every.real) / 2, every.imag.max(), 1e-6)
    height = 1.2 * max([0.05, *(np.abs(seen["cosines"]).max() for seen in looks.values() if len(seen["cosines"]))])
    circle = np.exp(1j * np.linspace(-np.pi, np.pi, 20_000))
    for above, below, (name, seen) in zip(axes[: len(looks)], axes[len(looks) :], looks.items(), strict=True):
        outside = np.abs(seen["update"]) > 1
        above.plot(circle.real, circle.imag, color="0.6", linewidth=1, zorder=1)
        above.axhline(0, color="0.9", linewidth=1, zorder=0)
        for e, colour in ((seen["update"][~outside], "#1764ab"), (seen["update"][outside], "#b3401b")):
            above.scatter(e.real, e.imag, s=22, alpha=0.8, linewidths=0, color=colour, zorder=2)
        above.set(xlim=(middle - reach, middle + reach), ylim=(-reach, reach), aspect="equal")
        above.set_title(f"{Path(name).name}, step {seen['steps'][1]:,}", fontsize="medium")
        if len(seen["cosines"]):
            below.axhline(0, color="0.9", linewidth=1)
            below.axvline(1, color="0.9", linewidth=1)
            below.plot(AT, seen["cosines"], color="#1764ab")
            norms = below.twinx()
            norms.semilogy(AT, seen["norms"], color="0.6", linewidth=1)
            norms.tick_params(colors="0.5", labelsize="small")
            below.set(ylim=(-height, height), xlabel=f"path from step {seen['steps'][0]:,}")
        else:
            below.remove()
    axes[0].set_ylabel("eigenvalues of the update")
    axes[len(looks)].set_ylabel("cosine (grey: norm)")
    fig.savefig(file, dpi=110)
    plt.close(fig)


def record(file: Path, looks: dict[str, dict]):
    """Write what was seen of each run: eigenvalues as pairs of real and imaginary part."""
    runs = []
    for folder, seen in looks.items():
        pairs = np.stack([seen["update"].real, seen["update"].imag], 1)
        arrays = {"update": pairs, "cosines": seen["cosines"], "norms": seen["norms"]}
        runs.append({"run": folder} | seen | {name: np.asarray(a).tolist() for name, a in arrays.items()})
    log.write_whole(file, log.as_json(rundir.origin() | {"runs": runs}) + "\n")


def written(flag: str, name: str, write, looks):
    """Call write(file, looks); UserError where there can be no such file."""
    try:
        write(Path(name), looks)
    except (OSError, ValueError) as error:
        raise UserError(f"{name} can't be written: {error}. Choose another --{flag}.") from None


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.spectrum", description=__doc__)
    if not flags.runs or min(flags.n, flags.batches) < 1:
        raise UserError("name one run folder or more; --n and --batches must be 1 or more.")
    if flags.numbers and Path(flags.numbers).exists():
        raise UserError(f"{flags.numbers} is there already: choose another --numbers.")
    page.check(flags.out, [f".{of}" for of in plots.figure()[0].canvas.get_supported_filetypes()])
    looks = {folder: rundir.read(folder) for folder in flags.runs}  # all of them are runs
    for folder in flags.runs:
        looks[folder] = look(folder, flags.n, flags.batches)
        say(folder, looks[folder])
    written("out", flags.out, draw, looks)
    if flags.numbers:
        written("numbers", flags.numbers, record, looks)
    print(f"the picture is in {flags.out}", file=sys.stderr)
    return looks


if __name__ == "__main__":
    cli.run(main)
