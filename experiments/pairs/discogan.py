"""DiscoGAN: two sets without pairs; each of two translators is inverted by the other, so neither can collapse.

Kim, Cha, Kim, Lee and Kim 2017, arXiv 1703.05192. G_ab and G_ba descend -log D_b(G_ab(a)) - log D_a(G_ba(b)) and the
squared distances of a and G_ba(G_ab(a)), of b and G_ab(G_ba(b)); each D is that of a plain GAN. The paper's toy: points
of two mixtures, one of 5 modes and one of 10. A GAN, or one inverse alone, maps several modes of a onto one of b.

a is the set `source`, b the set `dataset`; `sample` translates held-out data of a. The paper plots angles of cars in a
and in b. Where records have an angle, `measure` says how it goes with that of the translation, which is the angle of
the nearest training picture of b: circular correlation (Fisher and Lee 1983), 1 or -1 at best. `axis` is that of the
angles doubled, for which front and back are one.

Differences from the paper:
1. All four nets are updated at once from the same batch (in the authors' code D at every third).
2. Pictures have the paper's nets, narrower, for any size, each normalised by itself (there: over the batch).
3. The cars are two of COIL-20, 60 views of each all around at 32x32 (there: many, 180 degrees, 64x64). Their
   `reconstruction` is the authors' 9 to 0.1, for pictures in [-1, 1] instead of [0, 1].
4. The authors' code also has feature matching, and weights that change in training.

    python -m experiments discogan                                    grid of 25 onto ring of 8
    python -m experiments discogan --dataset usps --source mnist
    python -m experiments discogan --preset cars                      one toy car turned like another, in 60 views each
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.nets import discogan, mlp
from gan_jax.run import Count, Decay, Depth, Picture, Setup, program


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "ring8"  # b, which `sample` shows: a toy, or any TFDS image set by name
    source: str = "grid25"  # a, the other one
    steps: Count = 10_000  # joint updates of the four nets
    batch_size: Count = 256  # rows of each set a step
    reconstruction: float = 1.0  # weight of there and back again; 0: two plain GANs
    width: Count = 128  # units of a hidden layer (points); channels at half resolution (images)
    depth: Depth = 2  # hidden layers (points)
    lr: float = 1e-3  # Adam's rate for all four
    b1: Decay = 0.5  # Adam's decay of the first moment


CARS = "coil20,y=object,angle=angle,only={}"
PRESETS = {
    "default": Config(),
    "images": Config("usps", "mnist", steps=5000, batch_size=16, width=16, lr=2e-4),
    "cars": Config(CARS.format(2), CARS.format(5), 2000, 16, reconstruction=22.5, width=16, lr=5e-4),
    "tiny": Config("digits", "digits16", steps=6, batch_size=8, width=4, lr=2e-4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g_ab: Player
    g_ba: Player
    d_a: Player
    d_b: Player


def build(cfg):
    shape = data.load(cfg.dataset).shape
    tx = optax.adam(cfg.lr, cfg.b1)
    if len(shape) == 1:
        return mlp.G(shape, cfg.width, cfg.depth), mlp.D(cfg.width, cfg.depth), tx
    return discogan.G(shape, cfg.width), discogan.D(cfg.width), tx


def init(cfg, key):
    G, D, tx = build(cfg)
    x = jnp.zeros((1, *data.load(cfg.dataset).shape))
    nets = {"g_ab": G, "g_ba": G, "d_a": D, "d_b": D}
    players = [create(net, tx, rng.at(key, 0, name), x) for name, net in nets.items()]
    return State(jnp.int32(0), key, *players)


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss = losses.non_saturating
    shape = data.load(cfg.dataset).shape
    a, b = (data.resized(batch[name]["x"], shape) for name in ("source", "x"))  # [b, ...]

    def translated(g_params, x):
        return forward(G, g_params, {}, x)[0]  # [b, ...]

    def score(d_params, x):
        return forward(D, d_params, {}, x)[0]  # [b]

    def g_loss(ab_params, ba_params):
        fake_a, fake_b = translated(ba_params, b), translated(ab_params, a)
        adversarial = loss.g(None, score(state.d_a.params, fake_a)).mean()
        adversarial += loss.g(None, score(state.d_b.params, fake_b)).mean()
        back = jnp.mean((translated(ba_params, fake_b) - a) ** 2) + jnp.mean((translated(ab_params, fake_a) - b) ** 2)
        return adversarial + cfg.reconstruction * back, (fake_a, fake_b, adversarial, back)

    def d_loss(d_params, real, fake):
        scores = score(d_params, real), score(d_params, fake)
        return loss.d(*scores).mean(), [jax.nn.sigmoid(one).mean() for one in scores]

    (ab_grads, ba_grads), (fake_a, fake_b, adversarial, back) = jax.grad(g_loss, (0, 1), has_aux=True)(
        state.g_ab.params, state.g_ba.params
    )
    (a_value, a_said), a_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d_a.params, a, fake_a)
    (b_value, b_said), b_grads = jax.value_and_grad(d_loss, has_aux=True)(state.d_b.params, b, fake_b)

    players = state.g_ab, state.g_ba, state.d_a, state.d_b
    players = [descend(p, grads, tx) for p, grads in zip(players, (ab_grads, ba_grads, a_grads, b_grads), strict=True)]
    metrics = {"loss/g": adversarial, "loss/d_a": a_value, "loss/d_b": b_value, "reconstruction": back}
    metrics |= dict(zip(("p/real_a", "p/fake_a", "p/real_b", "p/fake_b"), (*a_said, *b_said), strict=True))
    return State(state.step + 1, state.key, *players), metrics


def sample(cfg, state, key, n):
    G, *_ = build(cfg)
    a = data.examples(data.load(cfg.source), key, n)["x"]
    return forward(G, state.g_ab.params, {}, data.resized(a, data.load(cfg.dataset).shape))[0]


def correlation(t, u):
    """Return the circular correlation of angles t and u [n] in degrees; 0 where one of both is always the same: []."""
    one, other = (jnp.sin(jnp.deg2rad(jnp.float32(of[:, None] - of[None]))) for of in (t, u))
    return (one * other).sum() / jnp.maximum(jnp.sqrt((one**2).sum() * (other**2).sum()), 1e-6)


def measure(cfg, state, key, train, test):
    """Return pictures there and back; and where they have angles, how those of translations go with their own."""
    G, *_ = build(cfg)
    if not test:
        return {}
    shape, through = data.load(cfg.dataset).shape, lambda player, x: forward(G, player.params, {}, x)[0]
    a = data.resized(data.decode({"x": test["source"]["x"][:500]})["x"], shape)
    new = through(state.g_ab, a)
    rows = jnp.stack([a[:12], new[:12], through(state.g_ba, new[:12])])
    found = {"ab": Picture(rows, rows=("test", "there", "and back"))}
    if "angle" in test["source"] and "angle" in train.get("x", {}):
        b, flat = data.decode({"x": train["x"]["x"]})["x"], lambda x: x.reshape(len(x), -1)
        for name, x in {"translated": new, "as_it_is": a}.items():
            nearest = ((flat(x)[:, None] - flat(b)[None]) ** 2).sum(2).argmin(1)
            turned = test["source"]["angle"][:500], jnp.asarray(train["x"]["angle"])[nearest]
            found[f"angle/{name}"] = correlation(*turned)
            found[f"axis/{name}"] = correlation(*(2 * angles for angles in turned))
    return found


def setup(cfg):
    sets = data.join(x=data.load(cfg.dataset), source=data.load(cfg.source))
    return Setup(sets, cfg.batch_size, cfg.steps)


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
