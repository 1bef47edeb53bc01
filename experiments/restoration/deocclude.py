"""Robust LSTM autoencoder: one LSTM reads a face patch by patch, another draws it step by step without what hides it.

Zhao, Feng, Zhao, Yang and Yan 2016, arXiv 1612.08534. G reads an occluded face v, and says a face r and how far each
pixel is occluded, o; the result is o r + (1 - o) v. At first G descends the squared error of r, then that of the
result, -log D, and the cross-entropy of the person that a net of people F sees. Nobody says where the occlusion is.

Differences from the paper and the authors' code (zhaofang0627/face-deocc-lstm; the formulas are of the code):
1. Occlusions are boxes of one grey, on 500 faces, half with sunglasses; there glasses, hands and more, on 400,000.
2. F is small and learns the training people beside G; there a GoogLeNet, trained before. D is DCGAN's; there another.
3. LSTMs have no peepholes; the one in the plane has no forget bias (5 there, on 2x2 patches; twice 1 would pile up).
4. A patch is as large as its step, and one twice as large, shrunk, is read beside it; the code's sides leave gaps.
5. Adam for all; there RMSProp and SGD with momentum, clipped and decayed. D is updated before G; there after it.
6. Both stages are one run: the first, without o, D and F's loss, has `pretrain` steps. Faces are jittered.

    python -m experiments deocclude       faces of CMU, 32x32; --no-worn: without those that wear sunglasses
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import classifier, identity, inpainting
from gan_jax.nets import dcgan, deocclude, tpgan
from gan_jax.run import Count, Picture, Setup, Share, program

CMU = "cmu_faces,y=person:label,pose=pose,person=person,expression=expression,sunglasses=sunglasses"


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = CMU  # faces, and whose they are, y
    frame: tuple[int, int, int] = (13, 15, 32)  # where the faces are: top, left and side; side 0: whole pictures
    jitter: float = 1.1  # how much they are enlarged, to be cut anywhere; 0: as they are
    worn: bool = True  # whether G learns from faces with `sunglasses`, too
    hole: Share = 0.6  # the largest part of a side that a box hides
    least: Share = 0.2  # the smallest
    steps: Count = 2500  # updates of all, both stages together
    pretrain: int = 1000  # of these, of the first stage
    batch_size: Count = 16  # faces a step
    side: Count = 8  # pixels of a patch
    width: Count = 128  # of the LSTMs' states
    removals: Count = 8  # steps in which a face is drawn
    d_width: Count = 16  # channels of D and F
    adversarial: float = 0.5  # weight of -log D, beside half the sum of squared errors of pixels in [0, 1]
    identity: float = 1.0  # weight of the person's cross-entropy
    lr: float = 1e-3  # Adam's rate for all three


PRESETS = {
    "default": Config(),
    "paper": Config(f"{CMU},size=240", (52, 52, 128), 0, True, 0.6, 0.2, 200_000, 100_000, 256, 32, 2048, d_width=64),
    "tiny": Config("digits16", (0, 0, 0), 0, True, 0.6, 0.2, 6, 1, 8, 8, 4, 3, d_width=2),
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


def hidden(cfg):
    """Return the source of faces with a mask of what a box hides; faces of the test split may wear sunglasses."""
    source = faces(cfg)
    if not cfg.worn:
        source = dataclasses.replace(data.of_class(source, 0, "sunglasses"), test=source.test)
    source = data.jittered(source, cfg.jitter, flip=False) if cfg.jitter else source
    return data.masked(data.labelled(source), "box", cfg.hole, cfg.least)


def occluded(rows, key):
    """Return faces [b, h, w, c] with a box of some grey, another one for each, where their mask is 1."""
    return jnp.where(rows["mask"] > 0, rng.uniform(key, (len(rows["x"]), 1, 1, 1), minval=-1), rows["x"])


def build(cfg):
    G = deocclude.G(cfg.side, cfg.width, cfg.removals)
    return G, dcgan.D(cfg.d_width), tpgan.F(faces(cfg).classes, cfg.d_width), optax.adam(cfg.lr)


def init(cfg, key):
    *nets, tx = build(cfg)
    x = jnp.zeros((1, *faces(cfg).shape))
    players = (create(net, tx, rng.at(key, 0, name), x) for net, name in zip(nets, "gdf", strict=True))
    return State(jnp.int32(0), key, *players)


def step(cfg, state, batch):
    G, D, F, tx = build(cfg)
    loss, x, y = losses.non_saturating, batch["x"], batch["y"]
    v = occluded(batch, rng.at(state.key, state.step, "grey"))
    squared = lambda a: (((a - x) / 2) ** 2).sum((1, 2, 3)).mean() / 2
    cross = lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()
    result = lambda face, o: o * face + (1 - o) * v

    def d_loss(params):
        real, stats = forward(D, params, state.d.stats, x)  # [b]; D keeps the statistics of data
        fake, _ = forward(D, params, state.d.stats, result(*made))
        return loss.d(real, fake).mean(), (stats, *(jax.nn.sigmoid(score).mean() for score in (real, fake)))

    def judge(d):
        (value, (stats, *p)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx, stats), (value, *p)

    def f_loss(params):
        (logits, *_), stats = forward(F, params, state.f.stats, x)
        return cross(logits), stats

    def joint(made):
        seen = result(*made)
        fooling = loss.g(None, forward(D, d.params, d.stats, seen)[0]).mean()
        person = cross(forward(F, f.params, f.stats, seen, train=False)[0][0])
        return squared(seen) + cfg.adversarial * fooling + cfg.identity * person, (fooling, person)

    made, back, g_stats = jax.vjp(lambda params: forward(G, params, state.g.stats, v), state.g.params, has_aux=True)
    (f_value, f_stats), f_grads = jax.value_and_grad(f_loss, has_aux=True)(state.f.params)
    f, first, zero = descend(state.f, f_grads, tx, f_stats), state.step < cfg.pretrain, 0 * f_value
    d, (d_value, p_real, p_fake) = jax.lax.cond(first, lambda d: (d, (zero,) * 3), judge, state.d)
    alone = lambda made: (jax.grad(lambda made: squared(made[0]))(made), (zero,) * 2)
    slopes, (fooling, person) = jax.lax.cond(first, alone, jax.grad(joint, has_aux=True), made)
    g = descend(state.g, *back(slopes), tx, g_stats)
    metrics = {"loss/g": fooling, "loss/d": d_value, "loss/f": f_value, "p/real": p_real, "p/fake": p_fake}
    metrics |= {"squared": squared(result(*made)), "person": person}  # 0 is what nobody says yet
    return State(state.step + 1, state.key, g, d, f), metrics


def cleared(cfg, state, v):
    """Return faces v [n, h, w, c] without what hides them, the face that G draws, and o, what it takes for hidden."""
    (face, o), _ = forward(build(cfg)[0], *state.g[:2], v, train=False)
    return o * face + (1 - o) * v, face, o


def sample(cfg, state, key, n):
    return cleared(cfg, state, occluded(data.examples(hidden(cfg), key, n), key))[0]


def measure(cfg, state, key, train, test):
    """Return errors of up to 256 test faces with boxes, and with sunglasses, and whose they look; the first of them."""
    if not test or not train:
        return {}
    first = lambda n, source, raw: source.make(some := jax.tree.map(lambda a: a[:n], raw), key, 0, len(some["x"]))
    rows, known = first(256, hidden(cfg).test, test), first(1024, faces(cfg), train)
    found, tests = {}, {"box": (rows, occluded(rows, jax.random.key(0)))}
    who = "person" if "person" in rows else "y"
    if "sunglasses" in rows:
        with jax.ensure_compile_time_eval():
            pairs = data.some(data.counterparts(faces(cfg), "sunglasses", 0).test, 256)
        tests["glasses"] = pairs, jnp.asarray(pairs["source"])
    for name, (rows, v) in tests.items():
        ours, face, o = cleared(cfg, state, v)
        shown, x, judge = {f"{name}/before": v, f"{name}/ours": ours}, rows["x"], classifier.load(faces(cfg))
        seen = identity.kept(judge.features, shown, (x, rows[who]), (known["x"], known[who])) if who in rows else {}
        psnr = lambda a, x=x: inpainting.errors(a, x, jnp.ones_like(x[..., :1]))["psnr"]
        found |= seen | {f"psnr/{way}": psnr(a) for way, a in shown.items()}
        drawn = jnp.stack([a[:12] for a in (v, jnp.broadcast_to(2 * o - 1, v.shape), face, ours, x)])
        found[name] = Picture(drawn, rows=("occluded", "o", "drawn", "ours", "truth"))
    return found


def setup(cfg):
    return Setup(hidden(cfg), cfg.batch_size, cfg.steps, (faces(cfg),) if faces(cfg).test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
