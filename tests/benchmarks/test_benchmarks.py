"""Every benchmark runs, with a few steps, and records what it measured."""

import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax.data.cache
from benchmarks import harness, operations
from benchmarks.quality import compare, defaults, health, mode_collapse, ring, trajectories
from benchmarks.reliability import kills, long_run
from benchmarks.speed import roofline, scaling, seeds, step_time, unroll_cost
from experiments import unrolled, vanilla
from gan_jax import UserError, data
from gan_jax.metrics import classifier
from gan_jax.run import cli, evaluate, log, states
from gan_jax.run.plots import page


def lines(file):
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def no_training(monkeypatch):
    """Let every run that is trained from here on fail."""
    monkeypatch.setattr(sys.modules["gan_jax.run.program"], "trained", lambda *_: pytest.fail("trained again"))


@pytest.mark.long
def test_step_time(tmp_path, capsys):
    """One experiment, four seeds at once beside one, outside the loop too: a table, a line in the file, a chart."""
    step_time.main(("vanilla",), "ring", seeds=(1, 4), steps=2, repeats=3, alone=True, out=str(tmp_path))
    (line,) = lines(tmp_path / "step_time.jsonl")
    assert [(r["experiment"], r["seeds"], r["steps"], len(r["ms"])) for r in line["rows"]] == [
        ("vanilla", s, 2, 3) for s in (1, 4)
    ]
    assert line["jax"] and line["cpu"] and line["threads"] >= 1 and min(line["rows"][0]["ms"]) > 0
    assert capsys.readouterr().out.count("| vanilla | ring |") == 2
    assert [len(r.get("alone", [])) for r in line["rows"]] == [3, 0]
    assert (tmp_path / "step_time.png").stat().st_size > 1000


def test_the_chart_of_step_times_keeps_what_was_timed_before(tmp_path, monkeypatch):
    """A run over some experiments adds to it; the last timing counts, and what is no more is left out."""
    row = lambda name, preset, ms, seeds=1: {
        "experiment": name,
        "preset": preset,
        "seeds": seeds,
        "ms": [ms, 2 * ms, ms],
    }
    harness.record("step_time", [row("lsgan", "images", 5), row("vanilla", "ring", 9)], str(tmp_path))
    harness.record("step_time", [row("lsgan", "nosuch", 1), row("nosuch", "ring", 1)], str(tmp_path))
    measured = {"cpu_ms": [3.0], "compile": 1.0, "temporary": 0, "peak": None, "steps": 1}
    monkeypatch.setattr(harness, "times", lambda *_: row("vanilla", "ring", 3) | measured)
    drawn, draw = [], step_time.draw
    monkeypatch.setattr(step_time, "draw", lambda file, rows: drawn.extend(rows) or draw(file, rows))
    step_time.main(("vanilla",), "ring", out=str(tmp_path))
    found = [(r["experiment"], r["preset"], r["ms"][0]) for r in drawn]
    assert found == [("lsgan", "images", 5), ("vanilla", "ring", 3)]
    assert (tmp_path / "step_time.png").stat().st_size > 1000


@pytest.mark.slow
def test_unroll_cost(tmp_path):
    """More updates ahead take more temporary memory without remat; the model knows the time of K = 0 alone."""
    unroll_cost.main(preset="default", ks=(4,), steps=2, repeats=1, out=str(tmp_path))
    (line,) = lines(tmp_path / "unroll_cost.jsonl")
    rows = {(r["k"], r["remat"]): r for r in line["rows"]}
    memory = {at: row["temporary"] for at, row in rows.items()}
    assert memory[4, False] > memory[4, True] > 0 and memory[4, False] > memory[0, False]
    forward = 2 * 2 * 256 * 384  # D has 384 weights, and sees 256 rows of data and as many samples
    for remat, most in (
        (True, 12),
        (False, 9),
    ):  # less the gradients by inputs that nobody needs, and what is no product
        at, first = rows[4, remat], rows[0, remat]
        ahead = (at["operations"] - first["operations"]) / 4 / forward
        assert 0.8 * most <= ahead <= 1.2 * most
        assert at["by_operations"] == pytest.approx(first["ms"][0] * at["operations"] / first["operations"])
    assert (tmp_path / "unroll_cost.png").stat().st_size > 1000


