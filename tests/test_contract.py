"""What every experiment promises, checked on its preset `tiny`: whatever stands in `experiments/` is found by itself.

What is asserted of samples follows from the fields of the data. An experiment costs four compiled programs: its init,
its step on one device (with the rates as arguments), the stepper's over four devices, and its sample.
"""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import json
import re
import sys
from typing import NamedTuple

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core
from runs import end, start

import experiments
import gan_jax
from gan_jax import UserError, data, explore
from gan_jax.data.source import Field
from gan_jax.game import player
from gan_jax.metrics import classifier
from gan_jax.nets import dcgan
from gan_jax.run import Picture, cli, config, health, latent, sharding, stepper
from gan_jax.run.checkpoint import Checkpoints
from gan_jax.run.loaded import Loaded
from gan_jax.run.plots import lines
from gan_jax.run.program import game
from gan_jax.run.setup import Game

NAMES = list(experiments.modules())
LATENT = [n for n in NAMES if hasattr(importlib.import_module(experiments.modules()[n]), "generate")]
MEASURED = [n for n in NAMES if getattr(importlib.import_module(experiments.modules()[n]), "measure", None)]
NORMED = [*NAMES, "vanilla_dcgan"]  # the file to copy has statistics once other nets are put into it
kept = functools.lru_cache(1)  # of one experiment at a time: their tests stand one after the other
SAMPLES = 256  # enough for their spread
LONG = 100  # steps after which running statistics of decay 0.9 have forgotten what they began with


class Tiny(NamedTuple):
    """An experiment's preset `tiny`."""

    module: object
    cfg: object
    game: Game  # its init and sample compiled
    rates: dict  # {name: value} of the Config's learning rates


def module_of(name):
    """Return an experiment's module; "vanilla_dcgan": vanilla with DCGAN's nets, as CONTRIBUTING suggests."""
    if name in NAMES:
        return importlib.import_module(experiments.modules()[name])
    spec = importlib.util.spec_from_file_location(name, importlib.import_module("experiments.vanilla").__file__)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.mlp = dcgan
    module.PRESETS["tiny"] = dataclasses.replace(module.PRESETS["tiny"], dataset="digits16", width=4)
    return module


@kept
def tiny(name) -> Tiny:
    """Return the experiment, compiled once for all tests."""
    module = module_of(name)
    cfg = module.PRESETS["tiny"]
    parts = game(module, cfg)
    compiled = {"init": jax.jit(parts.init), "sample": jax.jit(parts.sample, static_argnums=2)}
    rates = {f.name: getattr(cfg, f.name) for f in dataclasses.fields(cfg) if f.name == "lr" or f.name.endswith("_lr")}
    return Tiny(module, cfg, parts._replace(**compiled), rates)


@kept
def begun(name):
    """Return the experiment's first state."""
    return tiny(name).game.init(jax.random.key(0))


@kept
def alone(name):
    """Return (state, steps, {rate: value}) -> state: the experiment's steps on one device."""
    module, cfg, parts, given = tiny(name)
    source, b = parts.setup.source, parts.setup.batch_size
    feed = jax.tree.map(jnp.asarray, data.resident(source))

    @jax.jit
    def step(rates, state, feed):
        batch = data.batch(source, feed, jax.random.key(0), state.step, b)
        return module.step(dataclasses.replace(cfg, **rates), state, batch)[0]

    def advance(state, n, **rates):
        for _ in range(n):
            state = step(given | rates, state, feed)
        return state

    return advance


@kept
def at_rest(name):
    """Return the state after many steps at rates of 0: only what is not learned has moved."""
    return alone(name)(begun(name), LONG, **dict.fromkeys(tiny(name).rates, 0.0))


def players(state):
    """Return {name: player} of a state."""
    return {name: part for name, part in state._asdict().items() if isinstance(part, player.Player)}


def moved(start, end):
    """Return {name of a player: whether any of its parameters differ} of two states."""
    ravel = lambda player: jax.flatten_util.ravel_pytree(player.params)[0]
    return {name: bool((ravel(p) != ravel(getattr(end, name))).any()) for name, p in players(start).items()}


