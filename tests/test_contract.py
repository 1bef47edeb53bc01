"""What every experiment promises, checked for each file of `experiments/`, found by listing the folder."""

import dataclasses
import functools
import importlib
import inspect
import json
from pathlib import Path

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import UserError, data
from gan_jax.metrics import classifier
from gan_jax.run import evaluate, loop, mesh, rundir

NAMES = sorted(f.stem for f in Path(__file__).parents[1].glob("experiments/*.py") if f.stem != "__init__")
TINY = {"batch_size": 8, "width": 8, "depth": 1, "z_dim": 4, "steps": 6}


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """Classifiers as they are before training, which takes long."""

    @functools.cache
    def load(dataset):
        source = data.load(dataset)
        net = classifier.Net(source.classes)
        params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, *source.shape)))
        return classifier.Classifier(net, params, 0.0, "untrained")

    monkeypatch.setattr(classifier, "load", load)


def tiny(name, dataset):
    """Return (module, tiny config) of an experiment."""
    module = importlib.import_module(f"experiments.{name}")
    cfg = module.PRESETS["images" if dataset == "digits" and "images" in module.PRESETS else next(iter(module.PRESETS))]
    fields = {f.name for f in dataclasses.fields(cfg)}
    small = TINY | {"dataset": dataset, "source": dataset}
    return module, dataclasses.replace(cfg, **{k: v for k, v in small.items() if k in fields})


@functools.cache
def parts(name, dataset):
    """Return what the experiment's `main` hands to `fit`, by name; its init compiled, once for all tests."""
    given = rundir.parts(*tiny(name, dataset))
    return given | {"init": jax.jit(given["init"])}


