"""`python -m benchmarks memory`: what StyleGAN2's two regularisers hold at most, here and in PyTorch.

Each is the update of one net along the gradient of a gradient: of G along its path lengths, of D along R1. Ours is what
XLA plans for the compiled update beside its arguments and results; PyTorch's is the largest sum of what was allocated
and not yet freed, which its profiler counts, in the backward pass of the step that `vs_torch` times. The plain backward
pass of D beside them is the measure for what the second gradient costs.
"""

import jax
import jax.numpy as jnp

from benchmarks import harness
from benchmarks.speed.vs_torch import noise_images
from experiments.images import stylegan2
from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import descend, forward
from gan_jax.run.config import Count

HEAD = "update", "image", "batch", "our MB", "PyTorch's MB", "ours / PyTorch's"


def plain(cfg, state, x):
    """Return the state after an update of D along its scores of x."""
    _, D, _, tx = stylegan2.build(cfg)
    loss = lambda params: forward(D, params, {}, x)[0].mean()
    return state._replace(d=descend(state.d, jax.grad(loss)(state.d.params), tx))


OURS = {
    "D, plain": plain,
    "D, R1": stylegan2.d_regular,
    "G, path": lambda cfg, state, _: stylegan2.g_regular(cfg, state),
}


def theirs(cfg, state, x) -> dict:
    """Return {update: () -> the gradients of PyTorch's weights}."""
    import torch

    from benchmarks import torch_equalized, torch_steps

    g, d = torch_steps.players(cfg, state)
    x, n = torch_steps.tensor(x).contiguous(memory_format=torch.channels_last), max(len(x) // 2, 1)
    back = lambda loss, player: torch.autograd.grad(loss, list(player.params.values()), allow_unused=True)
    return {
        "D, plain": lambda: back(torch_equalized.stylegan2_d(d.params, x, cfg.group).mean(), d),
        "D, R1": lambda: back(torch_steps.r1(cfg, d, x)[0].mean(), d),
        "G, path": lambda: back(torch_steps.path_lengths(cfg, g, n)[0].square().mean(), g),
    }


def peak(f) -> int:
    """Return the bytes that PyTorch holds at most while f runs, beside those that it held before."""
    from torch import profiler

    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        f()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def main(size: Count = 64, batch_size: Count = 16, width: Count = 16, out: str = "benchmarks/speed/results"):
    """Show what XLA plans beside what PyTorch counts.

    Args:
        size: the side of the images.
        batch_size: of them; path lengths are of half as many.
        width: of both nets' finest level.
        out: folder of memory.jsonl.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError('PyTorch is not installed: pip install "gan_jax[bench]"') from None
    name = f"noise{size}"
    data.DATASETS[name] = noise_images
    cfg = stylegan2.Config(name, batch_size=batch_size, width=width, ada=False)
    state, *_ = harness.prepared(stylegan2, cfg)
    x, rows = jnp.zeros((batch_size, size, size, 3)), []
    for update, f in theirs(cfg, state, x).items():
        ours = jax.jit(lambda state, x, update=update: OURS[update](cfg, state, x)).lower(state, x).compile()
        rows.append({"update": update, "size": size, "batch": batch_size, "width": width, "torch": peak(f)})
        rows[-1]["ours"] = ours.memory_analysis().temp_size_in_bytes
    harness.record("memory", rows, out)
    harness.table(HEAD, map(cells, rows))


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    size, mb = row["size"], lambda n: f"{n / 1e6:.1f}"
    ratio = row["ours"] / row["torch"]
    return row["update"], f"{size}x{size}", row["batch"], mb(row["ours"]), mb(row["torch"]), f"{ratio:.2f}"


if __name__ == "__main__":
    harness.command(main)
