"""`python -m benchmarks health`: how often runs that fail are flagged, and runs that go well are not."""

import re
import tempfile

from benchmarks import measure
from gan_jax.run import health
from gan_jax.run.config import Count

# Games on the ring that are known to go wrong, and how; the others are known to cover it.
SETTINGS = {
    "G moves 20 times a turn": ("alternating", ["--preset=helvetica", "--steps=2000"], "collapsed"),
    "D learns 1000 times as fast": ("alternating", ["--g-lr=1e-6", "--steps=4000"], "failed to converge"),
    "plain GAN": ("unrolled", ["--preset=paper", "--unroll=0", "--steps=10000"], "oscillates|collapsed"),
    "unrolled GAN": ("unrolled", ["--steps=8000"], ""),
    "WGAN-GP": ("wgan_gp", ["--steps=2000"], ""),
    "R3GAN": ("r3gan", ["--steps=3000"], ""),
}


def main(seeds: Count = 8, out: str = "benchmarks/quality/results"):
    """Train good and bad games on the ring and read what their health says.

    Args:
        seeds: runs of each, with seeds 0, 1, ...
        out: folder of health.jsonl.
    """
    rows = []
    for what, (name, flags, wrong) in SETTINGS.items():
        module = measure.experiment(name)
        with tempfile.TemporaryDirectory() as folder:
            _, results = module.main([*flags, "--eval-every=500", f"--seeds={seeds}", f"--out={folder}/run"])
        words = results["health"]
        rows.append(
            {
                "setting": what,
                "experiment": " ".join([name, *flags]),
                "expected": wrong or "no flag",
                "flagged": sum(not (w == health.WELL or w.startswith("at rest")) for w in words),
                "so named": sum(bool(re.match(wrong, w)) for w in words) if wrong else "",
                "of": seeds,
                "modes": results["modes"].tolist(),
                "words": words,
            }
        )
    shown = list(rows[0])[:-1]
    measure.table(shown, [[str(row[n]) for n in shown] for row in rows])
    measure.record("health", rows, out)


if __name__ == "__main__":
    measure.command(main)
