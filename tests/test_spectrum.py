"""The spectrum: games and rules in closed form, nets by finite differences, and the command."""

import functools
import importlib
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from runs import train

import experiments
from experiments import unrolled
from experiments.pairs import cyclegan
from gan_jax import UserError, data, spectrum
from gan_jax.game import dynamics
from gan_jax.game.player import Player, descend
from gan_jax.run import loaded
from gan_jax.run.program import game as game_of

RATE = 0.1


def match(found, expected, atol):
    """Check that two lists of complex numbers are the same, in whatever order."""
    found, expected = np.asarray(found), list(expected)
    assert len(found) == len(expected)
    for e in found:
        nearest = min(expected, key=lambda other, e=e: abs(other - e))
        assert abs(nearest - e) < atol, (e, nearest)
        expected.remove(nearest)


def game(f):
    """The field of the zero-sum game in which one descends f and the other ascends it."""
    return functools.partial(dynamics.field, (f, lambda x, y: -f(x, y)))


def test_games_in_closed_form():
    """x y turns with eigenvalues +-i, the Dirac-GAN with +-f'(0) i = +-i/2; R1 on D makes it (c +- sqrt(c^2 - 1)) / 2."""
    dirac = lambda x, y: jax.nn.log_sigmoid(-x * y)
    with jax.enable_x64(True):
        rest = jnp.float64(0), jnp.float64(0)
        match(spectrum.eigenvalues(game(lambda x, y: x * y), rest), [1j, -1j], 1e-12)
        match(spectrum.eigenvalues(game(dirac), rest), [0.5j, -0.5j], 1e-12)
        for c in (0.6, 1.25):
            field = functools.partial(dynamics.field, (dirac, lambda x, y, c=c: -dirac(x, y) + c * y**2 / 2))
            match(spectrum.eigenvalues(field, rest), (c + np.array([1, -1]) * np.emath.sqrt(c**2 - 1)) / 2, 1e-12)


