"""By hand: the residual nets of SN-GAN, SAGAN and BigGAN, with their power iterations and batch norms.

A `Part` is a module's parameters and statistics; what it normalises by goes into `new`, the statistics afterwards.
"""

import jax
import jax.numpy as jnp
import numpy as np
import oracle

from gan_jax import data


class Part:
    """The parameters and statistics of a net, or of a part of it."""

    def __init__(self, params, stats, new, spectral):
        self.params, self.stats, self.new, self.spectral = params, stats, new, spectral

    def part(self, name):
        """Return a module within."""
        return Part(self.params[name], self.stats.get(name, {}), self.new.setdefault(name, {}), self.spectral)

    def weight(self, name):
        """Return a kernel over what one power iteration takes for its largest singular value."""
        kernel = self.params[name]["kernel"]
        if not self.spectral:
            return kernel
        (place,) = [norm for norm, seen in self.stats.items() if f"{name}/kernel/u" in seen]
        matrix, u = kernel.reshape(-1, kernel.shape[-1]), self.stats[place][f"{name}/kernel/u"][0]
        v = matrix @ u
        v = v / jnp.sqrt(jnp.sum(v**2))
        u = v @ matrix
        u, v = (jax.lax.stop_gradient(a) for a in (u / jnp.sqrt(jnp.sum(u**2)), v))
        sigma = jnp.sum(v * (matrix @ u))
        self.new[place] = {f"{name}/kernel/u": u[None], f"{name}/kernel/sigma": sigma}
        return kernel / sigma

    def dense(self, name, x):
        return x @ self.weight(name) + self.params[name].get("bias", jnp.zeros(1))[None]

    def conv(self, name, x):
        """A convolution of stride 1 with zeros around."""
        y = jax.lax.conv_general_dilated(
            x, self.weight(name), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + self.params[name].get("bias", jnp.zeros(1)).reshape(1, 1, 1, -1)

    def batch_norm(self, x):
        y, self.new["BatchNorm_0"] = oracle.batch_norm(
            self.params.get("BatchNorm_0", {}), self.stats["BatchNorm_0"], x, eps=1e-4
        )
        return y


def relu(x):
    return jnp.maximum(x, 0)


def corners(x, beyond):
    """Return the four pixels of every 2x2 square of x [b, h, w, c]; `beyond` where there is no pixel any more."""
    x = jnp.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)], constant_values=beyond)
    return [x[:, i::2, j::2] for i in range(2) for j in range(2)]


def mean(x):
    return sum(corners(x, 0.0)) / sum(corners(jnp.ones_like(x), 0.0))


def largest(x):
    found, *others = corners(x, -jnp.inf)
    for other in others:
        found = jnp.where(other > found, other, found)
    return found


