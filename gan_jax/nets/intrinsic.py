"""Faces as albedo, normals and light, and nets for them (Shu et al. 2017, arXiv 1704.04131), for images of any size.

Pictures and their parts lie in [0, 1] here. Of directions, x points to the right, y up and z towards the viewer. Light
is nine coefficients of spherical harmonics a channel, shading the irradiance that they give (Ramamoorthi and Hanrahan
2001, SIGGRAPH, An Efficient Representation for Irradiance Environment Maps).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.nets.conv import Conv

# Of 1; y, z, x; xy, yz, 3z^2 - 1, xz, x^2 - y^2: what makes them orthonormal on the sphere, and what a cosine leaves.
SCALES = [math.sqrt(n / math.pi) / 4 for n in (4, 12, 12, 12, 60, 60, 5, 60, 15)]
KEPT = [math.pi * share for share in (1, *[2 / 3] * 3, *[1 / 4] * 5)]
WHITE = 0.75  # the mean of shading
LAMPS = {"from the left": (-1.0, 0.0, 1.0), "from the right": (1.0, 0.0, 1.0), "from above": (0.0, 1.0, 1.0)}


def harmonics(n, kept=(1,) * 9):
    """Return the nine real spherical harmonics of orders 0 to 2 at unit vectors n [..., 3], times `kept`: [..., 9]."""
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    terms = jnp.ones_like(x), y, z, x, x * y, y * z, 3 * z**2 - 1, x * z, x**2 - y**2
    return jnp.stack([k * scale * term for k, scale, term in zip(kept, SCALES, terms, strict=True)], -1)


def irradiance(n):
    """Return what a white surface with normals n [..., 3] gets of each of the nine lights: [..., 9]."""
    return harmonics(n, KEPT)


def lamp(direction, ambient, direct):
    """Return the light [9] of a lamp far away: white gets `ambient` everywhere, and `direct` more where it faces it."""
    direction = jnp.asarray(direction, jnp.float32)
    everywhere = jnp.zeros(9).at[0].set(ambient / (KEPT[0] * SCALES[0]))
    return everywhere.astype(jnp.float32) + direct * harmonics(direction / jnp.linalg.norm(direction))


def rendered(parts):
    """Return the parts with what they look like: `shading`, the `face` and the whole `picture`, [b, h, w, c] each."""
    shading = nn.relu(jnp.einsum("bhwk,bck->bhwc", irradiance(parts["normals"]), parts["light"]))
    face = jnp.minimum(parts["albedo"] * shading, 1)
    picture = parts["matte"] * face + (1 - parts["matte"]) * parts["background"]
    return parts | {"shading": shading, "face": face, "picture": picture}


def relit(parts, light):
    """Return the pictures under another light [9], or lights [b, c, 9]; albedo and normals stay."""
    return rendered(parts | {"light": jnp.broadcast_to(light, parts["light"].shape)})["picture"]


def variation(a):
    """Return the steps to the right of a [b, h, w, c], and then those down: [2b, h - 1, w - 1, c]."""
    return jnp.concatenate([a[:, :-1, 1:] - a[:, :-1, :-1], a[:, 1:, :-1] - a[:, :-1, :-1]])


def ellipsoid(shape, axes):
    """Return the normals [1, h, w, 3] of an ellipsoid in the middle of a picture, and 1 where it is seen [1, h, w, 1].

    They are numpy. axes: half-axes across and down, as shares of half the picture, and towards the viewer, as one of
    half its width. Where it is not seen the normal is that of a wall.
    """
    h, w = shape[:2]
    a, b, c = axes[0] * w / 2, axes[1] * h / 2, axes[2] * w / 2
    x, y = np.meshgrid(np.arange(w) + 0.5 - w / 2, h / 2 - np.arange(h) - 0.5)
    depth = np.maximum(1 - (x / a) ** 2 - (y / b) ** 2, 0) ** 0.5  # in units of c
    slopes = np.stack([x / a**2, y / b**2, depth / c], -1)
    seen = depth[..., None] > 0
    normals = np.where(seen, slopes / np.linalg.norm(slopes, axis=-1, keepdims=True), np.array([0.0, 0.0, 1.0]))
    return normals[None], seen[None].astype(normals.dtype)


def fitted(y, normals, seen, ridge):
    """Return the light [b, c, 9] that, with one grey for all, makes this shape most like pictures y [b, h, w, c].

    The grey gives the batch a mean shading of WHITE. normals, seen: what `ellipsoid` returns. The squared error, a mean
    over what is seen, is minimised together with `ridge` times the square of the light.
    """
    with jax.ensure_compile_time_eval():
        basis = (np.asarray(irradiance(jnp.asarray(normals)), np.float64) * seen).reshape(-1, 9)  # [pixels, 9]
    solver = np.linalg.solve(basis.T @ basis / seen.sum() + ridge * np.eye(9), basis.T / seen.sum())
    share, (b, h, w, c) = jnp.asarray(seen / seen.sum(), y.dtype), y.shape
    grey = (y * share).sum((1, 2), keepdims=True).mean(0, keepdims=True) / WHITE  # [1, 1, 1, c]
    shading = (y / jnp.maximum(grey, 1e-3)).reshape(b, h * w, c)
    return jnp.einsum("bpc,kp->bck", shading, jnp.asarray(solver, y.dtype))


class Encoder(nn.Module):
    """y [b, h, w, c] -> code [b, code]; channels: from full resolution on; each layer halves it."""

    code: int = 128
    channels: tuple[int, ...] = (96, 48, 24)

    @nn.compact
    def __call__(self, y, train=True):
        x = 2 * y - 1
        for c in self.channels:
            x = nn.relu(nn.max_pool(Conv(c, 5)(x), (2, 2), (2, 2), "SAME"))
        return nn.Dense(self.code)(x.reshape(x.shape[0], -1))


class Decoder(nn.Module):
    """Code [b, code] -> [b, *shape], unbounded: as often as `Encoder` halves, doubled to the nearest and convolved."""

    shape: tuple[int, int, int]
    channels: tuple[int, ...] = (96, 48, 24)
    smooth: bool = False  # tanh instead of rectifiers

    @nn.compact
    def __call__(self, code, train=True):
        act, (h, w, c) = nn.tanh if self.smooth else nn.relu, self.shape
        sizes = [(-(-h // 2**i), -(-w // 2**i)) for i in range(len(self.channels) + 1)]
        x = act(nn.Dense(math.prod(sizes[-1]) * self.channels[-1])(code))
        x = x.reshape(-1, *sizes[-1], self.channels[-1])
        for (h, w), wide in zip(sizes[-2::-1], (*self.channels[-2::-1], self.channels[0]), strict=True):
            x = act(Conv(wide, 5)(x.repeat(2, 1).repeat(2, 2)[:, :h, :w]))
        return Conv(c, 3)(x)


class G(nn.Module):
    """y [b, h, w, c] -> {name: part}, which `rendered` puts together.

    They are albedo, background [b, h, w, c], normals [b, h, w, 3], matte [b, h, w, 1] and light [b, c, 9]. Each has a
    code of its own, a linear function of the one that the picture has.
    """

    code: int = 128
    channels: tuple[int, ...] = (96, 48, 24)

    @nn.compact
    def __call__(self, y, train=True):
        (h, w, c), code = y.shape[1:], Encoder(self.code, self.channels)(y)

        def part(name, channels, numbers=self.code, smooth=False):
            own = nn.Dense(numbers, name=f"code_{name}")(code)
            return Decoder((h, w, channels), self.channels, smooth, name=name)(own)

        slopes = part("normals", 2, smooth=True)
        facing = jnp.concatenate([slopes, jnp.ones_like(slopes[..., :1])], 3)
        even = lambda *_: jnp.tile(jnp.zeros(9).at[0].set(WHITE / (KEPT[0] * SCALES[0])), c).astype(jnp.float32)
        light = nn.Dense(9 * c, name="light", bias_init=even)(nn.Dense(10, name="code_light")(code))
        return {
            "albedo": nn.sigmoid(part("albedo", c)),
            "normals": facing / jnp.sqrt((facing**2).sum(3, keepdims=True)),
            "light": light.reshape(-1, c, 9),
            "matte": nn.sigmoid(part("matte", 1, self.code // 4)),
            "background": nn.sigmoid(part("background", c)),
        }


class D(nn.Module):
    """y [b, h, w, c] -> y again, through a code: an energy-based D's autoencoder."""

    code: int = 128
    channels: tuple[int, ...] = (96, 48, 24)

    @nn.compact
    def __call__(self, y, train=True):
        return Decoder(y.shape[1:], self.channels)(Encoder(self.code, self.channels)(y))
