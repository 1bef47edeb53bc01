"""`python -m benchmarks convolutions`: those of the experiments on lines and solids, here, by plain lax, by PyTorch.

The convolution, the gradient of its image and that of its kernel, each by itself, in float32, on as many cores as the
process has. All must agree first. Timings of the three alternate, and are of the CPU, which other work disturbs less.
"""

import os
import time
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks import harness
from gan_jax.errors import UserError
from gan_jax.nets import conv
from gan_jax.run.config import Count


class Case(NamedTuple):
    batch: int
    size: tuple[int, ...]
    channels: tuple[int, int]  # in and out
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]  # on both sides


CUBE, EVERY, AROUND = (4, 4, 4), (2, 2, 2), (1, 1, 1)
FRAMES = CUBE, (1, 2, 2), (0, 1, 1)
CASES = {
    "gan3d-1": Case(16, (32, 32, 32), (1, 8), CUBE, EVERY, AROUND),
    "gan3d-2": Case(16, (16, 16, 16), (8, 16), CUBE, EVERY, AROUND),
    "gan3d-3": Case(16, (8, 8, 8), (16, 32), CUBE, EVERY, AROUND),
    "vgan-1": Case(16, (32, 32, 32), (3, 16), CUBE, EVERY, AROUND),
    "vgan-2": Case(16, (16, 16, 16), (16, 32), CUBE, EVERY, AROUND),
    "mocogan-1": Case(12, (16, 32, 32), (3, 16), *FRAMES),
    "mocogan-2": Case(12, (13, 16, 16), (16, 32), *FRAMES),
    "cubes": Case(8, (16, 16, 16), (16, 16), (3, 3, 3), (1, 1, 1), AROUND),
    "returns": Case(32, (253,), (80, 80), (2,), (1,), (0,)),
    "midinet": Case(72, (16,), (64, 32), (2,), (2,), (0,)),
    "line": Case(64, (256,), (32, 64), (4,), (2,), (1,)),
}
LONG = 1000  # milliseconds after which an operation is timed no more
OPERATIONS = "convolution", "gradient of the image", "gradient of the kernel"
HEAD = "case", "image", "channels", "kernel", "strides", *(f"{of}: ours / lax / PyTorch" for of in OPERATIONS)


def main(
    cases: tyro.conf.Positional[tuple[Literal[*CASES], ...]] = tuple(CASES),
    repeats: Count = 9,
    out: str = "benchmarks/speed/results",
):
    """Time convolutions, in turn.

    Args:
        cases: which of them.
        repeats: timings of each, of which the median is shown.
        out: folder of convolutions.jsonl.
    """
    rows = [{"case": name, "cores": len(os.sched_getaffinity(0))} | timed(CASES[name], repeats) for name in cases]
    harness.table(HEAD, map(cells, rows))
    harness.record("convolutions", rows, out)


def timed(case, repeats) -> dict:
    """Return {operation: {who: [ms of the CPU]}} of one case."""
    rng, kernel_shape = np.random.default_rng(0), (*case.kernel, *case.channels)
    x, kernel = rng.normal(size=(case.batch, *case.size, case.channels[0])), rng.normal(size=kernel_shape)
    y = rng.normal(size=jax.eval_shape(partial(forward, case), x, kernel).shape)
    arrays = [np.asarray(a, np.float32) for a in (x, kernel, y)]
    who = {"ours": ours(case, True, *arrays), "lax": ours(case, False, *arrays), "torch": torch_s(case, *arrays)}
    found = {}
    for i, operation in enumerate(OPERATIONS):
        functions = {name: of[i] for name, of in who.items()}
        agree(functions)
        ms = {name: [] for name in who}
        for _ in range(repeats):
            for name, f in functions.items():
                begin = time.process_time()
                f()
                ms[name].append(1e3 * (time.process_time() - begin))
            if sum(map(sum, ms.values())) > LONG:
                break
        found[operation] = ms
    return found


def forward(case, x, kernel):
    return conv.conv(x, kernel, case.strides, [(p, p) for p in case.pads])


def ours(case, triple: bool, x, kernel, y):
    """Return the three operations as functions of nothing, by the triple or by plain lax, compiled."""
    before, conv.TRIPLE = conv.TRIPLE, triple
    image = lambda y, kernel: jax.vjp(lambda x: forward(case, x, kernel), x)[1](y)[0]
    of_kernel = lambda x, y: jax.vjp(lambda kernel: forward(case, x, kernel), kernel)[1](y)[0]
    calls = (partial(forward, case), x, kernel), (image, y, kernel), (of_kernel, x, y)
    compiled = [(jax.jit(f).lower(*args).compile(), [jnp.asarray(a) for a in args]) for f, *args in calls]
    conv.TRIPLE = before
    return [lambda f=f, args=args: jax.block_until_ready(f(*args)) for f, args in compiled]


def torch_s(case, x, kernel, y):
    """Return the three operations of PyTorch, on as many threads."""
    try:
        import torch
    except ImportError:
        raise UserError('PyTorch is not installed: pip install "gan_jax[bench]"') from None
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    form = torch.channels_last_3d if x.ndim == 5 else torch.contiguous_format
    first = lambda a: torch.from_numpy(a).movedim(-1, 1).contiguous(memory_format=form)
    x, y, kernel = first(x), first(y), torch.from_numpy(kernel).movedim((-1, -2), (0, 1)).contiguous(memory_format=form)
    axes = len(case.size)
    forward = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    settings = None, list(case.strides), list(case.pads), [1] * axes, False, [0] * axes, 1
    backward = lambda *mask: torch.ops.aten.convolution_backward(y, x, kernel, *settings, mask)
    return (
        lambda: forward(x, kernel, None, case.strides, case.pads).movedim(1, -1),
        lambda: backward(True, False, False)[0].movedim(1, -1),
        lambda: backward(False, True, False)[1].movedim((0, 1), (-1, -2)),
    )


def agree(functions):
    """Call each once, for what is done at first alone; they must find the same."""
    first, *others = (np.asarray(f()) for f in functions.values())
    for other in others:
        np.testing.assert_allclose(first, other, rtol=1e-3, atol=1e-3 * np.abs(first).max())


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    case, by = CASES[row["case"]], lambda sizes: "x".join(map(str, sizes))
    times = (" / ".join(f"{np.median(ms):.2f}" for ms in row[of].values()) for of in OPERATIONS)
    channels = f"{case.channels[0]} to {case.channels[1]}"
    return row["case"], f"{case.batch} of {by(case.size)}", channels, by(case.kernel), by(case.strides), *times


if __name__ == "__main__":
    harness.command(main, compile_cache=False)
