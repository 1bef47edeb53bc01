"""Orders as rows of numbers: who bought what, how many, at what price, on which day; and a small shop that sold them.

The order embedding of eCommerceGAN (Kumar, Biswas and Sanyal 2018, arXiv 1801.03244): a vector of the customer, one of
the product, the logarithm of the price, and seven numbers of the date, all in [-1, 1]. Here with the quantity, too.
"""

import datetime
import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import tokens
from gan_jax.data.composed import of_arrays
from gan_jax.data.source import Field, Source, label
from gan_jax.errors import UserError
from gan_jax.metrics import rows

COLUMNS = "customer", "product", "quantity", "price", "date"
DATE = 7  # numbers of a date


def sections(customer: int, product: int) -> dict[str, slice]:
    """Return where the parts of an order stand in its row, by name, of vectors of so many numbers."""
    ends = np.cumsum([0, customer, product, 1, 1, DATE]).tolist()
    return {name: slice(a, b) for name, a, b in zip(COLUMNS, ends, ends[1:], strict=False)}


@functools.cache
def orders(source: Source, customer: int, product: int, held: float = 0.1) -> Source:
    """Return the source of orders x, rows [customer + product + 9] (`sections`), of which a share is held out.

    source: of order lines, x their price and quantity, and labels `product` (its title), `customer` and `date`, whose
    names begin as 2011-12-31 does. Lines without a price or a quantity above 0 (cancellations) are left out, and so is
    a test split, of other customers. `undo` takes rows back to COLUMNS: of vectors the nearest customer and product, as
    numbers from the most frequent on, whose names are `values`; the day, counted from the first one. Raises UserError
    where the source is none of that, or vectors are asked for that are longer than what there is to say.
    """
    fields, labels = source.fields, ("product", "customer", "date")
    has = lambda name: name in fields and fields[name].kind == "label" and fields[name].names
    if not source.n or source.shape != (2,) or not all(map(has, labels)):
        raise UserError(f"{source.name} has no order lines: say x=price+quantity, product=, customer= and date=.")
    raw = {name: np.asarray(a) for name, a in source.whole().items()}
    whole = (raw["x"] > 0).all(1) & np.all([raw[name] >= 0 for name in labels], 0)
    lines = np.random.default_rng(0).permutation(np.flatnonzero(whole))
    out, lines = np.split(lines, [round(held * len(lines))])
    if not len(lines):
        raise UserError(f"{source.name} has no order line with a price and a quantity above 0.")
    known = Known(fields, {name: a[lines] for name, a in raw.items()}, customer, product)
    out = out[np.isin(raw["customer"][out], known.customers)]
    x, *others = (known.rows({name: a[rows] for name, a in raw.items()}) for rows in (lines, out) if len(rows))
    field = Field(x.shape[1:], "row", names=COLUMNS, undo=known.undo, values=known.values)
    test = of_arrays(source.name, {"x": field}, {"x": others[0]}) if others else None
    return of_arrays(source.name, {"x": field}, {"x": x}, test)


class Known:
    """What is known of customers, products and days from the lines that are trained on."""

    def __init__(self, fields: dict[str, Field], raw: dict[str, np.ndarray], customer: int, product: int):
        titles, days = fields["product"].names, _days(fields["date"].names)
        self.customers, whose = _by_frequency(raw["customer"])
        found = Counter(raw["product"].tolist())
        self.products = np.array(sorted(range(len(titles)), key=lambda i: (-found[i], i)))
        vectors = _scaled(_titles(titles, product))
        self.day, self.first, self.last = days, min(days), max(days)
        logs = np.log(raw["x"])
        self.low, self.high = logs.min(0), logs.max(0)
        habits = np.concatenate([vectors[raw["product"]], _scaled(logs)], 1)  # of a line
        mean = np.stack([np.bincount(whose, column) for column in habits.T], 1) / np.bincount(whose)[:, None]
        self.customer_vectors = _scaled(_leading(mean - mean.mean(0), customer, "customer"))  # in order of `customers`
        self.vectors = vectors  # in order of titles
        self.product_vectors = vectors[self.products].astype(np.float32)
        names = tuple(str(datetime.date.fromordinal(day)) for day in range(self.first, self.last + 1))
        said = lambda name, which: tuple(fields[name].names[i] for i in which)
        self.values = said("customer", self.customers), said("product", self.products), (), (), names

    def rows(self, raw: dict[str, np.ndarray]) -> np.ndarray:
        """Return lines as rows [n, d], float32."""
        place = np.zeros(self.customers.max() + 1, int)
        place[self.customers] = np.arange(len(self.customers))
        wide = np.where(self.high > self.low, self.high - self.low, 1)  # of one price for all there is nothing to say
        price, quantity = (2 * (np.log(raw["x"]) - self.low) / wide - 1).T
        day = np.array(self.day)[raw["date"]]
        parts = self.customer_vectors[place[raw["customer"]]], self.vectors[raw["product"]]
        parts = *parts, quantity[:, None], price[:, None], _dates(day, self.first, self.last)
        return np.concatenate(parts, 1).clip(-1, 1).astype(np.float32)

    def undo(self, x: jax.Array) -> jax.Array:
        """Return rows [..., d] as numbers [..., 5] by COLUMNS."""
        c, p = self.customer_vectors.shape[1], self.product_vectors.shape[1]
        x, at = jnp.asarray(x, jnp.float32), sections(c, p)
        share = jnp.clip((x + 1) / 2, 0, 1)
        near = lambda name, to: rows.cluster(x[..., at[name]].reshape(-1, to.shape[1]), to).reshape(x.shape[:-1])
        price, quantity = (
            jnp.exp(self.low[i] + share[..., at[name].start] * (self.high[i] - self.low[i]))
            for i, name in enumerate(("price", "quantity"))
        )
        day = jnp.round(share[..., at["date"].start] * (self.last - self.first))
        columns = near("customer", self.customer_vectors), near("product", self.product_vectors), quantity, price, day
        return jnp.stack([column.astype(jnp.float32) for column in columns], -1)


