"""Molecules: an autoencoder writes SMILES from codes that look drawn, and is rewarded for the property that was asked.

The adversarial autoencoder of SMILES as MOSES has it (Polykovskiy et al. 2018, arXiv 1811.12823; of molecules first in
Kadurin et al. 2017, druGAN): E and G learn to write a text again, and D tells E's codes from those that are drawn. From
step `alone` on G also writes from drawn codes, and moves by MolGAN's mix (De Cao and Kipf 2018, arXiv 1805.11973),
share * L + (1 - share) |L / R| R, where L is the loss without reward, R that of a reward net V on what G wrote, and the
ratio has no gradient.

Differences from the papers:
1. G is asked for a property y, and R is the squared error of V(G(z, y)) from it; MolGAN has -V(G(z)): ever more of it.
2. D sees y beside the code, so that the code doesn't say it, and E descends L as a part of the mix (with D's answer).
3. MolGAN's L is that of a WGAN of graphs, here it is the error of texts. V learns from data alone; there also from
   samples, of which chemistry says the property in every step.
4. D sees codes of both kinds in every step; in MOSES' code they alternate, and D or E rest where one is ahead. One Adam
   moves E by both of its losses, there two do. Rates don't fall.
5. Characters are drawn, with `noise` times Gumbel's; MOSES takes the most probable (0). G sees y at each of them.
6. E and G have embeddings of their own, LSTMs one bias a gate; E's code is of its last outputs, there of its cells.
7. Smaller nets; `paper` has MOSES', which has no V, on a part of ZINC.

    python -m experiments molecules                           QM9, asked for shares of atoms that are not carbon
    python -m experiments molecules --steered logp            any property that RDKit computes
    python -m experiments molecules --preset zinc             drug-like ones, asked for the logP of the set's records
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gan_jax import UserError, data
from gan_jax.data.tokens import PAD
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import chemistry
from gan_jax.nets import molecules
from gan_jax.run import Count, Picture, Setup, Share, program

ASKED, ROWS = {"low": -1.5, "middle": 0.0, "high": 1.5}, 500  # deviations from the mean; texts measured of each


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "qm9_smiles5k"  # texts of SMILES; a number `property` of theirs is what is asked for
    steered: Literal[*chemistry.PROPERTIES] = "heteroatoms"  # what is asked for where the set has no `property`
    steps: Count = 2000  # updates of E, G, D and V
    alone: int = 1600  # first updates, without a reward
    batch_size: Count = 64  # rows a step
    share: Share = 0.5  # of the loss without reward in the mix; 1: no reward
    adversarial: float = 1.0  # weight of D's answer in E's loss
    noise: float = 1.0  # with which characters are drawn, times Gumbel's
    z_dim: Count = 64  # the code, standard normal
    dim: Count = 32  # numbers of a character's vector
    e_width: Count = 64  # units of E's LSTMs
    width: Count = 128  # units of each of G's LSTMs
    depth: Count = 1  # of these
    d_width: Count = 128  # units of D's first layer; the second has two fifths
    v_width: Count = 64  # channels of V
    lr: float = 2e-3  # Adam's rate for all


_zinc, _paper = "zinc20k,property=logp", 247_600  # 20 epochs of MOSES' 1,584,663 molecules
_nets = {"noise": 0.0, "z_dim": 640, "e_width": 380, "width": 640, "depth": 2, "d_width": 640, "lr": 1e-3}
PRESETS = {
    "default": Config(),
    "zinc": Config(_zinc, "logp", 4000, 3000, e_width=128, width=256),
    "paper": Config(_zinc, "logp", _paper, _paper // 2, 128, **_nets),
    "tiny": Config("chains", "heteroatoms", 6, 1, 8, z_dim=4, dim=4, e_width=4, width=4, d_width=5, v_width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    d: Player
    v: Player


def source_of(cfg):
    """Return the molecules with the field `property`: the set's own, or what is computed of their texts."""
    source, of = data.load(cfg.dataset), cfg.steered
    return source if "property" in source.row else data.described(source, "property", of, chemistry.of(of))


def standard(cfg):
    """Return mean and deviation of the property over the training split."""
    return [np.float32(of(source_of(cfg).whole()["property"])) for of in (np.mean, np.std)]


def build(cfg):
    E, G = molecules.E(cfg.z_dim, cfg.dim, cfg.e_width), molecules.G(cfg.dim, cfg.width, cfg.depth)
    return E, G, molecules.D(cfg.d_width), molecules.V(cfg.v_width), optax.adam(cfg.lr)


def init(cfg, key):
    *nets, tx = build(cfg)
    field = source_of(cfg).row["x"]
    x, z, y = (jnp.zeros((1, *of)) for of in ((*field.shape, field.classes), (cfg.z_dim,), (1,)))
    given = zip("egdv", nets, ((x, jnp.zeros(1, jnp.int32)), (z, y, x), (z, y), (x,)), strict=True)
    return State(jnp.int32(0), key, *(create(net, tx, rng.at(key, 0, of), *inputs) for of, net, inputs in given))


