"""`python -m benchmarks dcgan_features`: what a linear classifier reads from the features of DCGAN's discriminator.

The protocol of Radford et al. 2016 (arXiv 1511.06434, section 5.1): the activations of all of D's convolutions,
max-pooled to a 4x4 grid, flattened, and a linear L2-SVM on them; C is chosen on a fifth of the training rows. Beside it
the same SVM on raw pixels and on the features of a D that was never trained: what D has learnt is what it has above
both. The paper's 82.8 % on CIFAR-10 comes from a large D, trained on ImageNet, and from all 50,000 labels: no figure of
this table is comparable to it.
"""

import dataclasses
import functools
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import harness
from experiments.images import dcgan
from gan_jax import data
from gan_jax.run.config import Count


def main(
    datasets: tuple[str, ...] = ("cifar10_subset", "fashion_mnist"),
    steps: Count = 3000,
    width: Count = 32,
    batch_size: Count = 64,
    rows: Count = 10_000,
    iterations: Count = 150,
    out: str = "benchmarks/quality/results",
):
    """Train DCGAN on each set without its labels, then the SVM on train rows, and score it on test rows.

    Args:
        datasets: labelled image sets; where there is no test split, the last fifth of the records stands for it.
        steps: updates of DCGAN.
        width: channels of D at full resolution.
        batch_size: rows of an update of DCGAN.
        rows: training rows of the SVM, and test rows, at most.
        iterations: of L-BFGS, for each SVM.
        out: folder of dcgan_features.jsonl.
    """
    found = []
    for name in datasets:
        begin = time.monotonic()
        cfg = dataclasses.replace(dcgan.Config(), dataset=name, width=width, batch_size=batch_size)
        state, keys, feed, advance, _, _ = harness.prepared(dcgan, cfg)
        random = jax.tree.map(jnp.copy, state.d)  # `advance` takes the state's memory over
        for at in range(0, steps, 100):
            state, _ = advance(state, keys, feed, np.int32(min(100, steps - at)))
        trained = state.d
        _, D, _ = dcgan.build(cfg)
        train, test = splits(name, rows)
        for kind, d in {"pixels": None, "D, random": random, "D, trained": trained}.items():
            ours = [flat(D, d, x) if d else x.reshape(len(x), -1) for x in (train["x"], test["x"])]
            accuracy, c = fitted(ours, (train["y"], test["y"]), data.load(name).classes, iterations)
            row = {"dataset": name, "steps": steps, "width": width, "train": len(train["y"]), "test": len(test["y"])}
            found.append(row | {"features": kind, "dims": ours[0].shape[1], "c": c, "accuracy": accuracy})
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    head = ("dataset", "features", "dims", "C", "test accuracy")
    harness.table(head, [(r["dataset"], r["features"], r["dims"], r["c"], f"{r['accuracy']:.2%}") for r in found])
    print("published, not comparable (D trained on ImageNet, all of CIFAR-10's labels): 82.8 %")
    harness.record("dcgan_features", found, out)


def splits(name, rows):
    """Return decoded (train, test) batches of at most `rows` records; the records lie in a shuffled order."""
    source = data.load(name)
    train = data.resident(source)
    if source.test:
        test = data.resident(source.test)
    else:
        cut = source.n - source.n // 5
        train, test = ({k: a[s] for k, a in train.items()} for s in (slice(cut), slice(cut, None)))
    return (data.decode({k: jnp.asarray(a[:rows]) for k, a in part.items()}) for part in (train, test))


def pooled(x, cells=4):
    """Return the maxima of x [b, ..., c] over a grid of `cells` an axis, which overlap where they don't divide it."""
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        ends = [(i * n // cells, -(-(i + 1) * n // cells)) for i in range(cells)]
        x = jnp.stack([jax.lax.slice_in_dim(x, low, high, axis=axis).max(axis) for low, high in ends], axis)
    return x


@functools.partial(jax.jit, static_argnums=0)
def flat(D, d, x):
    """Return the features [n, 16 * (channels of all convolutions)] of images x [n, h, w, c]."""

    def one(image):
        keep = lambda module, _: type(module).__name__ in ("Conv", "BatchNorm")
        _, seen = D.apply(
            {"params": d.params, **d.stats},
            image[None],
            train=False,
            capture_intermediates=keep,
            mutable="intermediates",
        )
        seen = {name: out["__call__"][0] for name, out in seen["intermediates"].items() if "__call__" in out}
        # D's first convolution has no batch norm; of the others what comes out of theirs
        layers = [x for name, x in sorted(seen.items()) if name == "Conv_0" or name.startswith("BatchNorm")]
        return jnp.concatenate([nn.leaky_relu(pooled(x), 0.2).ravel() for x in layers])

    return jax.lax.map(one, x, batch_size=500)


@functools.partial(jax.jit, static_argnums=(4, 5))
def svm(x, y, rows, c, classes, iterations):
    """Return (weights [dims, classes], biases [classes]) of the linear L2-SVM, one class against the rest.

    It minimises |w|^2 / 2 + c * sum of max(0, 1 - t f(x))^2 over the first `rows` rows, t = 1 for the class, else -1.
    """
    t = 2 * jax.nn.one_hot(y, classes) - 1

    def loss(wb):
        hinge = jax.nn.relu(1 - t * (x @ wb[0] + wb[1][None]))
        taken = (jnp.arange(len(x)) < rows)[:, None]
        return 0.5 * (wb[0] ** 2).sum() / (c * rows) + (taken * hinge**2).sum() / rows

    tx = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(loss)

    def body(carry, _):
        wb, opt = carry
        value, grad = value_and_grad(wb, state=opt)
        updates, opt = tx.update(grad, opt, wb, value=value, grad=grad, value_fn=loss)
        return (optax.apply_updates(wb, updates), opt), None

    wb = jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)
    return jax.lax.scan(body, (wb, tx.init(wb)), length=iterations)[0][0]


def fitted(xs, ys, classes, iterations, cs=(1e-5, 1e-4, 1e-3, 1e-2)):
    """Return (test accuracy, c) of the SVM on standardised features, c chosen on the last fifth of the train rows."""
    mean, std = xs[0].mean(0), xs[0].std(0)
    train, test = ((x - mean[None]) / jnp.maximum(std, 1e-6)[None] for x in xs)
    fit = lambda rows, c: svm(train, ys[0], rows, c, classes, iterations)
    right = lambda wb, x, y: float(((x @ wb[0] + wb[1][None]).argmax(-1) == y).mean())
    cut = len(train) - len(train) // 5
    held = [right(fit(cut, c), train[cut:], ys[0][cut:]) for c in cs]
    c = cs[int(np.argmax(held))]
    return right(fit(len(train), c), test, ys[1]), c


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