def statistics(state):
    """Return {path: leaf} of all statistics of nets in a state: those of its players, and averages of them."""
    collections = {name for p in players(state).values() for name in p.stats}
    leaves = jax.tree_util.tree_leaves_with_path(state)
    of = lambda path: any(getattr(part, "key", None) in collections for part in path)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves if of(path)}


def with_statistics(name):
    """Return the experiment's first state; skip where its nets keep no statistics."""
    if not statistics(begun(name)):
        pytest.skip("its nets keep no statistics")
    return begun(name)


@pytest.mark.each
@pytest.mark.parametrize("name", NAMES)
def test_the_parts_stand_in_the_file_in_order(name):
    """An experiment reads top to bottom: docstring, Config, PRESETS, State, build, init, step, sample, setup, main."""
    module = module_of(name)
    text = inspect.getsource(module)
    parts = "class Config", "\nPRESETS", "class State", "def build(", "def init(", "def step(", "def sample("
    places = [text.index(part) for part in (*parts, "def setup(", "\nmain = program(")]
    assert places == sorted(places)
    assert "arXiv" in module.__doc__ and "ifferences from the paper" in module.__doc__
    assert re.search(rf"python -m experiments[. ]{name}\b", module.__doc__)
    assert text.count("\n") <= 180
    assert dataclasses.fields(module.Config) and module.Config.__dataclass_params__.frozen
    of = [field.name for field in dataclasses.fields(module.Config)]
    assert not [name for name in of if not re.search(rf"^    {name}: .*# .{{8}}", text, re.M)]  # `--help` shows them
    for cfg in module.PRESETS.values():
        assert isinstance(cfg, module.Config)
        config.check_ranges(dataclasses.asdict(cfg), module.Config)  # as the command line does
    assert module.State._fields[:2] == ("step", "key")


@pytest.mark.each
@pytest.mark.parametrize("name", NAMES)
def test_tiny_and_paper_are_never_chosen_by_themselves(name):
    """Neither as the default nor where they alone have the data set; they are there for whoever asks for them."""
    module = module_of(name)
    first, cfg = next(iter(module.PRESETS)), module.PRESETS["tiny"]
    assert first not in ("tiny", "paper")
    others = {"tiny": cfg, "paper": dataclasses.replace(cfg, steps=10**6)}
    assert cli._preset_for({first: module.PRESETS[first]} | others, cfg.dataset) == first


def equations(jaxpr):
    """Yield all equations of a jaxpr, and of the functions that it calls; not of JAX's resize, which casts at its end."""
    for eqn in jaxpr.eqns:
        if eqn.params.get("name") == "_resize":
            continue
        yield eqn
        for part in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda part: isinstance(part, core.Jaxpr)):
            if isinstance(part, core.Jaxpr | core.ClosedJaxpr):
                yield from equations(getattr(part, "jaxpr", part))


def doubles(jaxpr):
    """Return what makes arrays of float64 in a jaxpr; single numbers, as in Adam's correction of its moments, may be."""
    is_double = lambda v: getattr(v.aval, "dtype", None) == np.float64 and v.aval.ndim > 0
    return sorted({str(eqn.primitive) for eqn in equations(jaxpr) if any(map(is_double, eqn.outvars))})


@pytest.mark.parametrize("name", NAMES)
def test_float32_under_x64(name):
    """With JAX_ENABLE_X64 a state is what it is without: weights, noise, statistics and metrics are in float32."""
    module, cfg, *_ = tiny(name)
    dtypes = lambda tree: {jax.tree_util.keystr(k): v.dtype for k, v in jax.tree_util.tree_leaves_with_path(tree)}
    usual = dtypes(jax.eval_shape(functools.partial(module.init, cfg), jax.random.key(0)))
    with jax.enable_x64(True):
        parts = game(module, cfg)
        source, b, key = parts.setup.source, parts.setup.batch_size, jax.random.key(0)
        feed = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), data.resident(source))
        step = lambda state, feed: parts.step(state, data.batch(source, feed, key, state.step, b))
        state = jax.eval_shape(parts.init, key)
        jaxpr, (after, metrics) = jax.make_jaxpr(step, return_shape=True)(state, feed)
        assert dtypes(state) == dtypes(after) == usual and not doubles(jaxpr.jaxpr)
        assert set(dtypes(metrics).values()) <= {np.dtype(np.float32), np.dtype(np.int32)}
        x = jax.eval_shape(lambda state, key: parts.sample(state, key, 4), state, key)
        assert x.dtype == source.row["x"].dtype