@pytest.mark.slow
def test_ring(tmp_path):
    """Scores for each K, moment and seed, and the picture."""
    ring.main("default", ks=(1,), seeds=4, moments=(0, 2), out=str(tmp_path))
    (line,) = lines(tmp_path / "ring.jsonl")
    assert [(r["k"], r["step"], len(r["modes"])) for r in line["rows"]] == [(1, 0, 4), (1, 2, 4)]
    assert (tmp_path / "ring-default.png").stat().st_size > 1000


@pytest.mark.slow
def test_compare(tmp_path, monkeypatch, capsys):
    """A table with a row for each experiment, a line, a picture; what is trained already is not trained again."""
    given = {"out": str(tmp_path), "runs": str(tmp_path / "runs"), "samples": 60}
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    monkeypatch.setattr(classifier, "LEAST_STEPS", 50)
    monkeypatch.setattr(classifier, "_LOADED", {})
    compare.main(("vanilla", "lsgan"), "ring8", 2, 2, **given)
    compare.main(("vanilla",), "digits", 2, 1, **given)
    table = (tmp_path / "compare-ring8.md").read_text()
    assert table.startswith("ring8, 2 updates of G, 2 seeds") and "| vanilla | " in table and "| lsgan | " in table
    (line,) = lines(tmp_path / "compare-digits.jsonl")
    protocol, row = line["rows"]
    assert "60 samples a seed against the first 60 images" in protocol["protocol"]
    assert 1 <= row["modes"] <= 10 and row["frechet"] > 0 and 0 <= row["precision"] <= 1 and row["config"]["steps"] == 2
    assert all((tmp_path / f"compare-{name}.png").stat().st_size > 1000 for name in ("ring8", "digits"))
    no_training(monkeypatch)
    compare.main(("vanilla",), "digits", 2, 1, **given)
    with pytest.raises(UserError, match="no experiment 'nosuch'"):
        compare.main(("nosuch",), **given)
    file = tmp_path / "runs" / "ring8-2x2" / "lsgan" / "results.json"
    results = json.loads(file.read_text())
    file.write_text(json.dumps(results | {"protocol": results["protocol"] | {"fake": 7}}))
    with pytest.raises(UserError, match="fake"):  # samples of another number, say, are not set beside the others
        compare.main(("vanilla", "lsgan"), "ring8", 2, 2, **given)


def test_texts_too_small_to_be_read(tmp_path):
    """In a small picture letters keep their size; a picture of images is made smaller."""
    (tmp_path / "final.txt").write_text("CCO\n\nC1CC1\n")
    page.save(tmp_path / "final.png", np.zeros((400, 800, 3), np.uint8))
    texts = np.asarray(defaults.small_picture(tmp_path))
    lines = page.blank(200, 200)
    page.write(lines, (page.GAP, page.GAP), ["CCO", "C1CC1"], even=True)
    np.testing.assert_array_equal(texts, np.asarray(lines))
    (tmp_path / "final.txt").unlink()
    assert defaults.small_picture(tmp_path).size == (200, 100)


@pytest.mark.long
def test_defaults(tmp_path, capsys):
    """A row and a panel for each experiment, with all that health says of it, in a record of its own."""
    given = {"out": str(tmp_path), "runs": str(tmp_path / "runs"), "flags": "--steps=2 --width=8 --batch-size=8"}
    defaults.main(("vanilla", "lsgan"), record="small", **given)
    (line,) = lines(tmp_path / "small.jsonl")
    assert (tmp_path / "small.md").exists() and (tmp_path / "small" / "lsgan.png").exists()
    assert line["rows"][0]["flags"] == ["--steps=2", "--width=8", "--batch-size=8"] and line["rows"][0]["seeds"] == 1
    assert not list(tmp_path.glob("defaults*"))
    assert [(row["experiment"], row["data"], row["steps"]) for row in line["rows"]] == [
        ("vanilla", "digits", 2), ("lsgan", "ring8", 2)
    ]  # fmt: skip
    assert (tmp_path / "small.png").stat().st_size > 1000
    row = line["rows"][1] | {
        "protocol": {"split": "test"},
        "modes": [7, 8],
        "health": ["collapsed: 0.1; at rest: 0.5", "at rest: 0.4"],
    }
    *_, said, health, _ = defaults.cells(row)
    assert "modes 7.5 ± 0.71" in said and "shares" not in said and health == "collapsed; at rest"


