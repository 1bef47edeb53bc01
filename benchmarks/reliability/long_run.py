"""`python -m benchmarks long_run`: memory, open files and log size over a run of 200,000 steps."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from gan_jax.errors import UserError
from gan_jax.run.config import Count


def main(
    steps: Count = 200_000,
    flags: str = "--unroll=0 --batch-size=64 --width=32 --eval-every=5000 --save-every=5000",
    out: str = "benchmarks/reliability/results",
):
    """Train on the ring in a process of its own and look at it from outside ten times a second.

    Args:
        steps: of the run.
        flags: of the experiment `unrolled`; rows are written every 100 steps.
        out: folder of long_run.jsonl.
    """
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder, "run", "metrics.jsonl")
        command = [sys.executable, "-m", "experiments", "unrolled", f"--steps={steps}", f"--out={folder}/run"]
        with subprocess.Popen([*command, *flags.split()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            process = Path("/proc", str(run.pid))
            while run.poll() is None:
                if rows.exists():
                    status = process.joinpath("status").read_text().partition("VmRSS:")[2].split()
                    files = len(list(process.joinpath("fd").iterdir()))
                    seen.append((rows.stat().st_size, int(status[0]) / 1024 if status else np.nan, files))
                time.sleep(0.1)
        if run.returncode:
            raise UserError(f"the run failed with exit code {run.returncode}.")
        whole = rows.stat().st_size
    parts = [[s for s in seen if low <= s[0] / whole < low + 0.1] for low in (0.1, 0.5, 0.9)]
    memory, files = [[round(float(np.nanmedian([s[i] for s in p])), 1) for p in parts] for i in (1, 2)]
    row = {
        "steps": steps,
        "flags": flags,
        "resident MB": memory,
        "open files": files,
        "bytes a row": whole // (steps // 100),
    }
    harness.table(
        ("", "second tenth", "sixth tenth", "last tenth"),
        [("resident MB", *map(str, memory)), ("open files", *map(str, files))],
    )
    print(f"metrics.jsonl: {whole} bytes, {row['bytes a row']} a row")
    harness.record("long_run", [row], out)


if __name__ == "__main__":
    harness.command(main)
