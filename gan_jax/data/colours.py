"""Colours: Lab, luma, and pictures as levels of 0 to 255."""

import jax
import jax.numpy as jnp
import numpy as np


def to_lab(x: jax.Array) -> jax.Array:
    """Return sRGB x [..., 3] in [-1, 1] in CIE Lab (1976) under D65: L / 50 - 1, a / 110, b / 110, all in [-1, 1].

    sRGB is that of IEC 61966-2-1; the scale is that of pix2pix (Isola et al. 2017, arXiv 1611.07004).
    """
    x = (x + 1) / 2
    linear = jnp.where(x > 0.04045, ((jnp.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4, x / 12.92)
    t = linear @ (XYZ / XYZ.sum(1, keepdims=True)).T.astype(np.float32)
    f = jnp.where(t > KNEE**3, jnp.cbrt(jnp.maximum(t, KNEE**3)), t / (3 * KNEE**2) + 4 / 29)
    X, Y, Z = (f[..., i] for i in range(3))
    return jnp.stack([(116 * Y - 16) / 50 - 1, 500 / 110 * (X - Y), 200 / 110 * (Y - Z)], -1)


def from_lab(lab: jax.Array) -> jax.Array:
    """Return what `to_lab` gave as sRGB again; colours that sRGB hasn't got are cut to [-1, 1]."""
    Y = ((lab[..., 0] + 1) * 50 + 16) / 116
    f = jnp.stack([Y + lab[..., 1] * 110 / 500, Y, Y - lab[..., 2] * 110 / 200], -1)
    t = jnp.where(f > KNEE, f**3, 3 * KNEE**2 * (f - 4 / 29))
    linear = t @ np.linalg.inv(XYZ / XYZ.sum(1, keepdims=True)).T.astype(np.float32)
    x = jnp.where(linear > 0.0031308, 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return jnp.clip(2 * x - 1, -1, 1)


XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
KNEE = 6 / 29  # below which the cube root is replaced by a line


def levels(x: jax.Array) -> jax.Array:
    """Return x in [-1, 1] as whole numbers, 0 to 255: int32."""
    return jnp.clip(jnp.round(x * 127.5 + 127.5), 0, 255).astype(np.int32)


def luma(v: jax.Array) -> jax.Array:
    """Return the luma [..., 1] of levels v [..., c]: of three channels Pillow's mode "L", of one themselves."""
    if v.shape[-1] == 1:
        return v
    return (19595 * v[..., :1] + 38470 * v[..., 1:2] + 7471 * v[..., 2:] + 2**15) >> 16


def of_labels(n: int) -> np.ndarray:
    """Return colours of n labels, uint8 [n, 3], those of PASCAL VOC: 0 is black, no two are the same.

    The bits of a label go to red, green, blue, red, ... and there from the highest bit down.
    """
    label, colour = np.arange(n), np.zeros((n, 3), np.uint8)
    for bit in range(24):
        colour[:, bit % 3] |= np.uint8(((label >> bit) & 1) << (7 - bit // 3))
    return colour
