"""`python -m benchmarks.reliability.kills`: a run that is killed a hundred times, and equals the one that was left alone.

Each time the program is started with --resume, lives for a random time, says where it is (its stack, by faulthandler),
and gets SIGKILL. The last start is left to end. Then its state is compared with that of the undisturbed run, byte for
byte, and so is its metrics.jsonl.
"""

import collections
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks import measure
from gan_jax.errors import UserError
from gan_jax.run import cli, rundir
from gan_jax.run.checkpoint import digests

PROGRAM = """
import faulthandler, importlib, signal, sys
faulthandler.register(signal.SIGUSR1)
from gan_jax.run import cli
cli.run(importlib.import_module("experiments." + sys.argv.pop(1)).main)
"""
# A function on the stack -> what the run was doing; the first one that is found counts.
PLACES = {"compile_or_get_cached": "compiling", "evaluated": "evaluation", "restore": "restoring", "save": "saving"}
PLACES |= {"close": "saving", "fit": "training"}


def main(
    kills: int = 100,
    experiment: str = "unrolled",
    flags: str = "--save-every=20 --eval-every=20 --log-every=10 --keep=2",
    seed: int = 0,
    out: str = "benchmarks/reliability/results",
):
    """Kill a run again and again and compare it with one that was left alone.

    Args:
        kills: how often.
        experiment: by its file's name.
        flags: of the run.
        seed: of the times, which are drawn evenly from 0 up to twice as long as the first row takes.
        out: folder of kills.jsonl.
    """
    draw, places, begin = random.Random(seed), collections.Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        killed, alone, said = Path(folder, "killed"), Path(folder, "alone"), Path(folder, "said")
        command = [sys.executable, "-c", PROGRAM, experiment, *flags.split()]

        def started(out, steps):
            resume = ["--resume"] * (out / "config.json").exists()
            with said.open("w") as stderr:
                given = [*command, f"--steps={steps}", f"--out={out}", *resume]
                return subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=stderr)

        process, first = started(killed, 2**30), time.monotonic()
        while not ((killed / "metrics.jsonl").exists() and (killed / "metrics.jsonl").stat().st_size):
            if process.poll() is not None:
                raise UserError(f"the run ended by itself:\n{said.read_text()}")
            time.sleep(0.05)
        longest = 2 * (time.monotonic() - first)
        process.kill()
        process.wait()
        places["training"] += 1
        for n in range(1, kills):
            process = started(killed, 2**30)
            time.sleep(draw.uniform(0, longest))
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.002)
            process.kill()
            if process.wait() not in (-signal.SIGKILL, -signal.SIGUSR1):  # before it listens, the latter kills too
                raise UserError(f"after {n} kills the run ended by itself:\n{said.read_text()}")
            names = [line.rpartition(" in ")[2].strip() for line in said.read_text().splitlines() if " in " in line]
            place = next((what for name, what in PLACES.items() if name in names), "start-up")
            places[place] += 1
            if list(killed.glob("checkpoints/*.orbax-checkpoint-tmp*")):
                places["while a checkpoint was written"] += 1
            print(f"{n + 1}: {place}", file=sys.stderr, flush=True)
        steps = 40 + max((int(f.name) for f in killed.glob("checkpoints/*") if f.name.isdigit()), default=0)
        for run in (killed, alone):
            if started(run, steps).wait():
                raise UserError(f"the run in {run.name} failed:\n{said.read_text()}")
        states = [digests(rundir.load(run).state) for run in (killed, alone)]
        rows = [(run / "metrics.jsonl").read_bytes() for run in (killed, alone)]
    row = {"experiment": experiment, "flags": flags, "kills": kills, "steps": steps} | dict(places)
    row |= {"same state": states[0] == states[1], "same rows": rows[0] == rows[1]}
    row |= {"seconds": round(time.monotonic() - begin)}
    measure.table(list(row), [list(map(str, row.values()))])
    measure.record("kills", [row], out)
    if states[0] != states[1] or rows[0] != rows[1]:
        raise UserError("the killed run is not the one that was left alone.")


if __name__ == "__main__":
    cli.run(lambda: tyro.cli(main))