def trained(p, stretches, after):
    """Return (state, metrics of the last stretch) after stretches of steps over the four devices."""
    devices = mesh.make(p["batch_size"])
    key = jax.device_put(jax.random.key(0), mesh.replicated(devices))
    feed = mesh.put(devices, data.resident(p["source"]))
    advance = loop.advancer(p["step"], p["source"], p["batch_size"], devices, 1, 4, False)  # 4: one program for all
    state = jax.device_put(p["init"](jax.random.key(0)), mesh.replicated(devices))
    for n in stretches:
        state, metrics = advance(state, key, feed, n)
        after()
    return mesh.to_host(state), {name: rows[:n] for name, rows in mesh.to_host(metrics).items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_stand_in_the_file_in_order(name):
    """An experiment reads top to bottom: docstring, Config, PRESETS, State, build, init, step, sample, main."""
    module = importlib.import_module(f"experiments.{name}")
    text = inspect.getsource(module)
    order = [
        "class Config",
        "\nPRESETS",
        "class State",
        "def build(",
        "def init(",
        "def step(",
        "def sample(",
        "def main(",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "arXiv" in module.__doc__ and "ifferences from the paper" in module.__doc__
    assert f"python -m experiments.{name}" in module.__doc__
    assert text.count("\n") <= 165
    assert dataclasses.fields(module.Config) and module.Config.__dataclass_params__.frozen
    assert all(isinstance(cfg, module.Config) for cfg in module.PRESETS.values())
    assert module.State._fields[:2] == ("step", "key")


@functools.cache
def alone(name):
    """Return (rates, advance): an experiment's rates, and its step on images and one device as a function of them."""
    module, cfg = tiny(name, "digits")
    rates = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(cfg) if f.name == "lr" or f.name.endswith("_lr")}
    p = parts(name, "digits")
    feed = jax.tree.map(jnp.asarray, data.resident(p["source"]))

    @jax.jit
    def step(rates, state, feed):
        batch = data.batch(p["source"], feed, jax.random.key(0), state.step, p["batch_size"])
        return module.step(dataclasses.replace(cfg, **rates), state, batch)[0]

    def advance(rates, n):
        state = p["init"](jax.random.key(0))
        for _ in range(n):
            state = step(rates, state, feed)
        return mesh.to_host(state)

    return rates, advance


@pytest.mark.parametrize("name", NAMES)
def test_one_device_equals_four(name):
    """On images: the batch is one, however many devices share its rows, statistics and pairings included.

    The state keeps structure, shapes and dtypes, and stretches of steps of any length are one program.
    """
    p, traces, seen = parts(name, "digits"), [], []
    step, (rates, advance) = p["step"], alone(name)

    def counted(state, batch):
        traces.append(1)
        return step(state, batch)

    counting = lambda: seen.append(len(traces))
    state, metrics = trained(p | {"step": counted}, (2, 1), counting)
    assert seen[0] == seen[1]
    check(p, state, metrics)
    chex.assert_trees_all_close(state, advance(rates, 3), atol=1e-4, rtol=1e-4)


def check(p, state, metrics):
    """Check what three steps made of a state: its form is that of the first, all players moved, metrics are finite."""
    before = jax.eval_shape(p["init"], jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, jax.eval_shape(mesh_host_shapes, before))
    assert state.step == 3
    assert metrics and all(np.isfinite(m).all() for m in metrics.values())
    start = mesh.to_host(p["init"](jax.random.key(0)))
    assert moved(start, state) and all(moved(start, state).values())


def moved(start, end):
    """Return {name of a player: whether any of its parameters differ} of two states."""
    players = {name: player for name, player in start._asdict().items() if hasattr(player, "params")}
    ravel = lambda player: jax.flatten_util.ravel_pytree(player.params)[0]
    return {name: bool((ravel(player) != ravel(getattr(end, name))).any()) for name, player in players.items()}


def mesh_host_shapes(state):
    """The state with its keys as their data, as `mesh.to_host` gives it."""
    return jax.tree.map(
        lambda a: jax.random.key_data(a) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else a, state
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_player_moves_by_its_own_rate(name):
    """With a player's rate at 0 it stays where it is; the others move."""
    rates, advance = alone(name)
    assert rates
    start = mesh.to_host(parts(name, "digits")["init"](jax.random.key(0)))
    for rate in rates:
        for player, went in moved(start, advance(rates | {rate: 0.0}, 2)).items():
            of_it = rate == "lr" or player.startswith(rate.removesuffix("_lr"))
            assert went != of_it, (rate, player)


@pytest.mark.parametrize("name", NAMES)
def test_sample_is_a_function_of_the_key(name):
    """Samples have the shape of the data; equal keys give equal samples, others others."""
    p = parts(name, "digits")
    state = p["init"](jax.random.key(0))
    draw = jax.jit(p["sample"], static_argnums=2)
    a, b, c = (draw(state, jax.random.key(i), 5) for i in (0, 0, 1))
    assert a.shape == (5, 8, 8, 1) and a.dtype == np.float32
    assert (a == b).all() and not (a == c).all() and np.abs(a).max() <= 1


@pytest.mark.parametrize(
    "name", [name for name in NAMES if hasattr(importlib.import_module(f"experiments.{name}"), "measure")]
)
def test_what_it_measures(name):
    """Numbers are finite, pictures are rows of images in [-1, 1], and both are functions of state, key and data."""
    p = parts(name, "digits")
    state = p["init"](jax.random.key(0))
    splits = [jax.tree.map(lambda a: a[:64], data.resident(s)) for s in (p["source"], p["source"].test)]
    draw = jax.jit(p["measure"])
    found, again = (draw(state, jax.random.key(0), *splits) for _ in range(2))
    assert found
    for what, value in found.items():
        assert np.isfinite(value).all() and (value == again[what]).all() and value.ndim in (0, 5), what
        assert value.ndim == 0 or np.abs(value).max() <= 1.001, what


@pytest.mark.parametrize("way", ["ring8", *(pytest.param(w, marks=pytest.mark.slow) for w in ("digits", "streamed"))])
@pytest.mark.parametrize("name", NAMES)
def test_resume_is_exact(name, way, tmp_path, monkeypatch):
    """2N steps in one go equal N, a restart, and N more, byte for byte, rows included."""
    dataset = {"streamed": "digits"}.get(way, way)
    module = importlib.import_module(f"experiments.{name}")
    fit = lambda run, source, init, step, sample, measure=None, **rest: loop.fit(
        run, source, init, step, sample, **rest
    )
    monkeypatch.setattr(module, "fit", fit)  # what it measures has a test of its own
    monkeypatch.setattr(loop.plots, "curves", lambda *_: None)
    nothing = lambda sample, measure, source, *_: ({"labels": jnp.zeros(1)}, {}, jnp.zeros((2, *source.shape)))
    monkeypatch.setattr(evaluate, "evaluate", nothing)
    of, compiled = loop.advancer, {}
    monkeypatch.setattr(loop, "advancer", lambda *given: compiled.setdefault("by all three", of(*given)))

    def flags(out, steps):
        fields = {f.name for f in dataclasses.fields(module.Config)}
        small = TINY | {"dataset": dataset, "source": dataset, "steps": steps}
        return [
            *(f"--{k.replace('_', '-')}={v}" for k, v in small.items() if k in fields),
            "--log-every=2",
            "--save-every=4",
            "--eval-every=0",
            f"--out={out}",
            *["--stream"] * (way == "streamed"),
        ]

    if way == "streamed" and name in ("cyclegan", "discogan", "improved"):  # of several sets
        with pytest.raises(UserError, match="keeps its data on the device"):
            module.main(flags(tmp_path / "whole", 6))
        return

    whole, _ = module.main(flags(tmp_path / "whole", 6))
    module.main(flags(tmp_path / "parts", 3))
    again, _ = module.main([*flags(tmp_path / "parts", 6), "--resume"])
    chex.assert_trees_all_equal(mesh.to_host(whole), mesh.to_host(again))
    rows = [(tmp_path / d / "metrics.jsonl").read_bytes() for d in ("whole", "parts")]
    assert rows[0] == rows[1] and [json.loads(row)["step"] for row in rows[0].splitlines()] == [2, 4, 6]
    loaded = rundir.load(tmp_path / "parts")
    chex.assert_trees_all_equal(mesh.to_host(loaded.state), mesh.to_host(whole))
    assert loaded.sample(jax.random.key(0), 3).shape == (3, *data.load(dataset).shape)
