"""`python -m gan_jax.inpaint RUN`: fill holes of pictures by a trained G: its latent is searched for what fits around.

Yeh, Chen, Lim et al. 2017, arXiv 1607.07539: z goes down |W (G(z) - y)|_1 + prior * (what D thinks of G(z)), with G and
D as they are; what G makes of it is put into the hole, and blended into its rim. A picture for each kind of hole, and
all numbers, in the folder `inpaint` of the run. Docs: docs/explore.md#fill-holes
"""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from gan_jax import data
from gan_jax.data import recipes
from gan_jax.errors import UserError
from gan_jax.explore import of_file
from gan_jax.game import losses, rng
from gan_jax.metrics import extractors, inpainting, latents, poisson
from gan_jax.run import Count, Share, cli, config, latent, loaded, log, plots, rundir
from gan_jax.run.plots import page


@dataclasses.dataclass(frozen=True)
class Flags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder of the run; of its first seed
    out: str = ""  # folder for the pictures and numbers [inpaint, in that of the run]
    holes: str = "centre,half,pixels"  # kinds of holes, with commas: centre, box (anywhere), half (the left), pixels
    part: Share = 0.5  # of each side that a box takes, of the width that the half does
    missing: Share = 0.8  # share of the pixels that the hole `pixels` takes
    picture: str = ""  # a picture to be filled [the first of the held-out data]
    mask: str = ""  # a picture that is bright where the hole is, in place of --holes
    n: Count = 8  # held-out pictures
    starts: Count = 4  # latents from which each is searched; the one counts that comes to the least loss
    updates: Count = 1500  # of each latent
    optimiser: Literal["adam", "momentum"] = "adam"  # Adam, or Nesterov's momentum of 0.9
    lr: float = 0.03  # its rate
    weight: inpainting.Way = "paper"  # pixels near the hole weigh most (paper), least (code), or all the same (none)
    window: Count = 7  # side of the window of that weight
    prior: float = 0.003  # weight of what D thinks; 0: D is not asked
    loss: losses.Name = "minimax"  # what D thinks, as the loss of a G: minimax is log(1 - D)
    start: Literal["latent", "normal"] = "latent"  # where latents begin: as the run draws them, or standard normal
    clip: float | None = None  # latents stay in [-clip, clip]; 0: anywhere [1 where those of the run do, else 0]
    seed: int = 0  # latents are a function of it
    step: int | None = None  # of the checkpoint [the newest]


class Filled(NamedTuple):
    """Pictures [b, h, w, c] in [-1, 1] that were filled."""

    made: np.ndarray  # G of the latent that was found
    pasted: np.ndarray  # with what G made in the hole
    blended: np.ndarray  # with its gradients in the hole
    smooth: np.ndarray  # with what the rim alone says in the hole: no G
    losses: np.ndarray  # [b], of the latents


def filler(g: latent.G, b: int, flags: Flags):
    """Return (x [b, h, w, c], hole [b, h, w, 1]) -> Filled: how b pictures are filled by latents of g.

    What x is in the hole is not looked at. g: with latents drawn, starts * b of them, those of picture i every b-th.
    """
    rows, keep = np.arange(len(g.z)), keep_of(g, flags)
    again = lambda a: jnp.tile(a, (flags.starts, 1, 1, 1))

    def loss(state, known, weight, z):
        made = g.generate(state, z, rows)
        found = (weight * jnp.abs(made - known)).sum((1, 2, 3))
        if flags.prior:
            score = g.parts.discriminate(state, made)
            found += flags.prior * losses.PAIRS[flags.loss].g(jnp.zeros_like(score), score)
        return found

    @jax.jit
    def searched(state, known, hole, z):
        weight = inpainting.weights(hole, flags.weight, flags.window)
        of = functools.partial(loss, state, again(known), again(weight))
        z, found = latents.search(of, z, tx_of(flags), flags.updates, keep)
        best = found.reshape(-1, b).argmin(0) * b + jnp.arange(b)
        made = g.generate(state, z, rows)[best]
        smooth = poisson.blended(known, jnp.zeros_like(made), hole)
        return made, poisson.blended(known, made, hole), smooth, found[best]

    def fill(x, hole):
        begin = jnp.asarray(g.z) if flags.start == "latent" else rng.normal(jax.random.key(flags.seed), g.z.shape)
        made, blended, smooth, found = map(np.asarray, searched(g.state, np.where(hole, 0, x), hole, begin))
        return Filled(made, np.where(hole, made, x), np.clip(blended, -1, 1), np.clip(smooth, -1, 1), found)

    return fill


def tx_of(flags) -> optax.GradientTransformation:
    """Return the optimiser that the flags name."""
    return optax.adam(flags.lr) if flags.optimiser == "adam" else optax.sgd(flags.lr, 0.9, nesterov=True)


