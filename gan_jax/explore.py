"""`python -m gan_jax.explore RUN`: look into the latent of a trained G: ways, analogies, directions, what it can make.

A file for each look, with a caption, in the folder `explore` of the run. Docs: docs/explore.md.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from PIL import Image

from gan_jax import data
from gan_jax.data import pictures
from gan_jax.errors import UserError, first_line
from gan_jax.metrics import alexnet, extractors, latents, lpips, neighbours, vgg
from gan_jax.run import cli, latent, loaded, log, plots, rundir
from gan_jax.run.latent import G
from gan_jax.run.plots import page

SHOWN = 8  # pictures of a row
PSIS = 1.0, 0.8, 0.6, 0.4, 0.2, 0.0
REACH = np.linspace(-3, 3, 7)  # standard deviations of the latent, along a direction


@dataclasses.dataclass(frozen=True)
class Flags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder of the run; of its first seed
    out: str = ""  # folder for the pictures and numbers [explore, in that of the run]
    only: str = ""  # looks, with commas between, as interpolation,directions [all]
    picture: str = ""  # a picture that G shall make [the first of the held-out data]
    updates: int = 300  # of Adam, to find it
    lpips: Literal["", "vgg", "alex"] = ""  # LPIPS's net, to find it by, and for path lengths [pixels, and features]
    features: str = ""  # classifier (of the data set itself), vgg16, pixels, or an .npz, as gan_jax.score has them
    n: int = 500  # samples, for path lengths and t-SNE
    train: int = 10_000  # training records among which the nearest ones are looked for
    seed: int = 0  # latents are a function of it
    step: int | None = None  # of the checkpoint [the newest]


class Found(NamedTuple):
    """What a look found."""

    caption: str
    picture: Any = None  # a `Picture`, or a page uint8 [h, w, 3]
    numbers: dict = {}  # noqa: RUF012 {name: number or word}


@dataclasses.dataclass(frozen=True, eq=False)
class Beside:
    """What samples are held beside, and looked at with."""

    source: data.Source
    flags: Flags

    @functools.cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Held-out rows, and training rows, as a batch has them."""
        real, train, _ = extractors.rows(self.source, self.flags.n, self.flags.train)
        return tuple(np.asarray(data.decode({"x": x})["x"]) for x in (real, train))

    @functools.cached_property
    def extractor(self) -> extractors.Extractor:
        """What rows are looked at with."""
        live = functools.partial(log.Live, title=f"the classifier of {self.source.name}")
        found = extractors.chosen(self.flags.features, self.source, live)
        if found.says:
            log.tell(found.says)
        return found

    def features(self, x) -> np.ndarray:
        """Return what is seen of rows x, [n, d]."""
        return extractors.seen(self.extractor, x).features.astype(np.float64)

    @functools.cached_property
    def lpips(self) -> tuple[Callable, str] | None:
        """(LPIPS: x, y [n, h, w, c] -> [n], its name), None where it isn't asked for; UserError where it can't be."""
        if not self.flags.lpips:
            return None
        net = {"vgg": vgg, "alex": alexnet}[self.flags.lpips]
        if self.source.kind != "image" or self.source.shape[-1] not in (1, 3):
            raise UserError("LPIPS is of grey or coloured pictures: leave --lpips out.")
        lpips.check_size(self.source.shape, net)
        return functools.partial(lpips.distance, net.load(), net.heads(), net=net), f"LPIPS ({self.flags.lpips})"


# The looks. Each is a function of G, and of what is beside it, that returns what it found, or why it can't be done


def interpolation(g: G, _: Beside) -> Found:
    """Between pairs of latents, along the line and along the circle."""
    a, b, t = g.z[:4, None], g.z[4:8, None], np.linspace(0, 1, SHOWN).reshape(1, -1, 1)
    z = np.stack([latents.lerp(a, b, t), latents.slerp(a, b, t)], 1).reshape(8, SHOWN, -1)  # [rows, columns, z]
    heads = tuple(f"{one:.2f}" for one in t.ravel())
    x = g.draw(z, np.arange(4).repeat(2)[:, None])
    rows = tuple(f"{way} {i}" for i in range(1, 5) for way in ("lerp", "slerp"))
    says = "From one latent (left) to another (right), four times: along the line (lerp) and along the circle (slerp)"
    return Found(says, plots.Picture(x, rows=rows, columns=heads))


def j_diagram(g: G, _: Beside) -> Found:
    """What b is to a, the corner is to c."""
    x = g.draw(latents.analogy(*g.z[:3], 7))
    says = "J-diagram: B is to A what the lower right corner, B + C - A, is to C; slerped in between"
    return Found(says, plots.Picture(x, rows=("A to B", *[""] * 5, "C to B + C - A")))


