"""The command line: what --help says, the defaults that flags choose, and one or two lines for whatever is wrong."""

import dataclasses
import importlib
import io
import os
import re
import sys
import typing
from pathlib import Path

import jax
import pytest
import runs

import experiments
import gan_jax.sample
from experiments import unrolled, vanilla
from experiments.images import dcgan
from experiments.pairs import cyclegan
from gan_jax import UserError, data
from gan_jax.run import cli, config, fit, rundir, states


@pytest.fixture(autouse=True)
def nothing_written(tmp_path, monkeypatch):
    """Run in an empty folder, train nothing, and check that the folder stays empty."""
    monkeypatch.setattr(fit, "advancer", None)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    yield
    assert not list((tmp_path / "cwd").iterdir())


def parsed(*flags, module=unrolled):
    return cli.parse(module.Config, module.PRESETS, flags)


def refused(*flags, main=unrolled.main):
    """Return the message of a UserError: one or two lines."""
    with pytest.raises(UserError) as error:
        main(flags)
    text = str(error.value)
    assert 1 <= len(text.splitlines()) <= 2 and all(line.strip() for line in text.splitlines())
    return text


# Help


@pytest.mark.parametrize("name", experiments.modules().values())
def test_help(name, monkeypatch, capsys):
    """It lists exactly the preset, the Config and what every run has, each with a text of its own and its default."""
    monkeypatch.setenv("COLUMNS", "100")  # wider ones are set in columns, in an order of their own
    module = importlib.import_module(name)
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0
    assert f"usage: python -m {name} " in out and module.__doc__.splitlines()[0] in out
    entries = [" ".join(entry.split()) for entry in re.split(r"\n  (?=--\w)", out)[1:]]
    fields = [*dataclasses.fields(module.Config), *dataclasses.fields(cli.Run)]
    names = ["preset", *(f.name.replace("_", "-") for f in fields if f.name not in ("experiment", "config", "file"))]
    for name, entry in zip(names, entries, strict=True):
        assert re.match(
            rf"--{name}(, --no-{name})?( [A-Z]+| \[[A-Z]+ \[[A-Z]+ \.\.\.\]\]| {{.*?}})? \w.{{7,}} \(default: ", entry
        ), entry


