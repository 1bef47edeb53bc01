"""What the numbers of a run depend on, as they are written beside them: its protocol."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.metrics import classifier
from gan_jax.run import plots, rundir, sharding
from gan_jax.run.options import Run
from gan_jax.run.setup import Setup


def of_results(run: Run, setup: Setup, sample: Callable, state: Any, at: int) -> dict:
    """Return the protocol of a run's results, whose values are what JSON has.

    content, fingerprint: digests of the records, where their name does not say which they are, and where a cache keeps
    them. split: of the reals; says: what the data say of their splits. real, fake: of how many reals and samples the
    diversity is (of these the first 256), and coverage of points; modes_fake: of how many samples coverage is. test:
    records of the test split, that `measure` may see. classifiers: {set: digest} of those that were asked. sampled: the
    fields of the state that samples are drawn from; averaged: whether they hold an average. commit: of the code.
    """
    source, one = setup.source, state if run.seeds == 1 else of_one_seed(state)
    judges = {s.name: classifier.load(s).digest for s in (*setup.classifiers, *_judges(source))}
    fields = sampled(sample, one)
    return {
        "data": source.name,
        "shape": list(source.shape),
        "content": source.content,
        "fingerprint": source.fingerprint,
        "split": "train" if source.n else "draws",
        "says": source.says,
        "real": min(256, source.n or 256),
        "fake": plots.KINDS[source.kind].drawn,
        "modes_fake": source.modes.draws if source.modes else 0,
        "test": source.test.n if source.test else 0,
        "classifiers": judges,
        "sampled": fields,
        "averaged": averaged(state, fields),
        "step": at,
        "seeds": [run.seed + i for i in range(run.seeds)],
        "commit": rundir.read(run.folder).get("commit"),
    }


def _judges(source):
    return source.modes.classifiers if source.modes else ()


def of_one_seed(state: Any) -> Any:
    """Return the shapes and dtypes of one seed's state, of a state of several."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), state)


def sampled(sample: Callable, state: Any) -> list[str]:
    """Return the names of the fields of the state that `sample(state, key, n)` draws its samples from, in order."""
    closed = jax.make_jaxpr(lambda state, key: sample(state, key, 64))(state, jax.random.key(0))
    read = {id(v) for equation in closed.jaxpr.eqns for v in equation.invars} | {id(v) for v in closed.jaxpr.outvars}
    used = zip(_fields(state), closed.jaxpr.invars, strict=False)  # the last one is the key
    return list(dict.fromkeys(name for (name, _), v in used if id(v) in read))


def averaged(state: Any, fields: list[str]) -> bool:
    """Return whether these fields of a state hold an average: the name of one ends in ema, and it is no copy.

    The average of a decay of 0, or before the first step, is the net itself.
    """
    leaves = [(name, a) for name, a in _fields(sharding.to_host(state)) if jnp.issubdtype(a.dtype, jnp.inexact)]
    rest = [a for name, a in leaves if name not in fields]
    own = [a for name, a in leaves if name in fields and name.endswith("ema")]
    return not all(any(a.shape == b.shape and np.array_equal(a, b) for b in rest) for a in own)


def _fields(state):
    """Return (name of the field, leaf) of all leaves of a state."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [(jax.tree_util.keystr(path[:1]).strip(".[]'"), leaf) for path, leaf in leaves]