def mine(g: G, _: Beside) -> Found:
    """A grid whose every third picture is that of a latent of its own."""
    x = g.draw(latents.grid(g.z[:9].reshape(3, 3, -1), 3))
    says = "MINE grid: every third row and column meet in a latent of its own; slerped in between"
    names = tuple("" if i % 3 else f"{i // 3 + 1}" for i in range(7))
    return Found(says, plots.Picture(x, rows=names, columns=names))


def truncation(g: G, _: Beside) -> Found | str:
    """Latents, or styles, on their way to the average one."""
    which, heads = np.arange(6), tuple(f"psi = {psi}" for psi in PSIS)
    if g.parts.styles:
        w = np.stack([g.styles(which, psi) for psi in PSIS], 1)  # [rows, columns, layers, w]
        x, what = g.synthesise(w, which[:, None]), "the average style"
    elif np.abs(g.draw(g.z[which] / 2, which) - g.samples[which]).max() <= 1e-3 * np.ptp(g.samples, 0).max():
        return "its G makes the same of a latent that is half as long"
    else:
        mean, psi = g.z.mean(0), np.reshape(PSIS, (1, -1, 1))
        x, what = g.draw(mean + psi * (g.z[which, None] - mean), which[:, None]), "the average latent"
    return Found(f"Truncation: psi times as far from {what}", plots.Picture(x, columns=heads))


