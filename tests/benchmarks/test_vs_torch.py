"""PyTorch's updates are ours, from the same weights and noise; what differs is not timed; the command."""

import dataclasses
import json
import sys

import pytest

from benchmarks.speed import vs_torch
from gan_jax import UserError, data

REASON = 'PyTorch, to hold our steps against: pip install "gan_jax[bench]"'
SMALL = {"width": 4, "batch_size": 8}
OTHERS = {"r3gan": "noise8", "stylegan2": "noise8", "progressive": "noise8"}
OTHERS |= {"pix2pix128": "pairs16", "cyclegan64": "noise64", "gan3d": "solids16"}
SIZES = {
    "cyclegan64": {"depth": 1, "width": 2, "batch_size": 4},
    "srgan96": {"crop": 16, "blocks": 1, "d_levels": 1, "d_width": 2},
    "stylegan2": {"most": 6, "z_dim": 4, "group": 2, "batch_size": 4},
    "progressive": {"d_width": 4, "first": 4, "z_dim": 4, "group": 2, "batch_size": 4},
}


@pytest.fixture(autouse=True)
def noise(monkeypatch):
    """The sets of noise, for this file alone."""
    for name, make in vs_torch.NOISE.items():
        monkeypatch.setitem(data.DATASETS, name, make)


def sides(name):
    """Return what would be timed, of a small case; it is held equal before."""
    case = vs_torch.CASES[name]
    size = {} if case.cfg.dataset == "ring8" else {"dataset": OTHERS.get(name, "noise16")}
    size |= SIZES.get(name, {})
    case = case._replace(seeds=min(case.seeds, 4))
    cfg = dataclasses.replace(case.cfg, **SMALL | size)
    return (vs_torch.sampling if name == "sample" else vs_torch.training)(case, cfg, ("eager",))


FAST = "ring-k10-seeds8", "dcgan32", "wgan_gp", "conv-k5", "r3gan", "pix2pix128", "sample"


SLOW = "cyclegan64", "srgan96", "stylegan2", "progressive", "gan3d"


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_equal(name):
    """One update agrees in weights, moments and average, and both sides go on from there."""
    pytest.importorskip("torch", reason=REASON)
    for f in sides(name).values():
        f(1)


def test_differs(monkeypatch):
    """A step that is not ours is refused, and the message says where."""
    pytest.importorskip("torch", reason=REASON)
    from benchmarks import torch_steps

    monkeypatch.setattr(torch_steps, "_cross_entropy", lambda real, fake: (fake - real).mean())
    with pytest.raises(
        UserError, match=r"torch_steps.unrolled is not our step: the [mv] of [GD]'s .* of their norm apart"
    ):
        sides("ring-k5")


def test_command(tmp_path, capfd, monkeypatch):
    """A process for each number of threads, a table, a chart and a line in the file."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # one device, as the command has it
    torch = pytest.importorskip("torch", reason=REASON)
    vs_torch.main(("ring-k10",), threads=(1,), **SMALL, steps=1, repeats=2, out=str(tmp_path))
    (line,) = map(json.loads, (tmp_path / "vs_torch.jsonl").read_text().splitlines())
    assert [(r["torch_step"], r["threads"], len(r["ratio"])) for r in line["rows"]] == [
        ("unrolled", 1, 2),
        ("unrolled_func", 1, 2),
    ]
    assert all(r["torch"] == torch.__version__ and r["target"] == 0.6 for r in line["rows"])
    row = line["rows"][1]
    assert row["ratio"] == [ours / theirs for ours, theirs in zip(row["ms"], row["torch_ms"], strict=True)]
    assert "| ring-k10 | 1 | unrolled |" in capfd.readouterr().out
    assert (tmp_path / "vs_torch.png").stat().st_size > 1000


def test_the_chart_has_the_last_timing_of_each():
    """Of all lines, in the order of the cases; not those of other widths, or of cases that are no more."""
    row = lambda case, ms, **more: {"case": case, "threads": 1, "torch_step": "a", "kind": "eager", "ms": ms} | more
    lines = [[row("dcgan32", 1), row("gone", 2)], [row("dcgan32", 3), row("ring-k0", 4), row("ring-k0", 5, width=8)]]
    assert [one["ms"] for one in vs_torch.newest(lines, {})] == [4, 3]
    assert [one["ms"] for one in vs_torch.newest(lines, {"width": 8})] == [5]


def test_cores():
    """More threads than there are cores."""
    pytest.importorskip("torch", reason=REASON)
    with pytest.raises(UserError, match="--threads 4096: there are"):
        vs_torch.main(("ring-k0",), threads=(4096,))


def test_without_torch(monkeypatch):
    """Without PyTorch the command says what to install."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'pip install "gan_jax\[bench\]"'):
        vs_torch.main(("ring-k0",))
