"""Systems after equally many pictures: what each is given, and one small table."""

import json
from types import SimpleNamespace

import pytest

from benchmarks.quality import equal_images
from experiments.images import progressive
from gan_jax import data


def test_each_d_sees_as_many_pictures_whatever_its_updates():
    source = data.load("digits16")
    for name, system in equal_images.SYSTEMS.items():
        flags = dict(
            flag.removeprefix("--").split("=") if "=" in flag else (flag, "")
            for flag in equal_images.flags_of(name, source, 6400, 16, 8)
        )
        assert int(flags["steps"]) * int(flags["batch-size"]) * system.d_steps == 6400, name
        assert system.d_steps == int(flags.get("d-steps", 1)), name


def test_the_stages_of_growing_take_half_of_the_pictures():
    flags = equal_images.flags_of("progressive", data.load("digits16"), 6400, 16, 8)
    stage = next(int(flag.split("=")[1]) for flag in flags if flag.startswith("--stable"))
    assert 2 * stage == 3200  # 8 pixels, and the fade to 16


def test_nets_that_grow_are_timed_at_their_last_level():
    cfg = progressive.Config("digits16", first=8, batch_size=16)
    level = lambda cfg: int(progressive.stage(cfg, 1)[0])
    assert (level(cfg), level(equal_images.grown(cfg))) == (0, len(progressive.sides(cfg)) - 1)


def test_averages_forget_half_in_a_twentieth_of_the_run():
    source = data.load("digits16")
    steps, flags = 400, {name: equal_images.flags_of(name, source, 6400, 16, 8) for name in equal_images.SYSTEMS}
    said = lambda name: float(next(flag for flag in flags[name] if flag.startswith("--ema=")).split("=")[1])
    for name in "progressive", "unrolled_dcgan":
        assert said(name) ** (steps / 20) == pytest.approx(0.5, abs=1e-3), name
    assert said("biggan") ** (steps / 2 / 20) == pytest.approx(0.5, abs=1e-3)  # two updates of D a step
    assert said("r3gan") == steps / 20  # a half-life itself


def test_a_set_without_labels_leaves_out_those_that_need_them():
    assert equal_images.flags_of("sngan", SimpleNamespace(classes=0, shape=(16, 16, 1)), 6400, 16, 8) is None


def test_the_table_says_what_a_run_did_not_measure(tmp_path):
    scores = dict.fromkeys(equal_images.SCORES, 1.0) | {"health": "no sign of trouble"}
    scores |= {"parameters": {"g": 2_000_000, "d": 3_000_000}}
    untimed = {"system": "dcgan", "cost": None, "seconds_a_thousand": None, "cpu_seconds_a_thousand": None}
    timed = {"system": "stylegan2_ada", "cost": {"peak": None, "temporary": 7e6}, "sign/train": 0.5, "sign/test": 0.25}
    timed |= {"seconds_a_thousand": [1, 2, 9], "cpu_seconds_a_thousand": [3, 4, 5]}
    equal_images.report(tmp_path / "few-64", "how", [scores | untimed, scores | timed], scores)
    *_, first, second, floor = (tmp_path / "few-64.md").read_text().splitlines()
    assert first == "| dcgan | 1 | 1 | 1 | 1 | 1 | - | 2.00, 3.00 | - | - | - | no sign of trouble |"
    assert "| 0.5, 0.25 | 2.00, 3.00 | 2.00 | 4.00 | 7 | no sign" in second
    assert first.count("|") == second.count("|") == floor.count("|")


@pytest.mark.slow
def test_a_table_has_a_row_for_each_system_and_one_for_the_data(tmp_path):
    given = {"images": 64, "batch_size": 16, "width": 4, "samples": 50, "features": "pixels"}
    folders = {"out": str(tmp_path), "runs": str(tmp_path / "runs")}
    equal_images.main("digits", ("dcgan", "r3gan"), **given, timed=1, **folders)
    said, dcgan, r3gan = json.loads((tmp_path / "equal_images-digits-64.jsonl").read_text())["rows"]
    assert said["itself"]["frechet"] < min(dcgan["frechet"], r3gan["frechet"])
    assert dcgan["config"]["steps"] == 4 and len(dcgan["seconds_a_thousand"]) == 3 and dcgan["parameters"]["g"] > 0
    table = (tmp_path / "equal_images-digits-64.md").read_text()
    assert "| dcgan | " in table and "| r3gan | " in table and "| the training data | " in table
    assert (tmp_path / "equal_images-digits-64.png").exists()
