"""pix2pix: pairs of pictures teach G to translate; L1 holds it to the truth, D on pairs makes its details sharp.

Isola, Zhu, Zhou and Efros 2017, arXiv 1611.07004. G, a U-Net, turns an input a into G(a), and D scores patches of pairs
(a, b) and (a, G(a)). With D just updated, G descends -log D(a, G(a)) + 100 |b - G(a)|. There is no z: dropout is the
only noise, after training too. The paper's five ways: L1 alone `--adversarial 0`, L1 + cGAN as it is, L1 + GAN
`--no-sees-input`, cGAN `--l1 0`, GAN `--l1 0 --no-sees-input`.

a is the field `source` of the set; where there is none, the map of its labels (y) in colours, one a class; and without
both pictures are coloured: L of Lab in, ab out. `measure` translates held-out pictures.

Differences from the paper:
1. Normalisation is over each picture alone: at batch 1, as the paper has it for facades and maps, that is its batch
   norm by the batch's own statistics, in training and afterwards. On other sets the paper has batches of 4 or 10.
2. The 1x1 bottleneck has no norm, which would leave 0 of it, as in the authors' corrected code.
3. G's loss is scored by the D of after its update; the authors' code sends it back through the activations of before.
4. The jitter enlarges pictures as Pillow does (bilinear), labels to the nearest pixel, and colours these afterwards.
5. `default`, `labels`, `colour` and `128` are smaller: fewer pixels and channels, the first three with batches of 4 or
   16, and with patches of 16x16, which are to 64x64 about what 70x70 are to 256x256.

    python -m experiments pix2pix                       facades out of maps of their parts, 64x64
    python -m experiments pix2pix --dataset cmp_facades,x=label_map,source=photo --size 64          the other way round
    python -m experiments pix2pix --preset labels       streets out of maps of labels (CamVid)
    python -m experiments pix2pix --preset colour       colours for grey pictures (CIFAR-10's subset)
    python -m experiments pix2pix --dataset my/pairs --size 64      pairs of your own (docs/data.md)
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import pix2pix
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmp_facades,x=photo,source=label_map,size=64"  # pairs, pictures with maps of labels, or in colours
    steps: Count = 3000  # joint updates of G and D
    batch_size: Count = 4  # pairs a step
    l1: float = 100.0  # weight of |b - G(a)| in G's loss
    adversarial: float = 1.0  # weight of the GAN in G's loss
    sees_input: bool = True  # whether D sees the input beside the output: cGAN, or GAN
    jitter: float = 286 / 256  # how much pictures are enlarged, to be cut anywhere and mirrored; 0: as they are
    layers: Depth = 1  # of D with stride 2: patches of 16x16; 0: 1x1, 2: 34x34, 3: 70x70, 4: 142x142, 5: 286x286
    width: Count = 24  # channels of the first layer of G and of D
    lr: float = 2e-4  # Adam's rate for both
    b1: Decay = 0.5  # Adam's decay of the first moment


PAPER = Config("cmp_facades,x=photo,source=label_map", steps=80_000, batch_size=1, layers=3, width=64)
PRESETS = {
    "default": Config(),
    "labels": Config("camvid_small,x=image,y=label_map:label,size=64"),
    "colour": Config("cifar10_subset", batch_size=16),
    "128": dataclasses.replace(PAPER, dataset=f"{PAPER.dataset},size=128", layers=2, width=32),
    "paper": PAPER,
    "tiny": Config("digits,x=image,source=image", steps=6, batch_size=8, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def pairs(cfg):
    """Return the source: `source` of the set itself, or the map of its labels in colours, or no such field."""
    source = data.load(cfg.dataset)
    source = data.jittered(source, cfg.jitter) if cfg.jitter else source
    if "source" in source.fields:
        return source
    if "y" in source.fields and len(source.fields["y"].shape) == 2:
        return data.painted(source)
    if source.shape[-1] != 3:
        raise UserError(f"{source.name} has no pairs, and no colours to be found: say {source.name},source=FEATURE.")
    return source


def ends(batch):
    """Return a [b, h, w, c], the input, and b [b, h, w, o], what is to be made of it: the pair, or L and ab of Lab."""
    if "source" in batch:
        return batch["source"], batch["x"]
    lab = data.to_lab(batch["x"])
    return lab[..., :1], lab[..., 1:]


def picture(a, b):
    """Return b [..., o] as it is shown, with the L of a where it is ab."""
    return data.from_lab(jnp.concatenate([a, b], -1)) if b.shape[-1] == 2 else b


def build(cfg):
    fields = pairs(cfg).fields
    h, w, c = fields["x"].shape
    if "source" in fields and fields["source"].shape[:2] != (h, w):
        raise UserError(f"{cfg.dataset} has pairs of two sizes: say which with --size.")
    if cfg.layers and min(h, w) // 2**cfg.layers < 3:
        raise UserError(f"--layers is {cfg.layers}: of {h}x{w} pixels D would have no patch left.")
    G, D = pix2pix.G(c if "source" in fields else 2, cfg.width), pix2pix.D(cfg.layers, cfg.width)
    return G, D, optax.adam(cfg.lr, cfg.b1)


def seen(cfg, a, b):
    """Return what D sees of a pair: [b, h, w, c + o] or [b, h, w, o]."""
    return jnp.concatenate([a, b], 3) if cfg.sees_input else b


def init(cfg, key):
    G, D, tx = build(cfg)
    a, b = ends({name: jnp.zeros((1, *field.shape)) for name, field in pairs(cfg).fields.items()})
    g = create(G, tx, rng.at(key, 0, "g"), a, key)
    return State(jnp.int32(0), key, g, create(D, tx, rng.at(key, 0, "d"), seen(cfg, a, b)))


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss, (a, b) = losses.non_saturating, ends(batch)

    def score(d_params, b):
        return forward(D, d_params, {}, seen(cfg, a, b))[0]  # [b, patches]

    def d_loss(d_params):
        scores = score(d_params, b), score(d_params, made)
        return loss.d(*scores).mean() / 2, [jax.nn.sigmoid(one).mean() for one in scores]

    def g_loss(made):
        adversarial, l1 = loss.g(None, score(d.params, made)).mean(), jnp.abs(b - made).mean()
        return cfg.adversarial * adversarial + cfg.l1 * l1, (adversarial, l1)

    noise = rng.at(state.key, state.step, "dropout")
    made, back = jax.vjp(lambda g_params: forward(G, g_params, {}, a, noise)[0], state.g.params)
    (d_value, (p_real, p_fake)), d_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, d_grads, tx)
    slope, (g_value, l1) = jax.grad(g_loss, has_aux=True)(made)
    g = descend(state.g, *back(slope), tx)
    metrics = {"loss/g": g_value, "loss/d": d_value, "l1": l1, "p/real": p_real, "p/fake": p_fake}
    return State(state.step + 1, state.key, g, d), metrics


def translated(cfg, state, key, a):
    """Return what G makes of a [n, h, w, c], a few at a time, each with a dropout of its own: [n, h, w, o]."""
    G, *_ = build(cfg)
    one = lambda row: forward(G, state.g.params, {}, row[0][None], row[1], train=False)[0][0]
    return jax.lax.map(one, (a, jax.random.split(rng.at(key, 0, "dropout"), len(a))), batch_size=16)


def sample(cfg, state, key, n):
    a, _ = ends(data.examples(pairs(cfg), key, n))
    return picture(a, translated(cfg, state, key, a))


def measure(cfg, state, key, train, test):
    """Return the mean distance of translations from the truth over up to 256 test pictures, and the first of these."""
    if not test:
        return {}
    some = jax.tree.map(lambda rows: rows[:256], test)
    a, b = ends(pairs(cfg).test.make(some, key, 0, len(some["x"])))
    made = translated(cfg, state, key, a)
    inputs = picture(a, jnp.zeros_like(b)) if b.shape[-1] == 2 else a
    rgb = lambda x: jnp.broadcast_to(x[:8], (*x[:8].shape[:-1], 3))
    rows = jnp.stack([rgb(inputs), rgb(picture(a, made)), rgb(picture(a, b))])
    return {"l1_test": jnp.abs(b - made).mean(), "test": Picture(rows, rows=("input", "ours", "truth"))}


def setup(cfg):
    return Setup(pairs(cfg), cfg.batch_size, cfg.steps, kinds=("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
