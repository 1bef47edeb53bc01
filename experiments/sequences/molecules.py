"""Molecules: an autoencoder writes SMILES from codes that look drawn, and is rewarded for the property that was asked.

The adversarial autoencoder of MOSES (Polykovskiy et al. 2018, arXiv 1811.12823): E and G learn to write a text again,
D tells E's codes from those that are drawn. From step `alone` on G also writes from these, and moves by MolGAN's mix
(De Cao and Kipf 2018, arXiv 1805.11973), share * L - (1 - share) |L / R| R: L is the loss without reward, the ratio has
no gradient, R is what a net V expects, which learns of samples whether chemistry calls them molecules.

Differences from the papers:
1. G is asked for a property y, and R = s(x) exp(-(p(x) - y)^2): V says by s whether x is a molecule, by p its property.
   MolGAN has one number. p learns from data alone, s from samples, too; without RDKit, which of them are balanced.
2. D sees y beside the code, so that the code doesn't say it. L is of texts and D's answer; MolGAN's is a WGAN's.
3. D moves in every step; in MOSES it takes turns with E and G. There, too, rates are halved five times.
4. Characters are drawn, with `noise` times Gumbel's; MOSES has 1. G sees y at each of them. Gradients aren't cut.
5. E and G have embeddings of their own, LSTMs one bias a gate; E's code is of its last outputs, there of its cells.
6. Smaller nets; `paper` has MOSES', which has no V, on a part of ZINC.

    python -m experiments molecules     QM9; --steered logp: a property of RDKit's; --preset zinc: drug-like ones
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
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
    lr: float = 4e-3  # Adam's rate for all, halved after each sixth of the updates


_nets = {"noise": 1.0, "z_dim": 128, "e_width": 512, "width": 512, "depth": 2, "d_width": 640, "lr": 1e-3}
PRESETS = {
    "default": Config(),
    "zinc": Config("zinc20k,property=logp", "logp", 4000, 3000, e_width=128, width=256),
    "paper": Config("zinc20k,property=logp", "logp", 185_700, 92_850, 512, **_nets),  # as in 120 epochs of MOSES
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
    return source_of(cfg).whole()["property"].mean(), source_of(cfg).whole()["property"].std()


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
    field, z = source_of(cfg).row["x"], rng.normal(rng.at(key, 0, "z"), (len(y), cfg.z_dim))
    gumbel = rng.gumbel(rng.at(key, 0, "gumbel"), (len(y), *field.shape, field.classes))
    return forward(build(cfg)[1], g_params, {}, z, y, cfg.noise * gumbel, 1.0)[0][1]


def mixed(cfg, state, y, loss, g_grads):
    """Return the mix's gradient for G, given that of the loss []; the reward; the samples, and which are molecules."""

    def reward(g_params):
        made = written(cfg, g_params, rng.at(state.key, state.step, "written"), y)
        found, score = forward(build(cfg)[3], state.v.params, {}, made)[0]  # [b] each
        return (jax.nn.sigmoid(score) * jnp.exp(-((found - y[:, 0]) ** 2))).mean(), made.argmax(-1).astype(jnp.int32)

    (value, made), r_grads = jax.value_and_grad(reward, has_aux=True)(state.g.params)
    mix = lambda l, r: cfg.share * l - (1 - cfg.share) * jnp.abs(loss / value) * r
    return jax.tree.map(mix, g_grads, r_grads), value, made, chemistry.valid(made, source_of(cfg).row["x"].names)


def step(cfg, state, batch):
    E, G, D, V, tx = build(cfg)
    (mean, deviation), rows = standard(cfg), jnp.eye(source_of(cfg).row["x"].classes, dtype=jnp.float32)
    x, y = rows[batch["x"]], (batch["property"] - mean) / deviation  # [b, t, v], [b, 1]
    loss, there, last = losses.non_saturating, batch["x"] != PAD, data.last(batch["x"])

    def eg_loss(params):
        code, _ = forward(E, params[0], {}, x, last)  # [b, z]
        (logits, _), _ = forward(G, params[1], {}, code, y, x)  # [b, t, v]
        again = (optax.softmax_cross_entropy(logits, x) * there).sum() / there.sum()
        return again + cfg.adversarial * loss.g(None, forward(D, state.d.params, {}, code, y)[0]).mean(), (code, again)

    (value, (code, again)), (e_grads, g_grads) = jax.value_and_grad(eg_loss, 0, True)((state.e.params, state.g.params))
    alone = lambda: (g_grads, 0 * value, batch["x"], jnp.ones(len(x), jnp.float32))  # data stand in for samples
    mix = lambda: mixed(cfg, state, y, value, g_grads)
    g_grads, reward, made, valid = jax.lax.cond(state.step >= cfg.alone, mix, alone)
    z = rng.normal(rng.at(state.key, state.step, "z"), code.shape)

    def dv_loss(params):
        real_score, fake_score = (forward(D, params[0], {}, of, y)[0] for of in (z, code))  # [b] each
        (found, real), (_, fake) = (forward(V, params[1], {}, of)[0] for of in (x, rows[made]))  # [b] each
        wrong = optax.sigmoid_binary_cross_entropy(real, 1.0) + optax.sigmoid_binary_cross_entropy(fake, valid)
        v_loss = ((found - y[:, 0]) ** 2 + wrong).mean()
        p = {"p/real": jax.nn.sigmoid(real_score).mean(), "p/fake": jax.nn.sigmoid(fake_score).mean()}
        return loss.d(real_score, fake_score).mean() + v_loss, {"loss/v": v_loss} | p

    dv_grads, metrics = jax.grad(dv_loss, has_aux=True)((state.d.params, state.v.params))
    moved = map(descend, state[2:], (e_grads, g_grads, *dv_grads), [tx] * 4)
    metrics |= {"loss/again": again, "reward": reward, "valid": valid.mean()}
    return State(state.step + 1, state.key, *moved), metrics


def sample(cfg, state, key, n):
    return written(cfg, state.g.params, key, rng.normal(rng.at(key, 0, "asked"), (n, 1))).argmax(-1).astype(jnp.int32)


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
    source = source_of(cfg)
    if len(source.row["property"].names) != 1 or not standard(cfg)[1] > 0:  # NaN is not
        raise UserError(f"{source.name} has no property, a number that differs from record to record, to be asked for.")
    return Setup(chemistry.of_molecules(source), cfg.batch_size, cfg.steps, kinds=("tokens",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
