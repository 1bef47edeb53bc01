"""What would be ignored in silence: the shares of the data's modes, `--precision`, the devices of the mesh."""

import dataclasses
import json
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax
from experiments import r3gan, unrolled, vanilla
from experiments.images import dcgan, stylegan2
from gan_jax import data
from gan_jax.game import player
from gan_jax.run import cli, evaluate, sharding, stepper
from gan_jax.run.program import game


class State(NamedTuple):
    step: int = 0


@pytest.mark.parametrize("exact", [True, False])
def test_evaluation_knows_the_shares_of_the_modes(exact):
    """Draws of an unbalanced set are at no distance from it; draws of the even one are, as the formula says."""
    source = data.load("ring8_unbalanced")
    drawn = source if exact else data.load("ring8")
    sample = lambda state, key, n: data.draw(drawn, key, n)["x"]
    real = jax.tree.map(jnp.asarray, data.reference(source))
    shares = np.arange(1, 9) / 36
    score = jax.jit(lambda key: evaluate.evaluate(sample, None, source, 1, State(), key, real, {}, {})[0]["reverse_kl"])
    np.testing.assert_allclose(
        score(jax.random.key(0)), 0 if exact else np.mean(np.log(1 / 8 / shares)), atol=0.01 if exact else 0.04
    )


def test_records_that_come_again_are_no_collapse():
    """A G that gives back what is held out, 40 digits, is like the data by 64 samples, with each of them judged once."""
    digits = data.load("digits")
    source = dataclasses.replace(digits, test=dataclasses.replace(digits.test, n=40))
    sample = lambda state, key, n: data.examples(source, key, n)["x"]
    real = jax.tree.map(jnp.asarray, data.reference(source))
    scores, _, x = jax.jit(
        lambda: evaluate.evaluate(sample, None, source, 1, State(), jax.random.key(0), real, {}, {})
    )()
    assert len(x) == 64 and 0.8 < scores["spacing"] < 1.2 and 0.85 < scores["variety"] < 1.15


@pytest.fixture
def precision():
    """Leave the precision of products and of nets as it was before the test."""
    before = jax.config.jax_default_matmul_precision
    yield
    player.COMPUTE = None
    jax.config.update("jax_default_matmul_precision", before)


@pytest.mark.parametrize("module", [vanilla, dcgan])
def test_precision_is_that_of_every_product(module, precision):
    """Each matrix product and each convolution of the step has what --precision says, gradients included."""
    for said in ("default", "highest"):
        cfg, _ = cli.parse(module.Config, module.PRESETS, ["--preset=tiny", f"--precision={said}", "--out=unused"])
        parts = game(module, cfg)
        batch = {"x": jnp.zeros((cfg.batch_size, *parts.setup.source.shape))}
        state = jax.eval_shape(parts.init, jax.random.key(0))
        text = str(jax.make_jaxpr(parts.step)(state, batch))
        products = len(re.findall(r"\b(?:dot_general|conv_general_dilated)\[", text))
        highest = text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)")
        assert products >= 10 and highest == (products if said == "highest" else 0)


@pytest.mark.long
@pytest.mark.parametrize("module", [unrolled, dcgan, r3gan, stylegan2])
def test_bf16_is_of_nets_alone(module, precision):
    """The products of nets are of bfloat16, in penalties, too, not what ADA does; state and metrics have usual types."""
    made = []
    for said in ("default", "bf16"):
        cfg, _ = cli.parse(module.Config, module.PRESETS, ["--preset=tiny", f"--precision={said}", "--out=unused"])
        parts = game(module, cfg)
        batch = {"x": jnp.zeros((cfg.batch_size, *parts.setup.source.shape))}
        state = jax.eval_shape(parts.init, jax.random.key(0))
        jaxpr, shapes = jax.make_jaxpr(parts.step, return_shape=True)(state, batch)
        products = re.findall(r":(\w+)\[[\d,]*\] = (?:dot_general|conv_general_dilated)\[", str(jaxpr))
        made.append((jax.tree.map(lambda a: (a.shape, a.dtype), shapes), products))
    assert made[0][0] == made[1][0]
    assert set(made[0][1]) == {"f32"} and set(made[1][1]) <= {"bf16", "f32"}
    assert made[1][1].count("bf16") >= (0.5 if module is stylegan2 else 1) * len(made[1][1])


@pytest.mark.long
def test_bf16_trains_as_float32_does(tmp_path, precision):
    """After 20 steps of DCGAN its losses are those of float32 to a few parts of a hundred, and not the same."""
    rows = []
    for said in ("default", "bf16"):
        out, options = str(tmp_path / said), {"log_every": 20, "eval_every": 0, "measure": False, "precision": said}
        gan_jax.fit(dcgan, dcgan.PRESETS["tiny"], steps=20, out=out, **options)
        rows.append(json.loads((tmp_path / said / "metrics.jsonl").read_text().splitlines()[-1]))
    for name in rows[0].keys() - {"step"}:
        assert rows[0][name] != rows[1][name]
        np.testing.assert_allclose(rows[1][name], rows[0][name], rtol=0.05, atol=0.02)


def test_the_rows_are_divided_over_the_devices():
    """In the compiled step each device has a part of the rows, and the gradients are summed over all of them."""
    cfg = dataclasses.replace(vanilla.PRESETS["tiny"], width=12)
    parts = game(vanilla, cfg)
    source, b, *_ = parts.setup
    mesh = sharding.make(b)
    put = lambda tree: jax.device_put(tree, sharding.replicated(mesh))
    given = (put(tree) for tree in (jax.jit(parts.init)(jax.random.key(0)), jax.random.key(0), data.resident(source)))
    text = stepper.advancer(parts.step, source, b, mesh, 1, 4, False).lower(*given, 1).compile().as_text()
    hidden = lambda rows: f"f32[{rows},{cfg.width}]"
    assert "all-reduce" in text and hidden(b // mesh.size) in text and hidden(b) not in text