def _by_frequency(which):
    """Return (the distinct values of `which` [n], the most frequent first; of each row the number of its value)."""
    values, inverse, counts = np.unique(which, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return values[order], np.argsort(order)[inverse]


def _days(names):
    """Return the ordinals of dates whose names begin as 2011-12-31 does."""
    try:
        return [datetime.date.fromisoformat(name[:10]).toordinal() for name in names]
    except ValueError:
        raise UserError(f"dates are said as 2011-12-31, not as {names[0]!r}.") from None


def _dates(days, first, last):
    """Return dates [n, 7]: the day from -1 to 1, and day of the month, weekday and month on circles."""
    dates = [datetime.date.fromordinal(day) for day in days.tolist()]
    turns = np.array([((d.day - 1) / 31, d.weekday() / 7, (d.month - 1) / 12) for d in dates]) * 2 * np.pi
    circles = np.stack([np.sin(turns), np.cos(turns)], 2).reshape(-1, 6)
    return np.concatenate([2 * (days[:, None] - first) / max(1, last - first) - 1, circles], 1)


def _titles(titles, size):
    """Return vectors [n, size] of titles: of their words' vectors the sum, each times its inverse document frequency.

    The words' vectors are the leading ones of their positive pointwise mutual information within a title, which is what
    word2vec's skip-grams factorise (Levy and Goldberg 2014).
    """
    words = [sorted(set(tokens.pieces(title.lower(), "word"))) for title in titles]
    number = {word: i for i, word in enumerate(sorted({word for title in words for word in title}))}
    has = np.zeros((len(titles), len(number)))
    for i, title in enumerate(words):
        has[i, [number[word] for word in title]] = 1
    both, alone = has.T @ has, has.mean(0)
    with np.errstate(divide="ignore"):
        information = np.maximum(np.log(both / len(titles) / np.outer(alone, alone)), 0)
    found = (has * -np.log(alone)[None]) @ _leading(information, size, "product", symmetric=True)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def _leading(a, size, what, symmetric=False):
    """Return the rows of a [n, m] in their `size` leading directions, each scaled by the root of its singular value."""
    if size > min(a.shape):
        raise UserError(f"the vector of a {what} can have {min(a.shape)} numbers here, not {size}.")
    u, s, _ = np.linalg.svd(a, full_matrices=False, hermitian=symmetric)
    return u[:, :size] * np.sqrt(s[:size])


def _scaled(a):
    """Return a [n, d], each column over its largest size."""
    return a / np.maximum(np.abs(a).max(0, keepdims=True), 1e-9)


# A shop


COLOURS, THINGS = ("red", "green", "blue", "white"), ("cup", "candle", "lantern", "bag", "card", "box")


def shop(name: str, n: int = 600) -> Source:
    """Return n order lines of a made-up shop, the same in every process, that need no download.

    Customers keep to a colour, candles are bought in winter, and what is cheap is bought by the dozen.
    """
    generator, titles = np.random.default_rng(0), [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    customer, day = generator.integers(12, size=n), generator.integers(365, size=n)
    liked = np.where(generator.uniform(size=n) < 0.8, customer % 4, generator.integers(4, size=n))
    winter = (np.abs(day - 182) > 120) & (generator.uniform(size=n) < 0.6)
    thing = np.where(winter, 1, generator.integers(len(THINGS), size=n))
    price = (1 + thing) * np.exp(0.1 * generator.normal(size=n))
    quantity = np.maximum(1, np.round(12 / price * np.exp(0.3 * generator.normal(size=n))))
    dates = [str(datetime.date(2011, 1, 1) + datetime.timedelta(i)) for i in range(365)]
    names = {"product": titles, "customer": [f"customer {i + 1}" for i in range(12)], "date": dates}
    fields = {"x": Field((2,), "row", names=("price", "quantity"))} | {k: label(len(v), v) for k, v in names.items()}
    raw = {
        "x": np.stack([price, quantity], 1),
        "product": liked * len(THINGS) + thing,
        "customer": customer,
        "date": day,
    }
    return of_arrays(name, fields, {k: a.astype(np.float32 if k == "x" else np.int32) for k, a in raw.items()})
