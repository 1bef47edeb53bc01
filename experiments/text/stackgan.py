"""StackGAN: a small picture of what a caption says, then a large one of that picture and the caption once more.

Zhang, Xu, Li, Zhang, Wang, Huang and Metaxas 2017, arXiv 1612.03242. Captions are vectors of a trained text encoder
(`gan_jax.metrics.joint_embedding`). Each G draws its condition from a normal distribution that it reads off the vector,
held near N(0, 1) (conditioning augmentation). Stage I makes small pictures of a condition and a latent; stage II, with
no latent, corrects and completes them. Either D tells a picture of its caption from a sample and a wrong picture.

Differences from the paper and the authors' code:
1. One run trains stage I for `first` steps, then stage II. Stage I then keeps its weights, and its statistics go on.
2. G and D of a stage are updated at once, from the same noise (code: D first, then G by new noise).
3. A row's wrong picture is its neighbour in the batch, and none if its caption is the same (code: of another class).
4. The text encoder is small, its vectors have a mean square of 1, a picture has one caption (code: a mean of four).
5. The first stage's data are means of areas (code: bilinear). D leaks after every norm (code: not after the third).
6. Pictures are not cut and mirrored at random. The default is narrower, with two of the four blocks and half the ratio.

    python -m experiments stackgan                     two digits in words, 16x16, then 32x32
    python -m experiments stackgan --preset emoji      emoji by their names, 16x16, then 64x64
    python -m experiments stackgan --perceptual        LPIPS of two pictures of a caption, too
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn import softplus

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import asked, joint_embedding, lpips
from gan_jax.nets import stackgan
from gan_jax.run import Count, Depth, Picture, Setup, log, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "named_mnist"  # pictures x with captions `text`, in characters
    ratio: Literal[2, 4] = 2  # sides of pictures, in those of the first stage
    first: int = 1500  # steps of stage I
    steps: Count = 2700  # of both stages: joint updates of a stage's G and D
    batch_size: Count = 32  # pictures a step
    divergence: float = 2.0  # weight of the condition's divergence from noise, a mean over its numbers
    z_dim: Count = 32  # the latent, standard normal
    text_dim: Count = 64  # of a caption's vector
    text_width: Count = 64  # channels of the text encoder's last convolution
    text_layers: Literal[1, 2, 3] = 1  # its convolutions
    text_steps: int = 1000  # its updates, before the game
    text: Count = 32  # numbers of a condition, and units by which D reads the vector
    width: Count = 32  # channels of G: those of stage I at half resolution
    d_width: Count = 16  # channels of D at half resolution
    blocks: Depth = 2  # residual blocks of stage II
    lr: float = 4e-4  # Adam's rate for all; its first decay is 0.5
    halve: Count = 100_000  # steps of a stage after which it is halved, again and again
    perceptual: bool = False  # whether LPIPS, too, says how far two pictures of a caption are apart


PRESETS = {
    "default": Config(),
    "emoji": Config("noto_emoji,text=caption,level=char", ratio=4),
    "paper": Config("noto_emoji,text=caption,level=char,size=256", 4, 82_800, 165_600, 64, z_dim=100, text_dim=1024,
                    text_width=256, text_layers=3, text=128, width=128, d_width=64, blocks=4, lr=2e-4, halve=13_800),
    "tiny": Config("named_digits8", 2, 1, 6, 16, 2.0, 4, 4, 4, text_steps=0, text=4, width=2, d_width=2, blocks=0),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g1: Player  # of stage I
    d1: Player
    g2: Player  # of stage II
    d2: Player
    embedding: dict  # the parameters of the text encoder, and of its pictures', which stay


def embedding(cfg):  # its nets
    return joint_embedding.net(data.load(cfg.dataset), cfg.text_dim, cfg.text_width, cfg.text_layers)


def build(cfg):
    h, w, c = data.load(cfg.dataset).shape
    First = stackgan.First((h // cfg.ratio, w // cfg.ratio, c), cfg.z_dim, cfg.text, cfg.width)
    Second = stackgan.Second(cfg.ratio, cfg.text, cfg.width, cfg.blocks)
    tx = optax.adam(lambda t: cfg.lr * 0.5 ** (t // cfg.halve), 0.5)
    return First, Second, stackgan.D(cfg.text, cfg.d_width), tx


def init(cfg, key):
    First, Second, D, tx = build(cfg)
    source, t = data.load(cfg.dataset), jnp.zeros((1, cfg.text_dim))
    small = stackgan.smaller(x := jnp.zeros((1, *source.shape)), cfg.ratio)
    of = {"g1": (First, t, key), "d1": (D, small, t), "g2": (Second, t, key, small), "d2": (D, x, t)}
    players = [create(net, tx, rng.at(key, 0, name), *given) for name, (net, *given) in of.items()]
    fixed = joint_embedding.load(source, embedding(cfg), cfg.text_steps).params
    return State(jnp.int32(0), key, *players, jax.tree.map(jnp.asarray, fixed))


def played(cfg, state, stage, G, given, x, t, other):
    """Return (state, metrics) after an update of a stage; other [b]: whether the neighbour's caption is another one."""
    (*_, D, tx), g, d = build(cfg), getattr(state, f"g{stage}"), getattr(state, f"d{stage}")
    score = lambda params, x: forward(D, params, d.stats, x, t)  # [b]

    def g_loss(params):
        (fake, divergence), stats = forward(G, params, g.stats, t, *given)
        value = softplus(-score(d.params, fake)[0]) + cfg.divergence * divergence
        return value.mean(), (stats, fake, divergence.mean())

    def d_loss(params, fake):
        real_score, stats = score(params, x)  # D keeps the statistics of data
        wrong_score, fake_score = score(params, jnp.roll(x, 1, 0))[0], score(params, fake)[0]
        value = softplus(-real_score) + (other * softplus(wrong_score) + softplus(fake_score)) / 2
        scores = {"score/real": real_score, "score/wrong": wrong_score, "score/fake": fake_score}
        return value.mean(), (stats, jax.tree.map(jnp.mean, scores))

    (g_value, (g_stats, fake, divergence)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(g.params)
    (d_value, (d_stats, scores)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(d.params, fake)
    rows = {"loss/g": g_value, "loss/d": d_value, "divergence": divergence} | scores
    g, d = descend(g, g_grads, tx, g_stats), descend(d, d_grads, tx, d_stats)
    return state._replace(**{f"g{stage}": g, f"d{stage}": d}), rows


def step(cfg, state, batch):
    (First, Second, *_), x, text = build(cfg), batch["x"], batch["text"]
    t = joint_embedding.vectors(embedding(cfg), state.embedding, text)  # [b, e]
    other = (text != jnp.roll(text, 1, 0)).any(1)
    one, two = jax.random.split(rng.at(state.key, state.step, "noise"))

    def stage_2(state):
        (made, _), stats = forward(First, state.g1.params, state.g1.stats, t, one)
        state = state._replace(g1=state.g1._replace(stats=stats))
        return played(cfg, state, 2, Second, (two, made), x, t, other)

    stage_1 = lambda state: played(cfg, state, 1, First, (one,), stackgan.smaller(x, cfg.ratio), t, other)
    state, rows = jax.lax.cond(state.step < cfg.first, stage_1, stage_2, state)
    return state._replace(step=state.step + 1), rows


def both(cfg, state, key, text):  # the pictures of both stages of captions [n, t]
    (First, Second, *_), (one, two) = build(cfg), jax.random.split(key)
    t = joint_embedding.vectors(embedding(cfg), state.embedding, text)
    (made, _), _ = forward(First, state.g1.params, state.g1.stats, t, one, train=False)
    return made, forward(Second, state.g2.params, state.g2.stats, t, two, made, train=False)[0][0]


def sample(cfg, state, key, n):
    return both(cfg, state, key, data.examples(data.load(cfg.dataset), rng.at(key, 0, "text"), n)["text"])[1]


def measure(cfg, state, key, train, test):
    """Return how often both stages show what was asked for, how far apart two pictures of a caption are, and some."""
    source, found, enlarged = data.load(cfg.dataset), {}, lambda x: x.repeat(cfg.ratio, 1).repeat(cfg.ratio, 2)
    rows = "data", "stage I", "stage II", "stage II again"
    for name, batch in asked.batches(source, train, test, key).items():
        (one, two), (_, again) = (both(cfg, state, key, batch["text"]) for key in jax.random.split(key))
        low = enlarged(stackgan.smaller(batch["x"], cfg.ratio))
        for stage, made, x in ((1, enlarged(one), low), (2, two, batch["x"])):
            found |= {f"{of}_{stage}/{name}": s for of, s in asked.shares(source, batch | {"x": x}, made).items()}
        found |= {f"{of}/{name}": s for of, s in asked.apart(batch, two, again, cfg.perceptual).items()}
        x, text = jnp.stack([batch["x"], enlarged(one), two, again])[:, :8], jnp.stack([batch["text"][:8]] * 4)
        found[f"captions_{name}"] = Picture(x, rows=rows, about=text, field=source.fields["text"])
    return found


def setup(cfg):
    source, nets = data.load(cfg.dataset), embedding(cfg)
    if any(side % (4 * cfg.ratio) for side in source.shape[:2]):
        raise UserError(f"{source.name} is {source.shape[:2]}: sides have to be multiples of {4 * cfg.ratio}.")
    if cfg.perceptual:
        lpips.ready(source.shape)  # which says what to install
    joint_embedding.load(source, nets, cfg.text_steps, lambda n: log.Live(n, title=f"captions of {source.name}"))
    return Setup(source, cfg.batch_size, cfg.steps, asked.classifiers(source), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
