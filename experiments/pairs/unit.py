"""UNIT: two variational autoencoders share their code, so that what one set is read as, the other's decoder can draw.

Liu, Breuel and Kautz 2017, arXiv 1703.00848. G is both autoencoders, tied but for the ends. It descends the adversarial
losses of translations and of reconstructions + `reconstruct` times the squared errors of what is rebuilt and of what
came back from the other set + `kl` times 2 (mean^2 + s^2 - log s^2) of the codes there and back; sums over an image, a
code. D is tied but for its first layer. As in the authors' code for adaptation (mingyuliutw/UNIT, branch version_02) it
descends the cross-entropies of data, translations and reconstructions + 10 that of labels of the set a + `matching`
times the squared distance between its features of what both decoders made of one code. What its head says of b, through
b's first layer, is the adapted classifier.

a is the set `source`, with labels, b the set `dataset`, without. `sample` translates held-out pictures of a.

Differences from the paper and the authors' code:
1. The authors' code for adaptation has no loss of what came back. The paper has one, and their code for pictures, with
   absolute errors, s = 1 and other nets. The way back has the weights of the way there, as in the paper.
2. The default is small and short: 16x16, an eighth of the width, half the batch, five times the rate, no dropout. With
   the authors' weights its code stays empty and a decoder draws one picture: `reconstruct` is 50 times as large, `kl`
   5 times, `matching` 100 times. The preset `paper` has the numbers of their one setting, SVHN to MNIST.
3. The layers before tanh begin at N(0, 1/channels) (there N(0, 0.02^2), from which narrow nets reach no white), own
   layers of b, D's too, as copies of those of a, G's biases at 0; under batch norm there is one (there two).
4. Both nets are updated at once, from the same codes; labels are read with the data. Statistics are of the way there.
5. The code shows G the coordinates, too, and for SVHN the inverse of MNIST's digits half the time. It keeps the best of
   many looks at the test split; accuracy here is that of the last step.

    python -m experiments unit                                           MNIST's labels, adapted to USPS, all images
    python -m experiments unit --dataset mnist,size=16 --source usps     and back
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import unit
from gan_jax.run import Count, Decay, Picture, Setup, Share, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "usps"  # b, the target, whose labels nobody sees
    source: str = "mnist,size=16"  # a, with labels; of the same size, 16x16 at least
    images: int = 0  # how many of b are seen; 0: all
    source_images: int = 0  # how many of a
    steps: Count = 3000  # joint updates of G and D
    batch_size: Count = 32  # images of each set a step
    width: Count = 8  # channels of G's first layers
    d_width: Count = 8  # channels of D's first layers
    drop: Share = 0.0  # share of D's last features that its heads don't see
    classify: float = 10.0  # weight of the labels in D's loss
    matching: float = 0.01  # weight of the distance between features in D's loss
    reconstruct: float = 0.05  # weight of the squared errors of an image, rebuilt and come back, in G's loss
    kl: float = 5e-4  # weight of the codes' distance from N(0, I) in G's loss
    weight_decay: float = 5e-4  # times the parameters, added to their gradients
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PAPER = {"width": 64, "d_width": 64, "drop": 0.5, "matching": 1e-4, "reconstruct": 1e-3, "kl": 1e-4, "lr": 2e-4}
PRESETS = {
    "default": Config(),
    "paper": Config("usps,size=32", "mnist,size=32", steps=200_000, batch_size=64, **PAPER),
    "tiny": Config("digits16", "digits16", 100, 100, steps=6, batch_size=8, width=2, d_width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player  # both autoencoders
    d: Player  # both D, with the head


def build(cfg):
    source = data.load(cfg.source)
    tx = optax.chain(optax.add_decayed_weights(cfg.weight_decay), optax.adam(cfg.lr, cfg.b1))
    return unit.G(source.shape, cfg.width), unit.D(source.classes, cfg.d_width, cfg.drop), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.source).shape))
    g = create(G, tx, rng.at(key, 0, "g"), x, x, jnp.zeros((2, 8 * cfg.width)))
    d = create(D, tx, rng.at(key, 0, "d"), x, x)
    alike = lambda p: p | {name: p[name.replace("_b", "_a")] for name in p if name.partition("_")[2].startswith("b")}
    return State(jnp.int32(0), key, *(player._replace(params=alike(player.params)) for player in (g, d)))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    a, y, b = batch["source"]["x"], batch["source"]["y"], batch["x"]["x"]  # [b, h, w, c], [b], [b, h, w, c]
    noise = rng.normal(rng.at(state.key, state.step, "code"), (2, 2 * len(a), 8 * cfg.width))

    def seen(d_params, as_a, as_b, drop):  # of some batches of a, as many of b: [both, batches, b, ...] each
        found = forward(D, d_params, {}, *map(jnp.concatenate, (as_a, as_b)), rng.at(state.key, state.step, drop))[0]
        return (part.reshape(2, len(as_a), len(a), *part.shape[1:]) for part in found)

    def d_loss(d_params, rebuilt, there):  # rebuilt: as a and as b; there: of b as a and of a as b
        scores, logits, features = seen(d_params, *zip((a, b), there, rebuilt, strict=True), "data and fakes")
        real_score, fake_scores = scores[:, :1], scores[:, 1:]
        adversarial = loss.d(real_score, fake_scores).mean()
        named = optax.softmax_cross_entropy_with_integer_labels(logits[0, 0], y).mean()
        apart = 2 * ((features[::-1, 1] - features[:, 2]) ** 2).sum(-1).mean()  # of one code, by both decoders
        said = {"loss/d": adversarial, "loss/labels": named, "loss/matching": apart}
        said |= {"score/real": real_score.mean(), "score/fake": fake_scores.mean()}
        return adversarial + cfg.classify * named + cfg.matching * apart, said

    def g_loss(g_params):
        (as_a, as_b, *code), stats = forward(G, g_params, state.g.stats, a, b, noise[0])
        (aa, ba), (ab, bb) = jnp.split(as_a, 2), jnp.split(as_b, 2)
        (aba, bab, *code_there), _ = forward(G, g_params, state.g.stats, ba, ab, noise[1], False)  # not rebuilt again
        scores, *_ = seen(state.d.params, (ba, aa), (ab, bb), "fakes, by G")
        adversarial = 2 * loss.g(None, scores).mean()
        error = lambda *pairs: sum(((new - x) ** 2).sum((1, 2, 3)).mean() for new, x in pairs)
        rebuilt, back = error((aa, a), (bb, b)), error((aba, a), (bab, b))
        kl = sum((mean**2 + s**2 - 2 * jnp.log(s)).sum(1).mean() for mean, s in (code, code_there))
        value = adversarial + cfg.reconstruct * (rebuilt + back) + 2 * cfg.kl * kl
        return value, (stats, (aa, bb), (ba, ab), {"loss/g": adversarial, "rebuilt": rebuilt, "back": back, "kl": kl})

    g_grads, (stats, rebuilt, there, of_g) = jax.grad(g_loss, has_aux=True)(state.g.params)
    d_grads, of_d = jax.grad(d_loss, has_aux=True)(state.d.params, rebuilt, there)
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
    return forward(build(cfg)[1], d.params, d.stats, *((x, None) if domain == "a" else (None, x)))[0][1]


def measure(cfg, state, key, train, test):
    """Return pictures of both ways, there and back, and what share of both test splits D names right."""
    found = {}
    for name, domain, dataset in (("source", "a", cfg.source), ("x", "b", cfg.dataset)):
        if name not in test:
            continue
        x = data.decode({"x": test[name]["x"][:12]})["x"]
        other = "ba"["ab".index(domain)]
        new = drawn(cfg, state, key, x, domain)["ab".index(other)]
        back = drawn(cfg, state, key, new, other)["ab".index(domain)]
        found[domain + other] = Picture(jnp.stack([x, new, back]), rows=("test", "there", "and back"))
        if "y" in test[name] and data.same_labels(data.load(cfg.source), data.load(dataset)):
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