def up(x, size):
    """Every pixel four times, as far as there is room."""
    return x[:, np.arange(size[0]) // 2][:, :, np.arange(size[1]) // 2]


def coded(y, classes):
    return jnp.stack([jnp.where(jnp.arange(classes) == label, 1.0, 0.0) for label in y])


def conditional(part, x, y):
    """Batch norm, then 1 + gain and bias that are linear in y."""
    gain, bias = part.dense("Dense_0", y), part.dense("Dense_1", y)
    x = part.batch_norm(x)
    return jnp.stack([row * (1 + g.reshape(1, 1, -1)) + b.reshape(1, 1, -1) for row, g, b in zip(x, gain, bias)])  # noqa: B905


def attention(part, x):
    """Key by key: a mean of the values, weighted by exp(query * key)."""
    query = part.conv("Conv_0", x)
    keys, values = (largest(part.conv(name, x)) for name in ("Conv_1", "Conv_2"))
    total = seen = 0.0
    for i in range(keys.shape[1]):
        for j in range(keys.shape[2]):
            weight = jnp.exp((query * keys[:, i : i + 1, j : j + 1]).sum(3, keepdims=True))  # [b, h, w, 1]
            total, seen = total + weight, seen + weight * values[:, i : i + 1, j : j + 1]
    return x + part.params["gain"] * part.conv("Conv_3", seen / total)


def G(params, stats, z, y, shape, classes, spectral=False, attentive=False, shared=False):
    """Return (x, the new statistics) of G; shape: of x."""
    part = Part(params, stats["batch_stats"], {}, spectral)
    sizes = [shape[:2]]
    while max(sizes[-1]) > 4:
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    least, *larger = sizes[::-1]
    y = coded(y, classes)
    told = [y] * len(larger)
    if shared:
        z, *rest = jnp.split(z, len(sizes), 1)
        told = [jnp.concatenate([y @ params["shared"]["kernel"], one], 1) for one in rest]
    x = part.dense("Dense_0", z).reshape(len(z), *least, -1)
    for i, (size, label) in enumerate(zip(larger, told)):  # noqa: B905
        if attentive and i == len(larger) - 1:
            x = attention(part.part("Attention_0"), x)
        block = part.part(f"Up_{i}")
        added = block.conv("Conv_0", up(relu(conditional(block.part("Norm_0"), x, label)), size))
        added = block.conv("Conv_1", relu(conditional(block.part("Norm_1"), added, label)))
        x = added + block.conv("Conv_2", up(x, size))
    return jnp.tanh(part.conv("Conv_0", relu(part.batch_norm(x)))), {"batch_stats": part.new}


def D(params, stats, x, y, classes, halvings, attentive=False):
    """Return (scores, the new statistics) of D, whose first `halvings` blocks halve."""
    part = Part(params, stats["batch_stats"], {}, True)
    for i in range(sum(name.startswith("Down") for name in params)):
        block, half = part.part(f"Down_{i}"), mean if i < halvings else lambda x: x
        added = half(block.conv("Conv_1", relu(block.conv("Conv_0", relu(x) if i else x))))
        x = added + (half(block.conv("Conv_2", x)) if i < halvings else x)
        if attentive and i == 0:
            x = attention(part.part("Attention_0"), x)
    h = relu(x).sum((1, 2))
    return part.dense("Dense_0", h)[:, 0] + (part.dense("Dense_1", coded(y, classes)) * h).sum(1), {
        "batch_stats": part.new
    }


# How many parameters they have, counted by hand


def size(net, *given):
    """Return how many parameters a net has for such inputs."""
    return sum(p.size for p in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0), *given)["params"]))


def sizes(module, monkeypatch, z_dim):
    """Return the sizes of G and D of an experiment's preset `paper`, on 32x32 pictures in colours of ten classes."""
    fields = {"x": data.Field((32, 32, 3), "image"), "y": data.label(10)}
    monkeypatch.setattr(data, "load", lambda name: data.Source(name, fields))
    g, d, *_ = module.build(module.PRESETS["paper"])
    y = jnp.zeros(1, jnp.int32)
    return size(g, jnp.zeros((1, z_dim)), y), size(d, jnp.zeros((1, 32, 32, 3)), y)


def conv_size(k, i, o):
    return k * k * i * o + o


def g_size(c, z, told, embedding=0):
    """4x4 pixels of c channels, three blocks (two norms told so many numbers, no biases), a batch norm, three colours."""
    blocks = 3 * (2 * 2 * told * c + 2 * 9 * c * c + c * c)
    return z * 16 * c + 16 * c + embedding + blocks + 2 * c + conv_size(3, c, 3)


def d_size(c, classes):
    """A block that sees colours and halves, one that halves, two that don't, a score, a vector for each label."""
    first = conv_size(3, 3, c) + conv_size(3, c, c) + conv_size(1, 3, c)
    return first + 6 * conv_size(3, c, c) + conv_size(1, c, c) + c + 1 + classes * c


def attention_size(c):
    """Queries, keys, values, what becomes of them, and the gain."""
    return 2 * c * (c // 8) + 2 * c * (c // 2) + 1