@kept
def shared(name):
    """Return (traces, first, advance): the stepper over four devices, and () -> the first state on them."""
    parts, traces = tiny(name).game, []

    def counted(state, batch):
        traces.append(1)
        return parts.step(state, batch)

    source, b, *_ = parts.setup
    mesh = sharding.make(b)
    advance = stepper.advancer(counted, source, b, mesh, 1, 4, False)  # 4: one program for all stretches
    put = lambda tree: jax.device_put(tree, sharding.replicated(mesh))
    feed, key = sharding.put(mesh, data.resident(source)), put(jax.random.key(0))
    first = lambda: put(jax.tree.map(jnp.copy, begun(name)))  # a step takes the memory of its state
    return traces, first, lambda state, n: advance(state, key, feed, n)


@kept
def after_three(name):
    """Return (state, metrics) after three steps in one go over four devices."""
    _, first, advance = shared(name)
    state, metrics = advance(first(), 3)
    return sharding.to_host(state), {what: rows[:3] for what, rows in sharding.to_host(metrics).items()}


@pytest.mark.parametrize("name", NAMES)
def test_three_steps(name):
    """The state keeps structure, shapes and dtypes; every player moves; the metrics are finite numbers."""
    (state, metrics), start = after_three(name), sharding.to_host(begun(name))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, start)
    assert state.step == 3 and all(moved(start, state).values()) and players(start)
    assert metrics and all(rows.shape == (3,) and np.isfinite(rows).all() for rows in metrics.values())
    assert not {*health.SIGNS} & {*metrics}  # names of what the library says of samples, in the same rows


ONE_D = (
    "ablation",
    "adagan",
    "alternating",
    "bgan",
    "bgan_continuous",
    "bigan",
    "ccgan",
    "cgan",
    "cogan",
    "completion",
    "conditional_translation",
    "context_encoder",
    "crnngan",
    "dcgan",
    "deocclude",
    "dynamics",
    "feature_denoising",
    "fraud",
    "gan3d",
    "gumbel",
    "improved",
    "infogan",
    "invariance",
    "keras_mlp",
    "listings",
    "lsro",
    "maligan",
    "medgan",
    "midinet",
    "mixgan",
    "molecules",
    "mrgan",
    "multiscale",
    "novel_view",
    "openmax",
    "pacgan",
    "pix2pix",
    "ppgn",
    "principled",
    "reed",
    "returns",
    "segment",
    "simgan",
    "slicing",
    "srgan",
    "stackgan",
    "stylegan",
    "stylegan2",
    "tips",
    "tpgan",
    "triangle",
    "unit",
    "unrolled",
    "unrolled_lstm",
    "unrolled_modes",
    "vaegan",
    "vaegan3d",
    "vanilla",
    "veegan",
    "vgan",
)
NO_PROBABILITIES = (
    "adversarial_examples",
    "autoencoder",
    "began",
    "biggan",
    "blending",
    "catgan",
    "cppn",
    "cyclegan",
    "dtn",
    "ebgan",
    "gat",
    "gdan",
    "genegan",
    "ian",
    "icgan",
    "intrinsic",
    "invariance",
    "lsgan",
    "mass",
    "orders",
    "progressive",
    "r3gan",
    "regularised",
    "residual_attribute",
    "sagan",
    "sngan",
    "text_adversarial",
    "textures",
    "vae",
    "wgan",
    "wgan_gp",
)
ANSWERS = (
    dict.fromkeys(ONE_D, ("",))
    | {"discogan": (" a", " b"), "mocogan": (" image", " video")}
    | dict.fromkeys(NO_PROBABILITIES, ())
)


