"""A trained run, taken up again for looking at it and drawing from it."""

import importlib
import importlib.util
import os
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import data
from gan_jax.errors import UserError, first_line, printable
from gan_jax.game import Player
from gan_jax.run import config, rundir, states
from gan_jax.run.checkpoint import Checkpoints
from gan_jax.run.setup import Setup

AT_ONCE = 500  # samples that are drawn at a time
NO_LATENT = "{} has no latent to look into: it defines no `latent` and `generate`."


class Loaded(NamedTuple):
    """A trained run: its experiment (module), config and state."""

    experiment: types.ModuleType
    cfg: Any
    state: Any
    seeds: int
    folder: Path
    results: dict | None = None  # what it ended with; None where it has not ended

    def __repr__(self):  # the state would fill a notebook
        folder = printable(self.folder)
        return f"Loaded({self.experiment.__name__}, folder={folder!r}, seeds={self.seeds}, cfg={self.cfg!r})"

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """Return n samples [n, ...]; [seeds, n, ...] where several seeds were trained."""
        one = lambda state: self.experiment.sample(self.cfg, state, key, n)
        return one(self.state) if self.seeds == 1 else jax.lax.map(one, self.state)

    def repeats(self, n: int, at_once: int = AT_ONCE) -> str:
        """Return a line that says that n samples are made of records which come again; "" where they are not.

        at_once: how many are drawn by one key; those of another key may be made of the same records.
        """
        with data.counted() as found:
            jax.eval_shape(lambda key: self.sample(key, n), jax.random.key(0))
        if not found or n <= min(at_once, *found):
            return ""
        held = f"{printable(self.folder)} makes its samples of records that are held out"
        return f"{held}: {n:,} samples are of {min(found):,} of them at most, some of which come again"

    def latent(self, key: jax.Array, n: int) -> Any:
        """Return what `sample(key, n)` draws as latents: z [n, z], or {"z": z, ...}; UserError where it has none."""
        return self._part("latent")(self.cfg, key, n)

    def generate(self, z: Any) -> jax.Array:
        """Return what G makes of latents as `latent` returns them: [n, ...], or [seeds, n, ...]."""
        one = lambda state: self._part("generate")(self.cfg, state, z)
        return one(self.state) if self.seeds == 1 else jax.lax.map(one, self.state)

    def setup(self) -> Setup:
        """Return what the run was made of; UserError where its data changed since."""
        setup = self.experiment.setup(self.cfg)
        if not self.knows(setup):
            where = printable(self.folder)
            raise UserError(f"the data of the run in {where} changed since it was trained: they are not what it saw.")
        return setup

    def source(self) -> data.Source:
        """Return the data that samples are like; UserError where these are neither points nor pictures, or changed."""
        source = self.setup().source
        while source.part:  # joined sets: the one that is called x
            source = source.part
        if source.kind not in ("points", "image"):
            where = printable(self.folder)
            raise UserError(
                f"{where} draws {source.kind}; points and pictures alone can be scored, or looked into.\n"
                f"python -m gan_jax.sample {where} --n 10000 --out samples.npz gives samples to other tools."
            )
        return source

    def knows(self, setup: Setup) -> bool:
        """Return whether the data are those that the run was trained on."""
        return setup.source.content == rundir.read(self.folder).get("data", "")

    def _part(self, name):
        if not (hasattr(self.experiment, "latent") and hasattr(self.experiment, "generate")):
            raise UserError(NO_LATENT.format(self.experiment.__name__))
        return getattr(self.experiment, name)

    def drawn(self, seed: int, n: int) -> Iterator[np.ndarray]:
        """Yield n samples in parts [seeds, b, ...], on the host: the same first ones of a seed whatever n is.

        Raises UserError where one is not finite.
        """
        some = jax.jit(lambda state, key: self._replace(state=state).sample(key, AT_ONCE))
        for start, key in zip(range(0, n, AT_ONCE), self.keys(seed, n), strict=True):
            x = some(self.state, key)
            x = np.asarray(x)[None] if self.seeds == 1 else np.asarray(x)
            if not np.isfinite(x).all():
                raise UserError(f"{self.folder} draws samples that are not finite: take an earlier --step.")
            yield x[:, : n - start]

    def keys(self, seed: int, n: int) -> list:
        """Return the key of each of the parts that `drawn` yields, of AT_ONCE samples each."""
        return [jax.random.fold_in(jax.random.key(seed), i) for i in range(-(-n // AT_ONCE))]


def load(
    folder: str | os.PathLike, experiment: ModuleType | None = None, first: bool = False, step: int | None = None
) -> Loaded:
    """Return the run in `folder` at its newest good checkpoint; with `first` at the oldest that is kept, or at `step`.

    experiment: the module that trained it; by default the module of that name in the folder `experiments`.
    """
    saved = rundir.read(folder)
    experiment = experiment or _experiment(folder, saved["experiment"])
    if code := getattr(experiment, "__file__", None):
        rundir.say_changed(folder, saved, Path(code), "what is drawn is")
    file = Path(folder) / "config.json"
    config.check_types(saved["config"], experiment.Config, file)
    config.check_ranges(saved["config"], experiment.Config, file)
    try:
        cfg = experiment.Config(**config.known(saved["config"], experiment.Config, file))
        shapes = jax.eval_shape(
            lambda: states.initial(lambda key: experiment.init(cfg, key), saved["seed"], saved["seeds"])
        )
    except UserError as error:
        hint = f"The run in {printable(folder)} needs that. Where its data moved, a link in the old place is enough."
        raise UserError(f"{error}" if "\n" in f"{error}" else f"{error}\n{hint}") from None
    except Exception as error:  # an experiment fails in its own way where its Config is none of its own
        raise UserError(
            f"{printable(folder)} is not a run of {experiment.__name__} as it is now: {first_line(error)}."
        ) from None
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=device), shapes)
    checkpoints = Checkpoints(Path(folder) / "checkpoints", read_only=True)
    state = checkpoints.restore(like, first, step)
    checkpoints.close()
    if state is None:
        raise UserError(f"{printable(folder)} holds no checkpoint yet.")
    return Loaded(experiment, cfg, state, saved["seeds"], Path(folder), rundir.results(folder))


def transferred(folder: str | os.PathLike, state: Any, names: tuple[str, ...]) -> Any:
    """Return a new run's state with the parts of these names of the run in `folder`: of its first seed.

    Players keep their new optimisers. Raises UserError where the run lacks such a part, or has it in another shape.
    """
    run = load(folder)
    old = run.state if run.seeds == 1 else jax.tree.map(lambda a: a[0], run.state)
    values = lambda part: part[:2] if isinstance(part, Player) else part  # params and stats
    seeds = state.step.ndim  # axes in front of each leaf
    parts = {}
    for name in names:
        new, was = values(getattr(state, name)), values(getattr(old, name, ()))
        if jax.tree.map(lambda a: a.shape[seeds:], new) != jax.tree.map(np.shape, was):
            raise UserError(
                f"{printable(folder)} has no {name} that this run could begin with: it needs the nets of the same "
                "experiment, with the flags that they were made with, for pictures of the same shape."
            )
        filled = jax.tree.map(lambda a, b: jnp.broadcast_to(b, a.shape), new, was)
        own = getattr(state, name)
        parts[name] = own._replace(params=filled[0], stats=filled[1]) if isinstance(own, Player) else filled
    return state._replace(**parts)


def _experiment(folder, name):
    """Return the module that trained a run: one of `experiments`, wherever it stands there."""
    known = importlib.import_module("experiments").modules() if importlib.util.find_spec("experiments") else {}
    if not name.startswith("experiments.") or rundir.stem(name) not in known:
        raise UserError(f"{printable(folder)} was trained by {name!r}: pass that module, load(folder, experiment).")
    return importlib.import_module(known[rundir.stem(name)])