def mixing(g: G, _: Beside) -> Found | str:
    """The coarse styles of one, the fine ones of another."""
    if not g.parts.styles:
        return "its G has no styles to mix: the experiment defines no `styles` and `synthesise`"
    w, average = g.styles(np.arange(9), 1.0), g.styles([0], 0.0)
    coarse = (np.arange(w.shape[1]) < w.shape[1] // 2)[:, None]
    cells = np.where(coarse, w[5:, None], w[None, :5])  # [rows, columns, layers, w]
    first = np.concatenate([average, w[5:]])[:, None]
    x = g.synthesise(np.concatenate([first, np.concatenate([w[None, :5], cells])], 1), 0)
    says = "Style mixing: the first half of the layers is of the left column, others of the top row (corner: average)"
    return Found(says, plots.Picture(x))


def directions(g: G, _: Beside) -> Found | str:
    """The directions that move the first layer most."""
    layer = latents.first_layer(g.together, g.z.shape[1])
    if layer is None:
        return "no layer of its G that has a kernel sees the latent"
    along, far = latents.directions(layer, 6)
    z = g.z[0] + g.spread * REACH.reshape(1, -1, 1) * along[:, None]  # [rows, columns, z]
    heads = tuple(f"{reach:+g}" for reach in REACH)
    rows = tuple(f"direction {i + 1} ({one:.3g})" for i, one in enumerate(far))
    says = "SeFa: one sample (+0), moved by so many deviations along what moves G's first layer most (how much)"
    return Found(says, plots.Picture(g.draw(z), rows=rows, columns=heads))


def projection(g: G, beside: Beside) -> Found:
    """Given pictures, and what G makes that is nearest to them."""
    given = of_file(beside.flags.picture, beside.source) if beside.flags.picture else beside.rows[0][:SHOWN]
    near = neighbours.nearest(*(x.reshape(len(x), -1).astype(np.float64) for x in (given, g.samples)))[1]
    pixels = lambda x, y: ((x - y) ** 2).reshape(len(x), -1).mean(1)
    by, name = beside.lpips or (pixels, "mean squared difference")
    loss = lambda z: by(g.generate(g.state, z, near), jax.lax.optimization_barrier(given))  # slow to fold
    z, losses = latents.project(loss, g.z[near], beside.flags.updates, 0.1 * g.spread)
    x, length = g.draw(z, near), lambda z: float(np.linalg.norm(z, axis=-1).mean())
    numbers = {"projection_by": name, "projection": float(losses.mean())}
    numbers |= {"projection_of_samples": float(by(g.samples[near], given).mean())}
    numbers |= {"projection_length": length(z) / length(g.z)}
    rows = ("a picture" if beside.flags.picture else "held-out data", f"nearest of {len(g.z)} samples", "found")
    says = f"Projection: what G makes of the latents that Adam found, by {name}: {numbers['projection']:.3g} on average"
    return Found(says, plots.Picture(np.stack([given, g.samples[near], x]), rows=rows), numbers)


def of_file(file: str, source) -> np.ndarray:
    """Return a picture of the user's own [1, h, w, c], in [-1, 1], its middle square at the size of the data."""
    shape = source.shape
    if source.kind != "image" or shape[0] != shape[1] or shape[2] not in (1, 3, 4):
        raise UserError(f"--picture is for a G of square pictures; this one draws {source.kind} of shape {shape}.")
    try:
        with pictures.opened(file) as picture:
            a = pictures.square(pictures.rgb(picture, shape[2]), shape[0])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{file} can't be read as a picture: {first_line(error)}.") from None
    return np.asarray(data.decode({"x": a[None]})["x"])


def path_length(g: G, beside: Beside) -> Found:
    """How much a picture changes along a way, where it is steep."""
    half, rng = len(g.z) // 2, np.random.default_rng(beside.flags.seed)
    a, b, t = g.z[:half], g.z[half : 2 * half], rng.uniform(size=(half, 1))
    if beside.lpips:
        perceptual, by = beside.lpips
        distance = functools.partial(latent.in_parts, jax.jit(perceptual))
    else:
        distance = lambda x, y: ((beside.features(x) - beside.features(y)) ** 2).sum(1)
        seen = beside.extractor
        by = f"squared distance in features of {seen.name} {seen.digest}" if seen.name else "squared distance"
    found = latents.path_lengths(lambda z: g.draw(z, np.arange(half)), distance, a, b, t)
    numbers = {"path_length": float(found.mean()), "path_length_by": by, "path_length_pairs": half}
    return Found(f"path length in z, along slerp, of {half} pairs: {log.spread(found.mean())} ({by})", None, numbers)


def nearest(g: G, beside: Beside) -> Found | str:
    """Samples over the training pictures that are nearest to them."""
    if beside.source.kind == "points":
        return POINTS
    fakes, (_, train) = g.samples[:10], beside.rows
    which = neighbours.nearest(*(beside.features(x) for x in (fakes, train)))[1]
    says = f"Ten samples, and the nearest of {len(train):,} training pictures, in features of {beside.extractor.name}"
    return Found(says, plots.Picture(np.stack([fakes, train[which]]), rows=("samples", "nearest in training")))


def tsne(g: G, beside: Beside) -> Found | str:
    """Features of real and of drawn pictures, in two dimensions."""
    from sklearn.manifold import TSNE

    if beside.source.kind == "points":
        return POINTS
    n = min(len(g.samples), len(beside.rows[0]))
    seen = np.concatenate([beside.features(beside.rows[0][:n]), beside.features(g.samples[:n])])
    at = TSNE(perplexity=min(30, n / 2), init="pca", random_state=0).fit_transform(seen)
    fig, (axis,) = plots.figure(1, 6, 6)
    for part, colour, name in ((at[:n], "0.6", f"{n} held-out records"), (at[n:], "#1764ab", f"{n} samples")):
        axis.scatter(*part.T, s=9, linewidths=0, color=colour, label=name)
    axis.set(xticks=[], yticks=[])
    fig.legend(loc="outside lower center", ncols=2, fontsize="small")
    return Found(f"t-SNE of the features of {beside.extractor.name}: of data and of samples", page.rendered(fig))


POINTS = "its samples are points: python -m gan_jax.sample draws them over the data"
LOOKS = {
    look.__name__: look
    for look in (
        interpolation, j_diagram, mine, truncation, mixing, directions, projection, path_length, nearest, tsne
    )
}  # fmt: skip


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.explore", description=__doc__)
    looks = check(flags)
    run = loaded.load(flags.run, step=flags.step)
    folder = Path(flags.out or run.folder / "explore")
    with jax.default_matmul_precision("highest"):  # path lengths are of small differences
        beside = Beside(run.source(), flags)
        _ = beside.lpips  # where there can be none, that is said before anything is drawn
        g = latent.of_run(run, flags.seed, flags.n)
        with rundir.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        numbers, line = {}, log.Line()
        for name in looks:
            line.say(f"{flags.run}: {name}")
            found = LOOKS[name](g, beside)
            line.end()
            if isinstance(found, str):
                log.tell(f"{name}: left out, {found}")
                continue
            numbers |= found.numbers
            say(folder / f"{name}.png", found, beside.source)
        of = {"run": str(run.folder), "step": int(g.state.step), "latents_seed": flags.seed, "latents": len(g.z)}
        with rundir.writing(folder):
            log.write_whole(folder / "explore.json", log.as_json(rundir.origin() | of | numbers) + "\n")
    log.tell(f"pictures and numbers are in {folder}")
    return numbers


def check(flags) -> tuple[str, ...]:
    """Return the looks to take; UserError where a flag can't be what it is."""
    looks = tuple(filter(None, flags.only.split(","))) or tuple(LOOKS)
    if flags.picture and "projection" not in looks:
        raise UserError("--picture is for the look projection: name it in --only, too.")
    unknown = [name for name in looks if name not in LOOKS]
    if unknown:
        raise UserError(f"--only {', '.join(unknown)}: choose from {', '.join(LOOKS)}.")
    for name, least in (("n", 20), ("train", 20), ("updates", 1), ("seed", 0)):
        if not least <= getattr(flags, name) < 2**31:
            raise UserError(f"--{name} is {getattr(flags, name)}; it must be a number, {least} or more.")
    return looks


def say(file: Path, found: Found, source):
    """Print numbers, and write a picture under its caption."""
    if found.picture is None:
        print(found.caption)
        return
    with rundir.writing(file):
        sheet = found.picture
        if isinstance(sheet, plots.Picture):
            sheet = plots.table(file, sheet, source, plots.reals(source))
        page.save(file, page.headed(sheet, found.caption))


if __name__ == "__main__":
    cli.run(main)