@pytest.mark.parametrize("name", [name for name in NAMES if name in ANSWERS])
def test_a_game_of_probabilities_without_their_curves(name):
    """The rows of each give D(x) and D(G(z)) in [0, 1]; those of no other game do."""
    found = {what: lines.Series(np.arange(3), rows[:, None]) for what, rows in after_three(name)[1].items()}
    answers = lines.probabilities(found, getattr(tiny(name).cfg, "loss", None))
    assert list(answers) == ["D(x), D(G(z))" + end for end in ANSWERS[name]]
    assert all(np.abs(one.values - 0.5).max() <= 0.5 for answer in answers.values() for one in answer.values())


@pytest.mark.parametrize("name", NAMES)
def test_interrupted_steps_are_the_same(name, tmp_path):
    """Two steps and one more are three, bit for bit, from a checkpoint, too; stretches of any length are one program."""
    traces, first, advance = shared(name)
    two, _ = advance(first(), 2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, two)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), first())
    checkpoints.wait()
    for state in (two, checkpoints.restore(like)):
        chex.assert_trees_all_equal(sharding.to_host(advance(state, 1)[0]), after_three(name)[0])
    checkpoints.close()
    assert len(traces) == 1


@pytest.mark.parametrize("name", NAMES)
def test_one_device_equals_four(name):
    """The batch is one, however many devices share its rows, statistics and pairings included.

    A slope that is 0 but for rounding (of a hinge loss, with as many reals as fakes on each side of a kink) Adam may
    make into a step of any size up to the rate: there `tiny` has a low one.
    """
    state = alone(name)(begun(name), 3)
    chex.assert_trees_all_close(after_three(name)[0], sharding.to_host(state), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_each_player_moves_by_its_own_rate(name):
    """With a player's rate at 0 it stays where it is; the others move."""
    rates, start = tiny(name).rates, begun(name)
    assert rates
    for rate in rates:
        for of, went in moved(start, alone(name)(start, 2, **{rate: 0.0})).items():
            assert went != (rate == "lr" or of.startswith(rate.removesuffix("_lr"))), (rate, of)


@pytest.mark.parametrize("name", NORMED)
def test_all_statistics_are_renewed(name):
    """Those of every net, and of every average: a net that is trained is the net that is sampled and measured.

    What spectral norm keeps is of weights alone: it rests where they do, and of one output u is 1 or -1 for good.
    """
    before, rest = statistics(with_statistics(name)), statistics(at_rest(name))
    spectral = [
        path for path in before if "SpectralNorm" in path and not (path.endswith("/u']") and rest[path].size == 1)
    ]
    after = statistics(alone(name)(begun(name), 3)) if spectral else {}
    of_data = [path for path in before if "SpectralNorm" not in path]
    assert not [path for path in of_data if np.array_equal(before[path], rest[path])]
    assert not [path for path in spectral if np.array_equal(before[path], after[path])]


@pytest.mark.parametrize("name", NORMED)
def test_d_keeps_the_statistics_of_data(name):
    """At rates of 0 another G leaves those of D as they are: no fake has a share in them."""
    state, rates = with_statistics(name), dict.fromkeys(tiny(name).rates, 0.0)
    other = {
        n: p._replace(params=jax.tree.map(lambda a: 2 * a + 0.1, p.params)) for n, p in of_side(state, "g").items()
    }
    found, again = (of_side(alone(name)(s, 1, **rates), "d") for s in (state, state._replace(**other)))
    for n in found:
        chex.assert_trees_all_equal(found[n].stats, again[n].stats)


def of_side(state, side):
    """Return the players whose names begin with this letter."""
    return {name: p for name, p in players(state).items() if name.startswith(side)}


@pytest.mark.parametrize("name", NORMED)
def test_sampling_is_near_training_mode(name, monkeypatch):
    """By running statistics the samples have nearly the mean and the spread that they have by those of their batch."""
    with_statistics(name)
    module, cfg, parts, _ = tiny(name)
    x = parts.sample(at_rest(name), jax.random.key(1), SAMPLES)
    monkeypatch.setattr(module, "forward", lambda *args, train=True: player.forward(*args))
    trained = jax.jit(functools.partial(module.sample, cfg), static_argnums=2)(
        at_rest(name), jax.random.key(1), SAMPLES
    )
    assert trained.std(0).mean() > 0
    np.testing.assert_allclose(x.std(0).mean(), trained.std(0).mean(), rtol=0.2)
    assert jnp.abs(x.mean(0) - trained.mean(0)).mean() < 0.3 * trained.std(0).mean()


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_what_the_field_says(name):
    """Shape, dtype and range of x; other keys give other samples."""
    parts = tiny(name).game
    field: Field = parts.setup.source.row["x"]
    one, other = (np.asarray(parts.sample(at_rest(name), jax.random.key(i), SAMPLES)) for i in range(2))
    assert one.shape == (SAMPLES, *field.shape) and one.dtype == field.dtype
    for x in (one, other):
        check_range(x, field.kind, field.classes)
    assert not (one == other).all()


@pytest.mark.parametrize("name", LATENT)
def test_a_sample_is_what_g_makes_of_its_latent(name):
    """`sample(key, n)` is the very program of `generate(latent(key, n))`; z is rows of numbers, others of another key."""
    module, cfg, parts, _ = tiny(name)
    state, key = jax.eval_shape(parts.init, jax.random.key(0)), jax.random.key(1)
    made = lambda state, key: module.generate(cfg, state, module.latent(cfg, key, 8))
    text = lambda f: re.sub("0x[0-9a-f]+", "", str(jax.make_jaxpr(f)(state, key)))
    assert text(made) == text(lambda state, key: module.sample(cfg, state, key, 8))
    one, other = (module.latent(cfg, jax.random.key(i), 8) for i in range(2))
    one, other = (of["z"] if isinstance(of, dict) else of for of in (one, other))
    assert one.ndim == 2 and len(one) == 8 and one.dtype == np.float32 and (one != other).all()


NO_ROWS = {  # why G can't be asked with rows of numbers, or `explore` can't look at what it makes
    "midinet": "a bar of notes",
    "molecules": "graphs",
    "returns": "series, of noise for each day",
    "slicing": "series",
    "stackgan": "two nets draw their noise themselves",
    "textures": "a map of noise, as large as is asked for",
}


def test_every_latent_can_be_looked_into():
    """Whose Config has a `z_dim` says `latent` and `generate`, but for those above."""
    has = {n for n in NAMES if any(f.name == "z_dim" for f in dataclasses.fields(module_of(n).Config))}
    assert sorted(has - set(LATENT)) == sorted(NO_ROWS)


@pytest.mark.parametrize("name", LATENT)
def test_explore_looks_into_it(name, tmp_path, monkeypatch):
    """Each look makes a picture, or a finite number, or says in a line why not; samples are the experiment's own."""
    module, cfg, parts, _ = tiny(name)
    run, kind = Loaded(module, cfg, begun(name), 1, tmp_path), parts.setup.source.kind
    monkeypatch.setattr(Loaded, "knows", lambda *_: True)  # there is no folder whose data could have changed
    if kind not in ("points", "image"):
        with pytest.raises(UserError, match=f"draws {kind}; points and pictures alone"):
            run.source()
        return
    source, g = run.source(), latent.of_run(run, 0, 20)
    features = "pixels" if kind == "image" else ""
    beside = explore.Beside(source, explore.Flags("", n=20, train=20, updates=1, features=features))
    assert g.samples.shape == (20, *source.shape) and np.ptp(g.samples, 0).max() > 0
    for look, take in explore.LOOKS.items():
        found = take(g, beside)
        if isinstance(found, str):
            assert look in ("truncation", "mixing", "directions", "nearest", "tsne") and "\n" not in found
        else:
            explore.say(tmp_path / f"{look}.png", found, source)
            assert (tmp_path / f"{look}.png").exists() == (found.picture is not None)
            assert all(isinstance(value, str) or np.isfinite(value) for value in found.numbers.values())


def check_range(x, kind, classes=0):
    """Check that all numbers of x are such as there may be in what is of this kind."""
    whole, image = kind in ("tokens", "label"), kind in ("image", "video", "voxels")
    least, most = (0, classes - 1) if whole else (-1, 1) if image else (-np.inf, np.inf)
    assert np.isfinite(x).all() and least <= x.min() and x.max() <= most


@pytest.mark.parametrize("name", MEASURED)
def test_what_it_measures(name, monkeypatch):
    """Numbers are finite, and pictures are of a kind and in its range; the classifiers it asks are those `setup` names."""
    parts = tiny(name).game
    judges = {source: untrained(source) for source in parts.setup.classifiers}
    monkeypatch.setattr(classifier, "load", judges.__getitem__)
    records = lambda source: jax.tree.map(lambda a: a[:64], data.resident(source)) if source else {}
    splits = [records(source) for source in (parts.setup.source, parts.setup.source.test)]
    found = jax.jit(parts.measure)(begun(name), jax.random.key(0), *splits)
    assert found and not {*health.SIGNS} & {*found}  # which the library's own scores are called
    field = parts.setup.source.row["x"]
    for value in found.values():
        picture = value if isinstance(value, Picture) else Picture(value)
        kind = picture.kind_beside(field) if np.ndim(picture.x) else "points"
        check_range(np.asarray(picture.x) / 1.001, kind, field.classes)


@pytest.mark.parametrize("name", MEASURED)
def test_it_measures_what_there_is(name, monkeypatch):
    """Without the training split (streamed), held-out records or their labels, and with three of them: no error."""
    parts = tiny(name).game
    judges = {source: untrained(source) for source in parts.setup.classifiers}
    monkeypatch.setattr(classifier, "load", judges.__getitem__)
    records = lambda source: jax.tree.map(lambda a: a[:64], data.resident(source)) if source else {}
    train, test = (records(source) for source in (parts.setup.source, parts.setup.source.test))
    state, key = jax.eval_shape(parts.init, jax.random.key(0)), jax.random.key(0)
    few = jax.tree.map(lambda a: a[:3], test)
    for splits in ((train, bare(test)), (train, few), ({}, test), (train, {}), ({}, {})):
        jax.eval_shape(parts.measure, state, key, *splits)


def bare(records):
    """Return raw records without labels, as a split is measured of which none has one."""
    if isinstance(records.get("x"), dict):
        return {name: bare(part) for name, part in records.items()}
    return {name: a for name, a in records.items() if name != "y" or np.ndim(a) != 1}


def untrained(source):
    """Return a classifier as it is before training, which takes long."""
    net = classifier.Net(source.classes)
    params = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, *source.shape)))
    return classifier.Classifier(net, params, 0.0, "untrained")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder for what the processes keep: classifiers that were hardly trained among it."""
    return str(tmp_path_factory.mktemp("cache"))


QUICK = """
import sys
from experiments.__main__ import main
from gan_jax.metrics import classifier
classifier.EPOCHS = classifier.LEAST_STEPS = 1
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_resume_in_a_new_process(name, tmp_path, cache):
    """Interrupted at an odd step and resumed by another process, evaluated and measured: same rows, same results."""

    def run(out, *flags):
        every = "--log-every=2", "--save-every=4", "--eval-every=2"
        flags = name, "--preset=tiny", *every, f"--out={tmp_path / out}", *flags
        code, _, stderr = end(start("-c", QUICK, *flags, XDG_CACHE_HOME=cache), 600)
        assert code == 0, stderr

    run("whole", "--steps=6")
    run("parts", "--steps=3")
    run("parts", "--steps=6", "--resume")
    rows = [(tmp_path / out / "metrics.jsonl").read_bytes() for out in ("whole", "parts")]
    assert rows[0] == rows[1] and [json.loads(row)["step"] for row in rows[0].splitlines()] == [2, 4, 6]
    results = [json.loads((tmp_path / out / "results.json").read_text()) for out in ("whole", "parts")]
    assert all(result.pop("seconds") > 0 for result in results) and results[0] == results[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_a_run_under_x64(name, tmp_path, cache):
    """Trained, evaluated and measured, saved and taken up again, each in a process of its own: all of it in float32."""
    run = name, "--preset=tiny", "--eval-every=2", f"--out={tmp_path}"
    for steps in ("--steps=2",), ("--steps=4", "--resume"):
        started = start("-c", QUICK, *run, *steps, XDG_CACHE_HOME=f"{cache}/x64", JAX_ENABLE_X64="1")
        code, _, stderr = end(started, 600)
        assert code == 0 and "Traceback" not in stderr, stderr
    state = gan_jax.load(tmp_path).state  # without x64: what was saved has the same types
    assert state.step == 4 and not [a for a in jax.tree.leaves(state) if a.dtype == np.float64]
