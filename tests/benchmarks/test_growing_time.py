"""A growing GAN's step, timed level by level."""

import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks.speed import growing


def test_a_program_of_one_level_has_its_branch_alone():
    def step(state, batch):
        return jax.lax.switch(state, [lambda x: x + 1, lambda x: jnp.sin(x)], batch)

    text = str(jax.make_jaxpr(growing.only(step, 1))(0, 1.0))
    assert "sin" in text and "cond" not in text and "cond" in str(jax.make_jaxpr(step)(0, 1.0))


@pytest.mark.slow
def test_growing(tmp_path, capsys):
    """A row for all levels in one program, and one for each level, timed both ways."""
    growing.main(preset="tiny", steps=2, repeats=2, out=str(tmp_path))
    (line,) = map(json.loads, (tmp_path / "growing.jsonl").read_text().splitlines())
    assert [row["level"] for row in line["rows"]] == ["all", 0, 1]
    assert all(row["compile"] > 0 and row["temporary"] > 0 for row in line["rows"])
    assert all(len(row[way]["cpu_ms"]) == 2 for row in line["rows"][1:] for way in ("together", "alone"))
    assert capsys.readouterr().out.count("\n| ") == 4