def test_spread():
    """A mean to four digits and a deviation to two, without powers of ten where they can be spelt; what isn't finite."""
    said = {
        "7": 7.0,
        "0.5": [0.5],
        "389.8 ± 280": [9, 367, 567, 616],
        "1.5 ± 0.71": [1, 2],
        "inf in 1 of 2": [1, np.inf],
    }
    assert [log.spread(value) for value in said.values()] == list(said)


def test_flags_go_to_those_that_have_them():
    """Of an experiment's Config or of every run, with values and without; one that no experiment has is refused."""
    modules = {"vanilla": vanilla, "unrolled": unrolled}
    taken = harness.taken(modules, "--width=16 --no-remat --d-lr=1e-3 --gpu")
    assert taken == {
        "vanilla": ["--width=16", "--gpu"],
        "unrolled": ["--width=16", "--no-remat", "--d-lr=1e-3", "--gpu"],
    }
    assert harness.taken(modules, "--preset=tiny") == {name: ["--preset=tiny"] for name in modules}
    several = harness.taken(modules, "--width 16 --unroll 0 --preset tiny")  # a value as a word of its own
    assert several["vanilla"] == ["--width", "16", "--preset", "tiny"]
    assert several["unrolled"] == ["--width", "16", "--unroll", "0", "--preset", "tiny"]
    with pytest.raises(UserError, match="--wdith=16: none of vanilla, unrolled has such a flag"):
        harness.taken(modules, "--wdith=16")
    preset = next(name for name in modules["unrolled"].PRESETS if name not in modules["vanilla"].PRESETS)
    assert harness.taken(modules, f"--preset={preset}") == {"vanilla": [], "unrolled": [f"--preset={preset}"]}
    with pytest.raises(UserError, match="--preset=none: none of vanilla, unrolled has such a flag"):
        harness.taken(modules, "--preset=none")


@pytest.mark.long
def test_health(tmp_path, monkeypatch, capsys):
    """Looks are kept whole and judged anew with what mode_collapse recorded; the table counts by criterion and words."""
    games = {"at a loss": ("vanilla", "--preset=ring --batch-size=8 --width=8 --steps=10")}
    monkeypatch.setattr(health, "GAMES", {"ring8": games})
    looks = [{"step": s, "modes": [3, 25, 25], "high_quality": [0.9, 0.9, 0.1]} for s in range(5)]
    curve = {name: [look[name] for look in looks] for name in ("step", "modes")}
    ways = {"way": "a", "curve": curve, "modes": [3, 25, 25], "high_quality": [0.9, 0.9, 0.1]}
    short = ways | {"way": "b", "curve": {name: rows[:2] for name, rows in curve.items()}}
    harness.record("mode_collapse-grid-5x3", [{"protocol": ""}, ways, short], str(tmp_path))
    health.main(("ring8",), seeds=2, out=str(tmp_path))
    (line,) = lines(tmp_path / "health.jsonl")
    (row,) = line["rows"]
    assert row["seeds"] == [200, 201] and len(row["looks"]) == health.LOOKS and len(row["modes"]) == 2
    assert {"loss/d", "diversity", "spacing", "distance", "shares"} < row["looks"][0].keys()
    assert {"modes", "high_quality"} < row["looks"][-1].keys() and row["known"] == {
        "modes": 8,
        "drawn": 2500,
        "numbers": 2,
    }
    no_training(monkeypatch)
    capsys.readouterr()
    health.main(again=True, out=str(tmp_path))
    _, _, own, blind, recorded = capsys.readouterr().out.splitlines()
    assert own.startswith("| ring8 | 2 of 2 | 0 of 0 |") and blind.startswith("| ring8, modes unknown | ")
    assert recorded == "| grid25, recorded | 2 of 2 | 0 of 1 | 0 of 0 |"
    assert health.rate(32, 8, 1) == "32 of 41 (8 too early to tell)"


def test_health_s_records_have_the_signs_that_are_judged():
    """A sign that was called otherwise when it was recorded would be left out in silence, and the rates be wrong."""
    recorded = harness.recorded("health", "benchmarks/quality/results")
    rows = [row for rows in recorded for row in rows if "looks" in row]
    assert len(rows) > 30
    for row in rows:
        own = {"modes"} if row["known"]["modes"] else {"variety"}
        assert {"diversity", "spacing", "distance", "shares"} | own <= row["looks"][-1].keys(), row["game"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("at rest: D can't tell", "well"), ("no sign of trouble", "well"), ("too early to tell: 2", "early"),
        ("too early to tell: diversity", "early"), ("too early to tell: diversity; low quality: 3", "flagged"),
        ("oscillates: 50%", "flagged"), ("not finite: modes is nan", "flagged"),
    ],
)  # fmt: skip
def test_health_is_read(words, what):
    """A finding is a flag, whatever stands before it; neither rest nor "too early" is one."""
    assert health.said(words) == what


