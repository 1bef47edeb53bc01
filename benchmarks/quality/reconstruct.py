"""`python -m benchmarks reconstruct`: how near the unrolled GAN's images come to given ones, for several K.

The protocol of Metz et al. 2017 (arXiv 1611.02163, section 3.4): for each training image the z is sought whose G(z) has
the least squared error, by L-BFGS from several random starts; and distances between pairs of samples are set beside
those between pairs of images. A G that dropped modes reconstructs badly and draws images that are too alike.

Errors are of pixels in [-1, 1]; the paper's scale is not known to us, nor are its nets and 50,000 images those of here,
so of its numbers only ratios are comparable: with K = 10 its error is 0.78 times that with K = 0.
"""

import functools
from pathlib import Path

import jax
import numpy as np
import optax
import scipy.stats

import gan_jax
from benchmarks import harness
from experiments import unrolled
from gan_jax import data
from gan_jax.game.player import forward
from gan_jax.run import log, plots
from gan_jax.run.config import Count


def main(
    ks: tuple[int, ...] = (0, 1, 5, 10),
    dataset: str = "cifar10_subset",
    steps: Count = 10_000,
    seeds: Count = 2,
    width: Count = 32,
    images: Count = 256,
    starts: Count = 3,
    iterations: Count = 100,
    samples: Count = 2000,
    flags: str = "",
    out: str = "benchmarks/quality/results",
    runs: str = "runs/reconstruct",
):
    """Train with each K, then reconstruct images and measure distances. A finished run is not trained again.

    Args:
        ks: the K to train with; ratios are to the first one.
        dataset: an image set.
        steps: joint updates of G and D.
        seeds: runs of each K, with seeds 0, 1, ...
        width: channels of G and D at full resolution.
        images: training images to reconstruct (the paper: 1280).
        starts: random z from which L-BFGS begins; the best end counts.
        iterations: of L-BFGS.
        samples: of each seed, half as many pairs of them.
        flags: more flags of every run, as one word: --flags="--g-lr=1e-3 --gpu".
        out: folder of reconstruct.jsonl and reconstruct-DATASET.png.
        runs: folder of the runs.
    """
    rows = []
    x = np.asarray(data.decode({"x": data.resident(data.load(dataset))["x"][: max(images, samples)]})["x"])
    between = distances(x[:samples])
    for k in ks:
        folder = Path(runs, f"{dataset}-{steps}x{seeds}-{width}", f"k{k}")
        given = ["--preset=images", f"--dataset={dataset}", f"--seeds={seeds}", f"--width={width}", f"--unroll={k}"]
        trained = harness.trained(unrolled, [*given, f"--steps={steps}", *harness.words(flags)], folder)
        row = {"k": k, "seconds": trained["seconds"], "trained": harness.trained_by(folder)}
        rows.append(row | scores(gan_jax.load(folder), x[:images], between, starts, iterations, samples))
        print(f"K {k}: MSE {log.spread(np.squeeze(rows[-1]['mse']))}", flush=True)
    tell(rows := compared(rows), between)
    protocol = f"{dataset}, {steps} steps, {seeds} seeds, {images} images, {starts} starts, {iterations} iterations"
    first = {"protocol": harness.with_flags(protocol, flags), "median": float(np.median(between))}
    harness.record("reconstruct", [first, *rows], out)
    draw(Path(out) / f"reconstruct-{dataset}.png", rows, between)


def scores(run, x, between, starts, iterations, samples):
    """Return what is found of one run: errors on images x, and how far its samples are from one another."""
    drawn = np.asarray(run.sample(jax.random.key(0), samples)).reshape(run.seeds, samples, *x.shape[1:])
    apart = [distances(one) for one in drawn]
    errors = np.asarray(reconstructed(run, x, starts, iterations)).reshape(run.seeds, -1)
    return {
        "mse": errors.mean(1).tolist(),
        "errors": errors.tolist(),
        "median": [float(np.median(d)) for d in apart],
        "wasserstein": [scipy.stats.wasserstein_distance(d, between) for d in apart],
        "distances": apart[0][:500].tolist(),
    }


def tell(rows, between):
    """Print the table, the data last."""
    names = ("mse", "ratio", "best", "median", "wasserstein")
    head = ("K", "MSE", f"over K = {rows[0]['k']}", "share best", "median distance", "its Wasserstein distance to data")
    table = [(row["k"], *(log.spread(np.squeeze(row[n])) for n in names), round(row["seconds"])) for row in rows]
    harness.table((*head, "seconds"), [*table, ("data", "", "", "", log.spread(np.median(between)), 0, "")])


def compared(rows) -> list[dict]:
    """Return the rows with "best", the share of images that this K reconstructs best, and "ratio", over the first K."""
    best = np.argmin([row["errors"] for row in rows], 0)  # [seeds, images]
    ratio = lambda row: np.divide(row["mse"], rows[0]["mse"]).tolist()
    return [row | {"best": (best == i).mean(1).tolist(), "ratio": ratio(row)} for i, row in enumerate(rows)]


def distances(x):
    """Return the Euclidean distances [n / 2] of the images x [n, ...], taken in pairs."""
    a, b = x[::2].reshape(len(x[::2]), -1), x[1::2].reshape(len(x[1::2]), -1)
    return np.linalg.norm(a[: len(b)] - b, axis=1)


def reconstructed(run, x, starts, iterations):
    """Return the least mean squared error at which G meets each of the images x [n, h, w, c]: [(seeds,) n]."""
    G, *_ = unrolled.build(run.cfg)

    def of_seed(g):
        def error(x, z):
            return ((forward(G, *g, z[None], train=False)[0][0] - x) ** 2).mean()

        def best(x_key):
            x, key = x_key
            zs = jax.random.normal(key, (starts, run.cfg.z_dim))
            return jax.vmap(lambda z: minimum(functools.partial(error, x), z, iterations))(zs).min()

        return jax.lax.map(best, (x, jax.random.split(jax.random.key(1), len(x))), batch_size=64)

    return jax.jit(of_seed if run.seeds == 1 else lambda g: jax.lax.map(of_seed, g))(run.state.g_ema)


def minimum(loss, z, iterations):
    """Return the value of the loss where L-BFGS, with a line search, comes to from z."""
    tx, value_and_grad = optax.lbfgs(), optax.value_and_grad_from_state(loss)

    def body(carry, _):
        z, opt = carry
        value, grad = value_and_grad(z, state=opt)
        updates, opt = tx.update(grad, opt, z, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(z, updates), opt), None

    return loss(jax.lax.scan(body, (z, tx.init(z)), length=iterations)[0][0])


def draw(file, rows, between):
    """Write the histograms of distances between samples of the first seed, and between data."""
    fig, (axis,) = plots.figure(1, 4.5, 3.2)
    bins = np.linspace(0, 1.1 * max(between.max(), *(max(row["distances"]) for row in rows)), 40)
    axis.hist(between, bins, density=True, color="0.8", label="data")
    for row in rows:
        axis.hist(row["distances"], bins, density=True, histtype="step", label=f"K = {row['k']}")
    axis.set(xlabel="distance of two images", ylabel="density")
    axis.legend(fontsize="small")
    fig.savefig(file, dpi=110)


if __name__ == "__main__":
    harness.command(main)
