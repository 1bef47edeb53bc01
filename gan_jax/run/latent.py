"""A trained G as a function of its latent: what its experiment's `latent` and `generate` say, row by row."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.errors import UserError
from gan_jax.run.loaded import NO_LATENT, Loaded
from gan_jax.run.program import game
from gan_jax.run.setup import Game

AT_ONCE = 50  # rows that are drawn at a time


@dataclasses.dataclass(frozen=True, eq=False)
class G:
    """A trained G and latents that were drawn for it. Rows are called by their number among these."""

    parts: Game
    state: Any  # of one seed
    drawn: dict  # {"z": [n, z], and what else `latent` drew: [n, ...], or a key}
    bare: bool  # whether the experiment's latent is z alone

    @property
    def z(self) -> np.ndarray:
        """The latents that were drawn, [n, z]."""
        return np.asarray(self.drawn["z"])

    @functools.cached_property
    def spread(self) -> float:
        """The standard deviation of a number of the latent."""
        return float(np.sqrt(self.z.var(0).mean()))

    @functools.cached_property
    def samples(self) -> np.ndarray:
        """The sample of each row, [n, ...]."""
        return self.draw(self.z, np.arange(len(self.z)))

    def draw(self, z: np.ndarray, which: Any = 0) -> np.ndarray:
        """Return x [..., *shape] of latents z [..., z]; which: numbers of the rows whose labels, say, they have."""
        z, which = np.asarray(z, np.float32), np.broadcast_to(which, np.shape(z)[:-1])
        x = in_parts(functools.partial(self._generated, self.state), z.reshape(-1, z.shape[-1]), which.ravel())
        return x.reshape(*z.shape[:-1], *x.shape[1:])

    def styles(self, which: Any, psi: float) -> np.ndarray:
        """Return the styles [n, layers, w] of the rows `which` [n], psi times as far from the average one."""
        return in_parts(lambda which: self._styled(self.state, which, psi), np.asarray(which))

    def synthesise(self, w: np.ndarray, which: Any = 0) -> np.ndarray:
        """Return x [..., *shape] of styles w [..., layers, w]; which: as in `draw`."""
        which, of_one = np.broadcast_to(which, w.shape[:-2]), w.shape[-2:]
        x = in_parts(functools.partial(self._synthesised, self.state), w.reshape(-1, *of_one), which.ravel())
        return x.reshape(*w.shape[:-2], *x.shape[1:])

    @functools.cached_property
    def _generated(self):
        return jax.jit(lambda state, z, which: self.generate(state, z, which))

    @functools.cached_property
    def _styled(self):
        of = lambda state, which, psi: lambda z: self.parts.styles(state, z, psi)
        return jax.jit(lambda state, which, psi: self._each(of(state, which, psi), self._rows(which)))

    @functools.cached_property
    def _synthesised(self):
        of = lambda state: lambda z, w: self.parts.synthesise(state, w, z)
        return jax.jit(lambda state, w, which: self._each(of(state), self._rows(which), w))

    def generate(self, state: Any, z: jax.Array, which: Any) -> jax.Array:
        """Return x [b, *shape] of z [b, z] and rows `which` [b], for use inside jit and `grad`."""
        return self._each(functools.partial(self.parts.generate, state), self._rows(which) | {"z": z})

    def together(self, z: jax.Array) -> jax.Array:
        """Return x [b, *shape] of z [b, z], all else that of the first row, by one call of the experiment."""
        rows = self._rows(np.zeros(len(z), int)) | {"z": z}
        return self.parts.generate(self.state, z if self.bare else rows)

    def _rows(self, which):
        return {name: jnp.asarray(part)[which] if jnp.ndim(part) else part for name, part in self.drawn.items()}

    def _each(self, f: Callable, latents: dict, *more):
        """Return f(latents, *more) of one row at a time, so that noise which is drawn by a key is the same for all."""
        still = {name: part for name, part in latents.items() if not jnp.ndim(part)}
        rows = {name: part for name, part in latents.items() if jnp.ndim(part)}

        def one(row, *more):
            whole = {name: part[None] for name, part in row.items()} | still
            return f(whole["z"] if self.bare else whole, *(a[None] for a in more))[0]

        return jax.vmap(one)(rows, *more)


def of_run(run: Loaded, seed: int, n: int) -> G:
    """Return the G of a run, of its first seed, with n latents that are a function of `seed`.

    Raises UserError where it has no latent that is a row of numbers, or a sample is not finite.
    """
    parts = game(run.experiment, run.cfg)
    if not (parts.latent and parts.generate):
        raise UserError(NO_LATENT.format(run.experiment.__name__))
    state = run.state if run.seeds == 1 else jax.tree.map(lambda a: a[0], run.state)
    drawn = jax.jit(parts.latent, static_argnums=1)(jax.random.key(seed), n)
    bare = not isinstance(drawn, dict)
    g = G(parts, state, {"z": drawn} if bare else drawn, bare)
    if g.z.ndim != 2:
        raise UserError(f"{run.experiment.__name__} has latents of shape {g.z.shape[1:]}, not rows of numbers.")
    if not np.isfinite(g.samples).all():
        raise UserError(f"{run.folder} draws samples that are not finite: take an earlier --step.")
    return g


def in_parts(f: Callable, *rows: np.ndarray) -> np.ndarray:
    """Return f(*rows) [n, ...], of so many rows at a time that it is compiled once."""
    n, found = len(rows[0]), []
    for start in range(0, n, AT_ONCE):
        at = np.minimum(np.arange(start, start + AT_ONCE), n - 1)
        found.append(np.asarray(f(*(a[at] for a in rows))))
    return np.concatenate(found)[:n]
