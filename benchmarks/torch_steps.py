"""The updates of experiments/ as a careful PyTorch user writes them, for speed/vs_torch.py to hold ours against.

Nets are functions of {name: tensor}, since a lookahead scores with weights that are no parameters of a module; the
names are those of our nets. Images are NCHW by their indices and channels_last in memory, which is the faster one.
Each step takes x (and what else a batch holds), and draws its noise unless that is given too.
"""

import math
import random
import re

import jax
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import torch_equalized as equalized
from gan_jax import game

DEVICE = "cuda" if jax.default_backend() == "gpu" else "cpu"


def tensor(a):
    """Return an array of ours as a tensor; of images the indices are NCHW then."""
    a = torch.from_numpy(np.array(a)).to(DEVICE)
    return a.movedim(-1, -3) if a.ndim >= 4 else a


ENLARGES = re.compile(r"^up_|Layer_\d*[13579]\.ModulatedConv")  # convolutions over pixels with zeros between


def weights(tree) -> dict[str, torch.Tensor]:
    """Return the arrays of a net of ours, or those [seeds, ...] of several perceptrons, in PyTorch's layouts."""
    named = {}
    for path, a in jax.tree_util.tree_leaves_with_path(tree):
        name, a = ".".join(k.key for k in path), torch.from_numpy(np.array(a)).to(DEVICE)
        kernel = name.endswith("kernel")
        if kernel and a.ndim == 5:  # [d, h, w, in, out]
            a = a.permute(3, 4, 0, 1, 2) if "ConvTranspose" in name else a.permute(4, 3, 0, 1, 2)
            double = a.dtype == torch.float64
            a = a.contiguous(memory_format=torch.contiguous_format if double else torch.channels_last_3d)
        if kernel and a.ndim == 4:  # [h, w, in, out]
            a = a.flip(0, 1) if ENLARGES.search(name) else a
            transposed = "ConvTranspose" in name or ENLARGES.search(name)
            a = a.permute(2, 3, 0, 1) if transposed else a.permute(3, 2, 0, 1)
            double = a.dtype == torch.float64  # PyTorch's convolution in float64 refuses the other form
            a = a.contiguous(memory_format=torch.contiguous_format if double else torch.channels_last)
        named[name] = a.mT.contiguous() if kernel and a.ndim < 4 else a
    return named


class Player:
    """One of our players and its average, copied. m, v and t are what Adam keeps: the two moments, the updates made."""

    def __init__(self, player, average, lr, b1, b2):
        adam = player.opt[0]
        trees = player.params, player.stats, average, adam.mu, adam.nu
        self.params, self.stats, self.average, self.m, self.v = map(weights, trees)
        self.t = int(np.ravel(adam.count)[0])
        for p in self.params.values():
            p.requires_grad_()
        self.opt = torch.optim.Adam(self.params.values(), lr, (b1, b2), fused=True)
        for name, p in self.params.items():
            count = torch.tensor(float(self.t), device=DEVICE)
            self.opt.state[p] = {"step": count, "exp_avg": self.m[name], "exp_avg_sq": self.v[name]}

    def descend(self, loss):
        descend(loss, self)

    def average_in(self, decay):
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.params.values()), 1 - decay)


def descend(loss, *players):
    """Move all of these down their loss."""
    for one in players:
        one.opt.zero_grad()
    loss.backward(inputs=[p for one in players for p in one.params.values()])
    for one in players:
        one.opt.step()
        one.t += 1


def of(state) -> dict:
    """Return the players of a state of ours by their names, in its order; G's statistics have the mean path length."""
    found = {name: own for name, own in state._asdict().items() if isinstance(own, game.Player)}
    if hasattr(state, "path"):
        found["g"] = found["g"]._replace(stats=found["g"].stats | {"path": state.path})
    return found


def players(cfg, state) -> list[Player]:
    """Return those of a state of ours."""
    betas = getattr(cfg, "b1", 0.0), getattr(cfg, "b2", 0.999)
    lr = lambda name: getattr(cfg, f"{name}_lr", None) or cfg.lr
    average = lambda name, own: getattr(state, f"{name}_ema", (own.params if name == "g" else {},))[0]
    return [Player(own, average(name, own), lr(name), *betas) for name, own in of(state).items()]


