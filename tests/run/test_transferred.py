"""A run that begins with the nets of another one."""

import shutil
import types

import jax
import numpy as np
import pytest
from runs import same, train

import gan_jax
from experiments import unrolled
from gan_jax import UserError
from gan_jax.run import sharding, transferred


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of a trained run."""
    out = tmp_path_factory.mktemp("transferred") / "first"
    train(out, "--steps=4")
    return out


def begin(folder, *names):
    """Return what a run is trained with that begins with these parts of the run in the folder."""
    change = lambda state: transferred(folder, state, names)
    return {"setup": lambda cfg: unrolled.setup(cfg)._replace(begin=change)}


@pytest.mark.long
def test_a_run_begins_with_the_nets_of_another(first, tmp_path):
    """Its first checkpoint has their parameters, a new optimiser and its own noise; resumed, it needs them no more."""
    other = tmp_path / "other"
    shutil.copytree(first, other)
    train(tmp_path / "run", "--steps=2", "--seed=5", "--keep=9", **begin(other, "g"))
    was, own = gan_jax.load(first).state, gan_jax.load(tmp_path / "run", step=0).state
    train(tmp_path / "plain", "--steps=2", "--seed=5", "--keep=9")
    plain = gan_jax.load(tmp_path / "plain", step=0).state
    same((own.g.params, own.g.stats), (was.g.params, was.g.stats))
    same(own._replace(g=plain.g), plain)
    same(own.g.opt, plain.g.opt)
    shutil.rmtree(other)
    state, _ = train(tmp_path / "run", "--steps=4", "--resume", **begin(other, "g"))
    assert state.step == 4


@pytest.mark.long
def test_every_seed_begins_with_them(first, tmp_path):
    """Those of the first seed of the other run."""
    train(tmp_path / "run", "--steps=2", "--seeds=2", "--keep=9", **begin(first, "g", "d"))
    was, own = (sharding.to_host(gan_jax.load(*of).state) for of in ((first,), (tmp_path / "run", None, True)))
    for name in ("g", "d"):
        jax.tree.map(
            lambda one, many: np.testing.assert_array_equal(np.stack([one] * 2), many),
            getattr(was, name)[:2],
            getattr(own, name)[:2],
        )


def test_other_nets(first):
    """Of another shape, or none of that name: two lines."""
    state = gan_jax.load(first).state
    narrow = state._replace(g=state.g._replace(params=jax.tree.map(lambda a: a[..., :1], state.g.params)))
    with pytest.raises(UserError, match="has no g that this run could begin with"):
        transferred(first, narrow, ("g",))
    with pytest.raises(UserError, match="has no mapping"):
        transferred(first, types.SimpleNamespace(**state._asdict() | {"mapping": state.g}), ("mapping",))


def test_a_folder_without_a_run(first, tmp_path):
    """What `load` says."""
    with pytest.raises(UserError, match="nowhere"):
        transferred(tmp_path / "nowhere", gan_jax.load(first).state, ("g",))
