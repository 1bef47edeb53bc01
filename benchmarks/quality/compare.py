"""`python -m benchmarks compare wgan lsgan --dataset mnist`: experiments at an equal budget, table and picture."""

from pathlib import Path

import jax
import numpy as np
import tyro

import gan_jax
from benchmarks import harness
from gan_jax import data
from gan_jax.metrics import classifier, features, neighbours
from gan_jax.run import log, plots, rundir
from gan_jax.run.config import Count


def main(
    names: tyro.conf.Positional[tuple[str, ...]],
    dataset: str = "ring8",
    steps: Count = 5000,
    seeds: Count = 4,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/compare",
):
    """Train experiments on one data set, each with its own preset for it, and score their last step.

    A step is an update of G. The scores are those of mode coverage where the data's modes are known, else those of the
    set's classifier, for samples against the test split. A finished run is not trained again, a stopped one goes on.

    Args:
        names: the experiments, by their files' names.
        dataset: a toy, or an image set with labels and a test split.
        steps: updates of G.
        seeds: runs of each, with seeds 0, 1, ...
        samples: images of each seed that are scored.
        flags: more flags, each for the experiments that have it, as one word: --flags="--width=16 --gpu".
        out: folder of compare-DATASET.md, .jsonl and .png.
        runs: folder of the runs.
    """
    source, rows, pictures = data.load(dataset), [], {}
    modules = {name: harness.experiment(name) for name in names}
    more = harness.taken(modules, flags)
    judge = None if source.modes else Judge(source, samples)
    for name, module in modules.items():
        folder = Path(runs, f"{dataset}-{steps}x{seeds}", name)
        given = [f"--dataset={dataset}", f"--steps={steps}", f"--seeds={seeds}", *more[name]]
        results, x = harness.trained(module, given, folder), sampled(folder, samples)
        scores = judge(x) if judge else harness.covered(results)
        scores |= {n: results[n] for n in ("diversity", "seconds")}
        of_run = {"config": rundir.read(folder)["config"], "health": results["health"]}
        of_run["protocol"] = results.get("protocol")
        rows.append({"experiment": name} | scores | of_run | {"trained": harness.trained_by(folder)})
        pictures[name] = x[0]
        print(f"{name}: " + ", ".join(f"{n} {log.spread(v)}" for n, v in scores.items()), flush=True)
    harness.check_alike({row["experiment"]: row["protocol"] for row in rows})
    protocol = f"{dataset}, {steps} updates of G, {seeds} seeds, last step, mean ± standard deviation"
    protocol = harness.with_flags(protocol, flags) + (f"; {judge.protocol}" if judge else "")
    report(Path(out) / f"compare-{dataset}", protocol, list(scores), rows)
    draw(Path(out) / f"compare-{dataset}.png", pictures, source)


def report(file, protocol, names, rows):
    """Print the scores of these names as a table, and write it to FILE.md, and all of the rows to FILE.jsonl."""
    head = ("experiment", *(n.replace("_", " ") for n in names))
    lines = harness.table(head, [(row["experiment"], *(log.spread(row[n]) for n in names)) for row in rows])
    harness.record(file.name, [{"protocol": protocol}, *rows], file.parent)
    file.with_suffix(".md").write_text(f"{protocol}.\n\n{lines}\n")


def sampled(folder, n):
    """Return samples [seeds, n, ...] of the run in a folder."""
    run = gan_jax.load(folder)
    x = np.asarray(jax.jit(run.sample, static_argnums=1)(jax.random.key(0), n))
    return x if run.seeds > 1 else x[None]


class Judge:
    """Scores of images in the eyes of the classifier of their set."""

    def __init__(self, source, n):
        self.classifier, test = classifier.load(source), data.resident(source.test)
        self._see = jax.jit(lambda x: (self.classifier(x).argmax(-1), self.classifier.features(x)))
        self.labels, self.real = self._seen(data.decode({"x": test["x"][:n]})["x"])
        self.protocol = (
            f"{n} samples a seed against the first {len(self.real)} images of the test split, by classifier "
            f"{self.classifier.digest} ({self.classifier.accuracy:.2%} right)"
        )

    def _seen(self, x):
        return tuple(np.asarray(a) for a in self._see(x))

    def __call__(self, x):
        """Return {score: one for each seed} of x [seeds, n, h, w, c]."""
        found = []
        for labels, seen in map(self._seen, x):
            of_labels = features.label_histogram(self.labels, labels, self.classifier.net.classes)
            near = neighbours.precision_recall(self.real, seen)
            found.append(of_labels | {"frechet": features.frechet(self.real, seen)} | near)
        return {name: [one[name] for one in found] if len(found) > 1 else found[0][name] for name in found[0]}


def draw(file, pictures, source):
    """Write the first seed's samples of each experiment side by side, as many as an evaluation draws."""
    kind, given = plots.KINDS[source.kind], plots.Given(source.row["x"], plots.reals(source), source.modes)
    fig, axes = plots.figure(len(pictures))
    for axis, (name, x) in zip(axes, pictures.items(), strict=True):
        axis.imshow(kind.picture({"": x[: kind.drawn]}, given))
        axis.set_title(name)
        axis.axis("off")
    fig.savefig(file, dpi=150)


if __name__ == "__main__":
    harness.command(main)