SGD = [optax.sgd(RATE)] * 2
RULES = {  # on x y
    "simultaneous": (dynamics.simultaneous(*SGD), [1 + RATE * 1j, 1 - RATE * 1j]),
    "alternating": (dynamics.alternating(*SGD), np.roots([1, RATE**2 - 2, 1])),
    "extragradient": (dynamics.extragradient(*SGD), [1 - RATE**2 + RATE * 1j, 1 - RATE**2 - RATE * 1j]),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_in_closed_form(name):
    """1 less the eigenvalues of what a rule takes away are those of its update."""
    rule, expected = RULES[name]
    losses = lambda x, y: x * y, lambda x, y: -x * y
    with jax.enable_x64(True):
        at = jnp.float64(0.3), jnp.float64(-0.2)
        field = lambda p: jax.tree.map(jnp.subtract, p, rule.update(losses, p, rule.init(p))[0])
        match(1 - spectrum.eigenvalues(field, at), expected, 1e-12)


def test_arnoldi_is_the_whole_matrix():
    """Of a matrix of 80 rows without symmetry: the 10 largest eigenvalues, in their order; few rows go by themselves."""
    m = np.random.default_rng(0).normal(size=(80, 80))
    m[0, 40], m[40, 0] = 30, -30  # a pair that turns
    with jax.enable_x64(True):
        field = lambda p: jnp.asarray(m) @ p
        found = spectrum.eigenvalues(field, jnp.zeros(80), 10, tol=1e-12)
        expected = np.linalg.eigvals(m)
        expected = expected[np.argsort(-abs(expected))]
        assert abs(abs(expected[9]) - abs(expected[10])) > 1e-3  # no pair is cut apart
        match(found, expected[:10], 1e-9)
        np.testing.assert_allclose(abs(found), abs(expected[:10]), atol=1e-9)
        assert found[0].imag and abs(found[0]) > 25
        match(spectrum.eigenvalues(field, jnp.zeros(80), 79), expected[:79], 1e-9)


def test_a_field_that_does_not_change():
    """It has none that could be found."""
    with jax.enable_x64(True):
        assert len(spectrum.eigenvalues(lambda p: p * 0 + 1, jnp.ones(50), 4)) == 0


def double(tree):
    """The tree with its float32 as float64."""
    return jax.tree.map(lambda a: a.astype("float64") if a.dtype == jnp.float32 else a, tree)


@pytest.mark.long
def test_a_gan_by_finite_differences():
    """The eigenvalues of a small unrolled GAN's update are those of the matrix of its central differences."""
    cfg = unrolled.Config(batch_size=16, width=6, z_dim=2, unroll=2, g_lr=1e-2, d_lr=3e-2)
    state, batch = unrolled.init(cfg, jax.random.key(0)), data.draw(data.load("ring8"), jax.random.key(5), 16)
    with jax.enable_x64(True):
        (state, batch), step = double((state, batch)), jax.jit(functools.partial(unrolled.step, cfg))
        for _ in range(30):
            state, _ = step(state, batch)
        flat, unravel = ravel_pytree((state.g.params, state.d.params))

        def update(flat):
            g, d = unravel(flat)
            new, _ = step(state._replace(g=state.g._replace(params=g), d=state.d._replace(params=d)), batch)
            return ravel_pytree((new.g.params, new.d.params))[0]

        bumps = 1e-6 * jnp.concatenate([jnp.eye(flat.size), -jnp.eye(flat.size)])
        ends = jax.lax.map(lambda bump: update(flat + bump), bumps)
        expected = np.linalg.eigvals((ends[: flat.size] - ends[flat.size :]).T / 2e-6)
        expected = expected[np.argsort(-abs(expected - 1))]
        found = 1 - spectrum.eigenvalues(spectrum.step_field(step, state, batch), spectrum.players(state), 6, tol=1e-9)
        assert abs(found[0] - 1) > 0.01 and len(found) == 6
        for e in found:  # each is one of them, and there is none that is further from 1
            assert abs(expected - e).min() < 1e-4
        np.testing.assert_allclose(abs(found - 1), abs(expected - 1)[:6], atol=1e-4)


class State(NamedTuple):
    step: int
    g: Player
    d: Player


def played(losses, txs, *players):
    """(step, state) of a game that is given by its losses."""

    def step(state, batch):
        grads = dynamics.field(losses, (state.g.params, state.d.params))
        g, d = (descend(p, grad, tx) for p, grad, tx in zip((state.g, state.d), grads, txs, strict=True))
        return State(state.step + 1, g, d), {}

    return step, State(0, *(Player(p, {}, tx.init(p)) for p, tx in zip(players, txs, strict=True)))


def test_plain_descent_is_rates_times_gradients():
    """With SGD the field of a step is that of the losses, each times its player's rate."""
    losses = lambda g, d: (g * d).sum() + (g**2).sum(), lambda g, d: -(g * d).sum() * 3
    with jax.enable_x64(True):
        g, d = jnp.arange(3.0), jnp.ones(3)
        step, state = played(losses, (optax.sgd(0.1), optax.sgd(0.3)), g, d)
        field, at = spectrum.step_field(step, state, {}), spectrum.players(state)
        assert list(at) == ["g", "d"]
        np.testing.assert_allclose(field(at)["g"], 0.1 * (d + 2 * g), rtol=1e-9)
        np.testing.assert_allclose(field(at)["d"], -0.9 * g, rtol=1e-9)
        match(spectrum.eigenvalues(field, at), np.repeat(np.roots([1, -0.2, 0.09]), 3), 1e-9)


def test_momentum_is_held():
    """With momentum the response is that of one update, and the docstring's roots are the run's own eigenvalues."""
    losses, b, rate = (lambda g, d: g * d, lambda g, d: -g * d), 0.5, 0.4
    with jax.enable_x64(True):
        tx = optax.chain(optax.ema(b, debias=False), optax.scale(-rate))
        step, state = played(losses, (tx, tx), jnp.float64(0.3), jnp.float64(0.1))
        e = 1 - spectrum.eigenvalues(spectrum.step_field(step, state, {}), spectrum.players(state))
        match(e, [1 + 0.2j, 1 - 0.2j], 1e-12)
        turn = np.array([[0, 1], [-1, 0]])
        memory = np.block([[b * np.eye(2), (1 - b) * turn], [-rate * b * np.eye(2), np.eye(2) - rate * (1 - b) * turn]])
        match(np.concatenate([np.roots([1, -(x + b), b]) for x in e]), np.linalg.eigvals(memory), 1e-9)


def test_a_dead_unit_has_no_slope():
    """Where Adam's second moment and the gradient are 0, the slope is 0, not nan."""
    losses = lambda g, d: (g * d).sum(), lambda g, d: jax.nn.relu(g[0] * d[0] - 100) - (g[1:] * d[1:]).sum()
    with jax.enable_x64(True):
        step, state = played(losses, (optax.adam(0.1), optax.adam(0.1)), jnp.arange(3.0), jnp.ones(3))
        for _ in range(3):
            state, _ = step(state, {})
        assert state.d.opt[0].nu[0] == 0
        found = spectrum.eigenvalues(spectrum.step_field(step, state, {}), spectrum.players(state))
        assert np.isfinite(found).all() and found[0] != 0 and found[-1] == 0


def test_path_angle():
    """On a straight path to a rest and past it 1 and -1, around it 0, and beside it that of the triangle."""
    with jax.enable_x64(True):
        a, b = {"g": jnp.array([4.0, 0.0])}, {"g": jnp.array([1.0, 0.0])}
        pull = lambda p: {"g": 2 * p["g"]}  # to 0, where t = 4/3
        cosines, norms = spectrum.path_angle(pull, a, b, [-1, 0, 1, 2])
        np.testing.assert_allclose(cosines, [1, 1, 1, -1], rtol=1e-12)
        np.testing.assert_allclose(norms, [14, 8, 2, 4], rtol=1e-12)
        turn = lambda p: {"g": jnp.array([-p["g"][1], p["g"][0]])}
        np.testing.assert_allclose(spectrum.path_angle(turn, a, b, [0, 0.5])[0], 0, atol=1e-12)
        beside = lambda p: {"g": p["g"] - jnp.array([0.0, 3.0])}
        cosines, norms = spectrum.path_angle(beside, a, b, [0, 1])
        np.testing.assert_allclose(cosines, [4 / 5, 1 / np.sqrt(10)], rtol=1e-12)
        np.testing.assert_allclose(norms, [5, np.sqrt(10)], rtol=1e-12)


def test_spectral_norms():
    """The first singular value of each kernel, a convolution's as [kh kw c, o]; biases have none."""
    draw = np.random.default_rng(0)
    conv, dense = draw.normal(size=(3, 3, 4, 5)), draw.normal(size=(7, 2))
    found = spectrum.spectral_norms({"g": {"Conv_0": {"kernel": conv, "bias": np.ones(5)}}, "d": {"kernel": dense}})
    expected = {"g/Conv_0/kernel": conv.reshape(36, 5), "d/kernel": dense}
    assert set(found) == set(expected)
    for name, matrix in expected.items():
        np.testing.assert_allclose(found[name], np.linalg.svd(matrix)[1][0], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", experiments.modules().values())
def test_every_experiment_has_a_spectrum(name):
    """Of its preset `tiny`, with convolutions where there are any: finite, and some directions do move."""
    module = importlib.import_module(name)
    game = game_of(module, module.PRESETS["tiny"])
    source, records = game.setup.source, jax.tree.map(jnp.asarray, data.resident(game.setup.source))
    batch = jax.jit(lambda records: data.batch(source, records, jax.random.key(0), 0, game.setup.batch_size))(records)
    state, step = jax.jit(game.init)(jax.random.key(0)), jax.jit(game.step)
    for _ in range(2):
        state, _ = step(state, batch)
    with jax.enable_x64(True):
        state, batch = double((state, batch))
        field = spectrum.step_field(game.step, state, batch)
        found = spectrum.eigenvalues(field, spectrum.players(state), 2, tol=1e-2)
    assert len(found) and np.isfinite(found).all() and (found != 0).all()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of two tiny runs: one with its first checkpoint, and two seeds with their last alone."""
    out = tmp_path_factory.mktemp("runs")
    train(out / "long", "--steps=4", "--unroll=0")
    train(out / "pair", "--steps=2", "--unroll=0", "--seeds=2", "--keep=1")
    return out


@pytest.mark.slow
def test_command(runs, tmp_path, capsys):
    """Two runs in one picture: of each run's own state and noise the eigenvalues, and the path, where there is one."""
    long, pair = str(runs / "long"), str(runs / "pair")
    numbers = tmp_path / "s.json"
    looks = spectrum.main([long, pair, "--n=5", "--batches=2", f"--out={tmp_path / 's.png'}", f"--numbers={numbers}"])
    said = capsys.readouterr().out
    assert said.count("outside the unit circle") == 2 and said.count("g/MLP_0/Dense_0/kernel") == 2
    assert f"{long} at step 4," in said and f"{pair} at step 2," in said and said.count("path from step 0") == 1
    assert (tmp_path / "s.png").stat().st_size > 5000
    of_long, of_pair = json.loads(numbers.read_text())["runs"]
    match(np.array(of_long["update"]) @ [1, 1j], looks[long]["update"], 1e-15)
    assert of_long["cosines"] == looks[long]["cosines"].tolist() and of_pair["steps"] == [2, 2]

    run, seen = loaded.load(long), looks[long]
    drawn = [data.batch(data.load("ring8"), {}, run.state.key, 4 + i, 8) for i in range(2)]
    batch = {name: jnp.concatenate([b[name] for b in drawn]) for name in ("x", "y")}
    begin = unrolled.init(run.cfg, run.state.key)
    assert seen["steps"] == [0, 4] and seen["size"] == ravel_pytree((begin.g.params, begin.d.params))[0].size
    with jax.enable_x64(True):
        begin, state, batch = double((begin, run.state, batch))
        field = spectrum.step_field(functools.partial(unrolled.step, run.cfg), state, batch)
        match(seen["update"], 1 - spectrum.eigenvalues(field, spectrum.players(state), 5), 1e-9)
        again = spectrum.path_angle(field, spectrum.players(begin), spectrum.players(state), spectrum.AT[:3])
    np.testing.assert_allclose([seen["cosines"][:3], seen["norms"][:3]], again, rtol=1e-6)


def test_parts():
    """What an experiment is with its Config put in, here of one with two sets and four players."""
    cfg = cyclegan.Config("ring8", source="grid25", batch_size=8, width=8)
    game = game_of(cyclegan, cfg)
    assert game.setup.batch_size == 8 and list(game.setup.source.fields) == ["x", "source"]
    assert game.step.args == (cfg,) and game.measure.func is cyclegan.measure
    shapes = jax.eval_shape(game.init, jax.random.key(0))
    assert list(spectrum.players(shapes)) == ["g_ab", "g_ba", "d_a", "d_b"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["nowhere"], "nowhere holds no run"),
        (["{run}", "nowhere"], "nowhere holds no run"),
        (["{run}", "--n=0"], "--n and --batches must be 1 or more"),
        (["{run}", "--nn=3"], "--nn"),
        ([], "name one run folder or more|required"),
    ],
)  # fmt: skip
def test_wrong_flags(runs, flags, message):
    """One or two lines that say what is wrong."""
    with pytest.raises(UserError, match=message) as caught:
        spectrum.main([flag.format(run=runs / "long") for flag in flags])
    assert len(str(caught.value).splitlines()) <= 2


