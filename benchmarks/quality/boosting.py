"""`python -m benchmarks boosting`: how much of some Gaussians is covered by one GAN, the best of T, bagging, AdaGAN.

The mass of data in the 95 % level set of a model (`gan_jax.metrics.levels`), after Tolstikhin et al. 2017 (arXiv
1701.02386), whose mixtures of Gaussians are other ones. Bagging is a mixture of T learners that see the same data; one
of them is the single GAN, and the best of them, by this very score, the best of T.
"""

from pathlib import Path

import jax
import numpy as np

import gan_jax
from benchmarks import harness
from experiments import adagan
from gan_jax import data
from gan_jax.game import rng
from gan_jax.metrics import levels
from gan_jax.run import plots
from gan_jax.run.config import Count

WAYS = "one GAN", "best of T", "bagging", "AdaGAN"


def main(
    modes: tuple[int, ...] = (1, 5, 10),
    learners: Count = 10,
    seeds: Count = 10,
    flags: str = "",
    record: str = "boosting",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/boosting",
):
    """Train both ensembles on each mixture and score the last step. A finished run is not trained again.

    Args:
        modes: how many Gaussians.
        learners: T.
        seeds: runs of each, with seeds 0, 1, ...
        flags: more flags of every run, as one word: --flags="--unroll=5 --gpu".
        record: name of the record.
        out: folder of RECORD.md, RECORD.jsonl and RECORD.png.
        runs: folder of the runs.
    """
    rows, pictures = [], {}
    given = ["--preset=default", f"--learners={learners}", f"--seeds={seeds}", *harness.words(flags)]
    for n in modes:
        found, drawn = of_mixture(n, given, runs, seeds)
        pictures |= drawn
        rows.append({"modes": n, "learners": learners, "seeds": seeds, "flags": flags} | found)
        print(f"{n} modes: " + ", ".join(f"{way} {harness.middle(found[way])}" for way in WAYS), flush=True)
    lines = harness.table(
        ("modes", *WAYS), [(row["modes"], *(harness.middle(row[way]) for way in WAYS)) for row in rows]
    )
    harness.record(record, rows, out)
    Path(out, f"{record}.md").write_text(lines + "\n")
    draw(Path(out, f"{record}.png"), pictures)


def of_mixture(n, given, runs, seeds):
    """Return (what both ensembles, one GAN and the best one cover of n Gaussians, samples by "n, way")."""
    found, drawn = {"seconds": 0}, {}
    for way, own in (("bagging", "--no-boosted"), ("AdaGAN", "--boosted")):
        folder = Path(runs, f"gaussians{n}-{way}")
        results = harness.trained(adagan, [*given, f"--dataset=gaussians{n}", "--eval-every=0", own], folder)
        scores, each, drawn[f"{n}, {way}"] = covered(gan_jax.load(folder), seeds)
        found |= {
            way: scores,
            "trained": harness.trained_by(folder),
            "steps": results["steps"],
            "seconds": found["seconds"] + results["seconds"],
        }
        if way == "bagging":
            found |= {"one GAN": [one[0] for one in each], "best of T": [max(one) for one in each]}
    return found, drawn


def covered(run, seeds):
    """Return (the mass covered by each seed's mixture, by each learner of each seed, samples of the first seed)."""
    cfg, source = run.cfg, data.load(run.cfg.dataset)

    def one(state, key):
        real = data.draw(source, rng.at(key, 0, "real"), 500)["x"]
        draws = {name: adagan.latent(cfg, rng.at(key, 0, name), n) for name, n in (("fake", 1000), ("held", 500))}
        fake, held = (adagan.generate(cfg, state, z) for z in draws.values())
        each = [adagan.made(cfg, state.g, z["z"]) for z in draws.values()]  # [T, n, 2]
        alone = jax.lax.map(lambda xs: levels.mass_covered(real, *xs), tuple(each))
        return levels.mass_covered(real, fake, held), alone, fake

    found = []
    for i in range(seeds):
        state = jax.tree.map(lambda a, i=i: a[i], run.state) if seeds > 1 else run.state
        found.append(jax.tree.map(np.asarray, jax.jit(one)(state, jax.random.key(i))))
    mixed, alone, x = zip(*found, strict=True)
    return [float(a) for a in mixed], [a.tolist() for a in alone], x[0]


def draw(file, pictures):
    """Draw the samples of the first seed of both ensembles on each mixture."""
    fig, axes = plots.figure(len(pictures), 2.4, 2.4, across=6)
    for axis, (title, x) in zip(axes, pictures.items(), strict=True):
        source = data.load(f"gaussians{title.split(',')[0]}")
        real = np.asarray(data.some(source, 1000)["x"])
        axis.scatter(*real.T, s=1, color="0.75", linewidths=0)
        axis.scatter(*x.T, s=1.5, alpha=0.5, color="#1764ab", linewidths=0)
        axis.set(xlim=(-20, 20), ylim=(-20, 20), aspect="equal", xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
    fig.savefig(file, dpi=90)


if __name__ == "__main__":
    harness.command(main)