def test_health_has_a_criterion(monkeypatch):
    """Few modes or few good samples are bad, both are needed to be good; classes and good images are counted."""
    found = [health.verdict(*pair) for pair in [(0.7, 1), (1, 0.3), (0.9, 0.9), (0.9, 0.5), (0.78, 0.9)]]
    assert found == ["bad", "bad", "good", "between", "between"]
    source = data.load("digits")
    x = data.some(source, 200)["x"]
    flat = lambda x: x.reshape(len(x), -1)
    net = type("Net", (), {"features": staticmethod(flat), "__call__": lambda self, x: flat(x)[:, :10]})()
    monkeypatch.setattr(classifier, "load", lambda source: net)
    seen = health.judge(source)
    bright = np.full((200, 8, 8, 1), -1, np.float32)
    bright[np.arange(200), 0, np.arange(200) % 5] = 1  # five labels, evenly, and far from all digits
    np.testing.assert_allclose(seen(bright), (0.5, 0), atol=1e-6)
    assert seen(x)[1] == 1


@pytest.mark.slow
def test_mode_collapse_on_the_ring(tmp_path, monkeypatch):
    """A row for the data and for each way with what is published, a line, pictures; finished runs are read again."""
    given = {"size": "ring", "steps": 4, "seeds": 2, "out": str(tmp_path), "runs": str(tmp_path / "runs")}
    small = "--batch-size=8 --width=8 --eval-every=2"
    mode_collapse.main(("vanilla", "unrolled0"), flags=small, **given)
    table = (tmp_path / "mode_collapse-ring-4x2.md").read_text()
    assert "vanilla unrolled0 --size=ring --steps=4 --seeds=2" in table and small in table
    assert (
        "| data |  | 8 ± 0 | 0.98" in table
        and "6.3 ± 0.5" in table
        and "- PacGAN 2-D: " in table
        and "R3GAN" not in table
    )
    (line,) = lines(tmp_path / "mode_collapse-ring-4x2.jsonl")
    _, vanilla_row, unrolled_row = line["rows"]
    assert len(vanilla_row["modes"]) == 2 and vanilla_row["config"]["dataset"] == "ring8_unit"
    assert unrolled_row["config"]["unroll"] == 0 and unrolled_row["config"]["steps"] == 4
    run = tmp_path / "runs" / "ring-4x2" / "unrolled0"
    seen = harness.history(run, ("modes",))
    assert seen["step"] == [2, 4] and np.shape(seen["modes"]) == (2, 2)
    assert all((tmp_path / f"mode_collapse-ring-4x2{end}.png").stat().st_size > 1000 for end in ("", "-samples"))

    no_training(monkeypatch)
    mode_collapse.main(("vanilla",), flags=small, **given)
    table = (tmp_path / "mode_collapse-ring-4x2.md").read_text()  # the other way stays in it
    assert "vanilla unrolled0 --size=ring --steps=4" in table and "| vanilla | " in table and "| unrolled0 | " in table
    (tmp_path / "runs" / "ring-4x2" / "unrolled0").rename(tmp_path / "elsewhere")
    picture = (tmp_path / "mode_collapse-ring-4x2-samples.png").read_bytes()
    mode_collapse.main(("vanilla",), flags=small, **given)
    assert [row["way"] for row in lines(tmp_path / "mode_collapse-ring-4x2.jsonl")[-1]["rows"][1:]] == [
        "vanilla", "unrolled0"
    ]  # fmt: skip
    assert (tmp_path / "mode_collapse-ring-4x2-samples.png").read_bytes() == picture  # of both
    mode_collapse.main(("vanilla",), flags=small, record="other", **given)
    assert "unrolled0" in (tmp_path / "mode_collapse-ring-4x2.md").read_text()  # a record by another name leaves it
    assert "--record=other" in (other := (tmp_path / "other.md").read_text()) and "unrolled0" not in other
    assert (tmp_path / "other-samples.png").exists() and len(lines(tmp_path / "other.jsonl")) == 1
    with pytest.raises(UserError, match="holds a run with another width"):
        mode_collapse.main(("vanilla",), flags=f"{small} --width=16", **given)
    with pytest.raises(UserError, match="nosuch: no such way at size ring"):
        mode_collapse.main(("nosuch",), **given)


