"""Slices of a network: a GAN draws the demand of the next day, and a slice is given what the draws say it may need.

Gu and Zhang 2019, GANSlicing (ICC; not on arXiv), allocate a mobile network's resources to slices by a GAN's prediction
of what each will ask for. G goes on from the history of a slice, with noise; D sees the history with what followed, or
with what G says; G learns to fool D and to be near what followed. Of its draws a slice gets the quantile that is
cheapest, s / (s + 1), where a unit that lacks costs s times one that is allocated in vain (the newsvendor's rule).

`measure` forecasts days that are held out, and sets the same hours of yesterday and of a week ago, and an
autoregression, beside G: the errors, and what is allocated in vain and what lacks, each by its own quantiles.

Differences from the paper, of which the idea and the abstract are public, but neither code nor the numbers of its nets:
1. A slice is a cell of LTE; demand is log(1 + traffic), standardised, an hour a number. The forecast is a day ahead.
2. Nets are ours: a recurrent unit reads days of 24 numbers, of two weeks, about their mean. `paper` has one draw a row
   and Adam's usual decay, for longer; the rest of it is ours, too.
3. Near means the mean of several draws (Ravuri et al. 2021, arXiv 2104.00954): of a single one, the square error takes
   the spread out of G that quantiles need. `--draws 1` is that one.
4. Allocation is by quantiles of draws; there a controller admits requests (16 % more of them, with 12 % fewer
   resources, it says), which needs requests that are not here.

    python -m experiments slicing                           cells of LTE
    python -m experiments slicing --draws 1 --shortage 4    each draw is to be near; what lacks is four times as dear
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import UserError, data
from gan_jax.game import Player, create, descend, forward, losses, rng
from gan_jax.metrics import series
from gan_jax.nets import forecast
from gan_jax.run import Count, Decay, Picture, Setup, program

EACH, FORECASTS = 5, 64  # every so many hours one day is forecast, by so many draws
ORDER = 168  # hours that an autoregression sees
DAY = forecast.DAY


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = "lte_traffic,x=traffic,hour=hour,y=cell:label,length=9000"  # hours of demand of places
    steps: Count = 3000  # updates of each player
    batch_size: Count = 64  # days a step
    history: Count = 14  # days that are known, a week or more
    held_out: Count = 56  # the last days of a place, which are forecast at the end
    draws: Count = 4  # of G for a row, whose mean should be near
    z_dim: Count = 16  # the latent, standard normal
    width: Count = 48  # units of the recurrent layers
    near: float = 1.0  # weight of the square error, beside fooling D
    shortage: float = 9.0  # what a unit that lacks costs, where one in vain costs 1
    g_lr: float = 1e-3  # Adam's rate for G
    d_lr: float = 1e-3  # Adam's rate for D
    b1: Decay = 0.5  # Adam's decay of the first moment, for both


PRESETS = {
    "default": Config(),
    "paper": Config(steps=30_000, draws=1, width=64, g_lr=1e-4, d_lr=1e-4, b1=0.9),
    "tiny": Config("hourly_demand", steps=6, batch_size=8, history=7, held_out=14, draws=2, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def source(cfg):
    return data.demand(data.load(cfg.dataset), cfg.history, 1, cfg.held_out)


def build(cfg):
    places, tx = data.load(cfg.dataset).classes, lambda lr: optax.adam(lr, cfg.b1)
    return forecast.G(places, width=cfg.width), forecast.D(places, cfg.width), tx(cfg.g_lr), tx(cfg.d_lr)


def init(cfg, key):
    G, D, g_tx, d_tx = build(cfg)
    past, y, z = jnp.zeros((1, cfg.history * DAY, 1)), jnp.zeros(1, jnp.int32), jnp.zeros((1, cfg.z_dim))
    d = create(D, d_tx, rng.at(key, 0, "d"), past, y, jnp.zeros((1, DAY, 1)))
    return State(jnp.int32(0), key, create(G, g_tx, rng.at(key, 0, "g"), past, y, z), d)


def step(cfg, state, batch):
    G, D, g_tx, d_tx = build(cfg)
    loss, x, m = losses.non_saturating, batch["x"], cfg.draws  # [b, 24, 1]
    many = lambda a: jnp.repeat(a, m, 0)  # the draws of a row stand one behind the other
    z = rng.normal(rng.at(state.key, state.step, "z"), (len(x) * m, cfg.z_dim))
    of = many(batch["past"]), many(batch["y"])
    fake, to_g, g_stats = jax.vjp(lambda p: forward(G, p, state.g.stats, *of, z), state.g.params, has_aux=True)

    def d_loss(params):
        real, stats = forward(D, params, state.d.stats, batch["past"], batch["y"], x)
        made, _ = forward(D, params, state.d.stats, *of, fake)
        return loss.d(many(real), made).mean(), (real, made, stats)

    (d_value, (real, made, d_stats)), grads = jax.value_and_grad(d_loss, has_aux=True)(state.d.params)
    d = descend(state.d, grads, d_tx, d_stats)

    def g_loss(fake):
        fooled = loss.g(None, forward(D, d.params, d.stats, *of, fake)[0]).mean()  # the new D
        error = ((fake.reshape(len(x), m, *x.shape[1:]).mean(1) - x) ** 2).mean()
        return fooled + cfg.near * error, (fooled, error)

    (_, (fooled, error)), fake_grad = jax.value_and_grad(g_loss, has_aux=True)(fake)
    g = descend(state.g, *to_g(fake_grad), g_tx, g_stats)
    metrics = {"loss/g": fooled, "loss/d": d_value, "loss/near": error}
    metrics |= {"score/real": real.mean(), "score/fake": made.mean()}
    return State(state.step + 1, state.key, g, d), metrics


def drawn(cfg, state, key, past, y):
    """Return a day [n, 24, 1] that follows on each history past [n, t, 1] of a place y [n]."""
    z = rng.normal(key, (len(y), cfg.z_dim))
    return forward(build(cfg)[0], state.g.params, state.g.stats, past, y, z, train=False)[0]


def sample(cfg, state, key, n):
    known = source(cfg).whole()
    which = jax.random.randint(rng.at(key, 0, "history"), (n,), 0, len(known["y"]))
    return drawn(cfg, state, rng.at(key, 0, "z"), *(jnp.asarray(known[of])[which] for of in ("past", "y")))


def forecasts(cfg, state, key, train, test):
    """Return {way: draws [n, FORECASTS, 24]} of the days behind test["past"]; but for G's they are quantiles."""
    many = lambda a: jnp.repeat(a, FORECASTS, 0)
    x = drawn(cfg, state, key, many(test["past"]), many(test["y"]))
    found = {"g": x.reshape(len(test["y"]), FORECASTS, DAY)}
    levels = (jnp.arange(FORECASTS) + 0.5) / FORECASTS
    for name, back in {"yesterday": DAY, "week": 7 * DAY}.items():
        at = cfg.history * DAY - back
        same = lambda records, at=at: records["past"][:, at : at + DAY, 0]
        errors = jnp.quantile(train["x"][..., 0] - same(train), levels, 0)  # [FORECASTS, 24]: how wrong it was
        found[name] = same(test)[:, None] + errors[None]
    seen = lambda records: records["past"][:, -ORDER:, 0]
    mean, deviation = series.continued(series.autoregression(seen(train), train["x"][:, 0, 0]), seen(test), DAY)
    normal = jax.scipy.stats.norm.ppf(levels)
    return found | {"autoregression": mean[:, None] + (normal[:, None] * deviation[None])[None]}


