"""The benchmark of orders: what a forest tells, the parts that are drawn one by one, and the record."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks.quality import orders
from gan_jax.data.shopping import sections

CFG = dataclasses.replace(orders.orders.PRESETS["tiny"], conditional=False)


def test_a_forest_tells_what_is_not_alike_and_nothing_else(monkeypatch):
    """Of rows of one law it is right half the time, of moved ones nearly always, and it never sees what it is asked."""
    monkeypatch.setattr(orders, "TREES", 30)
    rows = np.random.default_rng(0).normal(size=(3, 1000, 2)).astype(np.float32)
    assert abs(orders.told(rows[0], rows[1], 0) - 0.5) < 0.05 < 0.95 < orders.told(rows[0], rows[2] + 5, 0)


def test_parts_are_those_of_orders_but_not_of_one():
    """Each part of a drawn order is one that there is; parts that always go together don't any more."""
    known = np.repeat(np.arange(50.0)[:, None], orders.orders.source_of(CFG).shape[0], 1)
    drawn = orders.apart(CFG, known, 200)
    parts = [drawn[:, at] for at in sections(CFG.customer, CFG.product).values()]
    assert all((part == part[:, :1]).all() and set(part[:, 0]) <= set(range(50)) for part in parts)
    assert abs(np.corrcoef(parts[0][:, 0], parts[1][:, 0])[0, 1]) < 0.25


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """A row for each kind of orders; nothing is trained twice."""
    monkeypatch.setattr(orders, "TREES", 5)
    for _ in range(2):
        orders.main(2, "--preset=tiny --steps=2", "r", str(tmp_path), str(tmp_path / "runs"))
    first, again = (json.loads(line)["rows"] for line in (tmp_path / "r.jsonl").read_text().splitlines())
    assert [row["orders"] for row in first] == ["ecGAN", "ec2GAN", "parts drawn one by one", "training orders"]
    assert all(len(row["told"]) == len(row["read"]) == 2 for row in first) and first == again
