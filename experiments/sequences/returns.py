"""Returns of a price, given its volatility or its regime: a conditional GAN of causal convolutions, and its VaR.

A conditional GAN draws what a market may do, as by Fu, Chen, Zeng, Zhuang and Sudjianto 2019, arXiv 1904.11419, who
read value at risk (VaR) and expected shortfall (ES) from the draws. Nets are those of Quant GANs (Wiese, Knobloch, Korn
and Kretschmer 2020, arXiv 1907.06673): each return from 127 days of noise, by returns without their heavy tails.
`measure` sets stylised facts and the next day's risk beside held-out days, `benchmarks value_at_risk` beside GARCH.

Differences from the papers:
1. The condition is the volatility of the evening before (RiskMetrics), in whose units returns are, or which third of
   training days it is of. G has it beside noise up to the first day, where Quant GANs have none, and D beside all days.
2. The game is that of Quant GANs: the original one, one update of D a step. D moves first, and G against the new D from
   the same fakes. But in `paper`, D has the penalty R1, rates go to 0 at the end, and an average of G is sampled.
3. 63 days, not 127, 16 channels, not 80, higher rates, fewer steps; `paper` has theirs, with D's rate three times G's.
4. D's score is a mean over days t, of each with those before it, weighed as 1 / t; there it is that of the last day,
   which hardly sees the first, whose risk is asked for. Blocks' outputs pass a layer each and are summed: our reading.
5. The years: 1999 to 2012 are trained on, 2013 to 2018 held out; there all of 2009 to 2018 are trained on.

    python -m experiments returns                               given volatility
    python -m experiments returns --given regime                given calm, usual or wild days
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.game import Player, create, descend, ema, falling, forward, losses, penalties, rng
from gan_jax.metrics import series
from gan_jax.nets import tcn
from gan_jax.run import Count, Decay, Picture, Setup, Share, program

LAGS, LEVELS = 20, 24  # days of an autocorrelation; volatilities of which the risk is drawn
PATHS, LONG, RISKS = 16, 512, (0.01, 0.05)  # of one volatility so many paths of so many days, and the levels


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "sp500,x=adj_close,split=train[:70%],test=train[70%:]"  # a price a day, in the order of time
    given: Literal["volatility", "regime"] = "volatility"  # the condition
    steps: Count = 1500  # updates of each player
    batch_size: Count = 32  # windows of days a step
    z_dim: Count = 3  # numbers of noise a day
    width: Count = 16  # channels
    blocks: Count = 5  # of two convolutions; nets see 2^(blocks + 1) - 1 days
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 2e-3  # Adam's rate for D
    falls: Share = 0.5  # the part of the steps, at their end, in which both rates go down to 0
    gamma: float = 1.0  # weight of R1, |grad D(x)|^2 / 2 at the data; 0: none
    ema: Decay = 0.99  # decay of the averaged G that is sampled from; 0: G itself
    b1: Decay = 0.0  # Adam's decay of the first moment, for both
    b2: Decay = 0.9  # Adam's decay of the second moment, for both


PRESETS = {
    "default": Config(),
    "paper": Config(
        steps=100_000, batch_size=128, width=80, blocks=6, g_lr=1e-4, d_lr=3e-4, falls=0.0, gamma=0.0, ema=0.0
    ),
    "tiny": Config("garch_prices", steps=6, batch_size=8, z_dim=2, width=2, blocks=1, ema=0.5),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player
    g_ema: tuple  # (params, stats) of the averaged G


def source(cfg):
    return data.returns(data.load(cfg.dataset), tcn.field(cfg.blocks))


def build(cfg):
    tx = lambda lr: optax.adam(falling(lr, cfg.falls, cfg.steps), cfg.b1, cfg.b2)
    return tcn.G(cfg.width, cfg.blocks), tcn.D(cfg.width, cfg.blocks), tx(cfg.g_lr), tx(cfg.d_lr)


def condition(cfg, records):
    """Return what is known of windows beforehand [b, k]."""
    regimes = lambda: jax.nn.one_hot(records["y"], 3, dtype=jnp.float32)
    return regimes() if cfg.given == "regime" else jnp.asarray(records["volatility"])


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    days, given = tcn.field(cfg.blocks), condition(cfg, {"y": jnp.zeros(1, int), "volatility": jnp.zeros((1, 1))})
    g = create(G, g_tx, rng.at(key, 0, "g"), jnp.zeros((1, 2 * days - 1, cfg.z_dim)), given)
    d = create(D, d_tx, rng.at(key, 0, "d"), jnp.zeros((1, days, 1)), given)
    return State(jnp.int32(0), key, g, d, (g.params, g.stats))


def noise(cfg, key, n, days):
    return rng.normal(key, (n, days + tcn.field(cfg.blocks) - 1, cfg.z_dim))  # [n, days and those before, z]


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, x, given = losses.non_saturating, batch["x"], condition(cfg, batch)  # [b, days, 1], [b, k]
    z = noise(cfg, rng.at(state.key, state.step, "z"), *x.shape[:2])
    fake, to_g, g_stats = jax.vjp(lambda p: forward(G, p, state.g.stats, z, given), state.g.params, has_aux=True)

    def d_loss(params):  # of reals and fakes at once: D has no norm, rows don't see one another
        scores, stats = forward(D, params, state.d.stats, jnp.concatenate([x, fake]), jnp.concatenate([given, given]))
        real, made = jnp.split(scores, 2)
        critic = lambda x: forward(D, params, state.d.stats, x, given)[0]
        penalty = cfg.gamma / 2 * penalties.r1(critic, x, fake, None).mean() if cfg.gamma else 0.0
        return loss.d(real, made).mean() + penalty, (real, made, stats)

    (d_value, (real, made, d_stats)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, grads, d_tx, d_stats)
    g_loss = lambda fake: loss.g(None, forward(D, d.params, d.stats, fake, given)[0]).mean()
    g_value, fake_grad = jax.value_and_grad(g_loss)(fake)
    g = descend(state.g, *to_g(fake_grad), g_tx, g_stats)
    metrics = {"loss/g": g_value, "loss/d": d_value, "score/real": real.mean(), "score/fake": made.mean()}
    return State(state.step + 1, state.key, g, d, ema(state.g_ema, (g.params, g.stats), cfg.ema)), metrics


def drawn(cfg, state, key, given):
    """Return windows [n, days, 1] on conditions [n, k]."""
    z = noise(cfg, key, len(given), tcn.field(cfg.blocks))
    return forward(build(cfg)[0], *state.g_ema, z, given, train=False)[0]


def sample(cfg, state, key, n):
    known = jnp.asarray(condition(cfg, source(cfg).whole()))  # of the training windows
    return drawn(cfg, state, rng.at(key, 0, "z"), jax.random.choice(rng.at(key, 0, "given"), known, (n,)))


def next_day(cfg, state, key, given):
    """Return draws [m, PATHS * LONG] of the next day in deviations: days of paths that always know [m, k]."""
    G = tcn.G(cfg.width, cfg.blocks, known=LONG + tcn.field(cfg.blocks))
    z, given = noise(cfg, key, len(given) * PATHS, LONG), jnp.repeat(given, PATHS, 0)
    x, _ = forward(G, *state.g_ema, z, given, train=False)
    return source(cfg).row["x"].undo(x.reshape(-1, PATHS * LONG))


def risk(cfg, state, key, records, levels):
    """Return (VaR [n], ES [n]) of each level for the first day of each window, by what is known the evening before."""
    regime, v = cfg.given == "regime", records["volatility"][:, 0]
    at, unit = jnp.linspace(v.min(), v.max(), LEVELS), records["deviation"][:, 0]
    draws = next_day(cfg, state, key, jnp.eye(3) if regime else at[:, None])
    of = lambda said: unit * (said[records["y"]] if regime else jnp.interp(v, at, said))
    return [tuple(map(of, series.risk(draws, level))) for level in levels]


def measure(cfg, state, key, train, test):
    """Return facts of samples on held-out days' conditions, of those days and of training ones; and the risk said."""
    if not train or not test:
        return {}
    returned = lambda x, of: source(cfg).row["x"].undo(x)[..., 0] * of["deviation"]
    x = returned(drawn(cfg, state, rng.at(key, 0, "z"), condition(cfg, test)), test)
    real, known = returned(test["x"], test), returned(train["x"], train)
    found, curves = {}, {}
    for name, of in {"test": real, "g": x, "train": known}.items():
        numbers, curves[name] = series.facts(of, real, min(LAGS, of.shape[1] - 1))
        found |= {f"{name}/{what}": value for what, value in numbers.items()}
        away = jnp.linalg.norm(curves[name] - curves["test"], axis=1)  # scores of Quant GANs, over lags
        found |= {f"{name}/away/{what}": away[i] for what, i in {"acf": 0, "squares": 2, "leverage": 3}.items()}
    said = risk(cfg, state, rng.at(key, 0, "risk"), test, RISKS)
    for level, (var, es) in zip(RISKS, said, strict=True):
        found |= {f"{level:.0%}/{what}": value for what, value in series.backtest(real[:, 0], var, es, level).items()}
    drawn_curves = jnp.stack([curves[name] for name in ("test", "g", "train")], -1)[:, None]  # [4, 1, lags, 3]
    columns = "held-out days", "samples", "training days"
    return found | {"facts": Picture(drawn_curves, kind="series", rows=series.CURVES, columns=columns)}


def setup(cfg):
    return Setup(source(cfg), cfg.batch_size, cfg.steps, kinds=("series",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
