"""Reed et al.: pictures of what a caption says: D also sees pictures with wrong captions, G also half-way captions.

Reed, Akata, Yan, Logeswaran, Schiele and Lee 2016, arXiv 1605.05396. A text encoder, trained before with pictures
(`gan_jax.metrics.joint_embedding`), turns captions into vectors t. D tells a picture with its caption from a sample and
from a picture with the caption of another one, each of which weighs half (GAN-CLS). G is judged on captions of the
data and on the means of two of them, which D never sees (GAN-INT). An encoder S finds the latent z of what G drew;
z = S(x) and another caption draw that in the style of x. `measure` asks whether pictures show what was asked for, by
captions of the training split and by those held out, and whether S tells two pictures of one z from those of others.

Differences from the paper and the authors' code:
1. The text encoder is small, vectors are scaled to a mean square of 1, and a picture has one caption (code: the mean of
   the vectors of four).
2. G and D are updated at once, from the same noise, as in the paper's Algorithm 1 (code: D first, then G by new noise).
3. A row's wrong picture is its neighbour in the batch, and none if its caption is the same (code: of another class).
4. D has no residual block: in the code its branch is a name that nothing defines, so that nothing is added.
5. S learns beside G, from the same samples (paper: afterwards). The code has no S.
6. Pictures are not cut and mirrored at random: a digit's mirror image is none. The default is smaller.

    python -m experiments reed                      two digits in words, such as "a three above a seven"
    python -m experiments reed --preset emoji       emoji by their names
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn import softplus

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import asked, identity, joint_embedding
from gan_jax.nets import reed
from gan_jax.run import Count, Decay, Picture, Setup, Share, log, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "named_digits"  # pictures x with captions `text`, in characters
    steps: Count = 3000  # joint updates of G, D and S
    batch_size: Count = 64  # pictures a step, an even number
    wrong: Share = 0.5  # weight of wrong captions in D's loss; that of samples is 1 less it
    between: float = 1.0  # weight of captions half-way between two in G's loss
    z_dim: Count = 32  # the latent, standard normal
    text_dim: Count = 64  # of a caption's vector
    text_width: Count = 64  # channels of the text encoder's last convolution
    text_layers: Literal[1, 2, 3] = 1  # its convolutions
    text_steps: int = 1500  # its updates, before the game
    text: Count = 32  # units by which G and D read that vector
    width: Count = 32  # channels of G and S at half resolution
    d_width: Count = 32  # channels of D at half resolution
    lr: float = 4e-4  # Adam's rate for all
    halve: Count = 100_000  # steps after which it is halved, again and again
    b1: Decay = 0.5  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "emoji": Config("noto_emoji,text=caption,level=char,size=32"),
    "paper": Config("noto_emoji,text=caption,level=char", 83_400, z_dim=100, text_dim=1024, text_width=256,
                    text_layers=3, text=128, width=128, d_width=64, lr=2e-4, halve=13_900),  # CUB's 600 epochs
    "tiny": Config("named_digits8", 6, 8, z_dim=4, text_dim=4, text_width=4, text_steps=0, text=4, width=2, d_width=2),
}  # fmt: skip


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    s: Player
    embedding: dict  # the parameters of the text encoder, and of its pictures', which stay


def embedding(cfg):  # its nets
    return joint_embedding.net(data.load(cfg.dataset), cfg.text_dim, cfg.text_width, cfg.text_layers)


def build(cfg):
    G = reed.G(data.load(cfg.dataset).shape, cfg.text, cfg.width)
    tx = optax.adam(lambda t: cfg.lr * 0.5 ** (t // cfg.halve), cfg.b1)
    return G, reed.D(cfg.text, cfg.d_width), reed.S(cfg.z_dim, cfg.width), tx


def init(cfg, key):
    G, D, S, tx = build(cfg)
    source = data.load(cfg.dataset)
    z, t, x = jnp.zeros((1, cfg.z_dim)), jnp.zeros((1, cfg.text_dim)), jnp.zeros((1, *source.shape))
    inputs = {"g": (G, z, t), "d": (D, x, t), "s": (S, x)}.items()
    players = [create(net, tx, rng.at(key, 0, name), *given) for name, (net, *given) in inputs]
    fixed = joint_embedding.load(source, embedding(cfg), cfg.text_steps).params
    return State(jnp.int32(0), key, *players, jax.tree.map(jnp.asarray, fixed))


def vectors(cfg, state, text):  # of captions [b, t]: [b, e]
    return joint_embedding.vectors(embedding(cfg), state.embedding, text)


def step(cfg, state, batch):
    G, D, S, tx = build(cfg)
    x, text, b, half = batch["x"], batch["text"], len(batch["x"]), len(batch["x"]) // 2
    wrong, other = jnp.roll(x, 1, 0), (text != jnp.roll(text, 1, 0)).any(1)  # [b, ...], [b]
    t = vectors(cfg, state, text)  # [b, e]
    both = jnp.concatenate([t, (t[:half] + t[half : 2 * half]) / 2])  # [3/2 b, e]
    z = rng.normal(rng.at(state.key, state.step, "z"), (len(both), cfg.z_dim))

    def g_loss(params):
        fake, stats = forward(G, params, state.g.stats, z, both)
        own, between = jnp.split(softplus(-forward(D, state.d.params, state.d.stats, fake, both)[0]), [b])
        return (own.sum() + cfg.between * between.sum()) / len(both), (stats, fake)

    def d_loss(params, fake):
        real_score, stats = forward(D, params, state.d.stats, x, t)  # D keeps the statistics of data
        wrong_score, fake_score = (forward(D, params, state.d.stats, x, t)[0] for x in (wrong, fake[:b]))
        false = cfg.wrong * (other * softplus(wrong_score)) + (1 - cfg.wrong) * softplus(fake_score)
        return (softplus(-real_score) + false).mean(), (stats, real_score, wrong_score, fake_score)

    def s_loss(params, fake):
        found, stats = forward(S, params, state.s.stats, fake)
        return ((z - found) ** 2).sum(1).mean(), stats

    (g_value, (g_stats, fake)), g_grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    (d_value, (d_stats, *scores)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params, fake)
    (s_value, s_stats), s_grads = jax.value_and_grad(s_loss, has_aux=True)(state.s.params, fake)
    moved = {"g": (g_grads, g_stats), "d": (d_grads, d_stats), "s": (s_grads, s_stats)}
    players = {name: descend(getattr(state, name), grads, tx, stats) for name, (grads, stats) in moved.items()}
    rows = {"loss/g": g_value, "loss/d": d_value, "loss/s": s_value}
    rows |= {f"score/{of}": score.mean() for of, score in zip(("real", "wrong", "fake"), scores, strict=True)}
    return state._replace(step=state.step + 1, **players), rows


def generate(cfg, state, z):
    t = vectors(cfg, state, z["text"])
    return forward(build(cfg)[0], state.g.params, state.g.stats, z["z"], t, train=False)[0]


def latent(cfg, key, n):
    z, which = jax.random.split(key)
    return {"z": rng.normal(z, (n, cfg.z_dim)), "text": data.examples(data.load(cfg.dataset), which, n)["text"]}


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how often what was asked for is seen, how well captions and styles are known, and pictures."""
    S, source, keys, found = build(cfg)[2], data.load(cfg.dataset), jax.random.split(key), {}
    of = asked.batches(source, train, test, key)
    drawn = lambda z, text: generate(cfg, state, {"z": z, "text": text})
    style = lambda x: forward(S, state.s.params, state.s.stats, x, train=False)[0]  # [n, z]
    for name, batch in of.items():
        made = drawn(rng.normal(keys[0], (len(batch["x"]), cfg.z_dim)), batch["text"])
        shares = asked.shares(source, batch, made)
        shares["caption"] = joint_embedding.found(embedding(cfg), state.embedding, batch["x"], batch["text"])
        found |= {f"{what}/{name}": share for what, share in shares.items()}
    if "held_out" not in of:
        return found
    x, text = of["held_out"]["x"], of["held_out"]["text"]
    z, again = (rng.normal(key, (len(x), cfg.z_dim)) for key in keys)
    other = jnp.roll(text, 1, 0)
    found["style/same"] = identity.verified(style(made), style(drawn(z, other)))
    rows = {"data": x, "ours": made, "ours again": drawn(again, text), "in the data's style": drawn(style(x), other)}
    said = jnp.stack([text, text, text, other])[:, :8]
    pictures = jnp.stack(list(rows.values()))[:, :8]
    return found | {"captions": Picture(pictures, rows=tuple(rows), about=said, field=source.fields["text"])}


def setup(cfg):
    source = data.load(cfg.dataset)
    live = lambda steps: log.Live(steps, title=f"the text encoder of {source.name}")
    joint_embedding.load(source, embedding(cfg), cfg.text_steps, live)
    return Setup(source, cfg.batch_size, cfg.steps, asked.classifiers(source), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
