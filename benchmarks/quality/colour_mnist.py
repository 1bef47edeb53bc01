"""`python -m benchmarks colour_mnist`: how far the colours of samples are from those of the data, for several K.

The coloured digits of Metz et al. 2017 (arXiv 1611.02163, section 3.3.2), as we read the paper: a few digits, drawn in
colours from a normal distribution in three dimensions. The colour of an image is the centre of one of two clusters
(2-means) of its pixels, that which is not its black ground. The score is the Jensen-Shannon divergence, in nats, of two
kernel density estimates: of the colours of samples, and of the data. Bandwidth (Scott's, of the data, for both), nets
and budget are ours, so the paper's numbers, from 0.025 to 0.142, are not to be compared with these.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import KernelDensity

import gan_jax
from benchmarks import harness
from experiments import unrolled_modes
from gan_jax import data
from gan_jax.run import log, plots
from gan_jax.run.config import Count


def main(
    ks: tuple[int, ...] = (0, 1, 5, 10),
    d_widths: tuple[Count, ...] = (2, 4, 8),
    dataset: str = "coloured_mnist",
    steps: Count = 10_000,
    seeds: Count = 4,
    samples: Count = 5000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/colour_mnist",
):
    """Train with each K against each D, and score the last step. A run that is finished is not trained again.

    Args:
        ks: the K to train with; 0 is the plain GAN.
        d_widths: channels of D's first layer; G's last one has 8, so these are a quarter, half and all of it.
        dataset: a set of coloured images.
        steps: joint updates of G and D.
        seeds: runs of each, with seeds 0, 1, ...
        samples: of each seed, and of the data.
        flags: more flags of every run, as one word: --flags="--g-lr=1e-3 --gpu".
        out: folder of colour_mnist.jsonl and .png.
        runs: folder of the runs.
    """
    draw_real = jax.jit(lambda key: colours(data.draw(data.load(dataset), key, samples)["x"]))
    real, again = (np.asarray(draw_real(jax.random.key(i))) for i in range(2))
    rows = [{"d_width": "data", "k": "", "js": divergence(real, again), "seconds": 0}]
    for d_width in d_widths:
        for k in ks:
            folder = Path(runs, f"{dataset}-{steps}x{seeds}", f"d{d_width}-k{k}")
            given = ["--preset=quarter", f"--dataset={dataset}", f"--seeds={seeds}", "--eval-every=0"]
            given += [f"--steps={steps}", f"--d-width={d_width}", f"--unroll={k}", *harness.words(flags)]
            trained = harness.trained(unrolled_modes, given, folder)
            x = gan_jax.load(folder).sample(jax.random.key(2), samples)
            found = jax.jit(lambda xs: jax.lax.map(colours, xs))(x.reshape(seeds, samples, *x.shape[-3:]))
            row = {"d_width": d_width, "k": k, "js": [divergence(real, one) for one in np.asarray(found)]}
            rows.append(row | {"seconds": trained["seconds"], "trained": harness.trained_by(folder)})
            print(f"D {d_width}, K {k}: {log.spread(np.squeeze(row['js']))}", flush=True)
    head = ("channels of D", "K", "Jensen-Shannon divergence of colours", "seconds")
    harness.table(head, [(r["d_width"], r["k"], log.spread(np.squeeze(r["js"])), round(r["seconds"])) for r in rows])
    protocol = harness.with_flags(f"{dataset}, {steps} steps, {seeds} seeds, {samples} samples", flags)
    harness.record("colour_mnist", [{"protocol": protocol}, *rows], out)
    draw(Path(out) / "colour_mnist.png", rows)


def colours(x):
    """Return the colours [n, 3] of the ink of images x [n, h, w, 3]: 2-means of the pixels, begun at black."""

    def one(pixels):
        def body(_, centres):
            nearer = ((pixels[:, None] - centres[None]) ** 2).sum(-1).argmin(1)  # [h * w]
            of = nearer[None] == jnp.arange(2)[:, None]  # [2, h * w]
            return (of[..., None] * pixels[None]).sum(1) / jnp.maximum(of.sum(1), 1)[:, None]

        black = -jnp.ones(3)
        farthest = pixels[((pixels - black[None]) ** 2).sum(-1).argmax()]
        return jax.lax.fori_loop(0, 10, body, jnp.stack([black, farthest]))[1]

    return jax.lax.map(one, x.reshape(len(x), -1, 3), batch_size=500)


def divergence(real, fake, n=2000):
    """Return the Jensen-Shannon divergence, in nats, of kernel density estimates from real [., d] and fake [., d].

    Over n draws from each estimate. 0 at best, though above it for two finite sets of one kind; log 2 at worst.
    """
    bandwidth = real.std() * len(real) ** (-1 / (real.shape[1] + 4))
    densities = [KernelDensity(bandwidth=bandwidth).fit(a) for a in (real, fake)]
    total = 0.0
    for i, density in enumerate(densities):
        x = density.sample(n, random_state=i)
        total += np.mean(density.score_samples(x) - np.logaddexp(*(d.score_samples(x) for d in densities)) + np.log(2))
    return float(total / 2)


def draw(file, rows):
    """Write the divergence against K, a line for each D, with bands of a standard deviation, over that of the data."""
    floor, *rows = rows
    fig, (axis,) = plots.figure(1, 4.2, 3.2)
    for d_width in dict.fromkeys(row["d_width"] for row in rows):
        of = [row for row in rows if row["d_width"] == d_width]
        k, js = [row["k"] for row in of], np.array([row["js"] for row in of])
        (line,) = axis.plot(k, js.mean(1), "o-", label=f"D of {d_width} channels")
        axis.fill_between(k, js.mean(1) - js.std(1), js.mean(1) + js.std(1), color=line.get_color(), alpha=0.2)
    axis.axhline(floor["js"], color="0.6", linestyle="--", label="data")
    axis.set(xlabel="K", ylabel="divergence of colours, nats", ylim=(0, None))
    axis.legend(fontsize="small")
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main)
