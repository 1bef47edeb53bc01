"""Multi-scale video prediction: G foretells a frame from coarse to fine, and D and edges keep it from being a blur.

Mathieu, Couprie and LeCun 2016, arXiv 1511.05440. Of four frames G predicts the next one. Where several futures are
possible their mean has the least squared error, and is blurred. So G descends three losses together: l_p, the
difference of the two frames' gradients (GDL), and how sure a D of each scale is that what follows is no datum.

`measure` sets held-out frames beside predicted ones, and beside the last frame that was seen; a sample is a clip of
which the first frames are data, and each further one is predicted from the four before it. `python -m benchmarks
next_frame` compares the losses.

Differences from the paper:
1. Weizmann's clips of 32x32, 114 of 16 frames, instead of Sports-1M and UCF101; nets are a sixteenth as wide. `paper`
   has the nets.
2. Adam instead of gradient descent with 0.02 for D and 0.04, falling to 0.005, for G, which would take far longer.
3. Losses are means over pixels and channels, the paper's sums, and l_p and GDL means over scales; of cross entropies
   those of all scales are summed, as there.
4. Both nets are updated at once, by the same clips; there G has new ones.
5. A frame is shrunk by the mean of four pixels, and enlarged bilinearly; the paper doesn't say how. What is beyond
   [-1, 1] is cut off when it is shown or measured.

    python -m experiments multiscale                                    people who wave, jump and bend
    python -m experiments multiscale --p 2 --gradient 0 --adversarial 0       the squared error alone
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import frames
from gan_jax.nets import multiscale
from gan_jax.run import Count, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "weizmann_actions,size=32"  # clips, a TFDS set by name or moving digits
    steps: Count = 120  # joint updates of G and D
    batch_size: Count = 8  # clips a step, of each as many frames as are seen and one more
    seen: Count = 4  # frames before the predicted one
    scales: Count = 4  # each with half as many pixels a side as the next
    width: Count = 8  # maps of G's first layers; 128 in the paper
    p: Literal[1, 2] = 1  # of the norm of the error
    gradient: float = 1.0  # weight of the gradients' difference
    adversarial: float = 0.05  # weight of D's answers
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-4  # Adam's rate for D


PRESETS = {
    "default": Config(),
    "paper": Config(steps=100_000, p=2, width=128, g_lr=4e-5, d_lr=2e-5),
    "tiny": Config("moving_digits8", steps=6, seen=2, scales=2, width=1),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def build(cfg):
    nets = multiscale.G(cfg.scales, cfg.width), multiscale.D(cfg.width)
    return *nets, optax.adam(cfg.g_lr), optax.adam(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    _, h, w, c = data.load(cfg.dataset).shape
    x = jnp.zeros((1, cfg.seen, h, w, c))
    following = multiscale.pyramid(x[:, 0], cfg.scales)
    g, d = create(G, g_tx, rng.at(key, 0, "g"), x), create(D, d_tx, rng.at(key, 0, "d"), x, following)
    return State(jnp.int32(0), key, g, d)


def window(cfg, key, x):
    """Return (frames [b, seen, h, w, c], the next one [b, h, w, c]), from anywhere in clips x [b, t, h, w, c]."""
    start = jax.random.randint(key, (len(x),), 0, x.shape[1] - cfg.seen, jnp.int32)
    of = lambda clip, at: jax.lax.dynamic_slice_in_dim(clip, at, cfg.seen + 1)
    parts = jax.vmap(of)(x, start)
    return parts[:, :-1], parts[:, -1]


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss = losses.non_saturating
    before, after = window(cfg, rng.at(state.key, state.step, "window"), batch["x"])
    truths = multiscale.pyramid(after, cfg.scales)  # the coarsest first, each [b, h, w, c]

    def g_loss(g_params):
        made, _ = forward(G, g_params, {}, before)
        score, _ = forward(D, state.d.params, {}, before, made)  # [b, scales]
        pairs = list(zip(made, truths, strict=True))
        error = sum((jnp.abs(a - b) ** cfg.p).mean() for a, b in pairs) / cfg.scales
        edges = sum(multiscale.gradient_difference(a, b).mean() for a, b in pairs) / cfg.scales
        fooled = loss.g(None, score).sum(1).mean()
        return error + cfg.gradient * edges + cfg.adversarial * fooled, (made, error, edges)

    def d_loss(d_params, made):
        real, _ = forward(D, d_params, {}, before, truths)  # [b, scales]
        fake, _ = forward(D, d_params, {}, before, made)
        return loss.d(real, fake).sum(1).mean(), (real, fake)

    (g_value, (made, error, edges)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (real, fake)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, made)
    g, d = descend(state.g, g_grads, g_tx), descend(state.d, d_grads, d_tx)
    metrics = {"loss/g": g_value, "loss/d": d_value, "error": error, "edges": edges}
    return State(state.step + 1, state.key, g, d), metrics | {"score/real": real.mean(), "score/fake": fake.mean()}


def predicted(cfg, state, before):
    """Return the frame [b, h, w, c] after those [b, seen, h, w, c]."""
    G, *_ = build(cfg)
    return jnp.clip(forward(G, state.g.params, {}, before, train=False)[0][-1], -1, 1)


def continued(cfg, state, x):
    """Return clips x [b, t, h, w, c], of which all frames but the first `seen` are predicted, each of those before."""

    def one(before, _):
        new = predicted(cfg, state, before)
        return jnp.concatenate([before[:, 1:], new[:, None]], 1), new

    _, new = jax.lax.scan(one, x[:, : cfg.seen], length=x.shape[1] - cfg.seen)
    return jnp.concatenate([x[:, : cfg.seen], jnp.moveaxis(new, 0, 1)], 1)


def sample(cfg, state, key, n):
    return continued(cfg, state, data.examples(data.load(cfg.dataset), key, n)["x"])


def measure(cfg, state, key, train, test):
    """Return how near the next frame comes to the true one in held-out clips, and how near the last frame does."""
    if not test:
        return {}
    rows = jax.tree.map(lambda a: a[:64], test)
    x = data.load(cfg.dataset).test.make(rows, key, 0, len(jax.tree.leaves(rows)[0]))["x"]
    n = x.shape[1] // (cfg.seen + 1)  # windows of a clip, which don't overlap
    parts = x[:, : n * (cfg.seen + 1)].reshape(-1, cfg.seen + 1, *x.shape[2:])
    last, truth = parts[:, -2], parts[:, -1]
    found = frames.closeness(predicted(cfg, state, parts[:, :-1]), truth, last)
    found |= {f"copied/{name}": value for name, value in frames.closeness(last, truth, last).items()}
    return found | {"clips": Picture(jnp.stack([x[:6], continued(cfg, state, x[:6])]), rows=("test", "predicted"))}


def setup(cfg):
    source, of = data.load(cfg.dataset), 2 ** (cfg.scales - 1)
    if source.kind == "video" and (source.shape[0] <= cfg.seen or any(side % of for side in source.shape[1:3])):
        raise UserError(
            f"{source.name} has clips of the shape {source.shape}: there have to be more than {cfg.seen} frames, with "
            f"sides that are multiples of {of}.\nLower --seen or --scales, or say --size."
        )
    return Setup(source, cfg.batch_size, cfg.steps, kinds=("video",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
