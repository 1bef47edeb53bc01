"""What a linear classifier reads from features: those of D beside raw numbers and those of a D that was never trained.

The SVM of Radford et al. 2016 (arXiv 1511.06434, section 5.1), which `dcgan_features`, `gan3d_features` and
`vgan_features` have on features of their own.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import gan_jax
from benchmarks import harness
from gan_jax import data

HEAD = ("dataset", "features", "dims", "C", "test accuracy")


def splits(name, rows):
    """Return decoded (train, test) batches of at most `rows` records; the records lie in a shuffled order.

    Where there is no test split, the last fifth of the records stands for it.
    """
    source = data.load(name)
    train = data.resident(source)
    if source.test:
        test = data.resident(source.test)
    else:
        cut = source.n - source.n // 5
        train, test = ({k: a[s] for k, a in train.items()} for s in (slice(cut), slice(cut, None)))
    return tuple(data.decode({k: jnp.asarray(a[:rows]) for k, a in part.items()}) for part in (train, test))


def read(kinds: dict[str, Callable], parts, iterations, of: dict) -> list[dict]:
    """Return a row of each kind of features, {kind: x -> [n, dims]}: `of`, and what the SVM on them reads.

    parts: (train, test), each {"x", "y"}. of: facts of every row, the `dataset` with the classes of y among them.
    """
    (train, test), rows, classes = parts, [], data.load(of["dataset"]).classes
    for kind, features in kinds.items():
        ours = features(train["x"]), features(test["x"])
        accuracy, c = fitted(ours, (train["y"], test["y"]), classes, iterations)
        counts = {"train": len(train["y"]), "test": len(test["y"]), "dims": ours[0].shape[1]}
        rows.append(of | {"features": kind} | counts | {"c": c, "accuracy": accuracy})
    return rows


def read_run(module, folder, parts, plain: dict[str, Callable], iterations) -> list[dict]:
    """Return the rows of a finished run: `plain` features, and those of D's last three `layers` in 2^3 cells each."""
    run = gan_jax.load(folder)
    untrained = jax.jit(functools.partial(module.init, run.cfg))(jax.random.key(1)).d
    _, D, *_ = module.build(run.cfg)
    of = lambda d: lambda x: activations(D, d, x, tuple(layers(d)[-3:]), 2)
    facts = {"dataset": run.cfg.dataset, "steps": int(run.state.step), "width": run.cfg.width}
    kinds = plain | {"D, random": of(untrained), "D, trained": of(run.state.d)}
    return read(kinds, parts, iterations, facts | {"trained": harness.trained_by(folder)})


def report(name: str, rows: list[dict], published: str, out: str):
    """Print the rows and what is published, and append them to NAME.jsonl."""
    harness.table(HEAD, [(r["dataset"], r["features"], r["dims"], r["c"], f"{r['accuracy']:.2%}") for r in rows])
    print(published)
    harness.record(name, rows, out)


def layers(d) -> list[str]:
    """Return the names of D's layers of batch norm, or, where it has none, of its levels, in their order."""
    names = d.stats.get("batch_stats") or [name for name in d.params if name.startswith("level_")]
    return sorted(names, key=lambda name: int(name.rpartition("_")[2]))


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def activations(D, d, x, layers, cells):
    """Return the features [n, cells^axes * channels of the layers] of x [n, ..., c]: what comes out of D's `layers`.

    Of each, the leaky ReLU of the maxima over a grid of `cells` an axis.
    """

    def one(x):
        given = {"params": d.params, **d.stats}, x[None]
        keep = lambda module, _: module.name in layers
        _, seen = D.apply(*given, train=False, capture_intermediates=keep, mutable="intermediates")
        maxima = [pooled(seen["intermediates"][name]["__call__"][0], cells) for name in layers]
        return jnp.concatenate([nn.leaky_relu(x, 0.2).ravel() for x in maxima])

    return jax.lax.map(one, x, batch_size=500)


def pooled(x, cells=4):
    """Return the maxima of x [b, ..., c] over a grid of `cells` an axis, which overlap where they don't divide it."""
    for axis in range(1, x.ndim - 1):
        n = x.shape[axis]
        ends = [(i * n // cells, -(-(i + 1) * n // cells)) for i in range(cells)]
        x = jnp.stack([jax.lax.slice_in_dim(x, low, high, axis=axis).max(axis) for low, high in ends], axis)
    return x


def shrunk(x):
    """Return x [n, d, h, w, c], averaged over blocks of 4^3: [n, d h w c / 64]."""
    return nn.avg_pool(x, (4, 4, 4), (4, 4, 4)).reshape(len(x), -1)


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