@pytest.mark.slow
def test_mode_collapse_goes_on(tmp_path):
    """A run that was stopped is taken up where it was, not begun anew."""
    flags = ["--preset=ring", "--batch-size=8", "--save-every=2", "--log-every=2", "--eval-every=0"]
    vanilla.main([*flags, "--steps=2", f"--out={tmp_path}"])
    (tmp_path / "results.json").unlink()
    assert harness.trained(vanilla, [*flags, "--steps=4"], tmp_path)["steps"] == 4
    assert [row["step"] for row in lines(tmp_path / "metrics.jsonl")] == [2, 4]


@pytest.mark.slow
def test_mode_collapse_of_stacked_digits(tmp_path, monkeypatch):
    """The nets of the 1000 modes, on small stacks, scored by a stand-in."""
    scores = {"shares": jnp.zeros(1), "modes": jnp.int32(30), "reverse_kl": jnp.float32(5.5)}
    monkeypatch.setattr(evaluate, "evaluate", lambda sample, measure, source, *_: (scores, {}, jnp.zeros((2, 8, 8, 3))))
    mode_collapse.main(
        ("unrolled0_pack2", "wgan_gp", "r3gan"), "quarter", 2, 1, out=str(tmp_path), runs=str(tmp_path / "runs"),
        flags="--dataset=stacked_digits --batch-size=8 --z-dim=4",
    )  # fmt: skip
    table = (tmp_path / "mode_collapse-quarter-2x1.md").read_text()
    assert "| data |  | 1000 ± 0 | 0.0" in table and "| 30 | 5.5 |" in table and "640.1 ± 136.3" in table
    _, first, *_ = lines(tmp_path / "mode_collapse-quarter-2x1.jsonl")[0]["rows"]
    assert (first["config"]["pack"], first["config"]["unroll"], first["config"]["d_width"]) == (2, 0, 2)
    assert (tmp_path / "mode_collapse-quarter-2x1-samples.png").stat().st_size > 1000


@pytest.mark.parametrize("size", mode_collapse.SIZES)
def test_the_ways_are_flags_of_their_experiments(size, tfds_dir):
    """Every preset and flag of the table is there, packs are whole, and published rows are rows of the table."""
    ways = mode_collapse.TOYS if size in ("ring", "grid") else mode_collapse.STACKED
    assert set(mode_collapse.PUBLISHED[size]) <= set(ways)
    dataset = {"ring": "ring8_unit", "grid": "grid25"}.get(size, "stacked_mnist")
    for way in ways.values():
        name, *flags = way.format(size=size, dataset=dataset, burn_in=4, half_life=1).split()
        module = harness.experiment(name)
        cfg = cli.parse(module.Config, module.PRESETS, flags)[1].config
        assert cfg["dataset"] == dataset and cfg["batch_size"] % cfg.get("pack", 1) == 0, way
        assert (
            dataset != "stacked_mnist" or name in ("r3gan", "unrolled_modes") or cfg["nets"] in ("stacked", "mnist1k")
        )


@pytest.mark.slow
def test_seeds(tmp_path, monkeypatch):
    """Four ways of several seeds make the same numbers, one does of one, and a way that does not is refused."""
    timed = {"steps": 1, "repeats": 2, "out": str(tmp_path)}
    seeds.main("vanilla", "ring", seeds=(1, 4), check=2, **timed)
    (line,) = lines(tmp_path / "seeds.jsonl")
    ways = [(r["seeds"], r["way"]) for r in line["rows"]]
    assert ways == [(1, "in turn"), (4, "in turn"), (4, "vmap"), (4, "lax.map"), (4, "fit, 4 devices")]
    assert all(r["apart"] <= 1e-5 and len(r["ms"]) == 2 and r["compile"] > 0 for r in line["rows"])
    assert (tmp_path / "seeds-vanilla-ring.png").stat().st_size > 1000
    other = lambda init, seed, n: states.initial(init, seed + 1, n)
    monkeypatch.setattr(seeds, "states", types.SimpleNamespace(initial=other))
    with pytest.raises(UserError, match=r"4 seeds by vmap are \S+ from 4 runs in turn after 2 steps"):
        seeds.main("vanilla", "ring", seeds=(4,), check=2, **timed)


