"""Neural face editing: a face is taken apart into albedo, normals and light, put together again, and lit otherwise.

Shu, Yumer, Hadap, Sunkavalli, Shechtman and Samaras 2017, arXiv 1704.04131. G finds codes of the albedo, the normals,
the nine numbers of the light, the background and the matte, and decodes each; the picture is matte * albedo * shading
of the normals by the light + (1 - matte) * background. G descends what is wrong with it, how badly an autoencoder D
knows it (EBGAN), and what albedo, normals, light, shading and matte are expected to be.

Differences from the paper and the authors' code (zhixinshu/NeuralFaceEditing), whose weights these are:
1. The normals and the matte that are expected are those of an ellipsoid, where it is seen; the light is the one that
   makes it most like the picture, with one grey for the batch. There all three are those of a fitted 3-D face model.
2. Light has nine numbers a channel (there a tenth is a factor), and one of the authors' constants, c3, is .743125.
3. Normals are of slopes, so they have length 1; albedo, matte, background end in sigmoids (rectifiers and clips there,
   with a loss of lengths). The matte has one channel. All decoders double to the nearest; D's output is unbounded.
4. Codes of pictures have no sigmoid, and the encoders see pictures in [-1, 1].
5. G descends all of D's energy (there D's input counts as a constant). Both are updated at once, on one batch.
6. Adam at one rate, there RMSProp at one that rises and falls. The energy of fakes is raised up to a small margin.
7. The default is narrower at full resolution, wider below, holds on to the ellipsoid's normals five times as much, and
   sees grey faces of 32x32: its albedo has one channel.

    python -m experiments intrinsic             40 people's faces, of whom 8 are held out
    python -m experiments intrinsic --plain     an autoencoder of the same width and code, to compare with
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.nets import intrinsic
from gan_jax.run import Count, Decay, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "olivetti_faces,size=32"  # faces in the middle of pictures
    unseen: int = 8  # people, the last labels y, that are held out; 0: what the set holds out
    steps: Count = 1200  # updates of both
    batch_size: Count = 16  # pictures a step
    plain: bool = False  # only reconstruct, by the background's code and decoder; no parts, no priors
    ellipsoid: tuple[float, float, float] = (1.0, 1.25, 0.8)  # half-axes across, down, towards us; shares of half sides
    ridge: float = 0.01  # of the square of the light, where it is fitted
    face: float = 4.0  # weight of the squared error of albedo times shading where the ellipsoid is
    whole: float = 2.0  # that of the error of the picture
    adversarial: float = 1.0  # that of D's energy
    flat: float = 0.2  # that of the albedo's variation
    shape: float = 1.0  # that of the squared distance of normals from the ellipsoid's
    smooth: float = 0.2  # that of the squared variation of normals, halved
    light: float = 5.0  # that of the squared distance of the light from the fitted one
    white: float = 1.0  # that of the squared distance of the batch's mean shading from 0.75, halved
    matte: float = 5.0  # that of the distance of the matte from the ellipsoid's
    border: float = 2.0  # that of the squared variation of the matte, halved
    margin: float = 0.02  # up to which D raises the mean squared error of fakes
    code: Count = 128  # numbers in the codes of pictures and of most parts
    channels: tuple[Count, ...] = (8, 16, 32)  # from full resolution on
    lr: float = 1e-3  # Adam's rate for both
    b1: Decay = 0.9  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "paper": Config("celeb_a,size=64", 0, 100_000, 100, shape=0.2, margin=20.0, channels=(96, 48, 24)),
    "tiny": Config("digits16", 0, 6, batch_size=8, code=8, channels=(2,)),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def faces(cfg):
    """Return the set, with people held out."""
    return data.unseen(data.load(cfg.dataset), cfg.unseen)


def build(cfg):
    return *(net(cfg.code, cfg.channels) for net in (intrinsic.G, intrinsic.D)), optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    y = jnp.zeros((1, *faces(cfg).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), y), create(D, tx, rng.at(key, 0, "d"), y))


def expected(cfg, made, y):
    """Return what the parts cost beyond the error of the picture y: that of the face, and what is expected of each."""
    normals, seen = intrinsic.ellipsoid(y.shape[1:], cfg.ellipsoid)
    light = intrinsic.fitted(y, normals, seen, cfg.ridge)
    normals, seen = jnp.asarray(normals, y.dtype), jnp.asarray(seen, y.dtype)
    inside = seen[:, :-1, :-1]
    grey = (made["shading"] * seen).mean((0, 1, 2)) / seen.mean()  # [c]
    steps = {name: intrinsic.variation(made[name]) for name in ("albedo", "normals", "matte")}  # of two directions
    return (
        cfg.face * ((made["face"] - y) ** 2 * seen).mean()
        + cfg.flat * 2 * (jnp.abs(steps["albedo"]) * inside).mean()
        + cfg.shape * ((made["normals"] - normals) ** 2 * seen).mean()
        + cfg.smooth * (steps["normals"] ** 2 * inside).mean()
        + cfg.light * ((made["light"] - light) ** 2).mean((0, 2)).sum()
        + cfg.white / 2 * ((grey - intrinsic.WHITE) ** 2).sum()
        + cfg.matte * jnp.abs(made["matte"] - seen).mean()
        + cfg.border * (steps["matte"] ** 2).mean()
    )


def apart(cfg, params, stats, y, train=True):
    """Return (the parts of pictures y and what they look like, together, G's statistics afterwards)."""
    parts, stats = forward(build(cfg)[0], params, stats, y, train=train)
    made = intrinsic.rendered(parts)
    return made | {"picture": made["background"]} if cfg.plain else made, stats


def step(cfg, state, batch):
    _, D, tx = build(cfg)
    y = (batch["x"] + 1) / 2  # [b, h, w, c]

    def energy(params, y):
        again, stats = forward(D, params, state.d.stats, y)
        return ((again - y) ** 2).mean(), stats

    def g_loss(params):
        made, stats = apart(cfg, params, state.g.stats, y)
        fooling, l1 = energy(state.d.params, made["picture"])[0], jnp.abs(made["picture"] - y).mean()
        value = cfg.whole * l1 + cfg.adversarial * fooling + (0 if cfg.plain else expected(cfg, made, y))
        return value, (stats, made, {"loss/g": value, "l1": l1})

    def d_loss(params, fake):
        real, stats = energy(params, y)  # D keeps the statistics of data
        contrast, _ = energy(params, fake)
        value = real + jax.nn.relu(cfg.margin - contrast)
        return value, (stats, {"loss/d": value, "energy/real": real, "energy/fake": contrast})

    g_grads, (g_stats, made, of_g) = jax.grad(g_loss, has_aux=True)(state.g.params)
    d_grads, (d_stats, of_d) = jax.grad(d_loss, has_aux=True)(state.d.params, made["picture"])
    g, d = descend(state.g, g_grads, tx, g_stats), descend(state.d, d_grads, tx, d_stats)
    return State(state.step + 1, state.key, g, d), of_g | of_d


def sample(cfg, state, key, n):
    """Return pictures, each under the light of another one."""
    made, _ = apart(cfg, *state.g[:2], (data.examples(faces(cfg), key, n)["x"] + 1) / 2, train=False)
    return 2 * (made["picture"] if cfg.plain else intrinsic.relit(made, jnp.roll(made["light"], 1, 0))) - 1


def measure(cfg, state, key, train, test):
    """Return how far up to 256 held-out pictures are from what is made of them, and whether light is mirrored."""
    if not test or not train:
        return {}
    y, known = ((data.decode({"x": split["x"][:n]})["x"] + 1) / 2 for split, n in ((test, 256), (train, 1024)))
    of = lambda y: apart(cfg, *state.g[:2], y, train=False)[0]
    psnr = lambda a: (-10 * jnp.log10(((a - y) ** 2).mean((1, 2, 3)))).mean()
    made, mean = of(y), known.mean(0, keepdims=True)
    found = {"l1/ours": jnp.abs(made["picture"] - y).mean(), "l1/mean_face": jnp.abs(mean - y).mean()}
    found |= {"psnr/ours": psnr(made["picture"]), "psnr/mean_face": psnr(mean)}
    rows = {"input": y, "reconstruction": made["picture"]}
    if not cfg.plain:
        side, other = (jnp.ravel(a["light"][..., 3]) for a in (made, of(y[:, :, ::-1])))
        found["light/mirrored"] = -jnp.corrcoef(side, other)[0, 1]
        rows |= {"albedo": made["albedo"], "normals": (made["normals"] + 1) / 2, "shading": made["shading"]}
        rows |= {name: intrinsic.relit(made, intrinsic.lamp(at, 0.3, 0.65)) for name, at in intrinsic.LAMPS.items()}
    shown = [jnp.broadcast_to(2 * jnp.clip(a[:12], 0, 1) - 1, (*y[:12].shape[:3], 3)) for a in rows.values()]
    return found | {"faces": Picture(jnp.stack(shown), "image", tuple(rows))}


def setup(cfg):
    return Setup(faces(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