def difference(cfg, state, others):
    """Return (where, how much) players differ most from a state of ours: the norm of the difference by our norm."""
    found = {}
    for (name, own), other in zip(of(state).items(), others, strict=True):
        adam = own.opt[0]
        pairs = {"weights": (own.params, other.params), "m": (adam.mu, other.m), "v": (adam.nu, other.v)}
        # PyTorch's batch norm keeps another variance, over n - 1
        pairs["statistics"] = {k: v for k, v in own.stats.items() if k != "batch_stats"}, other.stats
        if name == "g" and getattr(cfg, "ema", 0):
            pairs["average"] = state.g_ema[0], other.average
        for kind, (ours, theirs) in pairs.items():
            for leaf, a in weights(ours).items():
                apart = torch.linalg.vector_norm(theirs[leaf].detach() - a) / torch.linalg.vector_norm(a)
                where = f"{kind} of {name.upper()}'s {leaf}"
                found[where] = apart.item() if a.any() else theirs[leaf].abs().max().item()
    return max(found.items(), key=lambda item: item[1] if item[1] == item[1] else math.inf)


def drawer(source, arrays):
    """Return a function of a shape of batch: what `seen` of a batch, drawn anew.

    Points are drawn of a mixture, images out of uint8 [n, h, w, c] in [-1, 1].
    """
    images = seen(arrays)
    draw = [DRAWERS[source.kind](source, one) for one in images] or [_points(source, None)]
    return lambda shape: [one(shape) for one in draw]


def seen(batch) -> list:
    """Return the arrays of a batch that a step here takes: x, and the source where there is one."""
    return [a["x"] if isinstance(a, dict) else a for a in (batch[name] for name in ("x", "source") if name in batch)]


def _points(source, _):
    means, std = torch.tensor(source.modes.means, device=DEVICE), source.modes.std
    centres = lambda shape: means[torch.randint(len(means), shape, device=DEVICE)]
    return lambda shape: centres(shape) + std * torch.randn(*shape, 2, device=DEVICE)


def _images(_, images):
    images = torch.from_numpy(images).to(DEVICE)
    rows = lambda shape: images[torch.randint(len(images), shape, device=DEVICE)].movedim(-1, -3)
    return lambda shape: (rows(shape).float() * 2 - 255) / 255


DRAWERS = {"points": _points, "image": _images, "voxels": _images}


# Nets


def mlp(p, x):
    depth = len(p) // 2
    for i in range(depth):
        x = F.linear(x, p[f"MLP_0.Dense_{i}.kernel"], p[f"MLP_0.Dense_{i}.bias"])
        x = F.relu(x) if i < depth - 1 else x
    return x


def _norm(p, i, x, stats, train):
    name = f"BatchNorm_{i}"
    if f"{name}.scale" not in p:
        return x
    running = (stats[f"batch_stats.{name}.{k}"] for k in ("mean", "var")) if stats else (None, None)
    return F.batch_norm(x, *running, p[f"{name}.scale"], p[f"{name}.bias"], training=train, momentum=0.1, eps=1e-5)