@pytest.mark.slow
def test_scaling(tmp_path):
    """Two devices make the state of one, and exchange the gradients and the metrics of the original GAN."""
    scaling.main(("vanilla",), "ring", (1, 2), check=2, steps=1, repeats=2, out=str(tmp_path))
    (line,) = lines(tmp_path / "scaling.jsonl")
    one, two = line["rows"]
    assert (one["devices"], two["devices"]) == (1, 2) and two["apart"] <= 1e-9 and len(two["ms"]) == 2
    g, d = 17 * 128 + 129 * 128 + 129 * 2, 3 * 128 + 129 * 128 + 129
    assert one["bytes"] == {} and two["bytes"] == {"all-reduce": 4 * (g + 2 * d + 4)}
    assert (tmp_path / "scaling.png").stat().st_size > 1000


HLO = """HloModule m, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %sum = f32[] add(%a, %b)
}

%inner (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %reduced = f32[4]{0} all-reduce(%p), channel_id=1, to_apply=%add
}

%outer (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  %start = (f32[4]{0}, bf16[8]{0}) all-gather-start(%q), dimensions={0}
  %done = bf16[8]{0} all-gather-done(%start)
  %part = (s32[2]{0}, /*index=1*/pred[3,1]{1,0}) reduce-scatter(%q, %q), dimensions={0}, to_apply=%add
  ROOT %again = f32[4]{0} while(%q), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}

%cond (r: f32[4]) -> pred[] {
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %one = f32[4]{0} fusion(%x), kind=kLoop, calls=%add
  ROOT %many = f32[4]{0} while(%one), condition=%cond, body=%outer
}
"""


def test_exchanged():
    """In a program by hand: loops with and without a trip count, pairs of start and done, tuples, and every width."""
    assert scaling.exchanged(HLO, 2) == {"all-reduce": 5 * 16, "all-gather": 16, "reduce-scatter": 2 * (8 + 3)}
    assert scaling.size("(f8e4m3fn[5]{0}, c64[2,3]{1,0:T(8,128)}, u32[], token[])") == 5 + 48 + 4


@pytest.mark.slow
def test_roofline(tmp_path):
    """A row for each experiment under both ceilings, with the matrix products that one counts by hand, and a chart."""
    roofline.main(("vanilla",), "ring", (32,), (0.01,), steps=1, repeats=2, out=str(tmp_path))
    (line,) = lines(tmp_path / "roofline.jsonl")
    ceilings, row = line["rows"]
    best = [max(ceilings[of].values()) for of in ("matmul", "copy")]
    assert "| vanilla | ring |" in (tmp_path / "roofline.md").read_text()
    assert row["bound_ms"] == pytest.approx(max(row["operations"] / best[0], row["bytes"] / best[1]) * 1e-6)
    (g, first_g), (d, first_d) = ((sum(w), w[0]) for w in ([16 * 128, 128 * 128, 256], [256, 128 * 128, 128]))
    by_hand = 2 * 512 * (3 * g - first_g + 2 * d + 2 * (3 * d - first_d) - d)
    assert by_hand == 2 * 512 * 170_880 and by_hand <= row["operations"] <= 1.03 * by_hand
    assert (tmp_path / "roofline.png").stat().st_size > 1000


def test_loops_count_as_often_as_they_run():
    """Matrix products in a scan in a scan, alone and beside another; a scan of no steps costs nothing."""

    def chain(x, length, inner):
        again = lambda x, _: jax.lax.scan(lambda x, _: (x @ x, None), x, length=inner)
        return jax.lax.scan(lambda x, _: (again(x, None)[0], None), x, length=length)[0]

    chains = lambda loops: jax.jit(lambda x: [chain(x, *l) for l in loops])
    one = 2 * 64**3
    for loops in ([(3, 4)], [(1, 1)], [(2, 3), (5, 1)], [(0, 3), (2, 2)]):
        done, accessed = operations.cost(jax.make_jaxpr(chains(loops))(jnp.ones((64, 64))))[0]
        runs = sum(a * b for a, b in loops)
        assert runs * one <= done <= 1.01 * runs * one
        assert accessed >= runs * 2 * 4 * 64**2  # x is read once for both sides