def measure(cfg, state, key, train, test):
    """Return what forecasts of held-out days miss, in units of records, what allocation by them wastes and lacks."""
    if not train or "y" not in test:
        return {}
    test, undo, found = {k: a[::EACH] for k, a in test.items()}, source(cfg).row["x"].undo, {}
    demand, level = undo(test["x"][..., 0]), cfg.shortage / (cfg.shortage + 1)
    ways = {name: undo(x) for name, x in forecasts(cfg, state, key, train, test).items()}
    for name, x in ways.items():
        found[f"{name}/mae"] = jnp.abs(jnp.median(x, 1) - demand).mean()
        found[f"{name}/rmse"] = jnp.sqrt(((x.mean(1) - demand) ** 2).mean())
        found[f"{name}/crps"] = series.crps(x, demand)
        over, under, short = series.provision(demand, jnp.quantile(x, level, axis=1))
        found |= {f"{name}/over": over, f"{name}/under": under, f"{name}/short": short}
        found[f"{name}/cost"] = over + cfg.shortage * under
    some = jnp.linspace(0, len(demand) - 1, 6).astype(int)
    lines = [demand, jnp.median(ways["g"], 1), *jnp.quantile(ways["g"], jnp.array([1 - level, level]), axis=1)]
    columns = "demand", "median of draws", "low quantile", "allocated"
    days = jnp.stack([line[some] for line in lines], -1)[:, None]  # [6, 1, 24, 4]
    places = tuple(f"held-out day {i + 1}" for i in range(6))
    return found | {"forecast": Picture(days, kind="series", rows=places, columns=columns)}


def setup(cfg):
    if cfg.history < 7:  # or else what stands beside forecasts would be another day than that a week ago
        raise UserError(f"--history is {cfg.history}; it must be a week or more.")
    return Setup(source(cfg), cfg.batch_size, cfg.steps, kinds=("series",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
