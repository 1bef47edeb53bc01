"""Adversarial examples: steps within eps of a picture fool a classifier, one that trained on them much less.

FGSM is one step of eps along the sign of the error's gradient in the picture (Goodfellow, Shlens and Szegedy 2015,
arXiv 1412.6572); PGD is many small ones from a random place within eps, cut back to it after each (Madry, Makelov,
Schmidt, Tsipras and Vladu 2018, arXiv 1706.06083). Three nets learn at once from the same batches: `c` plainly; `r` by
adversarial training, the saddle point min_w E max_{|e| <= eps} error(w, x + e, y), on examples of itself; and a
detector `d`, which tells pictures from examples of `c`, as a D tells data from samples (Metzen, Genewein, Fischer and
Bischoff 2017, arXiv 1702.04267, look at the classifier's features instead).

`measure` attacks both classifiers with FGSM and PGD on the first `tested` test pictures, each by its own gradient, and
asks the detector for both kinds of examples of `c`; it is not attacked itself.

Differences from the papers (of which the second has code, github.com/MadryLab/mnist_challenge at 6f91f83):
1. One step is one update of each net; there they are trained one after the other. FGSM's paper trains maxout nets.
2. Only the preset `paper` trains as Madry et al. do. By default it is Wong, Rice and Kolter's "Fast is better than
   free" (2020, arXiv 2001.03994): one step of 1.25 eps from a random place, their small net of strided convolutions,
   a rate that rises and falls; but in 6 epochs with batches of 50 (there: 10, of 100).
3. Flax' initial weights (there: truncated normal of deviation 0.1, biases of 0.1).
4. The preset `fgsm` is FGSM's adversarial training: half the error is that of the picture itself.

    python -m experiments adversarial_examples                    MNIST: accuracy, plain and attacked; AUROC
    python -m experiments adversarial_examples --preset fgsm      trained on FGSM examples, as in its paper
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics.roc import auroc
from gan_jax.nets import robust
from gan_jax.run import Count, Depth, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "mnist"  # any TFDS image set with labels by name
    steps: Count = 7500  # updates of each net
    batch_size: Count = 50  # pictures a step
    eps: float = 0.3  # how far a pixel may be moved, of the way from black to white
    attack_steps: Depth = 1  # steps of the attack in training
    attack_size: float = 0.375  # of each of them, likewise
    start: Share = 1.0  # the attack in training begins this part of eps away, at random
    clean: Share = 0.0  # weight of the pictures themselves in adversarial training, beside their examples
    test_steps: Depth = 40  # steps of PGD in `measure`
    test_size: float = 0.01  # of each of them
    tested: Count = 300  # test pictures that are attacked
    width: Count = 16  # channels of the first convolution
    hidden: Count = 100  # units of the layer above the convolutions
    lr: float = 5e-3  # Adam's highest rate, for all
    rise: Share = 0.4  # it is reached after this part of all steps, then falls to 0; 0: it stays the same throughout
    strided: bool = True  # convolutions at every second place; False: at all, and maxima of 2 x 2


PRESETS = {
    "default": Config(),
    "images": Config(),
    "fgsm": Config(eps=0.25, attack_size=0.25, start=0.0, clean=0.5),
    "paper": Config("mnist", 100_000, 50, 0.3, 40, 0.01, 1.0, 0.0, 40, 0.01, 10_000, 32, 1024, 1e-4, 0.0, False),
    "tiny": Config("digits", 6, 8, 0.3, 2, test_steps=2, test_size=0.2, tested=50, width=2, hidden=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    c: Player  # the classifier that sees no attack
    r: Player  # the one that does
    d: Player  # the detector


def build(cfg):
    C = robust.Classifier(data.load(cfg.dataset).classes, cfg.width, cfg.hidden, cfg.strided)
    rate = lambda n: cfg.lr * jnp.interp(jnp.float32(n + 1) / cfg.steps, *jnp.float32([[0, cfg.rise, 1], [0, 1, 0]]))
    return C, robust.Detector(cfg.width, cfg.hidden, cfg.strided), optax.adam(rate if cfg.rise else cfg.lr)


def init(cfg, key):
    C, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    players = (create(net, tx, rng.at(key, 0, of), x) for of, net in {"c": C, "r": C, "d": D}.items())
    return State(jnp.int32(0), key, *players)


def error(C, params, x, y):
    """Return -log p(y | x) [b]."""
    return optax.softmax_cross_entropy_with_integer_labels(forward(C, params, {}, x)[0], y)


def attacked(C, params, x, y, eps, size, steps, away=0.0):
    """Return x [b, ...] after steps of `size` uphill in the error, each cut back to within eps of x and to [-1, 1].

    eps, size: of the way from black to white, which is 2 here. away [b, ...]: where the steps begin, beside x.
    """

    def climb(_, at):
        slope = jax.grad(lambda at: error(C, params, at, y).sum())(at)
        at = at + 2 * size * jnp.sign(slope)
        return jnp.clip(jnp.clip(at, x - 2 * eps, x + 2 * eps), -1, 1)

    return jax.lax.fori_loop(0, steps, climb, x + away)


def step(cfg, state, batch):
    C, D, tx = build(cfg)
    x, y = batch["x"], batch["y"]  # [b, h, w, c], [b]
    away = rng.uniform(rng.at(state.key, state.step, "away"), x.shape, minval=-1.0, maxval=1.0)
    away = 2 * cfg.eps * cfg.start * away
    example = lambda params: attacked(C, params, x, y, cfg.eps, cfg.attack_size, cfg.attack_steps, away)
    of_c, of_r = example(state.c.params), example(state.r.params)
    c_loss = lambda params: error(C, params, x, y).mean()

    def r_loss(params):
        beside = cfg.clean * error(C, params, x, y).mean() if cfg.clean else 0.0
        return (1 - cfg.clean) * error(C, params, of_r, y).mean() + beside

    def d_loss(params):
        real_score, fake_score = (forward(D, params, {}, x)[0] for x in (x, of_c))  # [b], [b]
        return losses.non_saturating.d(real_score, fake_score).mean(), (real_score.mean(), fake_score.mean())

    c_value, c_grads = jax.value_and_grad(c_loss)(state.c.params)
    r_value, r_grads = jax.value_and_grad(r_loss)(state.r.params)
    (d_value, (real, fake)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    players = (descend(p, g, tx) for p, g in ((state.c, c_grads), (state.r, r_grads), (state.d, d_grads)))
    found = {"error/plain": c_value, "error/trained": r_value, "error/detector": d_value}
    return State(state.step + 1, state.key, *players), found | {"detector/clean": real, "detector/attacked": fake}


def by_pgd(cfg, params, x, y, key):
    """Return PGD examples of a classifier by the attack of `measure`, which begins anywhere within eps of x."""
    away = 2 * cfg.eps * rng.uniform(key, x.shape, minval=-1.0, maxval=1.0)
    return attacked(build(cfg)[0], params, x, y, cfg.eps, cfg.test_size, cfg.test_steps, away)


def sample(cfg, state, key, n):
    """Return PGD examples of the plain classifier, of pictures that are held out."""
    row = data.examples(data.load(cfg.dataset), key, n)
    return by_pgd(cfg, state.c.params, row["x"], row["y"], rng.at(key, 0, "away"))


def examined(cfg, state, params, row):
    """Return {"x", "said", "score"} [3, ...] of a picture, its FGSM and PGD examples: label said, detector's score."""
    C, D, _ = build(cfg)
    x, y, key = row[0][None], row[1][None], row[2]
    fgsm = attacked(C, params, x, y, cfg.eps, cfg.eps, 1)
    x = jnp.concatenate([x, fgsm, by_pgd(cfg, params, x, y, key)])
    logits, score = (forward(net, p, {}, x, train=False)[0] for net, p in ((C, params), (D, state.d.params)))
    return {"x": x, "said": logits.argmax(1), "score": score}