def test_presets():
    """Without a name, the first preset and images on digits; with one, that."""
    found = [(name, p, cfg.dataset) for name, _, p, cfg in harness.presets(("vanilla", "wgan_gp"))]
    assert found == [
        ("vanilla", "default", "digits"), ("vanilla", "images", "digits"),
        ("wgan_gp", "default", "ring8"), ("wgan_gp", "images", "digits"),
    ]  # fmt: skip
    assert [p for _, _, p, _ in harness.presets(("vanilla",), "ring")] == ["ring"]
    assert len({name for name, *_ in harness.presets(())}) >= 20


@pytest.mark.slow
def test_trajectories(tmp_path, capsys):
    """Ten rules on two games: on the bilinear one simultaneous descent goes the way that is known, and a picture."""
    trajectories.main(rate=0.1, moves=6, out=str(tmp_path))
    (line,) = lines(tmp_path / "trajectories.jsonl")
    ends = {(row["game"], row["rule"]): row["distance"] for row in line["rows"]}
    assert len(ends) == 20 and capsys.readouterr().out.count("| extragradient | 1.") == 1
    assert ends["bilinear game", "simultaneous"] == pytest.approx(1.25**0.5 * 1.01**3, rel=1e-5)
    assert ends["bilinear game", "extragradient"] == pytest.approx(1.25**0.5 * (1 - 0.01 + 0.0001) ** 3, rel=1e-5)
    assert ends["Dirac-GAN", "simultaneous"] > ends["Dirac-GAN", "alternating"] > ends["Dirac-GAN", "consensus"]
    assert (tmp_path / "trajectories.png").stat().st_size > 10_000


@pytest.mark.slow
def test_kills(tmp_path):
    """A run that is killed while it trains and again at a random moment ends as the one that was left alone."""
    flags = "--save-every=5 --eval-every=0 --log-every=5 --keep=2 --batch-size=8 --width=8 --unroll=1"
    kills.main(kills=2, flags=flags, out=str(tmp_path))
    (line,) = lines(tmp_path / "kills.jsonl")
    (row,) = line["rows"]
    assert row["same state"] and row["same rows"] and row["kills"] == 2 and row["steps"] >= 40


def test_kills_of_a_run_that_fails(tmp_path):
    """What it said is passed on."""
    with pytest.raises(UserError, match=r"(?s)the run ended by itself:.*there is no experiment 'nosuch'"):
        kills.main(kills=2, experiment="nosuch", out=str(tmp_path))


@pytest.mark.slow
def test_long_run(tmp_path):
    """Memory and open files at three moments, and the size of a row."""
    long_run.main(3000, "--unroll=0 --batch-size=8 --width=8 --eval-every=0 --save-every=1000", out=str(tmp_path))
    (line,) = lines(tmp_path / "long_run.jsonl")
    (row,) = line["rows"]
    assert len(row["resident MB"]) == len(row["open files"]) == 3 and 50 < row["bytes a row"] < 300


ONE = {
    "data": "digits", "shape": [8, 8, 1], "content": "", "fingerprint": "digits-1", "split": "train", "says": "",
    "real": 256, "fake": 64, "modes_fake": 0, "test": 300, "classifiers": {"digits": "ab", "own": "1"},
    "sampled": ["g"], "averaged": False, "step": 5, "seeds": [0], "commit": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "changed, says",
    [
        ({"data": "mnist"}, "dataset is"), ({"fingerprint": "digits-2"}, "dataset is"), ({"says": "split small2"}, "dataset is"), ({"split": "test"}, "split is"),
        ({"real": 100}, "real is"), ({"fake": 100}, "fake is"), ({"seeds": [0, 1]}, "settings is"),
        ({"test": 0}, "settings is"), ({"classifiers": {"digits": "cd"}}, "digest is"),
    ],
    ids=str,
)  # fmt: skip
def test_unlike_results_are_not_set_side_by_side(changed, says):
    """Each is named, with both its values; an average, or another classifier of a way's own, is no hindrance."""
    harness.check_alike({"a": ONE, "b": ONE | {"averaged": True, "classifiers": {"digits": "ab"}, "step": 7}})
    with pytest.raises(UserError, match=f"a beside b: results can't be compared: {says}"):
        harness.check_alike({"a": ONE, "b": ONE | changed})
    if "fingerprint" in changed:  # of data on another machine
        harness.check_alike({"a": ONE, "b": ONE | changed}, here=False)


def test_results_of_before_there_was_a_protocol(capsys):
    harness.check_alike({"old": None, "a": ONE, "b": ONE})
    assert "not checked: old" in capsys.readouterr().err
    harness.check_alike({"old": None})