def keep_of(g: latent.G, flags):
    """Return what keeps latents where they may be: in [-1, 1], where the run draws none outside."""
    within = 1.0 if np.abs(g.z).max() <= 1 else 0.0
    clip = within if flags.clip is None else flags.clip
    return (lambda z: jnp.clip(z, -clip, clip)) if clip else (lambda z: z)


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.inpaint", description=__doc__)
    check(flags)
    run = loaded.load(flags.run, step=flags.step)
    source = run.source()
    if source.kind != "image":
        raise UserError(f"{flags.run} draws {source.kind}; holes are filled in pictures.")
    x = of_file(flags.picture, source) if flags.picture else held_out(source, flags.n)
    masks = {name: hole_of(name, x, source, flags) for name in names(flags)}
    folder = Path(flags.out or run.folder / "inpaint")
    g = latent.of_run(run, flags.seed, len(x) * flags.starts)
    if flags.prior and not g.parts.discriminate:
        raise UserError(
            f"{run.experiment.__name__} does not say what its D thinks of pictures: it defines no `discriminate`.\n"
            "--prior 0 searches without D."
        )
    with rundir.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    numbers, line, fill = {}, log.Line(), filler(g, len(x), flags)
    for name, hole in masks.items():
        line.say(f"{flags.run}: {name}")
        found = fill(x, hole)
        line.end()
        numbers[name] = measured(found, x, hole)
        says = ", ".join(f"{way} {numbers[name][f'psnr/{way}']:.1f}" for way in WAYS)
        draw(folder / f"{name}.png", f"{name}, PSNR of the hole in dB: {says}", found, x, hole, source)
    of = dataclasses.asdict(flags) | {"run": str(run.folder), "step": int(g.state.step), "pictures": len(x)}
    with rundir.writing(folder):
        log.write_whole(folder / "inpaint.json", log.as_json(rundir.origin() | of | {"found": numbers}) + "\n")
    log.tell(f"pictures and numbers are in {folder}")
    return numbers


def check(flags):
    """Raise UserError where a flag can't be what it is."""
    config.check_ranges(dataclasses.asdict(flags), Flags)
    unknown = [name for name in names(flags) if name not in recipes.HOLES] if not flags.mask else []
    if unknown or not names(flags):
        raise UserError(f"--holes {flags.holes}: choose from {', '.join(recipes.HOLES)}, with commas between.")
    for name in ("part", "missing"):
        if getattr(flags, name) in (0, 1):
            raise UserError(f"--{name} is {getattr(flags, name)}: a hole takes some of a picture, and not all of it.")


def names(flags) -> list[str]:
    """Return the names of the holes."""
    return ["mask"] if flags.mask else [name for name in flags.holes.split(",") if name]


def held_out(source, n) -> np.ndarray:
    """Return the first n pictures that were held out, as a batch has them; say so where none were."""
    real, _, split = extractors.rows(source, n, n)
    if split != "test":
        log.tell(f"{source.name} has no test split: the pictures that are filled are ones that it was trained on")
    return np.asarray(data.decode({"x": real})["x"])


def hole_of(name, x, source, flags) -> np.ndarray:
    """Return the holes [b, h, w, 1] of this name in pictures x, true inside."""
    if name == "mask":
        hole = of_file(flags.mask, source).mean(-1, keepdims=True) > 0
        if not 0 < hole.mean() < 1:
            only = "bright" if hole.all() else "dark"
            raise UserError(f"{flags.mask} is {only} all over; it must be bright in the hole, and dark elsewhere.")
        return np.repeat(hole, len(x), 0)
    return np.asarray(recipes.holes(x, name, flags.missing if name == "pixels" else flags.part)) > 0


WAYS = "pasted", "blended", "smooth"


def measured(found: Filled, x, hole) -> dict:
    """Return the PSNR of the holes, in each way, the distance from what is known, and the losses: means."""
    psnr = lambda a: float(inpainting.psnr(a, x, hole).mean())
    known = ~hole & np.ones_like(x, bool)
    away = float(np.abs(found.made - x)[known].mean())
    return {f"psnr/{way}": psnr(getattr(found, way)) for way in WAYS} | {
        "context": away,
        "loss": float(found.losses.mean()),
    }


def draw(file, caption, found: Filled, x, hole, source):
    """Write the pictures: with their holes, filled in each way, and as they were."""
    rows = {
        "with a hole": np.where(hole, 0, x),
        "G of the latent": found.made,
        "in the hole": found.pasted,
        "blended": found.blended,
        "the rim alone": found.smooth,
        "as it was": x,
    }
    with rundir.writing(file):
        picture = plots.Picture(np.stack(list(rows.values())), rows=tuple(rows))
        page.save(file, page.headed(plots.table(file, picture, source, plots.reals(source)), caption))


if __name__ == "__main__":
    cli.run(main)
