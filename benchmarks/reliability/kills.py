"""`python -m benchmarks kills`: a run that is killed a hundred times, and equals the one that was left alone.

Each time the program is started with --resume, lives for a random time, says where it is (its stack, by faulthandler),
and gets SIGKILL. The last start is left to end. Then its state is compared with that of the undisturbed run, byte for
byte, and so is its metrics.jsonl.
"""

import collections
import functools
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gan_jax
from benchmarks import harness
from gan_jax.errors import UserError
from gan_jax.run.checkpoint import digests
from gan_jax.run.config import Count

PROGRAM = """
import faulthandler, signal, sys
faulthandler.register(signal.SIGUSR1)
from experiments.__main__ import main
main(sys.argv[1:])
"""
# A function on the stack -> what the run was doing; the first one that is found counts.
PLACES = {"compile_or_get_cached": "compiling", "evaluated": "evaluation", "restore": "restoring", "save": "saving"}
PLACES |= {"close": "saving", "fit": "training"}
FOREVER = 2**30  # steps


def main(
    kills: Count = 100,
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
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        start = functools.partial(started, [experiment, *flags.split()], Path(folder, "said"))
        killed, alone = Path(folder, "killed"), Path(folder, "alone")
        places = kill(start, killed, kills, random.Random(seed))
        steps = 40 + max((int(f.name) for f in killed.glob("checkpoints/*") if f.name.isdigit()), default=0)
        for run in (killed, alone):
            if start(run, steps).wait():
                raise UserError(f"the run in {run.name} failed:\n{Path(folder, 'said').read_text()}")
        states = [digests(gan_jax.load(run).state) for run in (killed, alone)]
        rows = [(run / "metrics.jsonl").read_bytes() for run in (killed, alone)]
    row = {"experiment": experiment, "flags": flags, "kills": kills, "steps": steps} | dict(places)
    row |= {"same state": states[0] == states[1], "same rows": rows[0] == rows[1]}
    row |= {"seconds": round(time.monotonic() - begin)}
    harness.table(list(row), [list(map(str, row.values()))])
    harness.record("kills", [row], out)
    if states[0] != states[1] or rows[0] != rows[1]:
        raise UserError("the killed run is not the one that was left alone.")


def started(command, said, out, steps):
    """Start or resume the experiment in `out`, and return its process; what it says goes into the file `said`."""
    resume = ["--resume"] * (out / "config.json").exists()
    given = [sys.executable, "-c", PROGRAM, *command, f"--steps={steps}", f"--out={out}", *resume]
    with said.open("w") as stderr:
        process = subprocess.Popen(given, stdout=subprocess.DEVNULL, stderr=stderr)
    process.said = said.read_text
    return process


def kill(start, out, kills, draw) -> collections.Counter:
    """Kill a run so many times, and return what it was doing then; first of all when its first row is written."""
    places, process, begin = collections.Counter(training=1), start(out, FOREVER), time.monotonic()
    while not ((out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size):
        if process.poll() is not None:
            raise UserError(f"the run ended by itself:\n{process.said()}")
        time.sleep(0.05)
    longest = 2 * (time.monotonic() - begin)
    process.kill()
    process.wait()
    for n in range(1, kills):
        process = start(out, FOREVER)
        time.sleep(draw.uniform(0, longest))
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.002)
        process.kill()
        if process.wait() not in (-signal.SIGKILL, -signal.SIGUSR1):  # before it listens, the latter kills too
            raise UserError(f"after {n} kills the run ended by itself:\n{process.said()}")
        names = [line.rpartition(" in ")[2].strip() for line in process.said().splitlines() if " in " in line]
        place = next((what for name, what in PLACES.items() if name in names), "start-up")
        places[place] += 1
        if list(out.glob("checkpoints/*.orbax-checkpoint-tmp*")):
            places["while a checkpoint was written"] += 1
        print(f"{n + 1}: {place}", file=sys.stderr, flush=True)
    return places


if __name__ == "__main__":
    harness.command(main)