def measure(cfg, state, key, train, test):
    if "y" not in test:
        return {}
    row = data.decode({name: test[name][: cfg.tested] for name in "xy"})
    of, found, keys = {}, {}, jax.random.split(key, len(row["y"]))
    for name, player in {"plain": state.c, "trained": state.r}.items():
        one = lambda row, params=player.params: examined(cfg, state, params, row)
        of[name] = jax.lax.map(one, (row["x"], row["y"], keys), batch_size=250)
        for i, kind in enumerate(("clean", "fgsm", "pgd")):
            found[f"{name}/{kind}"] = metrics.agreement(of[name]["said"][:, i], row["y"])
    clean, *scores = of["plain"]["score"].T
    found |= {f"auroc/{kind}": auroc(clean, score) for kind, score in zip(("fgsm", "pgd"), scores, strict=True)}
    rows = [(of[name], i) for name in of for i in (0, 2)]
    x, said = (jnp.stack([found[part][:12, i] for found, i in rows]) for part in ("x", "said"))
    titles = "plain: test pictures", "plain: PGD examples", "trained: test pictures", "trained: PGD examples"
    return found | {"examples": Picture(x, rows=titles, about=said, field=data.load(cfg.dataset).row["y"])}


def setup(cfg):
    return Setup(data.labelled(data.load(cfg.dataset)), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
