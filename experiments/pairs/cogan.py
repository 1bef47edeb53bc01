"""CoGAN: two GANs that share weights draw pairs of images of two sets, of which no pair was ever seen.

Liu and Tuzel 2016, arXiv 1606.07536. One z makes two images: all layers of the two G are one but the last, those of the
two D one but the first. A head on D's last features names the class and learns from labels of the set a alone; what it
says of b, through b's first layer, is the adapted classifier (section 5 of the paper). As in the authors' code
(mingyuliutw/CoGAN, cogan_pytorch), D descends the cross-entropies of both domains, their mean, + 10 that of the labels
+ 0.01 |f(a) - f(b)|^2 between the features of generated pairs.

a is the set `source`, with labels, b the set `dataset`, without. Which 2,000 and 1,800 images are seen is drawn by the
seed. `accuracy/target` is of b's whole test split. `accuracy/target_seen` is of the images of b that training saw
without their labels: with MNIST to USPS in the small setting that is what the authors measured.

Differences from the paper and the authors' code:
1. The default's nets are narrower (G a sixteenth, D half), its batches half as large, its rate is five times as high,
   and it makes 1,500 steps; the preset `paper` has the published numbers.
2. Both nets are updated at once, from the same z (in the code G's update follows D's, with new noise).
3. Layers under batch norm have no bias: it would have no gradient.
4. USPS is the official split, 7,291 and 2,007 images (there: one of the authors' own, 7,438 and 1,860), enlarged by
   areas.
5. The paper reports 25,000 updates by its first code, in which labels weigh less; numbers here are those of the later
   code, with 10,000.

    python -m experiments cogan                                           MNIST's labels, adapted to USPS
    python -m experiments cogan --dataset mnist --source usps,size=28 --images 2000 --source-images 1800     and back
    python -m experiments cogan --images 0 --source-images 0              all images
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import cogan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps,size=28"  # b, the target, whose labels nobody sees
    source: str = "mnist"  # a, with labels; of the same size, 16x16 at least
    images: int = 1800  # how many of b are seen; 0: all
    source_images: int = 2000  # how many of a
    steps: Count = 1500  # joint updates of G and D
    batch_size: Count = 32  # images of each set, and pairs, a step
    z_dim: Count = 100  # the latent, normal
    width: Count = 8  # channels of G at its finest level
    d_width: Count = 10  # channels of D's first layers
    classify: float = 10.0  # weight of the labels in D's loss
    matching: float = 0.01  # weight of the distance between the features of a pair in D's loss
    weight_decay: float = 5e-4  # times the parameters, added to their gradients
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "images": Config(),
    "paper": Config(steps=10_000, batch_size=64, width=128, d_width=20, lr=2e-4),
    "tiny": Config("digits16", "digits16", 100, 100, steps=6, batch_size=8, z_dim=4, width=4, d_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # both G
    d: Player  # both D, with the head


def build(cfg):
    source = data.load(cfg.source)
    tx = optax.chain(optax.add_decayed_weights(cfg.weight_decay), optax.adam(cfg.lr, cfg.b1))
    return cogan.G(source.shape, cfg.width), cogan.D(source.classes, cfg.d_width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, *data.load(cfg.source).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x, x))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    a, y, b = batch["source"]["x"], batch["source"]["y"], batch["x"]["x"]  # [b, h, w, c], [b], [b, h, w, c]
    z = rng.normal(rng.at(state.key, state.step, "z"), (len(a), cfg.z_dim))

    def seen(d_params, a, b):  # scores [2 b], logits [2 b, classes], features [2 b, f]
        return forward(D, d_params, {}, a, b)[0]

    def d_loss(d_params, fakes):
        real_score, logits, _ = seen(d_params, a, b)
        fake_score, _, f = seen(d_params, *fakes)
        named = optax.softmax_cross_entropy_with_integer_labels(logits[: len(a)], y).mean()
        apart = ((f[: len(a)] - f[len(a) :]) ** 2).sum(1).mean()
        adversarial = loss.d(real_score, fake_score).mean()
        said = {"loss/d": adversarial, "loss/labels": named, "loss/matching": apart}
        said |= {"score/real": real_score.mean(), "score/fake": fake_score.mean()}
        return adversarial + cfg.classify * named + cfg.matching * apart, said

    def g_loss(g_params):
        fakes, stats = forward(G, g_params, state.g.stats, z)
        return loss.g(None, seen(state.d.params, *fakes)[0]).mean(), (fakes, stats)

    (g_value, (fakes, stats)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    d_grads, found = jax.grad(d_loss, has_aux=True)(state.d.params, fakes)
    g, d = descend(state.g, g_grads, tx, stats), descend(state.d, d_grads, tx)
    return State(state.step + 1, state.key, g, d), {"loss/g": g_value} | found


def pairs(cfg, state, z):
    """Return images of both sets, [n, h, w, c] each, that belong together."""
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, z, train=False)[0]


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    return pairs(cfg, state, z)[1]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def named(cfg, d, x, domain):
    """Return what the head of a D says of images x [b, h, w, c] of the domain "a" or "b": logits [b, classes]."""
    _, D, _ = build(cfg)
    return forward(D, d.params, d.stats, *((x, None) if domain == "a" else (None, x)))[0][1]


def chosen(cfg, key):
    """Return which of b's records a run with this key sees: [images]."""
    key = rng.at(key, 0, "x")  # the one that `join` hands to the part of that name
    return data.few(data.load(cfg.dataset), cfg.images).pick(key, 0, cfg.images)


def measure(cfg, state, key, train, test):
    """Return pairs, and what share of both test splits, and of the images of b that were seen, D names right."""
    same = data.same_labels(data.load(cfg.source), data.load(cfg.dataset))
    found = {"pairs": Picture(jnp.stack(pairs(cfg, state, latent(cfg, key, 12))), rows=("a", "b, of the same z"))}

    def accuracy(raw, domain):
        said = lambda x: named(cfg, state.d, data.decode({"x": x})["x"][None], domain)[0].argmax()
        return metrics.agreement(jax.lax.map(said, raw["x"], batch_size=500), raw["y"])

    for name, domain in {"source": "a", "x": "b"}.items():
        if "y" in test.get(name, {}) and (domain == "a" or same):
            found["accuracy/" + {"a": "source", "b": "target"}[domain]] = accuracy(test[name], domain)
    if cfg.images and "y" in train.get("x", {}) and same:
        found["accuracy/target_seen"] = accuracy(data.take(train["x"], chosen(cfg, state.key)), "b")
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
