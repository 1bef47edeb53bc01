"""UNIT: two variational autoencoders share their code, so that what one set is read as, the other's decoder can draw.

Liu, Breuel and Kautz 2017, arXiv 1703.00848, as their code adapts classifiers (mingyuliutw/UNIT, branch version_02,
cocogan_trainer_da). G is both autoencoders, tied but for the ends. It descends the adversarial losses of translations
and of reconstructions + 0.001 their squared errors + 0.0001 times 2 (mean^2 + s^2 - log s^2), sums over an image. D is
tied but for its first layer, and descends the cross-entropies of data, translations and reconstructions + 10 that of
labels of the set a + 0.0001 the squared distance between its features of what both decoders made of one code. What its
head says of b, through b's first layer, is the adapted classifier.

a is the set `source`, with labels, b the set `dataset`, without. `sample` translates held-out pictures of a.

Differences from the paper and the authors' code:
1. The paper's loss of there and back again is not here, nor is it in the authors' code for adaptation. Their code for
   pictures has it, and other nets (residual, instance norm) and weights.
2. The default's nets have an eighth of the width, its batches half the images, its rate is five times as high and it
   makes 800 steps; the preset `paper` has the numbers of the one published setting, SVHN to MNIST.
3. Both nets are updated at once, from the same codes; labels are read in the same pass of D as data.
4. The code has two more channels, of coordinates, and shows the inverse of MNIST's digits half the time for SVHN.
5. Layers under batch norm have no bias of their own; it would have no gradient.
6. Images are 28x28 (there 32x32); E's third kernel takes what is left, 7x7 (there 8x8).

    python -m experiments unit                                           MNIST's labels, adapted to USPS, all images
    python -m experiments unit --dataset mnist --source usps,size=28     and back

The default is too small and too short to adapt: its decoders collapse (docs/results/pairs.md).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import unit
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps,size=28"  # b, the target, whose labels nobody sees
    source: str = "mnist"  # a, with labels; of the same size, 16x16 at least
    images: int = 0  # how many of b are seen; 0: all
    source_images: int = 0  # how many of a
    steps: Count = 800  # joint updates of G and D
    batch_size: Count = 32  # images of each set a step
    width: Count = 8  # channels of G's first layers
    d_width: Count = 8  # channels of D's first layers
    classify: float = 10.0  # weight of the labels in D's loss
    matching: float = 1e-4  # weight of the distance between features in D's loss
    reconstruct: float = 1e-3  # weight of the squared error of an image in G's loss
    kl: float = 1e-4  # weight of the code's distance from N(0, I) in G's loss
    weight_decay: float = 5e-4  # times the parameters, added to their gradients
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config(steps=200_000, batch_size=64, width=64, d_width=64, lr=2e-4),
    "tiny": Config("digits16", "digits16", 100, 100, steps=6, batch_size=8, width=2, d_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # both autoencoders
    d: Player  # both D, with the head


def build(cfg):
    source = data.load(cfg.source)
    tx = optax.chain(optax.add_decayed_weights(cfg.weight_decay), optax.adam(cfg.lr, cfg.b1))
    return unit.G(source.shape, cfg.width), unit.D(source.classes, cfg.d_width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.source).shape))
    g = create(G, tx, rng.at(key, 0, "g"), x, x, jnp.zeros((2, 8 * cfg.width)))
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), x, x))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    a, y, b = batch["source"]["x"], batch["source"]["y"], batch["x"]["x"]  # [b, h, w, c], [b], [b, h, w, c]
    noise = rng.normal(rng.at(state.key, state.step, "code"), (2 * len(a), 8 * cfg.width))

    def seen(d_params, a, b, drop):  # scores [2 b], logits [2 b, classes], features [2 b, f]
        return forward(D, d_params, {}, a, b, rng.at(state.key, state.step, drop))[0]

    def d_loss(d_params, translated, rebuilt):
        real_score, logits, _ = seen(d_params, a, b, "data")
        there, _, f_there = seen(d_params, *translated, "there")
        back, _, f_back = seen(d_params, *rebuilt, "rebuilt")
        adversarial = 0.5 * (loss.d(real_score, there) + loss.d(real_score, back)).mean()
        named = optax.softmax_cross_entropy_with_integer_labels(logits[: len(a)], y).mean()
        apart = 2 * ((jnp.roll(f_there, len(a), 0) - f_back) ** 2).sum(1).mean()  # of (a as b, b as a) and of (a, b)
        said = {"loss/d": adversarial, "loss/labels": named, "loss/matching": apart}
        said |= {"score/real": real_score.mean(), "score/fake": 0.5 * (there + back).mean()}
        return adversarial + cfg.classify * named + cfg.matching * apart, said

    def g_loss(g_params):
        (as_a, as_b, mean, s), stats = forward(G, g_params, state.g.stats, a, b, noise)
        (aa, ba), (ab, bb) = jnp.split(as_a, 2), jnp.split(as_b, 2)
        there = seen(state.d.params, ba, ab, "there, by G")[0]
        rebuilt = seen(state.d.params, aa, bb, "rebuilt, by G")[0]
        adversarial = (loss.g(None, there) + loss.g(None, rebuilt)).mean()
        error = sum(((new - x) ** 2).sum((1, 2, 3)).mean() for new, x in ((aa, a), (bb, b)))
        kl = (mean**2 + s**2 - 2 * jnp.log(s)).sum(1).mean()
        value = adversarial + cfg.reconstruct * error + 2 * cfg.kl * kl
        return value, (stats, (ba, ab), (aa, bb), {"loss/g": adversarial, "error": error, "kl": kl})

    g_grads, (stats, translated, rebuilt, of_g) = jax.grad(g_loss, has_aux=True)(state.g.params)
    d_grads, of_d = jax.grad(d_loss, has_aux=True)(state.d.params, translated, rebuilt)
    g, d = descend(state.g, g_grads, tx, stats), descend(state.d, d_grads, tx)
    return State(state.step + 1, state.key, g, d), of_g | of_d


def drawn(cfg, state, key, x, domain):
    """Return what both decoders make of codes, drawn, of images x of the domain "a" or "b": (as a, as b)."""
    G, *_ = build(cfg)
    of, noise = ((x, None) if domain == "a" else (None, x)), rng.normal(key, (len(x), 8 * cfg.width))
    return forward(G, state.g.params, state.g.stats, *of, noise, train=False)[0][:2]


def sample(cfg, state, key, n):
    return drawn(cfg, state, key, data.examples(data.load(cfg.source), key, n)["x"], "a")[1]


def named(cfg, d, x, domain):
    """Return what the head of a D says of images x [b, h, w, c] of the domain "a" or "b": logits [b, classes]."""
    _, D, _ = build(cfg)
    return forward(D, d.params, d.stats, *((x, None) if domain == "a" else (None, x)))[0][1]


def measure(cfg, state, key, train, test):
    """Return pictures of both ways, there and back, and what share of both test splits D names right."""
    found = {}
    for name, domain in {"source": "a", "x": "b"}.items():
        if name not in test:
            continue
        x = data.decode({"x": test[name]["x"][:12]})["x"]
        other = "ba"["ab".index(domain)]
        new = drawn(cfg, state, key, x, domain)["ab".index(other)]
        back = drawn(cfg, state, key, new, other)["ab".index(domain)]
        rows = ("test", "there", "and back")
        found[domain + other] = Picture(jnp.stack([x, new, back]), rows=rows)
        if "y" in test[name]:
            said = lambda x, of=domain: named(cfg, state.d, data.decode({"x": x})["x"][None], of)[0].argmax()
            guesses = jax.lax.map(said, test[name]["x"], batch_size=500)
            found["accuracy/" + {"a": "source", "b": "target"}[domain]] = metrics.agreement(guesses, test[name]["y"])
    return found


def setup(cfg):
    a, b = data.load(cfg.source), data.load(cfg.dataset)
    if not a.classes:
        raise UserError(f"{a.name} has no labels, and those of --source are what is learned.")
    if a.shape != b.shape or (b.kind == "image" and min(b.shape[:2]) < 16):
        raise UserError(
            f"{cfg.source} is {a.shape} and {cfg.dataset} is {b.shape}: both have to be of one size, 16x16 at least.\n"
            "Say so behind the name: usps,size=28."
        )
    sets = data.join(x=data.few(b, cfg.images), source=data.few(data.labelled(a), cfg.source_images))
    return Setup(sets, cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