def dcgan_g(p, z, stats=None, train=True):
    x = F.linear(z, p["Dense_0.kernel"], p.get("Dense_0.bias"))
    channels = p["ConvTranspose_0.kernel"].shape[0]
    side = math.isqrt(x.shape[1] // channels)
    x = x.view(-1, side, side, channels).permute(0, 3, 1, 2)
    for i in range(sum("ConvTranspose" in name and name.endswith("kernel") for name in p)):
        x = F.relu(_norm(p, i, x, stats, train))
        x = F.conv_transpose2d(x, p[f"ConvTranspose_{i}.kernel"], p.get(f"ConvTranspose_{i}.bias"), 2, 1)
    return x.tanh()


def dcgan_d(p, x, stats=None):
    for i in range(sum("Conv" in name and name.endswith("kernel") for name in p)):
        x = F.conv2d(x, p[f"Conv_{i}.kernel"], p.get(f"Conv_{i}.bias"), 2, 1)
        x = F.leaky_relu(_norm(p, i - 1, x, stats, True), 0.2)
    return F.linear(x.permute(0, 2, 3, 1).flatten(1), p["Dense_0.kernel"], p["Dense_0.bias"])[:, 0]


def gan3d_g(p, z, stats=None):
    x = F.conv_transpose3d(z[:, :, None, None, None], p["ConvTranspose_0.kernel"])
    for i in range(1, sum("ConvTranspose" in name for name in p)):
        x = F.conv_transpose3d(F.relu(_norm(p, i - 1, x, stats, True)), p[f"ConvTranspose_{i}.kernel"], None, 2, 1)
    return (x / 2).tanh()


def gan3d_d(p, x, stats=None):
    x, last = (x + 1) / 2, sum("Conv_" in name for name in p) - 1
    for i in range(last):
        x = F.leaky_relu(_norm(p, i, F.conv3d(x, p[f"Conv_{i}.kernel"], None, 2, 1), stats, True), 0.2)
    return F.conv3d(x, p[f"Conv_{last}.kernel"])[:, 0, 0, 0, 0]


def _pointwise(x, kernel, bias=None):
    return F.conv2d(x, kernel[:, :, None, None], bias)


def _blocks(p, x, resize):
    """Return x after the residual blocks, one of each size."""
    blocks, dense = sum("GroupedConv_0.bias" in name for name in p), 1
    for i in range(blocks):
        name = f"Block_{i}."
        if i:
            x = resize(x)
            if x.shape[1] != p[f"{name}Dense_0.kernel"].shape[1]:
                x, dense = _pointwise(x, p[f"Dense_{dense}.kernel"]), dense + 1
        y = F.leaky_relu(_pointwise(x, p[f"{name}Dense_0.kernel"], p[f"{name}Dense_0.bias"]), 0.2)
        kernel = p[f"{name}GroupedConv_0.kernel"]
        groups = y.shape[1] // kernel.shape[1]
        y = F.leaky_relu(F.conv2d(y, kernel, p[f"{name}GroupedConv_0.bias"], padding=1, groups=groups), 0.2)
        x = x + _pointwise(y, p[f"{name}Dense_1.kernel"])
    return x, p[f"Dense_{dense}.kernel"]


def r3gan_g(p, z):
    x = p["basis"].permute(2, 0, 1) * F.linear(z, p["Dense_0.kernel"])[:, :, None, None]
    x = x.contiguous(memory_format=torch.channels_last)
    x, last = _blocks(p, x, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"))
    return _pointwise(x, last)


def r3gan_d(p, x):
    half = lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    x, last = _blocks(p, _pointwise(x, p["Dense_0.kernel"]), half)
    return F.linear((x * p["basis"].permute(2, 0, 1)).sum((2, 3)), last)[:, 0]


def _instance_norm(x, scale=None, bias=None):
    if len(x) == 1:  # the same, and faster
        return F.batch_norm(x, None, None, scale, bias, training=True)
    return F.instance_norm(x, weight=scale, bias=bias)


def _scaled_norm(p, i, x):
    return _instance_norm(x, p[f"InstanceNorm_{i}.scale"], p[f"InstanceNorm_{i}.bias"])


def pix2pix_g(p, x, uniform=()):
    """uniform: of each dropout, the noise that decides it; drawn where it is not given."""
    depth, norms, down = sum("ConvTranspose" in name for name in p), 0, []
    for i in range(depth):
        x = F.conv2d(F.leaky_relu(x, 0.2) if i else x, p[f"Conv_{i}.kernel"], None, 2, 1)
        if 0 < i < depth - 1:
            x, norms = _scaled_norm(p, norms, x), norms + 1
        down.append(x)
    for j in range(depth - 1):
        x = F.conv_transpose2d(F.relu(x), p[f"ConvTranspose_{j}.kernel"], None, 2, 1)
        x, norms = _scaled_norm(p, norms, x), norms + 1
        if j < 3:
            x = torch.where(uniform[j] < 0.5, 0, 2 * x) if uniform else F.dropout(x, 0.5)
        x = torch.cat([x, down[depth - 2 - j]], 1)
    return F.conv_transpose2d(F.relu(x), p[f"ConvTranspose_{depth - 1}.kernel"], None, 2, 1).tanh()


def pix2pix_d(p, x, layers):
    for i in range(layers + 1):
        x = F.conv2d(x, p[f"Conv_{i}.kernel"], None, 2 if i < layers else 1, 1)
        x = F.leaky_relu(_scaled_norm(p, i - 1, x) if i else x, 0.2)
    return F.conv2d(x, p[f"Conv_{layers + 1}.kernel"], None, 1, 1)


def _reflected(p, i, x):
    kernel = p[f"Conv_{i}.kernel"]
    return F.conv2d(F.pad(x, [kernel.shape[-1] // 2] * 4, "reflect"), kernel, p.get(f"Conv_{i}.bias"))


def translate_g(p, x):
    """For images from 64 on."""
    last = sum("Conv_" in name and name.endswith("kernel") for name in p) - 1
    x = F.relu(_instance_norm(_reflected(p, 0, x)))
    for i in (1, 2):
        x = F.relu(_instance_norm(F.conv2d(F.pad(x, (0, 1, 0, 1)), p[f"Conv_{i}.kernel"], None, 2)))
    for i in range(3, last, 2):
        y = F.relu(_instance_norm(_reflected(p, i, x)))
        x = x + _instance_norm(_reflected(p, i + 1, y))
    for i in (0, 1):
        n = 2 * x.shape[-1]
        x = F.conv_transpose2d(x, p[f"ConvTranspose_{i}.kernel"], None, 2)[..., :n, :n]
        x = F.relu(_instance_norm(x))
    return _reflected(p, last, x).tanh()


def translate_d(p, x):
    """For images under 128."""
    x = F.leaky_relu(F.conv2d(x, p["Conv_0.kernel"], p["Conv_0.bias"], 2, 1), 0.2)
    x = F.leaky_relu(_instance_norm(F.conv2d(x, p["Conv_1.kernel"], None, 2, 1)), 0.2)
    return F.conv2d(F.pad(x, (1, 2, 1, 2)), p["Conv_2.kernel"], p["Conv_2.bias"])


def srresnet(p, x, stats=None):
    conv = lambda i, x: F.conv2d(x, p[f"Conv_{i}.kernel"], p.get(f"Conv_{i}.bias"), padding="same")
    norms = sum("BatchNorm" in name and name.endswith("scale") for name in p)
    convs = sum("Conv" in name and name.endswith("kernel") for name in p)
    first = x = F.prelu(conv(0, (x + 1) / 2), p["PReLU_0.slope"])
    for i in range(1, norms, 2):
        y = F.prelu(_norm(p, i - 1, conv(i, x), stats, True), p[f"PReLU_{i // 2 + 1}.slope"])
        x = x + _norm(p, i, conv(i + 1, y), stats, True)
    x = first + _norm(p, norms - 1, conv(norms, x), stats, True)
    for i in range(norms + 1, convs - 1):
        x = F.prelu(F.pixel_shuffle(conv(i, x), 2), p[f"PReLU_{i - norms + norms // 2}.slope"])
    return conv(convs - 1, x)


def srgan_d(p, x, stats=None):
    for i in range(sum("Conv" in name and name.endswith("kernel") for name in p)):
        x = F.conv2d(x, p[f"Conv_{i}.kernel"], p.get(f"Conv_{i}.bias"), 1 + i % 2, 1)
        x = F.leaky_relu(_norm(p, i - 1, x, stats, True), 0.2)
    x = F.leaky_relu(F.linear(x.permute(0, 2, 3, 1).flatten(1), p["Dense_0.kernel"], p["Dense_0.bias"]), 0.2)
    return F.linear(x, p["Dense_1.kernel"], p["Dense_1.bias"])[:, 0]


# Steps


def normal(cfg, x):
    return torch.randn(len(x), cfg.z_dim, device=x.device)


def dcgan(cfg, g, d, x, z=None):
    z = 2 * torch.rand(len(x), cfg.z_dim, device=x.device) - 1 if z is None else z
    fake = dcgan_g(g.params, z, g.stats)
    real_score, fake_score = dcgan_d(d.params, x, d.stats), dcgan_d(d.params, fake.detach())
    d.descend((F.softplus(-real_score) + F.softplus(fake_score)).mean())
    g.descend(F.softplus(-dcgan_d(d.params, fake)).mean())


def gan3d(cfg, g, d, x, z=None):
    x = x[:, None, :, 0]  # [b, d, 1, h, w], as images are handed over
    x = x.contiguous(memory_format=torch.contiguous_format if x.dtype == torch.float64 else torch.channels_last_3d)
    z = torch.rand(len(x), cfg.z_dim, device=x.device) if z is None else z
    fake = gan3d_g(g.params, z, g.stats)
    real_score, fake_score = gan3d_d(d.params, x, d.stats), gan3d_d(d.params, fake.detach())
    learns = getattr(d, "accuracy", 0) <= cfg.held_above
    d.accuracy = torch.cat([real_score > 0, fake_score < 0]).float().mean().item()
    if learns:
        d.descend((F.softplus(-real_score) + F.softplus(fake_score)).mean())
    g.descend(F.softplus(-gan3d_d(d.params, fake)).mean())


def _slope(score, x):  # |grad_x D(x)|^2: [b]
    return torch.autograd.grad(score.sum(), x, create_graph=True)[0].square().sum((1, 2, 3))


def wgan_gp(cfg, g, d, x, zs=None, ts=None):
    for i, real in enumerate(x.unflatten(0, (cfg.batch_size, cfg.critic_steps)).unbind(1)):
        z = normal(cfg, real) if zs is None else zs[i]
        t = torch.rand(len(real), 1, 1, 1, device=DEVICE) if ts is None else ts[i]
        with torch.no_grad():
            fake = dcgan_g(g.params, z)
        between = torch.lerp(fake, real, t).requires_grad_()
        penalty = (_slope(dcgan_d(d.params, between), between).sqrt() - 1).square()
        d.descend((dcgan_d(d.params, fake) - dcgan_d(d.params, real) + cfg.penalty * penalty).mean())
    z = normal(cfg, real) if zs is None else zs[-1]
    g.descend(-dcgan_d(d.params, dcgan_g(g.params, z, g.stats)).mean())


def r3gan(cfg, g, d, x, z=None):
    z = normal(cfg, x) if z is None else z
    burnt = 0.5 * (1 + math.cos(math.pi * min(g.t / cfg.burn_in, 1)))
    cosine = lambda first, last: last + (first - last) * burnt
    for player in (g, d):
        lr, b2 = cosine(cfg.lr, cfg.lr * cfg.lr_end), cosine(cfg.b2, cfg.b2_end)
        player.opt.param_groups[0].update(lr=lr, betas=(0.0, b2))
    fake = r3gan_g(g.params, z)
    real, made = x.detach().requires_grad_(), fake.detach().requires_grad_()
    real_score, made_score = r3gan_d(d.params, real), r3gan_d(d.params, made)
    g_loss = F.softplus(real_score.detach() - r3gan_d(d.params, fake)).mean()
    flat = _slope(real_score, real) + _slope(made_score, made)
    d_loss = (F.softplus(made_score - real_score) + cosine(cfg.gamma, cfg.gamma * cfg.gamma_end) / 2 * flat).mean()
    g.descend(g_loss)
    d.descend(d_loss)
    g.average_in(0.5 ** (1 / max(cosine(0.0, cfg.ema), 1e-8)))


def _styled(cfg, g, n, noise):
    """Return (styles [n, layers, w], the noise of all layers) of new latents, and renew the mean style.

    noise: (latents, those that are mixed in, from which layer on, noise), drawn where it is not given.
    """
    layers = 2 * sum("ToRGB" in name and name.endswith("_0.kernel") for name in g.params)
    if noise:
        z, other, first, noise = noise
    else:
        first = len(g.params["Synthesis_0.const"])
        pixels = sum((first * 2 ** ((i + 1) // 2)) ** 2 for i in range(layers - 1))
        z, other, noise = (torch.randn(n, k, device=DEVICE) for k in (cfg.z_dim, cfg.z_dim, pixels))
        first = random.randrange(1, layers) if random.random() < cfg.mixing else layers
    style, first = equalized.mapping(g.params, z), int(first)
    g.stats["average.style"].lerp_(style.detach().mean(0), 0.005)
    styles = style[:, None].expand(-1, layers, -1)
    if first < layers:
        mixed = equalized.mapping(g.params, other)[:, None].expand(-1, layers - first, -1)
        styles = torch.cat([styles[:, :first], mixed], 1)
    return styles, noise


def path_lengths(cfg, g, n, noise=(), y=None):
    """Return the path lengths [n] of new latents, differentiable, and a pixel, of which all weights have a gradient."""
    styles, of_layers = _styled(cfg, g, n, noise)
    made = equalized.synthesis(g.params, styles, of_layers)
    y = torch.randn_like(made) if y is None else y
    (slope,) = torch.autograd.grad((made * y).sum() / math.sqrt(made[0, 0].numel()), styles, create_graph=True)
    return slope.square().sum(2).mean(1).sqrt(), made[0, 0, 0, 0]


def r1(cfg, d, x):
    """Return R1 [b] of StyleGAN2's D at x [b, c, h, w], differentiable, and a score, of which all have a gradient."""
    x = x.detach().requires_grad_()
    real_score = equalized.stylegan2_d(d.params, x, cfg.group)
    return _slope(real_score, x), real_score[0]


def stylegan2(cfg, g, d, x, *noise):
    """With both regularisers in every step."""
    every, t = cfg.g_every / (cfg.g_every + 1), g.t // 2
    for player in (g, d):
        player.opt.param_groups[0].update(lr=cfg.lr * every, betas=(0.0, 0.99**every))
    score = lambda x: equalized.stylegan2_d(d.params, x, cfg.group)
    drawn = lambda n, noise: equalized.synthesis(g.params, *_styled(cfg, g, n, noise))

    g.descend(F.softplus(-score(drawn(len(x), noise[:4]))).mean())

    length, pixel = path_lengths(cfg, g, max(len(x) // 2, 1), noise[4:8], noise[12] if noise else None)
    mean = torch.lerp(g.stats["path"], length.mean(), 0.01)
    g.stats["path"] = mean.detach()
    g.descend(cfg.g_every * cfg.path * (length - mean).square().mean() + 0 * pixel)

    with torch.no_grad():
        fake = drawn(len(x), noise[8:12])
    d.descend((F.softplus(-score(x)) + F.softplus(score(fake))).mean())

    slope, one = r1(cfg, d, x)
    d.descend(cfg.d_every * cfg.gamma / 2 * slope.mean() + 0 * one)
    half_life = min(cfg.ema, cfg.ramp * len(x) * t) if cfg.ramp else cfg.ema
    g.average_in(0.5 ** (len(x) / max(half_life, 1e-8)))


def progressive(cfg, g, d, x, zs=None, ts=None):
    """Of the last level, once it is there; one update of D."""
    z, other = (normal(cfg, x), normal(cfg, x)) if zs is None else zs
    t = torch.rand(len(x), 1, 1, 1, device=DEVICE) if ts is None else ts[0]
    score = lambda x: equalized.progressive_d(d.params, x, cfg.group)
    drawn = lambda z: equalized.progressive_g(g.params, z, x.shape[-1])
    with torch.no_grad():
        fake = drawn(z)
    between = torch.lerp(fake, x, t).requires_grad_()
    penalty = (_slope(score(between), between).sqrt() / cfg.target - 1).square()
    real_score = score(x)
    d.descend((score(fake) - real_score + cfg.penalty * penalty + cfg.drift * real_score.square()).mean())
    g.descend(-score(drawn(other)).mean())
    g.average_in(cfg.ema)


def adam(cfg, lr, p, m, v, t, grads):
    """Return the dicts (p, m, v) after differentiable update number t."""
    m = {k: torch.lerp(grads[k], m[k], cfg.b1) for k in p}
    v = {k: torch.lerp(grads[k].square(), v[k], cfg.b2) for k in p}
    down = lambda m, v: m / (1 - cfg.b1**t) / (torch.sqrt(v / (1 - cfg.b2**t) + 1e-16) + 1e-8)
    return {k: p[k] - lr * down(m[k], v[k]) for k in p}, m, v


def _cross_entropy(real_score, fake_score):
    return (F.softplus(-real_score) + F.softplus(fake_score)).mean()


def unrolled(cfg, g, d, x, z=None):
    """The unrolled GAN with a graph through all of D's updates."""
    z = normal(cfg, x) if z is None else z
    images = x.ndim == 4
    score = dcgan_d if images else lambda p, x, _=None: mlp(p, x * cfg.d_scale)[:, 0]
    fake = dcgan_g(g.params, z, g.stats) if images else mlp(g.params, z)

    ahead = d.params, d.m, d.v
    for i in range(cfg.unroll):
        loss = _cross_entropy(score(ahead[0], x), score(ahead[0], fake))
        grads = torch.autograd.grad(loss, tuple(ahead[0].values()), create_graph=True)
        ahead = adam(cfg, cfg.d_lr, *ahead, d.t + i + 1, dict(zip(ahead[0], grads, strict=True)))
    real_score, fake_score = score(ahead[0], x), score(ahead[0], fake)
    saturating = cfg.loss == "minimax"
    g_loss = -_cross_entropy(real_score, fake_score) if saturating else F.softplus(-fake_score).mean()
    d_loss = _cross_entropy(score(d.params, x, d.stats), score(d.params, fake.detach()))
    g.descend(g_loss)
    d.descend(d_loss)
    if cfg.ema:
        g.average_in(cfg.ema)


def unrolled_func(cfg, g, d, x, z=None, over_seeds=lambda step: step):
    """The same, for points, by `torch.func`."""
    z = torch.randn(*x.shape[:-1], cfg.z_dim, device=x.device) if z is None else z
    t = g.t + 1

    def d_loss(p, x, fake):
        return _cross_entropy(mlp(p, x * cfg.d_scale)[:, 0], mlp(p, fake * cfg.d_scale)[:, 0])

    def step(g, d, x, z):
        def g_loss(p):
            fake, ahead = mlp(p, z), d
            for i in range(cfg.unroll):
                ahead = adam(cfg, cfg.d_lr, *ahead, t + i, torch.func.grad(d_loss)(ahead[0], x, fake))
            return -d_loss(ahead[0], x, fake), fake

        g_grads, fake = torch.func.grad(g_loss, has_aux=True)(g[0])
        d_grads = torch.func.grad(d_loss)(d[0], x, fake)
        return adam(cfg, cfg.g_lr, *g, t, g_grads), adam(cfg, cfg.d_lr, *d, t, d_grads)

    of = lambda player: ({k: p.detach() for k, p in player.params.items()}, player.m, player.v)
    news = over_seeds(step)(of(g), of(d), x, z)
    for player, new in zip((g, d), news, strict=True):
        player.params, player.m, player.v, player.t = *new, t


def unrolled_vmap(cfg, g, d, x, z=None):
    """The same for several seeds at once: every array is [seeds, ...]."""
    unrolled_func(cfg, g, d, x, z, torch.vmap)


def pix2pix(cfg, g, d, b, a, *uniform):
    score = lambda b: pix2pix_d(d.params, torch.cat([a, b], 1), cfg.layers)
    made = pix2pix_g(g.params, a, uniform)
    d.descend(_cross_entropy(score(b), score(made.detach())) / 2)
    g.descend(cfg.adversarial * F.softplus(-score(made)).mean() + cfg.l1 * F.l1_loss(made, b))


def _pooled(cfg, d, fakes):
    """Return what D is shown of new fakes, of which it keeps some."""
    d.old, shown = getattr(d, "old", []), []
    for fake in fakes.detach().split(1):
        if len(d.old) < cfg.history:
            d.old.append(fake)
        elif random.random() < 0.5:
            at = random.randrange(cfg.history)
            fake, d.old[at] = d.old[at], fake
        shown.append(fake)
    return torch.cat(shown)


def cyclegan(cfg, ab, ba, d_a, d_b, b, a):
    there, back = (lambda x, p=player.params: translate_g(p, x) for player in (ab, ba))
    fake_b, same_b, fake_a, same_a = there(a), there(b), back(b), back(a)
    far = lambda d, x, from_: (translate_d(d.params, x) - from_).square().mean()
    cycle = F.l1_loss(back(fake_b), a) + F.l1_loss(there(fake_a), b)
    same = F.l1_loss(same_a, a) + F.l1_loss(same_b, b)
    adversarial = far(d_a, fake_a, 1) + far(d_b, fake_b, 1)
    descend(adversarial + cfg.cycle * (cycle + cfg.identity * same), ab, ba)
    for d, real, fake in ((d_a, a, fake_a), (d_b, b, fake_b)):
        d.descend((far(d, real, 1) + far(d, _pooled(cfg, d, fake), 0)) / 2)


def srgan(cfg, g, d, x, a=None):
    a = F.avg_pool2d(x, cfg.factor) if a is None else a
    made = srresnet(g.params, a, g.stats)
    d.descend(_cross_entropy(srgan_d(d.params, x, d.stats), srgan_d(d.params, made.detach())))
    g.descend(F.mse_loss(made, x) + cfg.adversarial * F.softplus(-srgan_d(d.params, made)).mean())


def sample(cfg, g, n, z=None):
    with torch.inference_mode():
        z = 2 * torch.rand(n, cfg.z_dim, device=DEVICE) - 1 if z is None else z
        return dcgan_g(g.params, z, g.stats, train=False)


# What is done to a step, and around it


def _amp(step):
    def under(*args):
        with torch.autocast(DEVICE, torch.bfloat16):
            return step(*args)

    return under


KINDS = {"eager": lambda step: step, "compiled": torch.compile, "amp": _amp}


def wait():
    """Return when the GPU has done its work."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
