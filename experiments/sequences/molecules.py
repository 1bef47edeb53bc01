"""Molecules: an autoencoder writes SMILES from codes that look drawn, and is rewarded for the property that was asked.

The adversarial autoencoder of SMILES as MOSES has it (Polykovskiy et al. 2018, arXiv 1811.12823; of molecules first in
Kadurin et al. 2017, druGAN): E and G learn to write a text again, and D tells E's codes from those that are drawn. From
step `alone` on G also writes from drawn codes, and moves by MolGAN's mix (De Cao and Kipf 2018, arXiv 1805.11973),
share * L - (1 - share) |L / R| R, where L is the loss without reward, R the reward that a net V expects for what G
wrote, and the ratio has no gradient. Of samples chemistry says to V, in every step, whether they are molecules.

Differences from the papers:
1. G is asked for a property y, and R is s(x) exp(-(p(x) - y)^2): V's guess that a text is a molecule, and the property
   that it sees. MolGAN's V guesses a product of such numbers at once, as chemistry says it of data and samples; here p
   learns from data alone, s from both. Without RDKit s learns which texts are balanced.
2. D sees y beside the code, so that the code doesn't say it. E has no part in the reward, and descends L alone.
3. MolGAN's L is that of a WGAN of graphs, here it is the error of texts, with D's answer. Its V learns from the start.
4. D sees codes of both kinds in every step, and in MOSES' code E and G rest while D moves. Rates are halved after each
   sixth of the updates as there, but not for an epoch's end. Gradients aren't cut.
5. Characters are drawn with `noise` times Gumbel's, which is 1 in MOSES. G sees y at each of them.
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
    steps: Count = 5000  # updates of E, G, D and V
    alone: int = 3000  # first updates, without a reward
    batch_size: Count = 64  # rows a step
    share: Share = 0.9  # of the loss without reward in the mix; 1: no reward
    adversarial: float = 1.0  # weight of D's answer in E's loss
    noise: float = 0.5  # with which characters are drawn, times Gumbel's
    z_dim: Count = 64  # the code, standard normal
    dim: Count = 32  # numbers of a character's vector
    e_width: Count = 64  # units of E's LSTMs
    width: Count = 128  # units of each of G's LSTMs
    depth: Count = 1  # of these
    d_width: Count = 128  # units of D's first layer; the second has two fifths
    v_width: Count = 64  # channels of V
    lr: float = 4e-3  # Adam's rate for all at first; halved after each sixth of the updates


_zinc, _paper = "zinc20k,property=logp", 185_700  # MOSES': 120 epochs of 1,584,663 molecules, every second update
_nets = {"noise": 1.0, "z_dim": 128, "e_width": 512, "width": 512, "depth": 2, "d_width": 640, "lr": 1e-3}
PRESETS = {
    "default": Config(),
    "zinc": Config(_zinc, "logp", 4000, 3000, e_width=128, width=256),
    "paper": Config(_zinc, "logp", _paper, _paper // 2, 512, **_nets),
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
    rate = optax.exponential_decay(cfg.lr, max(1, cfg.steps // 6), 0.5, staircase=True)
    return E, G, molecules.D(cfg.d_width), molecules.V(cfg.v_width), optax.adam(rate)


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
    gumbel = rng.gumbel(rng.at(key, 0, "gumbel"), (len(y), *field.shape, field.classes))
    return forward(build(cfg)[1], g_params, {}, z, y, cfg.noise * gumbel, 1.0)[0][1]


def rewarded(cfg, state, y, loss, g_grads):
    """Return the mix's gradient for G, given that of the loss [], with the reward and the characters that G wrote."""

    def reward(g_params):
        made = written(cfg, g_params, rng.at(state.key, state.step, "written"), y)
        found, score = forward(build(cfg)[3], state.v.params, {}, made)[0]  # [b] each
        return (jax.nn.sigmoid(score) * jnp.exp(-((found - y[:, 0]) ** 2))).mean(), made.argmax(-1).astype(jnp.int32)

    (value, made), grads = jax.value_and_grad(reward, has_aux=True)(state.g.params)
    ratio = jnp.abs(loss / value)
    mix = lambda of_loss, of_reward: cfg.share * of_loss - (1 - cfg.share) * ratio * of_reward
    return jax.tree.map(mix, g_grads, grads), value, made


def step(cfg, state, batch):
    E, G, D, V, tx = build(cfg)
    (mean, deviation), names = standard(cfg), source_of(cfg).row["x"].names
    one_hot = lambda x: jax.nn.one_hot(x, len(names), dtype=jnp.float32)
    x, y = one_hot(batch["x"]), (batch["property"] - mean) / deviation  # [b, t, v], [b, 1]
    loss, there, last = losses.non_saturating, batch["x"] != PAD, data.last(batch["x"])

    def eg_loss(e_params, g_params):
        code, _ = forward(E, e_params, {}, x, last)  # [b, z]
        (logits, _), _ = forward(G, g_params, {}, code, y, x)  # [b, t, v]
        again = (optax.softmax_cross_entropy(logits, x) * there).sum() / there.sum()
        return again + cfg.adversarial * loss.g(None, forward(D, state.d.params, {}, code, y)[0]).mean(), (code, again)

    of_both = jax.value_and_grad(eg_loss, argnums=(0, 1), has_aux=True)
    (value, (code, again)), (e_grads, g_grads) = of_both(state.e.params, state.g.params)
    alone = lambda: (g_grads, 0 * value, batch["x"])  # data stand in for samples
    begun = state.step >= cfg.alone
    g_grads, reward, made = jax.lax.cond(begun, lambda: rewarded(cfg, state, y, value, g_grads), alone)
    valid = jax.lax.cond(begun, lambda: chemistry.valid(made, names), lambda: jnp.ones(len(x), jnp.float32))
    z = rng.normal(rng.at(state.key, state.step, "z"), code.shape)

    def d_loss(d_params):
        real_score, fake_score = (forward(D, d_params, {}, of, y)[0] for of in (z, code))  # [b]
        return loss.d(real_score, fake_score).mean(), [jax.nn.sigmoid(s).mean() for s in (real_score, fake_score)]

    def v_loss(v_params):
        (found, real), (_, fake) = (forward(V, v_params, {}, of)[0] for of in (x, one_hot(made)))  # [b] each
        wrong = jax.nn.softplus(-real) + jax.nn.softplus(fake) - valid * fake  # is it a molecule?
        return ((found - y[:, 0]) ** 2).mean() + wrong.mean()

    d_grads, p = jax.grad(d_loss, has_aux=True)(state.d.params)
    v_value, v_grads = jax.value_and_grad(v_loss)(state.v.params)
    moved = zip(state[2:], (e_grads, g_grads, d_grads, v_grads), strict=True)
    metrics = {"loss/again": again, "reward": reward, "valid": valid.mean(), "loss/v": v_value}
    metrics |= {"p/real": p[0], "p/fake": p[1]}
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
    if not standard(cfg)[1] > 0:
        raise UserError(f"all records of {source.name} have the same property: nothing can be asked for.")
    return Setup(source, cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
