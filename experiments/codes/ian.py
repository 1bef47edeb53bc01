"""IAN: codes are read off D's features, D tells data, reconstructions and samples apart, and a stroke edits a photo.

Brock, Lim, Ritchie and Weston 2017, arXiv 1609.07093, the Neural Photo Editor. With z of E's q(z|f(x)), f(x) the last
features of D, x' = G(z), and s = G(prior), D descends the cross-entropies of x, x' and s as three classes. G and E
descend those of x' and s as data, 3 times 2 |x' - x|, the squared distance between D's features of x' and x at all of
its levels, and E the KL divergence, too. The filters of D and of G are held near orthogonal. A stroke edits a photo: z
is moved so that G(z) has that level there. The photo takes over M of what changed in G(z), and gives up M of what its
reconstruction missed; M is the change's size, blurred.

Differences from the paper and the authors' code:
1. An orthogonal filter is one whose rows are so, as in the code; the paper has a matrix for each bank of filters.
2. All players are updated at once, as in the paper; the code has a batch for G and E, and the next one for D and E.
3. In the code a flow with random weights, never trained, stands before G; here only in `paper`, with MADE's masks (in
   the code all hidden units see the first number of z alone). The log of the deviation begins near -1 (there near 0).
4. Minibatch discrimination has kernels of free lengths, and its bias in D's last layer; norms before blocks have none.
5. E's kernels alone decay; in the code the scales of its norms, too.
6. A stroke is one bar, and moves z, before the flow, many times (there a small square, once a motion, behind the flow).
7. The default is smaller, grey, and at a larger rate. There is no semi-supervised classifier.

    python -m experiments ian                      faces: reconstructions, and a dark stroke over the eyes
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, forward, rng
from gan_jax.metrics import classifier, stroke
from gan_jax.nets import ian
from gan_jax.run import Count, Decay, Picture, Setup, Share, program

DATA, AGAIN, MADE = range(3)  # what D tells apart


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "cmu_faces,y=sunglasses,person=person,size=32"  # any image set
    steps: Count = 1200  # joint updates of E, G and D
    batch_size: Count = 16  # rows of data, and of noise, a step
    z_dim: Count = 64  # the code
    width: Count = 16  # channels of G at full resolution, of D at half
    hidden: Count = 128  # units of E's hidden layer
    kernels: Count = 32  # of minibatch discrimination
    flow: bool = False  # whether the code goes through a random autoregressive map
    pixels: float = 3.0  # weight of 2 |x' - x|
    features: float = 1.0  # weight of the distance in D's features
    orthogonal: float = 1e-3  # weight of |W W^T - I|, summed over the filters of D and of G
    weight_decay: float = 1e-5  # of E, on the sum of squares
    lr: float = 3e-4  # Adam's rate for all three, at first
    b1: Decay = 0.5  # Adam's decay of the first moment
    stroke: tuple[Share, Share, Share, Share] = (0.3, 0.42, 0.31, 0.69)  # top, bottom, left, right, of the picture
    level: Share = 0.0  # of the stroke: 0 is black, 1 white
    moves: Count = 50  # of z, for a stroke


PRESETS = {
    "default": Config(),
    "olivetti": Config("olivetti_faces,split=train[:360],test=train[360:],size=32", stroke=(0.72, 0.82, 0.34, 0.66)),
    "paper": Config("celeb_a,size=64", 808_960, 16, 100, 128, 1000, 500, True, lr=2e-4),  # 80 epochs
    "tiny": Config("digits16", steps=6, batch_size=8, z_dim=4, width=2, hidden=8, kernels=3, moves=2),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    e: Player
    g: Player
    d: Player


def build(cfg):
    falls = {round(epoch / 80 * cfg.steps): by for epoch, by in ((25, 0.5), (50, 0.5), (75, 0.2))}
    G = ian.G(data.load(cfg.dataset).shape, cfg.width, cfg.flow)
    tx = optax.adam(optax.piecewise_constant_schedule(cfg.lr, falls), cfg.b1)
    return ian.E(cfg.z_dim, cfg.hidden), G, ian.D(cfg.width, cfg.kernels), tx


def init(cfg, key):
    E, G, D, tx = build(cfg)
    x, z = jnp.zeros((1, *data.load(cfg.dataset).shape)), jnp.zeros((1, cfg.z_dim))
    d = create(D, tx, rng.at(key, 0, "d"), x)
    (_, seen), _ = forward(D, *d[:2], x, train=False)
    e, g = create(E, tx, rng.at(key, 0, "e"), seen[-1]), create(G, tx, rng.at(key, 0, "g"), z)
    return State(jnp.int32(0), key, e, g, d)


def step(cfg, state, batch):
    (E, G, D, tx), x = build(cfg), batch["x"]  # [b, h, w, c]
    noise, prior = rng.normal(rng.at(state.key, state.step, "z"), (2, x.shape[0], cfg.z_dim))  # [b, z] each
    judged = lambda params, x: forward(D, params, state.d.stats, x)
    entropy = lambda logits, kind: -jax.nn.log_softmax(logits)[:, kind].mean()
    (_, seen), _ = judged(state.d.params, x)  # features [b, ...] of each level

    def eg_loss(e_params, g_params):
        (mean, log_std), e_stats = forward(E, e_params, state.e.stats, seen[-1])  # [b, z]
        again, stats = forward(G, g_params, state.g.stats, mean + jnp.exp(log_std) * noise)
        made, g_stats = forward(G, g_params, stats, prior)
        (again_logits, found), _ = judged(state.d.params, again)
        (made_logits, _), _ = judged(state.d.params, made)
        parts = {
            "loss/g": entropy(again_logits, DATA) + entropy(made_logits, DATA),
            "pixels": 2 * jnp.abs(again - x).mean(),
            "features": sum(((a - b) ** 2).mean() for a, b in zip(found, seen, strict=True)) / len(seen),
            "kl": 0.5 * (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std).mean(),  # of one number of z
        }
        value = parts["loss/g"] + cfg.pixels * parts["pixels"] + cfg.features * parts["features"] + parts["kl"]
        value += cfg.weight_decay * sum((w**2).sum() for w in jax.tree.leaves(e_params) if w.ndim > 1)
        value += cfg.orthogonal * ian.orthogonality(g_params)
        return value, (again, made, e_stats, g_stats, parts)

    def d_loss(params):
        said = [judged(params, a) for a in (x, again, made)]
        of_kind = [(logits, kind) for ((logits, _), _), kind in zip(said, (DATA, AGAIN, MADE), strict=True)]
        value = sum(entropy(*one) for one in of_kind)
        right = sum((logits.argmax(1) == kind).mean() for logits, kind in of_kind) / 3
        return value + cfg.orthogonal * ian.orthogonality(params), (said[0][1], value, right)

    moves = jax.grad(eg_loss, (0, 1), has_aux=True)(state.e.params, state.g.params)
    (e_grads, g_grads), (again, made, e_stats, g_stats, parts) = moves
    d_grads, (d_stats, value, right) = jax.grad(d_loss, has_aux=True)(state.d.params)
    e, g = descend(state.e, e_grads, tx, e_stats), descend(state.g, g_grads, tx, g_stats)
    metrics = parts | {"loss/d": value, "told apart": right}
    return State(state.step + 1, state.key, e, g, descend(state.d, d_grads, tx, d_stats)), metrics


def latent(cfg, key, n):
    return rng.normal(key, (n, cfg.z_dim))  # [n, z]


def generate(cfg, state, z):
    return forward(build(cfg)[1], *state.g[:2], z, train=False)[0]


def encoded(cfg, state, x):
    """Return the mean and the logarithm of the deviation of the codes of x [n, h, w, c], [n, z] each."""
    E, _, D, _ = build(cfg)
    (_, seen), _ = forward(D, *state.d[:2], x, train=False)
    return forward(E, *state.e[:2], seen[-1], train=False)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return errors of reconstructions from a draw of q(z|x), as `vaegan` has them, and what a stroke does."""
    if not test:
        return {}
    x, decode = data.decode(test)["x"], lambda z: generate(cfg, state, z)

    code = lambda mean, log_std, key: mean + jnp.exp(log_std) * rng.normal(key, mean.shape)
    of_one = lambda row: decode(code(*encoded(cfg, state, row[0][None]), row[1]))[0]
    again = jax.lax.map(of_one, (x, jax.random.split(key, len(x))), batch_size=500)
    found, made = stroke.edited(decode, encoded(cfg, state, x[:60])[0], x[:60], cfg.stroke, cfg.level, cfg.moves)
    rows = {"test": x, "again": again} | made
    found["edited"] = Picture(jnp.stack([x[:12] for x in rows.values()]), rows=tuple(rows))
    found["test/pixels"] = ((again - x) ** 2).mean()
    if (source := data.load(cfg.dataset)).classes:
        judge = classifier.load(source)
        f, again_f = judge.features(x), judge.features(again)
        spread = ((f - f.mean(0, keepdims=True)) ** 2).mean()
        found["test/features"] = ((again_f - f) ** 2).mean() / spread  # 0: all there; 1: as far off as the mean
        found["test/class kept"] = (judge(x).argmax(1) == judge(again).argmax(1)).mean()
    return found


def setup(cfg):
    source = data.load(cfg.dataset)
    return Setup(source, cfg.batch_size, cfg.steps, (source,) if source.test and source.classes else (), ("image",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