def test_a_picture_that_can_not_be_written(runs, monkeypatch):
    """It is said in one line, before minutes are spent on what it would show."""
    monkeypatch.setattr(spectrum, "look", lambda *_: pytest.fail("looked at"))
    for out in ("no/such/s.png", "s.nothing", "s", "s.bmp"):
        with pytest.raises(UserError, match=f"^{out} can't be written: .* Choose another --out.$"):
            spectrum.main([str(runs / "long"), f"--out={out}"])


def test_numbers_are_not_written_over(runs, monkeypatch, tmp_path):
    """What is there is somebody's; a new file holds eigenvalues as pairs."""
    seen = {"steps": [3, 3], "size": 1, "update": np.array([0.5, 1.1j]), "cosines": (), "norms": (), "spectral": {}}
    monkeypatch.setattr(spectrum, "look", lambda *_: seen)
    flags = str(runs / "long"), f"--out={tmp_path / 's.png'}", f"--numbers={tmp_path / 's.json'}"
    spectrum.main(flags)
    kept = json.loads((tmp_path / "s.json").read_text())
    assert kept["runs"][0]["update"] == [[0.5, 0], [0, 1.1]] and kept["versions"]["jax"] == jax.__version__
    with pytest.raises(UserError, match="is there already"):
        spectrum.main(flags)
