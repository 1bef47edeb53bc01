"""IcGAN: a conditional GAN, and two encoders that read off a picture the noise and the label it could be drawn from.

Perarnau, van de Weijer, Raducanu and Alvarez 2016, arXiv 1611.06355. D sees the label y beside the features of its
first convolution and descends -log D(x, y) - (log(1 - D(x, y')) + log(1 - D(G(z, y), y))) / 2, y' a wrong label of the
real x; then G descends -log D(G(z, y), y) of the new D. When G has learned, E_z learns the z of pictures that G draws,
and E_y the y of real ones, both by the mean square. A picture x is edited as G(E_z(x), another label). The encoders
come last, as there, after `game` steps of D and G; G's statistics are renewed meanwhile, as the authors' code renews
them before it draws. `measure` edits test faces: each gets the next label, which of two is the other one. A classifier
says whether it sees that label, and the nearest of the other test faces whether it is the same person still.

Differences from the paper and the authors' code:
1. One label of k classes, which is k numbers of which one is 1 (as there for digits), not eighteen labels of faces.
2. G is asked for the labels of the batch's real pictures (there: for those of others).
3. E_z sees every picture once, drawn in that step (there: a set of as many as there are real ones, 15 times).
4. Pictures are not mirrored. The default is smaller and has higher rates.

    python -m experiments icgan   sunglasses on and off; or --dataset cmu_faces,y=expression,person=person,size=32
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data, metrics
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import attributes, classifier
from gan_jax.nets import dcgan, icgan
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmu_faces,y=sunglasses,person=person,size=32"  # pictures with a label
    steps: Count = 5500  # updates of the game, then of the encoders
    game: Count = 4000  # the first of them, in which D and G play
    batch_size: Count = 16  # pictures, and noises, a step
    z_dim: Count = 64  # the noise, standard normal
    width: Count = 32  # channels of G and D at half resolution
    e_width: Count = 16  # channels of the encoders at half resolution
    e_hidden: Count = 128  # units of E_y's layer before the last
    g_lr: float = 5e-4  # Adam's rate for G
    d_lr: float = 5e-4  # Adam's rate for D
    e_lr: float = 1e-3  # Adam's rate for both encoders
    b1: Decay = 0.5  # Adam's decay of the first moment of G and D
    e_b1: Decay = 0.1  # that of the encoders


_paper = Config("celeb_a,y=Eyeglasses,size=64", steps=99_000, game=71_000, batch_size=64, z_dim=100, width=64)
PRESETS = {
    "default": Config(),
    "paper": dataclasses.replace(_paper, e_width=32, e_hidden=512, g_lr=2e-4, d_lr=2e-4, e_lr=1e-4),
    "tiny": Config("digits16", steps=6, game=1, batch_size=8, z_dim=4, width=2, e_width=2, e_hidden=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    e_z: Player
    e_y: Player


def build(cfg):
    source = data.load(cfg.dataset)
    nets = dcgan.G(source.shape, cfg.width), icgan.D(cfg.width)
    nets += icgan.E(cfg.z_dim, cfg.e_width), icgan.E(source.classes, cfg.e_width, cfg.e_hidden)
    return *nets, *(optax.adam(*of) for of in ((cfg.g_lr, cfg.b1), (cfg.d_lr, cfg.b1), (cfg.e_lr, cfg.e_b1)))


def init(cfg, key):
    (G, D, E_z, E_y, g_tx, d_tx, e_tx), source = build(cfg), data.load(cfg.dataset)
    x, y, z = jnp.zeros((1, *source.shape)), jnp.zeros((1, source.classes)), jnp.zeros((1, cfg.z_dim))
    at = lambda name: rng.at(key, 0, name)
    players = create(G, g_tx, at("g"), jnp.concatenate([z, y], 1)), create(D, d_tx, at("d"), x, y)
    return State(jnp.int32(0), key, *players, create(E_z, e_tx, at("e_z"), x), create(E_y, e_tx, at("e_y"), x))


def coded(cfg, y):  # labels [n] as one-hot rows [n, classes]
    return jax.nn.one_hot(y, data.load(cfg.dataset).classes, dtype=jnp.float32)


def step(cfg, state, batch):
    G, D, E_z, E_y, g_tx, d_tx, e_tx = build(cfg)
    loss, classes = losses.non_saturating, data.load(cfg.dataset).classes
    x, b = batch["x"], len(batch["x"])
    z = rng.normal(rng.at(state.key, state.step, "z"), (b, cfg.z_dim))
    by = jax.random.randint(rng.at(state.key, state.step, "wrong"), (b,), 1, classes, jnp.int32)
    y, wrong = coded(cfg, batch["y"]), coded(cfg, (batch["y"] + by) % classes)  # [b, classes]
    draw = lambda params: forward(G, params, state.g.stats, jnp.concatenate([z, y], 1))

    def play(state):
        fake, to_g, g_stats = jax.vjp(draw, state.g.params, has_aux=True)  # G runs once, for both players

        def d_loss(params):
            score = lambda x, y: forward(D, params, state.d.stats, x, y)
            real, stats = score(x, y)  # [b]; D keeps the statistics of data
            value = loss.d(real, score(x, wrong)[0]) + loss.d(real, score(fake, y)[0])
            return value.mean() / 2, stats

        def g_loss(fake):
            return loss.g(None, forward(D, d.params, d.stats, fake, y)[0]).mean()  # of the new D

        (d_value, d_stats), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
        d = descend(state.d, grads, d_tx, d_stats)
        g_value, slope = jax.value_and_grad(g_loss)(fake)
        g = descend(state.g, *to_g(slope), g_tx, g_stats)
        return state._replace(g=g, d=d), (g_value, d_value, *2 * [0 * d_value])

    def encode(state):
        def learned(E, e, x, code):
            def e_loss(params):
                found, stats = forward(E, params, e.stats, x)
                return ((found - code) ** 2).mean(), stats

            (value, stats), grads = jax.value_and_grad(e_loss, has_aux=True)(e.params)
            return descend(e, grads, e_tx, stats), value

        fake, g_stats = draw(state.g.params)
        (e_z, of_z), (e_y, of_y) = learned(E_z, state.e_z, fake, z), learned(E_y, state.e_y, x, y)
        return state._replace(g=state.g._replace(stats=g_stats), e_z=e_z, e_y=e_y), (*2 * [0 * of_z], of_z, of_y)

    state, found = jax.lax.cond(state.step < cfg.game, play, encode, state)
    names = "loss/g", "loss/d", "loss/e_z", "loss/e_y"  # 0 where that is not learned
    return state._replace(step=state.step + 1), dict(zip(names, found, strict=True))


def drawn(cfg, state, z, y):  # G(z, y) of z [n, z] and y [n, classes]
    return forward(build(cfg)[0], *state.g[:2], jnp.concatenate([z, y], 1), train=False)[0]


def latent(cfg, key, n):
    noise, which = jax.random.split(key)
    y = jax.random.randint(which, (n,), 0, data.load(cfg.dataset).classes)
    return {"z": rng.normal(noise, (n, cfg.z_dim)), "y": y}


def generate(cfg, state, z):
    return drawn(cfg, state, z["z"], coded(cfg, z["y"]))


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return in how many of up to 500 test pictures, edited, the label asked for is seen, and whose they look."""
    if "y" not in test:
        return {}
    x, y = data.decode({"x": test["x"][:500]})["x"], test["y"][:500]
    _, _, E_z, E_y, *_ = build(cfg)
    z, read = (forward(E, e.params, e.stats, x, train=False)[0] for E, e in ((E_z, state.e_z), (E_y, state.e_y)))
    asked = jnp.where(y < 0, y, (y + 1) % data.load(cfg.dataset).classes)
    rows = {"as_it_is": (x, y), "rebuilt": (drawn(cfg, state, z, read), y)}
    rows |= {"edited": (drawn(cfg, state, z, coded(cfg, asked)), asked)}
    judge, found = classifier.load(data.load(cfg.dataset)), {"label/read": metrics.agreement(read.argmax(1), y)}
    for name, (new, label) in rows.items():
        found[f"attribute/{name}"] = metrics.agreement(judge(new).argmax(1), label)
        if "person" in test:
            found[f"person/{name}"] = attributes.same_person(new, x, test["person"][:500])
    return found | {"edited": Picture(jnp.stack([new[:12] for new, _ in rows.values()]), rows=tuple(rows))}


def setup(cfg):
    source = data.load(cfg.dataset)
    if source.classes < 2:
        raise UserError(f"{source.name} has no labels, of which others could be asked for; choose a set that has.")
    if cfg.game >= cfg.steps:
        raise UserError(f"--game is {cfg.game} of {cfg.steps} --steps: leave some, in which the encoders learn.")
    return Setup(data.labelled(source), cfg.batch_size, cfg.steps, (source,) if source.test else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
