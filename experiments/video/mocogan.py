"""MoCoGAN: a clip's content stays as it is, its motion goes on in a recurrent net, and two D judge frames and clips.

Tulyakov, Liu, Yang and Kautz 2018, arXiv 1707.04993. A content and the label of an action are drawn once a clip. A
gated recurrent unit (GRU) turns noise, new in every frame, into motion, and G draws each frame of all three. D_I sees
single frames, D_V whole clips; D_V learns, too, which action data show, and G that D_V sees the one it was asked for.

`python -m benchmarks mocogan` asks a classifier that G never met, and measures how much the content of samples changes,
beside VGAN's.

Differences from the paper, whose details are those of the authors' code:
1. 16 frames of 32x32 of Weizmann's four actions, 114 clips; in the paper all nine people are trained on, here two are
   held out. Nets are a quarter as wide; `paper` has its nets, of 64x64 pixels.
2. Adam's rate is 5e-4 instead of 2e-4, since there are but a thousand updates, with one batch for both D instead of
   batches of their own; `paper` has 2e-4.
3. D_I, D_V and G see the same samples, and D_I one frame of each of them, drawn anew in every step, as the paper's
   formulas have it; the authors' code draws new ones for each update, frames out of many more clips.
4. The last layer that draws a frame has a bias. Kernels begin as DCGAN's, the GRU as in Flax. The noise that the code
   can add to what D sees is off, as is its default.
5. Both D keep the statistics of data, which they see apart from samples, as there in training.

    python -m experiments mocogan                                       people who wave, jump and bend
    python -m experiments mocogan --dataset moving_digits               two digits that bounce; the action is which ones
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import nn

from gan_jax import data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import mocogan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "weizmann_actions,size=32"  # clips with labels, a TFDS set by name or moving digits
    steps: Count = 1000  # updates of each net
    batch_size: Count = 12  # clips a step
    content_dim: Count = 50  # the part of the latent that stays, standard normal
    motion_dim: Count = 10  # of the GRU's state, and of its noise in each frame
    width: Count = 16  # channels at half of the resolution
    lr: float = 5e-4  # Adam's rate for all
    b1: Decay = 0.5  # Adam's decay of the first moment
    weight_decay: float = 1e-5  # of the weights, added to their gradient


PRESETS = {
    "default": Config(),
    "paper": Config("weizmann_actions", 100_000, batch_size=32, width=64, lr=2e-4),
    "tiny": Config("moving_digits8", steps=6, batch_size=8, content_dim=4, motion_dim=2, width=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d_image: Player
    d_video: Player


def build(cfg):
    source = data.load(cfg.dataset)
    tx = optax.chain(optax.add_decayed_weights(cfg.weight_decay), optax.adam(cfg.lr, cfg.b1))
    return mocogan.G(source.shape, cfg.width), mocogan.DI(cfg.width), mocogan.DV(source.classes, cfg.width), tx


def init(cfg, key):
    G, DI, DV, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    g = create(G, tx, rng.at(key, 0, "g"), *drawn_of(latent(cfg, key, 1)))
    d_image = create(DI, tx, rng.at(key, 0, "d_image"), x[:, 0])
    return State(jnp.int32(0), key, g, d_image, create(DV, tx, rng.at(key, 0, "d_video"), x))


def latent(cfg, key, n):
    """Return a content z [n, content_dim], noise [n, 1 + t, motion_dim] and a one-hot action [n, actions]."""
    source, (content, motion, action) = data.load(cfg.dataset), jax.random.split(key, 3)
    noise = rng.normal(motion, (n, 1 + source.shape[0], cfg.motion_dim))
    which = jax.random.randint(action, (n,), 0, source.classes, jnp.int32)
    asked = jax.nn.one_hot(which, source.classes, dtype=jnp.float32)
    return {"z": rng.normal(content, (n, cfg.content_dim)), "noise": noise, "action": asked}


def drawn_of(z):
    return jnp.concatenate([z["z"], z["action"]], 1), z["noise"]  # what G sees


def step(cfg, state, batch):
    G, DI, DV, tx = build(cfg)
    loss, entropy = losses.non_saturating, optax.softmax_cross_entropy
    x = batch["x"]  # [b, t, h, w, c]
    b, t = x.shape[:2]
    z = latent(cfg, rng.at(state.key, state.step, "z"), b)
    at = jax.random.randint(rng.at(state.key, state.step, "frames"), (2, b), 0, t, jnp.int32)
    action = jax.nn.one_hot(batch["y"], z["action"].shape[1], dtype=jnp.float32)
    still = lambda x, at: x[jnp.arange(b), at]  # [b, h, w, c]
    generate = lambda g_params: forward(G, g_params, state.g.stats, *drawn_of(z))
    fake, to_g, g_stats = jax.vjp(generate, state.g.params, has_aux=True)  # G runs once, for all three

    def image_loss(params):
        real, stats = forward(DI, params, state.d_image.stats, still(x, at[0]))  # [b, n, m]
        made, _ = forward(DI, params, state.d_image.stats, still(fake, at[1]))
        return loss.d(real, made).mean(), ((real, made), stats)

    def video_loss(params):
        (real, said), stats = forward(DV, params, state.d_video.stats, x)  # [b], [b, actions]
        (made, _), _ = forward(DV, params, state.d_video.stats, fake)
        named = entropy(said, action).mean()
        return loss.d(real, made).mean() + named, ((real, made), named, stats)

    of = lambda loss, player: jax.value_and_grad(loss, has_aux=True)(player.params)
    (image, (i_scores, i_stats)), i_grads = of(image_loss, state.d_image)
    (video, (v_scores, named, v_stats)), v_grads = of(video_loss, state.d_video)
    d_image = descend(state.d_image, i_grads, tx, i_stats)
    d_video = descend(state.d_video, v_grads, tx, v_stats)

    def g_loss(fake):
        still_score, _ = forward(DI, d_image.params, d_image.stats, still(fake, at[1]))  # of the new D
        (score, said), _ = forward(DV, d_video.params, d_video.stats, fake)
        asked = entropy(said, z["action"]).mean()
        return loss.g(None, still_score).mean() + loss.g(None, score).mean() + asked, asked

    (g_value, asked), fake_grad = jax.value_and_grad(g_loss, has_aux=True)(fake)
    g = descend(state.g, *to_g(fake_grad), tx, g_stats)
    metrics = {"loss/g": g_value, "loss/d_image": image, "loss/d_video": video}
    metrics |= {"action/data": named, "action/asked": asked}
    for name, (real, made) in {"image": i_scores, "video": v_scores}.items():
        metrics |= {f"p/real_{name}": nn.sigmoid(real).mean(), f"p/fake_{name}": nn.sigmoid(made).mean()}
    return State(state.step + 1, state.key, g, d_image, d_video), metrics


def generate(cfg, state, z):
    G, *_ = build(cfg)
    return forward(G, state.g.params, state.g.stats, *drawn_of(z), train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often D_V itself names the asked action, or that of held-out clips; contents under all actions."""
    source, (*_, DV, _) = data.load(cfg.dataset), build(cfg)
    says = lambda x: forward(DV, state.d_video.params, state.d_video.stats, x, train=False)[0][1].argmax(1)
    z = latent(cfg, key, 64)
    found = {"d/asked": (says(generate(cfg, state, z)) == z["action"].argmax(1)).mean()}
    if "y" in test:
        rows = jax.tree.map(lambda a: a[:64], test)
        batch = source.test.make(rows, key, 0, len(rows["y"]))
        found["d/test"] = metrics.agreement(says(batch["x"]), batch["y"])
    shown = range(min(6, source.classes))
    actions = jnp.tile(jnp.eye(source.classes, dtype=jnp.float32)[: len(shown)], (4, 1))
    alike = {name: jnp.repeat(z[name][:4], len(shown), 0) for name in ("z", "noise")}  # [4 shown, ...]
    x = generate(cfg, state, alike | {"action": actions})
    names = source.row["y"].names or [f"action {i}" for i in shown]
    contents = tuple(f"content {i + 1}" for i in range(4))
    x = x.reshape(4, len(shown), *source.shape)
    return found | {"actions": Picture(x, rows=contents, columns=tuple(names[i] for i in shown))}


def setup(cfg):
    return Setup(data.labelled(data.load(cfg.dataset)), cfg.batch_size, cfg.steps, kinds=("video",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
