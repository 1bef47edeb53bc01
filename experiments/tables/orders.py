"""eCommerceGAN: orders of a shop, who bought what, how many, at what price and when, by a WGAN on their embeddings.

Kumar, Biswas and Sanyal 2018, arXiv 1801.03244. An order is a row of numbers in [-1, 1]: a vector of the customer, one
of the product, made of the words of its title, price and date (`gan_jax.data.shopping`). G draws such rows, a critic
tells them from data (ecGAN); with `conditional`, G is told a product, and loses `alpha` times how far the product that
it draws is from that (ec2GAN). A sample is read as the nearest customer and product that there are. `measure` asks how
samples stand for orders that were held out, beside orders whose parts are drawn one by one, and beside training orders.

Differences from the paper, of which we could read a reader's notes and abstracts alone:
1. The critic is kept Lipschitz by a gradient penalty; the notes say WGAN, and not how.
2. Words have vectors by their mutual information within titles of this shop (there: word2vec on 143 million products),
   and a customer's vector is the mean of what was bought (there: the hidden state of an LSTM that foretells it).
3. Orders have a quantity, too. Of a day, day of the month, weekday and month lie on circles; the notes lack the second.
4. The product's distance is squared. The rates, that G ends in tanh, and that there is no batch norm are ours.
5. A small sample of a public set (there: five million orders of a year), fewer updates, vectors of 16 numbers, not 128.

    python -m experiments orders                          a British shop for gifts, December 2010 to December 2011
    python -m experiments orders --preset conditional     orders of a given product
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax import data
from gan_jax.data.shopping import sections
from gan_jax.game import Player, create, descend, forward, losses, penalties, rng
from gan_jax.metrics import rows
from gan_jax.nets import orders
from gan_jax.run import Count, Decay, Picture, Setup, program

ROWS, CLUSTERS = 2000, 10  # orders measured, of each kind; clusters of customers, and of products
RETAIL = "online_retail_sample,x=price+quantity,product=product:label,customer=customer:label,date=date:label"


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = RETAIL  # order lines with x=price+quantity, product, customer and date
    steps: Count = 2000  # updates of G
    batch_size: Count = 128  # orders, and samples, of each update
    critic_steps: Count = 5  # updates of the critic for each one of G
    conditional: bool = False  # G is told a product
    alpha: float = 0.75  # weight of how far the product that it draws then is from that
    penalty: float = 10.0  # lambda, of the critic's gradient
    customer: Count = 16  # numbers of a customer's vector
    product: Count = 16  # numbers of a product's vector
    z_dim: Count = 96  # the latent, standard normal
    width: Count = 64  # units of the smaller hidden layer of both nets; the other one has twice as many
    lr: float = 5e-4  # Adam's rate for both
    b1: Decay = 0.6  # Adam's decay of the first moment


PRESETS = {
    "default": Config(),
    "conditional": Config(conditional=True),
    "paper": Config(steps=117_188, customer=128, product=128, lr=1e-4),  # 15 epochs of 5 million orders
    "tiny": Config("shop", 6, 8, 2, True, customer=3, product=3, z_dim=4, width=4),
}


class State(NamedTuple):
    step: jax.Array
    key: jax.Array  # the root of all the run's randomness
    g: Player
    d: Player


def source_of(cfg):
    return data.orders(data.load(cfg.dataset), cfg.customer, cfg.product)


def build(cfg):
    (size,) = source_of(cfg).shape
    G, D = orders.G(size, (cfg.width, 2 * cfg.width)), orders.D((2 * cfg.width, cfg.width))
    return G, D, optax.adam(cfg.lr, cfg.b1)


def init(cfg, key):
    G, D, tx = build(cfg)
    z, x = jnp.zeros((1, cfg.z_dim + cfg.conditional * cfg.product)), jnp.zeros((1, *source_of(cfg).shape))
    return State(jnp.int32(0), key, create(G, tx, rng.at(key, 0, "g"), z), create(D, tx, rng.at(key, 0, "d"), x))


def product(cfg, x):
    """Return the vectors of the products of orders x [..., d]."""
    return x[..., sections(cfg.customer, cfg.product)["product"]]


def step(cfg, state, batch):
    G, D, tx = build(cfg)
    loss, x = losses.wasserstein, batch["x"]
    xs = x.reshape(cfg.batch_size, cfg.critic_steps, x.shape[1]).swapaxes(0, 1)  # [critic steps, b, d]
    key = lambda name, i: jax.random.fold_in(rng.at(state.key, state.step, name), i)

    def drawn(params, i, x):
        z = rng.normal(key("z", i), (cfg.batch_size, cfg.z_dim))
        return forward(G, params, {}, jnp.concatenate([z, product(cfg, x)], 1) if cfg.conditional else z)[0]

    def critic_update(d, ix):
        i, x = ix
        fake = drawn(state.g.params, i, x)

        def d_loss(params):
            critic = lambda x: forward(D, params, {}, x)[0]
            value = loss.d(critic(x), critic(fake)).mean()
            return value + cfg.penalty * penalties.wgan_gp(critic, x, fake, key("penalty", i)).mean(), value

        grads, value = jax.grad(d_loss, has_aux=True)(d.params)
        return descend(d, grads, tx), -value

    d, distance = jax.lax.scan(critic_update, state.d, (jnp.arange(cfg.critic_steps), xs))

    def g_loss(params):
        fake = drawn(params, cfg.critic_steps, xs[-1])
        away = ((product(cfg, fake) - product(cfg, xs[-1])) ** 2).sum(1).mean()
        return loss.g(None, forward(D, d.params, {}, fake)[0]).mean() + cfg.conditional * cfg.alpha * away, away

    (value, away), grads = jax.value_and_grad(g_loss, has_aux=True)(state.g.params)
    metrics = {"wasserstein": distance[-1], "loss/g": value} | ({"product": away} if cfg.conditional else {})
    return State(state.step + 1, state.key, descend(state.g, grads, tx), d), metrics


def latent(cfg, key, n):
    noise, which = jax.random.split(key)
    z = rng.normal(noise, (n, cfg.z_dim))
    return {"z": z, "product": product(cfg, data.examples(source_of(cfg), which, n)["x"])} if cfg.conditional else z


def generate(cfg, state, z):
    z = jnp.concatenate([z["z"], z["product"]], 1) if cfg.conditional else z
    return forward(build(cfg)[0], state.g.params, {}, z)[0]


def sample(cfg, state, key, n):
    return generate(cfg, state, latent(cfg, key, n))


def measure(cfg, state, key, train, test):
    """Return how samples, orders drawn part by part, and training orders stand for held-out ones, with pictures."""
    if not train or not test:
        return {}
    real, n, keys = test["x"][:ROWS], min(ROWS, len(test["x"])), jax.random.split(key, 6)
    at, z = sections(cfg.customer, cfg.product), latent(cfg, keys[0], n)
    known = [train["x"][:, at[name]] for name in at]
    alone = [jax.random.choice(jax.random.fold_in(keys[1], i), part, (n,)) for i, part in enumerate(known)]
    of = {"g": generate(cfg, state, z), "alone": jnp.concatenate(alone, 1), "train": train["x"][-n:]}
    middles = {name: rows.centres(keys[2], train["x"][:ROWS, at[name]], CLUSTERS) for name in ("customer", "product")}
    clusters = lambda x: [rows.cluster(x[:, at[name]], centres) for name, centres in middles.items()]
    table = rows.table(*clusters(real), CLUSTERS)

    def stand(x):
        off, agree = rows.correlated(real, x)
        ours = rows.table(*clusters(x), CLUSTERS)
        found = {"columns": rows.apart(real, x).mean(), "correlations": off, "triples": agree}
        of = {"customers": lambda t: t.sum(1), "products": lambda t: t.sum(0), "both": lambda t: t}
        found |= {name: rows.variation(part(table), part(ours)) for name, part in of.items()}
        return found | {f"told/{depth}": rows.told(keys[3], real, x, depth) for depth in (0, 2)}

    every = jax.lax.map(stand, jnp.stack(list(of.values())))
    found = {f"{name}/{what}": value[i] for what, value in every.items() for i, name in enumerate(of)}
    if cfg.conditional:
        number = lambda x: source_of(cfg).row["x"].undo(x)[:, 1]
        found["g/asked"] = (number(of["g"]) == number(of["g"].at[:, at["product"]].set(z["product"]))).mean()
    for name in middles:
        both = jnp.stack([real[:, at[name]][:, :2], of["g"][:, at[name]][:, :2]])
        found[f"vectors/{name}"] = Picture(both, kind="points", rows=(f"{name}s of orders held out", "of samples"))
    return found


def setup(cfg):
    return Setup(source_of(cfg), cfg.batch_size * cfg.critic_steps, cfg.steps, kinds=("row",))


main = program(Config, PRESETS, setup, init, step, sample, measure)

if __name__ == "__main__":
    main()
