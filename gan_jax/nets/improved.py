"""The perceptrons of Salimans et al. 2016 (arXiv 1606.03498), and the paper's two layers that look at other rows."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.nets.layers import BatchNorm


class NormedDense(nn.Module):
    """x [b, i] -> [b, out] by weights whose columns have a direction v and, apart from it, a length `scale`."""

    out: int
    scale: float = 1.0  # at first

    @nn.compact
    def __call__(self, x):
        v = self.param("v", nn.initializers.normal(0.1), (x.shape[1], self.out), jnp.float32)
        scale = self.param("scale", nn.initializers.constant(self.scale), (self.out,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.out,), jnp.float32)
        return x @ (v * (scale / jnp.linalg.norm(v, axis=0))[None]) + bias[None]


class MinibatchDiscrimination(nn.Module):
    """x [b, i] -> [b, i + kernels]: beside each row, how near the others are to it, in `kernels` spaces of `dims`.

    Nearness is the sum over the others of exp(-L1 distance); a row's distance to itself is left out.
    """

    kernels: int
    dims: int = 5

    @nn.compact
    def __call__(self, x):
        t = self.param("t", nn.initializers.normal(0.05), (x.shape[1], self.kernels, self.dims), jnp.float32)
        m = jnp.einsum("bi,ikd->bkd", x, t)
        near = jnp.exp(-jnp.abs(m[:, None] - m[None]).sum(3))  # [b, b, kernels]
        others = 1 - jnp.eye(x.shape[0], dtype=x.dtype)
        return jnp.concatenate([x, jnp.einsum("bck,bc->bk", near, others)], 1)


class VirtualBatchNorm(nn.Module):
    """(x [b, c], reference [r, c]) -> both normalised; x row by row, by the statistics of the reference and that row.

    A row's output does not depend on the rows beside it. The reference is normalised by itself.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, reference):
        scale = self.param("scale", nn.initializers.ones, (x.shape[1],), jnp.float32)[None]
        bias = self.param("bias", nn.initializers.zeros, (x.shape[1],), jnp.float32)[None]
        r, mean = reference.shape[0], reference.mean(0, keepdims=True)
        off, x_off = reference - mean, x - mean  # [r, c], [b, c]
        var = (off**2).mean(0, keepdims=True)  # [1, c]; centred, since E x^2 - (E x)^2 cancels where the mean is large
        # A row moves the reference's mean by x_off / (r + 1), and its variance with it.
        x_var = r / (r + 1) * (var + x_off**2 / (r + 1))  # [b, c]

        def normalised(off, var):
            return off / jnp.sqrt(var + self.epsilon) * scale + bias

        return normalised(r / (r + 1) * x_off, x_var), normalised(off, var)


class G(nn.Module):
    """Latent [b, z] -> x [b, *shape]; images end in [-1, 1].

    reference: a fixed batch of latents [r, z] for virtual batch norm; None: batch norm.
    """

    shape: tuple[int, ...]
    width: int = 500

    @nn.compact
    def __call__(self, z, reference=None, train=True):
        x = z
        for _ in range(2):
            layer = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.glorot_uniform())
            if reference is None:
                x = BatchNorm(use_running_average=not train, momentum=0.9, use_scale=False)(layer(x))
            else:
                x, reference = VirtualBatchNorm()(layer(x), layer(reference))
                reference = nn.softplus(reference)
            x = nn.softplus(x)
        x = NormedDense(math.prod(self.shape))(x).reshape(-1, *self.shape)
        return jnp.tanh(x / 2) if len(self.shape) > 1 else x  # a sigmoid, in [-1, 1]


class D(nn.Module):
    """(x [b, ...], key) -> logits [b, classes] and the last hidden layer [b, width]; Gaussian noise in every layer.

    Hidden layers have 4, 2, 1, 1 and 1 times `width` units. kernels: of minibatch discrimination; 0: none.
    """

    classes: int
    width: int = 250
    x_noise: float = 0.3  # deviation of the noise on x (images: on a scale from 0 to 1)
    noise: float = 0.5  # deviation of the noise on hidden layers
    kernels: int = 0

    @nn.compact
    def __call__(self, x, key=None, train=True):
        x = ((x + 1) / 2 if x.ndim > 2 else x).reshape(x.shape[0], -1)
        widths = [n * self.width for n in (4, 2, 1, 1, 1)]
        ends = np.cumsum([x.shape[1], *widths])
        noises = [0.0] * len(ends)
        if train:  # drawn at once: one generator to compile
            first, *rest = jnp.split(jax.random.normal(key, (x.shape[0], ends[-1]), x.dtype), ends[:-1], axis=1)
            noises = [self.x_noise * first, *(self.noise * one for one in rest)]
        for i, (n, noise) in enumerate(zip(widths, noises, strict=False)):
            x = nn.relu(NormedDense(n, 1.3 if i else 2.0)(x + noise))  # digits then have a variance near 1 before ReLU
        h, x = x, x + noises[-1]
        x = MinibatchDiscrimination(self.kernels)(x) if self.kernels else x
        return NormedDense(self.classes)(x), h
