"""Several numbers in one field of a Config: saved, read back as they were, and refused where they are others."""

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
