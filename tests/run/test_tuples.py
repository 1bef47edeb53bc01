"""Several numbers in one field of a Config: saved, read back as they were, and refused where they are others."""

import contextlib
import dataclasses
import json

import pytest

from experiments.pairs import tpgan
from gan_jax import UserError
from gan_jax.run import cli, config, rundir


def saved(folder, **fields):
    """Write the config.json of a run of tpgan with these fields, and return the folder."""
    given = dataclasses.asdict(tpgan.PRESETS["tiny"]) | fields
    run = {"experiment": "experiments.pairs.tpgan", "config": given}
    run |= {name: getattr(cli.Run(), name) for name in rundir.KEPT}
    (folder / "config.json").write_text(json.dumps(run))
    return folder


def test_a_tuple_is_a_tuple_again(tmp_path):
    """JSON has lists only: a run would be resumed as another one, and benchmarks would refuse it."""
    cfg = tpgan.PRESETS["default"]
    folder = saved(tmp_path, frame=[1, 2, 3])
    assert rundir.read(folder)["config"]["frame"] == (1, 2, 3)
    own, _ = cli.of_run(cfg, str(folder), "experiments.pairs.tpgan")
    assert own == dataclasses.replace(tpgan.PRESETS["tiny"], frame=(1, 2, 3)) and hash(own)


def test_a_run_is_resumed_as_itself(tmp_path):
    """With the numbers that it had; with others it is refused."""
    folder = saved(tmp_path)
    cfg = tpgan.PRESETS["tiny"]
    run = dataclasses.replace(cli.Run(), out=str(folder), resume=True, experiment="experiments.pairs.tpgan")
    for frame in (cfg.frame, (0, 0, 4)):
        asked = dataclasses.replace(run, config=dataclasses.asdict(dataclasses.replace(cfg, frame=frame)))
        refused = contextlib.nullcontext() if frame == cfg.frame else pytest.raises(UserError, match="--frame differs")
        with refused, rundir.opened(asked):
            pass


@pytest.mark.parametrize("frame", [[1, 2], [1, 2, 3, 4], [1, 2, 0.5], [1, 2, "3"], 7, [1, [2], 3]])
def test_tuples_of_others(tmp_path, frame):
    """Too few, too many, of other types: the file and the field are named before anything is run."""
    with pytest.raises(
        UserError, match=r"config.json: frame is .*, where there should be values of the types int, int"
    ):
        cli.of_run(tpgan.PRESETS["default"], str(saved(tmp_path, frame=frame)), "experiments.pairs.tpgan")


def test_numbers_without_a_point_are_floats_too():
    """In a tuple as alone."""
    config.check_types({"scales": (1, 0.5, 2)}, tpgan.Config)
    with pytest.raises(UserError, match="--scales is -1"):
        config.check_ranges({"scales": (1.0, -1, 2.0)}, tpgan.Config)
