"""TP-GAN: a face seen from the side is turned to the front, by a path for all of it and paths for eyes, nose and mouth.

Huang, Zhang, Li and He 2017, arXiv 1704.04086. G makes the front at three sizes, and its four patches; what the paths
of the patches made is handed to the end of the global one. G descends the L1 of all these; that of right halves from
left ones, which stay, in pixels and edges (pictures whose left half is hidden are mirrored); -log D; that of features
of F, which knows people; the cross-entropy of the person, read off G's code; and the total variation.

Differences from the paper and the authors' code (HRLTY/TP-GAN):
1. Patches stand at fixed places, in side views too: there are no landmarks here.
2. F is small and learns the training people beside G, so its weight is another; there a Light CNN was trained before.
3. A step is one update of each; the code updates G twice, its patches by two Adams, and has labels of 0 and 0.9 for D.
4. Losses are over the pixels of the largest picture, which suits the paper's weights (quoted from memory); the code
   sums. The weights of sizes, patches (3) and the person (10 for sums over 128x128), and D's 4x4 places are the code's.
5. Pictures lie in [-1, 1], smaller ones are means of pixels; there they lie in [0, 1), and each second pixel is taken.
6. Nets are normalised by running statistics after training, in the code always by the batch; biases before it are left
   out. They are less deep for smaller pictures. The default has no residual blocks, and pairs are enlarged and cut.

    python -m experiments tpgan             faces of CMU to the front; with pairs of your own: SET,x=FRONT,source=SIDE
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier, identity
from gan_jax.nets import tpgan
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program

CMU = "cmu_faces,y=person:label,pose=pose,person=person,expression=expression,sunglasses=sunglasses"


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = CMU  # pairs, x and source; or pictures whose pose and people, y, are known
    straight: int = 0  # the pose that is made
    mirrored: int = 2  # the pose whose pictures are mirrored: there the left half is hidden
    frame: tuple[int, int, int] = (13, 15, 32)  # where the faces are: top, left and side; side 0: whole pictures
    jitter: float = 1.1  # how much pairs are enlarged, to be cut anywhere; 0: as they are
    steps: Count = 1000  # updates of all three
    batch_size: Count = 16  # pairs a step
    scales: tuple[float, float, float] = (1.0, 1.0, 1.5)  # weights of L1 and symmetry, from the largest picture on
    parts: float = 3.0  # weight of the patches' L1
    symmetry: float = 0.3  # lambda 1
    adversarial: float = 1e-3  # lambda 2
    identity: float = 0.03  # lambda 3, of the L1 of features
    smooth: float = 1e-4  # lambda 4, of the total variation
    people: float = 6e-4  # weight of the person's cross-entropy
    width: Count = 16  # channels at full resolution
    blocks: Depth = 0  # residual blocks where the published nets have one
    lr: float = 1e-3  # Adam's rate for all three
    b1: Decay = 0.9  # Adam's decay of the first moment


_paper = {"steps": 100_000, "batch_size": 10, "identity": 3e-3, "width": 64, "blocks": 1, "lr": 1e-4}
PRESETS = {
    "default": Config(),
    "paper": Config(f"{CMU},size=240", frame=(52, 52, 128), jitter=0, **_paper),
    "tiny": Config("digits,x=image,source=image", frame=(0, 0, 0), jitter=0, steps=6, batch_size=8, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    f: Player


def faces(cfg):
    """Return the set, cut to the faces."""
    source = data.load(cfg.dataset)
    return data.framed(source, *cfg.frame) if cfg.frame[2] else source


def pairs(cfg):
    """Return the source of pairs, x and `source`: of the set, or of the poses of people, all other fields in common."""
    source = faces(cfg)
    turning = lambda: data.mirrored(data.counterparts(source, "pose", cfg.straight), "pose", cfg.mirrored)
    return data.matching(source) if "source" in source.fields else turning()


def build(cfg):
    people, w = faces(cfg).classes, cfg.width
    return tpgan.G(people, w, cfg.blocks), tpgan.D(w, cfg.blocks), tpgan.F(people, w), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, F, tx = build(cfg)
    x = jnp.zeros((1, *pairs(cfg).shape))
    nets = {"g": (G, x, key), "d": (D, x), "f": (F, x)}
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, of), *x) for of, (net, *x) in nets.items()))


def pixelwise(cfg, x, made, front):
    """Return L1 of three pictures, of their right halves and of the patches, and the variation: over x's pixels."""
    per_pixel = lambda a: jnp.abs(a).sum((1, 2)).mean() / (x.shape[1] * x.shape[2])
    uneven = lambda a: (a - jnp.flip(jax.lax.stop_gradient(a), 2))[:, :, -(a.shape[2] // 2) :]  # right from left
    large, *others = made
    truths = x, tpgan.halved(x), tpgan.halved(tpgan.halved(x))
    seen = tpgan.halved(large), *(jnp.concatenate([a, tpgan.edges(a)], 3) for a in others)
    l1 = sum(s * per_pixel(a - b) for s, a, b in zip(cfg.scales, made, truths, strict=True))
    symmetry = sum(s * per_pixel(uneven(a)) for s, a in zip(cfg.scales, seen, strict=True))
    parts = sum(per_pixel(a - b) for a, b in zip(front, tpgan.patches(x), strict=True))
    variation = x.shape[3] * (per_pixel(large[:, 1:] - large[:, :-1]) + per_pixel(large[:, :, 1:] - large[:, :, :-1]))
    return l1 + cfg.symmetry * symmetry + cfg.parts * parts + cfg.smooth * variation


def step(cfg, state, batch):
    G, D, F, tx = build(cfg)
    loss, source, x, y = losses.non_saturating, batch["source"], batch["x"], batch["y"]
    of_g = lambda params: forward(G, params, state.g.stats, source, rng.at(state.key, state.step, "g"))
    cross = lambda logits, y: optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    made, back, g_stats = jax.vjp(of_g, state.g.params, has_aux=True)

    def d_loss(params):
        real, stats = forward(D, params, state.d.stats, x)  # [b, places]; D keeps the statistics of data
        fake, _ = forward(D, params, state.d.stats, made[0][0])
        return loss.d(real, fake).mean(), (stats, *(jax.nn.sigmoid(score).mean() for score in (real, fake)))

    def f_loss(params):
        (logits, *_), stats = forward(F, params, state.f.stats, jnp.concatenate([source, x]))
        return cross(logits, jnp.tile(y, 2)), stats

    def g_loss(made):
        pictures, front, logits = made
        fooling = loss.g(None, forward(D, d.params, d.stats, pictures[0])[0]).mean()
        seen, truth = (forward(F, f.params, f.stats, a, train=False)[0][1:] for a in (pictures[0], x))
        alike = sum(jnp.abs(a - b).mean() for a, b in zip(seen, truth, strict=True))
        value = pixelwise(cfg, x, pictures, front) + cfg.adversarial * fooling + cfg.identity * alike
        return value + cfg.people * cross(logits, y), {"loss/g": fooling, "l1": jnp.abs(pictures[0] - x).mean()}

    (d_value, (d_stats, p_real, p_fake)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    (f_value, f_stats), f_grads = jax.value_and_grad(f_loss, has_aux=True)(state.f.params)
    d, f = descend(state.d, d_grads, tx, d_stats), descend(state.f, f_grads, tx, f_stats)
    slopes, metrics = jax.grad(g_loss, has_aux=True)(made)
    g = descend(state.g, *back(slopes), tx, g_stats)
    metrics |= {"loss/d": d_value, "loss/f": f_value, "p/real": p_real, "p/fake": p_fake}
    return State(state.step + 1, state.key, g, d, f), metrics


def turned(cfg, state, key, x):
    """Return what G makes of side views x [n, h, w, c]: [n, h, w, c]."""
    return forward(build(cfg)[0], state.g.params, state.g.stats, x, key, train=False)[0][0][0]


def sample(cfg, state, key, n):
    return turned(cfg, state, key, data.examples(pairs(cfg), key, n)["source"])


def measure(cfg, state, key, train, test):
    """Return how far up to 256 test fronts are from the truth, and whose the judge's features say that they are."""
    if not test or not train:
        return {}
    first = lambda n, source, raw: source.make(some := jax.tree.map(lambda a: a[:n], raw), key, 0, len(some["x"]))
    rows, known = first(256, pairs(cfg).test, test), first(1024, pairs(cfg), train)
    x, side = rows["x"], rows["source"]
    shown = {"ours": turned(cfg, state, key, side), "as_it_is": side, "mean": 0 * x + known["x"].mean(0, keepdims=True)}
    found = {f"l1/{name}": jnp.abs(a - x).mean() for name, a in shown.items()}
    found["test"] = Picture(jnp.stack([a[:12] for a in (side, shown["ours"], x)]), rows=("input", "ours", "truth"))
    if (who := "person" if "person" in rows else "y") in rows:
        features = classifier.load(faces(cfg)).features
        found |= identity.kept(features, shown, (x, rows[who]), (known["x"], known[who]))
    return found


def setup(cfg):
    source = data.jittered(pairs(cfg), cfg.jitter, flip=False) if cfg.jitter else pairs(cfg)
    return Setup(data.labelled(source), cfg.batch_size, cfg.steps, (faces(cfg),) if source.test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
