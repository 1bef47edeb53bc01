"""How to train a GAN: each tip of "ganhacks" that is a matter of training as a switch, from none of them to all.

Chintala, Denton, Arjovsky and Mathieu 2016, github.com/soumith/ganhacks, on DCGAN (arXiv 1511.06434). TIPS says which
tip of the list each word is; without it the step does the opposite. `python -m benchmarks tips` measures each alone.

Differences from the paper, which is a list and says few numbers (those of Config are ours):
1. Left out: slerp (3), instance norm (4), average pools and pixel shuffles (5), VAEs (7), old G and D (8), signs of
   failure, which every run looks for (10), balance by losses, which the list warns of (11), embeddings of classes (16).
2. `labels` is AC-GAN's (arXiv 1610.09585): G is given a class and D names it; D learns the classes from reals alone.
3. `replay` is CycleGAN's pool, `minibatch` Salimans's of 2016 (1606.03498). Without `split` D's statistics are mixed.

    python -m experiments tips    tips 1 to 5, on 8x8 digits; --tips=tanh,nonsat,smooth: these alone; --tips=: none
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, pool, regularisers, rng
from gan_jax.game.regularisers import cross_entropy
from gan_jax.nets import tips as nets
from gan_jax.run import Count, Decay, Setup, Share, program

TIPS = {
    "tanh": 1,  # G ends in tanh; without: in a linear layer
    "nonsat": 2,  # G ascends log D, as it does with flipped labels; without: it descends log(1 - D)
    "gaussian": 3,  # z is normal; without: uniform in [-1, 1)
    "split": 4,  # D sees batches of reals alone and of fakes alone; without: batch norm over both
    "leaky": 5,  # leaky ReLU and strides; without: ReLU in both nets, max-pooling in D
    "smooth": 6,  # D's labels are even in [0.7, 1.2) for reals and [0, 0.3) for fakes; without: 1 and 0
    "flip": 6,  # some of D's labels are those of the other kind
    "replay": 8,  # half of the fakes that D sees are old ones
    "sgd": 9,  # D moves by SGD; without: by Adam
    "labels": 12,  # G is given a class, and D names it
    "noise": 13,  # noise on what D sees, which decays
    "g_noise": 13,  # noise on every hidden layer of G
    "twice": 14,  # D moves twice a step
    "minibatch": 15,  # D sees how near the rows of its batch are to each other
    "dropout": 17,  # half of every hidden layer of G is dropped, afterwards too
}


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "digits"  # any TFDS image set, with labels for that tip
    tips: tuple[str, ...] = ("tanh", "nonsat", "gaussian", "split", "leaky")  # of TIPS; also as one word with commas
    steps: Count = 1500  # updates of G
    batch_size: Count = 32  # pictures a step
    z_dim: Count = 32  # the latent
    width: Count = 8  # channels of the finest hidden level
    g_lr: float = 1e-3  # Adam's rate
    d_lr: float = 1e-3  # likewise
    b1: Decay = 0.5  # Adam's decay of the first moment
    sgd: float = 20.0  # by SGD D's rate is so many times d_lr
    flip: Share = 0.05  # of D's labels, those that are flipped
    noise: float = 0.1  # deviation of the noise on x at the start
    noise_steps: Count = 1000  # steps until it is gone, in a straight line
    g_noise: float = 0.1  # deviation of the noise in G
    dropout: Share = 0.5  # of a hidden layer of G
    history: Count = 512  # old fakes


HACKS = ("tanh", "nonsat", "gaussian", "split", "leaky", "smooth", "flip", "sgd", "noise", "g_noise", "dropout")
PRESETS = {
    "default": Config(),
    "none": Config(tips=()),
    "ganhacks": Config(tips=HACKS),  # all that the list is sure of and that suits any data
    "tiny": Config(tips=(*HACKS, "labels", "minibatch", "replay"), steps=6, batch_size=8, z_dim=4, width=4, history=16),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    old: jax.Array  # old fakes [history, h, w, c]


def chosen(cfg):
    return {tip for word in cfg.tips for tip in word.split(",") if tip}


def build(cfg):
    source, tips = data.load(cfg.dataset), chosen(cfg)
    noise, dropped = (value * (tip in tips) for tip, value in (("g_noise", cfg.g_noise), ("dropout", cfg.dropout)))
    G = nets.G(source.shape, cfg.width, "tanh" in tips, "leaky" in tips, noise, dropped)
    D = nets.D(cfg.width, "leaky" in tips, source.classes * ("labels" in tips), 8 * ("minibatch" in tips))
    d_tx = optax.sgd(cfg.sgd * cfg.d_lr) if "sgd" in tips else optax.adam(cfg.d_lr, cfg.b1)
    return G, D, optax.adam(cfg.g_lr, cfg.b1), d_tx


def init(cfg, key):
    (G, D, g_tx, d_tx), z = build(cfg), given(cfg, latent(cfg, key, 2))
    x = jnp.zeros((2, *data.load(cfg.dataset).shape), jnp.float32)
    g, d = create(G, g_tx, rng.at(key, 0, "g"), z, key), create(D, d_tx, rng.at(key, 0, "d"), x)
    return State(jnp.int32(0), key, g, d, x[:1].repeat(cfg.history if "replay" in chosen(cfg) else 1, 0))


def latent(cfg, key, n):  # noise, classes, and the key of what G drops and adds
    (z_key, y_key), shape, classes = jax.random.split(key), (n, cfg.z_dim), max(data.load(cfg.dataset).classes, 1)
    z = rng.normal(z_key, shape) if "gaussian" in chosen(cfg) else rng.uniform(z_key, shape, minval=-1)
    return {"z": z, "y": jax.random.randint(y_key, (n,), 0, classes, jnp.int32), "g": rng.at(key, 0, "g")}


def given(cfg, of):  # the noise, and with that tip the class
    y = jax.nn.one_hot(of["y"], data.load(cfg.dataset).classes, dtype=of["z"].dtype)
    return jnp.concatenate([of["z"], y], 1) if "labels" in chosen(cfg) else of["z"]


def scores(cfg, params, d, pictures, key, share):
    """Return what D says of reals and of fakes, [b, 1 + classes] each, and its new statistics."""
    D, noise = build(cfg)[1], cfg.noise * ("noise" in chosen(cfg))
    seen = [regularisers.instance_noise(jax.random.fold_in(key, i), x, noise, share) for i, x in enumerate(pictures)]
    if "split" in chosen(cfg):
        (real, stats), (made, _) = (forward(D, params, d.stats, x) for x in seen)
        return real, made, stats
    both, stats = forward(D, params, d.stats, jnp.concatenate(seen))
    return *jnp.split(both, 2), stats


def step(cfg, state, batch):
    (G, _, g_tx, d_tx), tips, x, b = build(cfg), chosen(cfg), batch["x"], len(batch["x"])
    d, old, turns, share = state.d, state.old, 1 + ("twice" in tips), state.step / cfg.noise_steps
    ranges = {"real": (0.7, 1.2), "fake": (0.0, 0.3)} if "smooth" in tips else {}
    named = lambda said, y: optax.softmax_cross_entropy_with_integer_labels(said[:, 1:], y) if "labels" in tips else 0.0

    def move_d(d, old, turn):
        key = lambda name: jax.random.fold_in(rng.at(state.key, state.step, name), turn)
        z = given(cfg, of := latent(cfg, key("z"), b))
        fake, to_g, g_stats = jax.vjp(lambda p: forward(G, p, state.g.stats, z, key("g")), state.g.params, has_aux=True)
        before = (state.step * turns + turn) * b  # fakes
        shown, old = pool.query(key("old"), old, before, fake) if "replay" in tips else (fake, old)
        label, fake_label = regularisers.labels(key("labels"), b, **ranges, flip=cfg.flip * ("flip" in tips))

        def d_loss(params):
            real, made, stats = scores(cfg, params, d, (x, shown), key("seen by d"), share)
            judged = cross_entropy(real[:, 0], label) + cross_entropy(made[:, 0], fake_label)
            return (judged + named(real, batch.get("y"))).mean(), (stats, real[:, 0].mean(), made[:, 0].mean())

        (value, (stats, *said)), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, d_tx, stats), old, (fake, of["y"], to_g, g_stats), (value, *said)

    for turn in range(turns):
        d, old, (fake, y, to_g, g_stats), said = move_d(d, old, turn)

    def g_loss(fake):
        _, made, _ = scores(cfg, d.params, d, (x, fake), rng.at(state.key, state.step, "seen by g"), share)
        fooled = losses.non_saturating.g(None, made[:, 0]) if "nonsat" in tips else -cross_entropy(made[:, 0], 0)
        return (fooled + named(made, y)).mean()

    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    g = descend(state.g, *to_g(fake_grad), g_tx, g_stats)
    metrics = {"loss/g": g_value, **dict(zip(("loss/d", "score/real", "score/fake"), said, strict=True))}
    return State(state.step + 1, state.key, g, d, old), metrics


def generate(cfg, state, z):  # what it makes without tanh is cut to -1, 1
    return jnp.clip(forward(build(cfg)[0], *state.g[:2], given(cfg, z), z["g"], train=False)[0], -1, 1)


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def setup(cfg):
    source, tips = data.load(cfg.dataset), chosen(cfg)
    if unknown := sorted(tips - set(TIPS)):
        raise UserError(f"there is no tip {', '.join(unknown)}; choose from {', '.join(TIPS)}.")
    return Setup(data.labelled(source) if "labels" in tips else source, cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample)

if __name__ == "__main__":
    main()