def written(cfg, g_params, key, y):
    """Return what G writes where it is asked for y [b, 1], in deviations from the mean: [b, t, v], each row one 1."""
    field = source_of(cfg).row["x"]
    z = rng.normal(rng.at(key, 0, "z"), (len(y), cfg.z_dim))
    u = rng.uniform(rng.at(key, 0, "gumbel"), (len(y), *field.shape, field.classes))
    gumbel = -jnp.log(-jnp.log(jnp.clip(u, 1e-6, 1 - 1e-6)))
    return forward(build(cfg)[1], g_params, {}, z, y, cfg.noise * gumbel, 1.0)[0][1]


def step(cfg, state, batch):
    E, G, D, V, tx = build(cfg)
    mean, deviation = standard(cfg)
    x = jax.nn.one_hot(batch["x"], source_of(cfg).row["x"].classes, dtype=jnp.float32)  # [b, t, v]
    y = (batch["property"] - mean) / deviation  # [b, 1]
    loss, there, last = losses.non_saturating, batch["x"] != PAD, data.last(batch["x"])

    def eg_loss(params, rewarded):
        code, _ = forward(E, params[0], {}, x, last)  # [b, z]
        (logits, _), _ = forward(G, params[1], {}, code, y, x)  # [b, t, v]
        again = (optax.softmax_cross_entropy(logits, x) * there).sum() / there.sum()
        value = again + cfg.adversarial * loss.g(None, forward(D, state.d.params, {}, code, y)[0]).mean()
        if not rewarded:
            return value, (code, again, 0 * again)
        made = written(cfg, params[1], rng.at(state.key, state.step, "written"), y)
        off = ((forward(V, state.v.params, {}, made)[0] - y[:, 0]) ** 2).mean()
        ratio = jax.lax.stop_gradient(jnp.abs(value / off))
        return cfg.share * value + (1 - cfg.share) * ratio * off, (code, again, off)

    moves = [lambda params, rewarded=i: jax.grad(eg_loss, has_aux=True)(params, rewarded) for i in (True, False)]
    grads, (code, again, off) = jax.lax.cond(state.step >= cfg.alone, *moves, (state.e.params, state.g.params))
    z = rng.normal(rng.at(state.key, state.step, "z"), code.shape)

    def d_loss(d_params):
        real_score, fake_score = (forward(D, d_params, {}, of, y)[0] for of in (z, code))  # [b]
        return loss.d(real_score, fake_score).mean(), [jax.nn.sigmoid(s).mean() for s in (real_score, fake_score)]

    d_grads, p = jax.grad(d_loss, has_aux=True)(state.d.params)
    v_loss = lambda v_params: ((forward(V, v_params, {}, x)[0] - y[:, 0]) ** 2).mean()
    v_value, v_grads = jax.value_and_grad(v_loss)(state.v.params)
    moved = zip(state[2:], (*grads, d_grads, v_grads), strict=True)
    metrics = {"loss/again": again, "loss/reward": off, "loss/v": v_value, "p/real": p[0], "p/fake": p[1]}
    return State(state.step + 1, state.key, *(descend(player, grad, tx) for player, grad in moved)), metrics


def sample(cfg, state, key, n):
    y = rng.normal(rng.at(key, 0, "asked"), (n, 1))  # with the mean and the deviation of the data
    return written(cfg, state.g.params, key, y).argmax(-1).astype(jnp.int32)


def measure(cfg, state, key, train, test):
    """Return what there is to say of molecules that were asked for little of the property, for its mean, for much."""
    if not train:
        return {}
    source, (mean, deviation), found, shown = source_of(cfg), standard(cfg), {}, {}
    (name,), names, known = source.row["property"].names, source.row["x"].names, source.whole()["x"]
    for how, much in ASKED.items():
        made = written(cfg, state.g.params, rng.at(key, 0, how), jnp.full((ROWS, 1), much, jnp.float32)).argmax(-1)
        found |= {f"{how}/asked": jnp.float32(mean + much * deviation)}
        found |= {f"{how}/{what}": value for what, value in chemistry.scores(made, names, known, name).items()}
        shown[f"{name} {mean + much * deviation:.3g} asked"] = made[:16]
    return found | {"asked": Picture(jnp.stack(list(shown.values())), rows=tuple(shown))}


def setup(cfg):
    chemistry.rdkit()  # says what is missing
    source = source_of(cfg)
    if len(source.row["property"].names) != 1 or not standard(cfg)[1] > 0:  # NaN is not
        raise UserError(f"{source.name} has no property, a number that differs from record to record, to be asked for.")
    return Setup(source, cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
