"""The nets with equalised rates as a careful PyTorch user writes them, for torch_steps.py: StyleGAN2's and PGGAN's.

As there, nets are functions of {name: tensor} with the names of ours. A convolution that enlarges has its kernel in the
layout of `conv_transpose2d`. Filters are convolutions of each channel by itself, which PyTorch differentiates once more
channel after channel, so they say their gradients themselves.
"""

import functools
import math

import torch
import torch.nn.functional as F

SQRT2 = math.sqrt(2)


def _kernel(p, name, gain=1.0, rate=1.0, up=False):
    """Return a layer's weights as they are used."""
    w = p[f"{name}.kernel"]  # [out, in] or [out, in, k, k]; up: [in, out, k, k]
    inputs = w.shape[1 - up] * math.prod(w.shape[2:])
    return w * (gain * rate / math.sqrt(inputs))


def _dense(p, name, x, gain=1.0, rate=1.0):
    b = p.get(f"{name}.bias")
    return F.linear(x, _kernel(p, name, gain, rate), b if b is None or rate == 1 else b * rate)


def _conv(p, name, x, gain=1.0, **more):
    w = _kernel(p, name, gain)
    return F.conv2d(x, w, p.get(f"{name}.bias"), **{"padding": w.shape[-1] // 2} | more)


def _pixel_norm(x):
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _group_std(x, group):
    group = math.gcd(len(x), group)
    spread = x.unflatten(0, (group, -1)).var(0, correction=0).add(1e-8).sqrt().mean((1, 2, 3)).repeat(group)
    return torch.cat([x, spread[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)


def _flat(x):
    return x.permute(0, 2, 3, 1).flatten(1)


# StyleGAN2


@functools.cache
def _taps(channels, gain, like):
    """Return the filter 1 3 3 1 along both sides, times a gain, for each channel; like: (dtype, device)."""
    one = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=like[0], device=like[1]) / 8
    return (gain * torch.outer(one, one)).expand(channels, 1, 4, 4).contiguous()


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(x, taps, stride, padding, up):
        return (F.conv_transpose2d if up else F.conv2d)(x, taps, None, stride, padding, groups=len(taps))

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *ctx.others = inputs

    @staticmethod
    def backward(ctx, grad):
        *others, up = ctx.others
        return _Filter.apply(grad, *others, not up), None, None, None, None


def _filtered(x, gain=1.0, stride=1, padding=0, up=False):
    """Return x [b, c, h, w] filtered; stride: that many times smaller or, up, larger."""
    return _Filter.apply(x, _taps(x.shape[1], gain, (x.dtype, x.device)), stride, padding, up)


def _act(x):
    return F.leaky_relu(x, 0.2).mul_(SQRT2)


def _modulated(p, name, x, style, up=False, demodulate=True):
    w, scale = _kernel(p, name, up=up), _dense(p, f"{name}.style", style)
    x = x * scale[:, :, None, None]
    x = (
        _filtered(F.conv_transpose2d(x, w, stride=2), 4.0, padding=1)
        if up
        else F.conv2d(x, w, padding=len(w[0, 0]) // 2)
    )
    if not demodulate:
        return x
    strength = w.square().sum((2, 3))  # [out, in]; up: [in, out]
    variance = scale.square() @ (strength if up else strength.T)
    return x * (variance + 1e-8).rsqrt()[:, :, None, None]


def mapping(p, z):
    x = _pixel_norm(z)
    for i in range(sum("Mapping" in name and name.endswith("kernel") for name in p)):
        x = _act(_dense(p, f"Mapping_0.Dense_{i}", x, rate=0.01))
    return x


def synthesis(p, styles, noise):
    """Return pictures of as many pixels as the levels have; styles [b, layers, w], noise [b, that of all layers]."""

    def layer(i, x, up=False):
        name = f"Synthesis_0.Layer_{i}"
        x = _modulated(p, f"{name}.ModulatedConv_0", x, styles[:, i], up)
        x = torch.addcmul(x, p[f"{name}.strength"], noise[i])
        return _act(x + p[f"{name}.bias"][:, None, None])

    def colours(i, x):
        name = f"Synthesis_0.ToRGB_{i}"
        style = styles[:, 2 * i + 1]
        return _modulated(p, f"{name}.ModulatedConv_0", x, style, demodulate=False) + p[f"{name}.bias"][:, None, None]

    const = p["Synthesis_0.const"].permute(2, 0, 1)
    sides = [len(const[0]) * 2 ** ((i + 1) // 2) for i in range(styles.shape[1] - 1)]
    noise = [a.view(-1, 1, n, n) for a, n in zip(noise.split([n * n for n in sides], 1), sides, strict=True)]
    x = layer(0, const.expand(len(styles), -1, -1, -1).contiguous(memory_format=torch.channels_last))
    picture = colours(0, x)
    for i in range(1, styles.shape[1] // 2):
        x = layer(2 * i, layer(2 * i - 1, x, up=True))
        picture = _filtered(picture, 4.0, stride=2, padding=1, up=True) + colours(i, x)
    return picture


def stylegan2_d(p, x, group):
    """With skips."""
    x = _act(_conv(p, "Conv_0", x))
    last = sum("Conv_" in name and name.endswith("kernel") for name in p) - 1
    for i in range(1, last, 3):
        y = _act(_conv(p, f"Conv_{i}", x))
        y = _act(_conv(p, f"Conv_{i + 1}", _filtered(y, padding=2), stride=2, padding=0))
        x = (y + _conv(p, f"Conv_{i + 2}", _filtered(x, stride=2, padding=1))).mul_(1 / SQRT2)
    x = _act(_conv(p, f"Conv_{last}", _group_std(x, group)))
    x = _act(_dense(p, "Dense_0", _flat(x)))
    return _dense(p, "Dense_1", x)[:, 0]


# PGGAN, once the last level is there


def _leaky(x):
    return F.leaky_relu(x, 0.2)


def _smeared(w):
    """Return kernels [..., 4, 4]: the sum of these 3x3 ones at the four places, as in the authors' code."""
    w = F.pad(w, (1, 1, 1, 1))
    return w[..., 1:, 1:] + w[..., :-1, 1:] + w[..., 1:, :-1] + w[..., :-1, :-1]


def progressive_g(p, z, side):
    x = _dense(p, "begin", _pixel_norm(z), SQRT2 / 4).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
    x, s = _pixel_norm(_leaky(x + p["bias"][:, None, None])), 4
    x = _pixel_norm(_leaky(_conv(p, "conv_4", x, SQRT2)))
    while s < side:
        s *= 2
        w = _smeared(_kernel(p, f"up_{s}", SQRT2, up=True))
        x = _pixel_norm(_leaky(F.conv_transpose2d(x, w, p[f"up_{s}.bias"], 2, 1)))
        x = _pixel_norm(_leaky(_conv(p, f"conv_{s}", x, SQRT2)))
    return _conv(p, f"to_rgb_{side}", x)


def progressive_d(p, x, group):
    s = x.shape[-1]
    x = _leaky(_conv(p, f"from_rgb_{s}", x, SQRT2))
    while s > 4:
        x = _leaky(_conv(p, f"conv_{s}", x, SQRT2))
        w = _smeared(_kernel(p, f"down_{s}", SQRT2 / 4))
        x, s = _leaky(F.conv2d(x, w, p[f"down_{s}.bias"], 2, 1)), s // 2
    x = _leaky(_conv(p, "conv_4", _group_std(x, group) if group else x, SQRT2))
    x = _leaky(_dense(p, "dense", _flat(x), SQRT2))
    return _dense(p, "score", x)[:, 0]