def test_help_of_sample(capsys):
    """So does that of the sampler."""
    with pytest.raises(SystemExit) as end:
        gan_jax.sample.main(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and all(flag in out for flag in ("RUN", "--n INT", "--seed INT", "--out STR"))


# Defaults


@pytest.mark.parametrize(
    "flags, preset",
    [
        ("", "default"),
        ("--dataset ring8", "default"),
        ("--dataset grid25", "veegan_grid"),
        ("--dataset=ring8_unit", "veegan_ring"),
        ("--dataset digits", "images"),
        ("--preset paper", "paper"),
        ("--preset=paper --dataset digits", "paper"),
    ],
)
def test_the_preset_follows_the_data_set(flags, preset, capsys):
    """The first preset for the data set, unless one is named, and it is said; the data set stays the one asked for."""
    cfg, _ = parsed(*flags.split())
    chosen = "preset" not in flags and preset != "default"
    assert capsys.readouterr().err == (f"{cfg.dataset}: with --preset {preset}\n" if chosen else "")
    asked = re.search("digits|$", flags)[0] or unrolled.PRESETS[preset].dataset
    assert cfg == dataclasses.replace(unrolled.PRESETS[preset], dataset=asked)


def test_images_of_any_name_take_the_images_preset(monkeypatch):
    """An image set that no preset names is trained on with those defaults; points that none names with the first."""
    source = data.load("digits")
    fields = {"x": data.Field((32, 32, 3), "image"), "y": data.Field((2,), "points")}
    monkeypatch.setattr(data, "load", lambda name: dataclasses.replace(source, fields={"x": fields[name]}))
    assert parsed("--dataset", "x")[0] == dataclasses.replace(unrolled.PRESETS["images"], dataset="x")
    assert parsed("--dataset", "y")[0] == dataclasses.replace(unrolled.PRESETS["default"], dataset="y")


def test_flags_override_the_preset():
    """A flag that is said counts more; underscores and = are fine."""
    cfg, run = parsed("--preset", "paper", "--z_dim=3", "--no-remat", "--seed", "5")
    assert cfg == dataclasses.replace(unrolled.PRESETS["paper"], z_dim=3, remat=False)
    own = {"experiment": "experiments.unrolled", "config": dataclasses.asdict(cfg), "file": cli.Path(unrolled.__file__)}
    assert run == cli.Run(seed=5, **own)


def test_a_folder_of_its_own(tmp_path, monkeypatch):
    """A run without --out gets one by its name, date and time."""
    monkeypatch.chdir(tmp_path)
    with rundir.opened(parsed()[1]) as folder:
        assert re.fullmatch(r"runs/unrolled/\d{8}-\d{6}", str(folder)) and (folder / "config.json").exists()


def test_resume_takes_the_config_of_the_run(tmp_path, monkeypatch):
    """Config, seeds and pace come from the folder, or that of the newest run; flags override them."""
    cfg, run = parsed("--preset=paper", "--width=7", "--seed=3", "--seeds=2", "--save-every=5")
    monkeypatch.chdir(tmp_path)
    for stamp, width in (("20260102-000000", 9), ("20260101-000000", 8)):
        out = f"runs/unrolled/{stamp}"
        with rundir.opened(dataclasses.replace(run, out=out, config=run.config | {"width": width})) as folder:
            os.utime(folder / "config.json", (width, width))  # the newest by time, not by name
    again = parsed("--resume", "--out", out, "--steps", "9")
    assert again[0] == dataclasses.replace(cfg, width=8, steps=9)
    assert (again[1].seed, again[1].seeds, again[1].save_every, again[1].resume) == (3, 2, 5, True)
    assert parsed("--resume")[0].width == 9 and parsed("--resume")[1].out.endswith("20260102-000000")
    assert parsed("--resume", "--preset=default")[0] == unrolled.PRESETS["default"]


# What is wrong


@pytest.mark.parametrize(
    "flags, says",
    [
        ("--stepz 3", r"Unrecognized options: --stepz, 3\nDid you mean --steps\? --help lists every flag."),
        ("--unrol=3", r"Unrecognized options: --unrol.*\nDid you mean --unroll\?"),
        ("foo", r"Unrecognized options: foo\n--help lists every flag."),
        ("--b1=3", r"--b1 is 3.0; it must be a number, 0 to 1\.$"),
        ("--ema=1.0000001", r"--ema is 1.0000001; it must be a number, 0 to 1\.$"),
        ("--steps", r"Missing value for argument '--steps'"),
        ("--steps x", r"Error parsing --steps: .*'x'\n--help"),
        ("--steps 1.5", r"Error parsing --steps: .*'1.5'\n--help"),
        ("--g-lr fast", r"Error parsing --g-lr: .*'fast'\n--help"),
        ("--loss foo", r"'foo' for argument '--loss'. Expected one of .*'minimax'.*'hinge'.*\n"),
        ("--act foo", r"'foo' for argument '--act'. Expected one of .*'relu', 'tanh'.*\n"),
        ("--preset foo", r"'foo' for argument '--preset'. Expected one of .*'default', 'paper'.*\n"),
        ("--dataset rimg8", r"no data set 'rimg8'; did you mean ring8\?.*\n.*ring8, .*digits"),
        ("--dataset nothing_like_it", r"no data set 'nothing_like_it'.\nChoose from ring8"),
        ("--steps 0", r"^--steps is 0; it must be a number, 1 or more, under 2\^31.$"),
        ("--batch-size -4", r"^--batch-size is -4;"),
        ("--width 0", r"^--width is 0; .* 1 or more"),
        ("--z-dim 0", r"^--z-dim is 0;"),
        ("--log-every 0", r"^--log-every is 0;"),
        ("--save-every 0", r"^--save-every is 0;"),
        ("--keep 0", r"^--keep is 0;"),
        ("--seeds 0", r"^--seeds is 0;"),
        ("--seed -1", r"^--seed is -1; .* 0 or more"),
        ("--seed 2147483647 --seeds 2", r"^--seed is 2147483647 and --seeds 2; the last seed must be under"),
        ("--seed 2147483648", r"^--seed is 2147483648;"),
        ("--unroll -1", r"^--unroll is -1;"),
        ("--g-lr nan", r"^--g-lr is nan;"),
        ("--d-lr inf", r"^--d-lr is inf;"),
        ("--ema -inf", r"^--ema is -inf;"),
        ("--cpu --gpu", r"^choose one of --cpu and --gpu.$"),
        ("--cpu --gpu --tpu", r"^choose one of"),
        ("--resume", r"no run to resume under runs/unrolled; name one with --out"),
        ("--resume --out nowhere", r"^nowhere holds no run"),
        (f"--resume --out {__file__}", r"test_cli.py is a file: name the run's folder."),
        ("--batch-size 6", r"a batch of 6 can't be divided over 4 devices: choose a multiple of that"),
        ("--dataset digits --batch-size 1800", r"^digits: a batch of 1800 is more than the 1497 records that there are: lower --batch-size.$"),
        ("--out /proc/cannot/be", r"^/proc/cannot.*: No such file or directory. Free it, or choose another --out.$"),
        ("--out /dev/null", r"^/dev/null.*choose another --out.$"),
    ],
)  # fmt: skip
def test_a_wrong_flag(flags, says):
    """Every mistake has its line, before anything is written."""
    assert re.search(says, refused(*flags.split()))


@pytest.mark.parametrize(
    "module, flag, says",
    [
        (unrolled, "--width=1000000000", "the state of this run takes"),
        (dcgan, "--width=1000000000", "the state of this run takes"),
        (cyclegan, "--width=2000000000", "the state of this run takes"),
        (vanilla, "--z-dim=2000000000", "the state of this run takes"),
        (vanilla, "--batch-size=2000000000", "a batch of this run takes"),
        (vanilla, "--seeds=1000000000", "the state of this run takes"),
    ],
    ids=lambda p: p if isinstance(p, str) else p.__name__,
)
def test_what_no_memory_holds(module, flag, says, tmp_path, monkeypatch):
    """It is counted before anything is made: two lines, no folder."""
    monkeypatch.setattr(states, "memory", lambda: 16 * 2**30)
    dataset = ["--dataset=ring8"] * (module is vanilla)
    out = tmp_path / "run"
    lines = refused("--preset=tiny", flag, f"--out={out}", *dataset, main=module.main).splitlines()
    assert (
        lines[0].startswith(says)
        and " GB, and the memory has " in lines[0]
        and "Try a smaller" in lines[1]
        and not out.exists()
    )


def test_the_memory_is_the_host_s():
    """On a CPU, all of it, as /proc/meminfo has it."""
    kib = int(re.search(r"MemTotal: *(\d+) kB", Path("/proc/meminfo").read_text())[1])
    assert states.memory() == 1024 * kib


def test_a_depth_that_would_be_traced_for_ever():
    """It is out of its range."""
    assert refused("--g-depth=1000000000") == "--g-depth is 1000000000; it must be a number, 0 to 1000."


def test_no_room_on_the_device(capsys):
    """What XLA can't allocate while it trains is two lines, too."""

    def main():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 576000008768 bytes.")

    with pytest.raises(SystemExit) as ended:
        cli.run(main, compile_cache=False)
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and "RESOURCE_EXHAUSTED: Out of memory allocating" in lines[0] and len(lines) == 2


def test_critic_steps_are_counted():
    """A number that only one experiment has is checked as well."""
    from experiments import wgan_gp

    assert refused("--critic-steps", "0", main=wgan_gp.main).startswith("--critic-steps is 0;")


@pytest.mark.parametrize(
    "flags, says",
    [
        ("", "Missing.*RUN"),
        ("nowhere", "holds no run"),
        ("x --n 0", "n must be 1 or more"),
        ("x --n 2147483648", "under 2"),
        ("x --seed -1", "seed"),
    ],
)
def test_a_wrong_flag_of_sample(flags, says):
    """The sampler keeps to the same manners."""
    assert re.search(says, refused(*flags.split(), main=gan_jax.sample.main))


@pytest.mark.parametrize("flags", ["--steps=x", "--stepz=3", "--preset"])
def test_a_wrong_flag_where_there_are_no_frames(flags, monkeypatch):
    """The same line where the terminal's encoding has none of the letters that tyro frames errors with."""
    framed = refused(flags)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert refused(flags) == framed and "---" not in framed.replace("--s", "").replace("--p", "")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """{command: (folder it ran in, exit code, stdout, stderr)}, where importing tensorflow would end the process."""
    fake = tmp_path_factory.mktemp("fake")
    (fake / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    path = os.pathsep.join([str(fake), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    commands = [
        "experiments.unrolled --steps x",
        "experiments.unrolled --dataset rimg8",
        "experiments.unrolled --tpu",
        "experiments.unrolled --batch-size 6",
        "gan_jax.sample nowhere",
    ]
    cwd = {command: tmp_path_factory.mktemp("cwd") for command in commands}
    started = {
        command: runs.start("-m", *command.split(), cwd=str(cwd[command]), PYTHONPATH=path, JAX_PLATFORMS="")
        for command in commands
    }
    with runs.killing(*started.values()):
        return {command: (cwd[command], *runs.end(process)) for command, process in started.items()}


@pytest.mark.parametrize(
    "command, says",
    [
        ("experiments.unrolled --steps x", "Error parsing --steps"),
        ("experiments.unrolled --dataset rimg8", "did you mean ring8"),
        ("experiments.unrolled --tpu", "no TPU found here; leave --tpu out"),
        ("experiments.unrolled --batch-size 6", "can't be divided over 4 devices"),
        ("gan_jax.sample nowhere", "nowhere holds no run"),
    ],
)
def test_a_wrong_flag_of_a_program(programs, command, says):
    """Exit code 2, one or two lines on stderr, nothing on stdout, nothing written, tensorflow not imported."""
    cwd, code, stdout, stderr = programs[command]
    assert code == 2 and stdout == "" and says in stderr and 1 <= len(stderr.splitlines()) <= 2, stderr
    assert not list(cwd.iterdir())


@pytest.mark.parametrize("name", experiments.modules())
def test_a_preset_that_its_own_types_refuse(name):
    """The numbers of every preset are within the ranges of its Config."""
    module = importlib.import_module(experiments.modules()[name])
    for cfg in module.PRESETS.values():
        config.check_ranges(dataclasses.asdict(cfg), module.Config)


@pytest.mark.parametrize("name", experiments.modules())
def test_a_part_or_a_decay_above_one(name):
    """What the Config calls the decay of a moment, or a share of something, is refused where it is no part of 1."""
    module = importlib.import_module(experiments.modules()[name])
    said = re.compile(
        r"^    (\w+): float = .*# (?:share of|(?:Adam|RMSProp|Adadelta)\S* decay|decay of) ", re.MULTILINE
    )
    assert not said.findall(Path(module.__file__).read_text())


@pytest.mark.parametrize("name", experiments.modules())
def test_a_tuple_without_numbers_or_with_a_zero(name):
    """Layers, channels and rates of which there are none are refused before nets are made, and so is a width of 0."""
    module = importlib.import_module(experiments.modules()[name])
    hints = typing.get_type_hints(module.Config, include_extras=True)
    values = dataclasses.asdict(next(iter(module.PRESETS.values())))
    for field, hint in hints.items():
        if typing.get_origin(hint) is tuple and ... in typing.get_args(hint) and typing.get_args(hint)[0] is not str:
            with pytest.raises(
                UserError, match=rf"^--{field.replace('_', '-')} has no numbers; it must have one, or more.$"
            ):
                config.check_ranges(values | {field: ()}, module.Config)
            if field in ("rates", "channels", "widths", "factors", "anchors"):
                with pytest.raises(UserError, match="is 0; it must be a number, 1 or more"):
                    config.check_ranges(values | {field: (0,)}, module.Config)
