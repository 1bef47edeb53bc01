"""`python -m gan_jax.sample RUN`: new samples of a trained run, as one picture, or as a file for other tools."""

import contextlib
import dataclasses
import json
import math
import zipfile
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image

from gan_jax import data
from gan_jax.data.source import DEVICE_BYTES
from gan_jax.errors import UserError, first_line
from gan_jax.run import cli, loaded, log, plots, rundir
from gan_jax.run.plots import page


@dataclasses.dataclass(frozen=True)
class Flags:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]  # folder of the run
    n: int = 64  # samples; of each seed, where there are several (the first four are shown)
    seed: int = 0  # the samples are a function of it
    step: int | None = None  # of the checkpoint [the newest]
    # the picture; clips, text, music, numbers and solids leave a file of its name beside it (.gif, .txt, .mid, .csv,
    # .npz). Or x.npz: all samples as arr_0 (pictures uint8 [n, h, w, c]), and their labels as arr_1 where there are any
    out: str = "samples.png"
    png: bool = False  # --out is a new folder, for a picture a sample


def main(argv=None):
    with cli.one_line():
        flags = tyro.cli(Flags, args=argv, prog="python -m gan_jax.sample", description=__doc__)
    if not 0 < flags.n < 2**31 or not 0 <= flags.seed < 2**31:
        raise UserError(f"--n is {flags.n} and --seed {flags.seed}; n must be 1 or more, seed 0 or more, under 2^31.")
    if flags.png and Path(flags.out).suffix.lower() in (".npz", ".png") and flags.out != Flags.out:
        raise UserError(f"--png makes a folder, and --out is {flags.out}: name a folder.")
    export_all = flags.png or flags.out.lower().endswith(".npz")
    if not export_all:
        page.check(flags.out)
    run, first = loaded.load(flags.run, step=flags.step), rundir.read(flags.run)["seed"]
    setup = run.experiment.setup(run.cfg)
    source = setup.source
    if not run.knows(setup):
        log.tell(f"the data of {flags.run} changed since it was trained: what it makes of data, it makes of these")
    most = DEVICE_BYTES // (4 * run.seeds * math.prod(source.shape))
    if flags.n > most and not export_all:
        raise UserError(f"--n is {flags.n}; a picture holds {most:,} of these at most: --out samples.npz takes more.")
    if said := run.repeats(flags.n, loaded.AT_ONCE if export_all else flags.n):
        log.tell(said)
    if export_all:
        export(flags, run, source, range(first, first + run.seeds))
        return
    x = np.asarray(jax.jit(run.sample, static_argnums=1)(jax.random.key(flags.seed), flags.n))  # [(seeds,) n, ...]
    try:
        plots.samples(Path(flags.out), x, source, first + np.arange(run.seeds), plots.reals(source), whole=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{flags.out} can't be written: {first_line(error)}. Choose another --out.") from None
    log.tell(f"{flags.n} samples of {flags.run} are in {flags.out}")


def export(flags, run, source, seeds):
    """Write all samples for other tools: of several seeds, a file or folder each."""
    out = Path("samples" if flags.png and flags.out == Flags.out else flags.out)
    files = [out if len(seeds) == 1 else out.with_name(f"{out.stem}-seed{seed}{out.suffix}") for seed in seeds]
    if flags.png and (source.kind != "image" or source.shape[-1] not in (1, 3)):
        raise UserError(
            f"{flags.run} draws no grey or RGB pictures: without --png, --out samples.npz takes its samples."
        )
    try:
        if flags.png:
            write_pictures(flags, run, files)
        else:
            write_arrays(flags, run, source, seeds, files)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror or error}. Choose another --out.") from None
    for seed, file in zip(seeds, files, strict=True):
        log.tell(f"{flags.n:,} samples of seed {seed} of {flags.run}, drawn with seed {flags.seed}, are in {file}")


def parts(flags, run, image=True):
    """Yield parts [seeds, b, ...] of the samples, pictures as uint8, and say how many there are."""
    line, done = log.Line(), 0
    for x in run.drawn(flags.seed, flags.n):
        done += x.shape[1]
        line.say(f"drawing samples: {done:,} of {flags.n:,}")
        yield data.encode(x) if image else x
    line.end()


def write_pictures(flags, run, folders):
    """Write a .png for each sample, numbered, into new folders, one for each seed."""
    for folder in folders:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there already: name a new folder, so that no other pictures are among these.")
        folder.mkdir(exist_ok=True)
    done = 0
    for x in parts(flags, run):
        for folder, of_seed in zip(folders, x, strict=True):
            for i, picture in enumerate(of_seed):
                Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(
                    folder / f"{done + i:06}.png"
                )
        done += x.shape[1]


def write_arrays(flags, run, source, seeds, files):
    """Write arr_0, the samples, and what stands beside them to an .npz for each seed, part by part."""
    pictures = source.kind in ("image", "video")
    new = [file.with_name(f".{file.name}.new") for file in files]
    try:
        with contextlib.ExitStack() as stack:
            archives = [stack.enter_context(zipfile.ZipFile(file, "w")) for file in new]
            arrays = [stack.enter_context(a.open("arr_0.npy", "w", force_zip64=True)) for a in archives]
            for i, x in enumerate(parts(flags, run, pictures)):
                for array, of_seed in zip(arrays, x, strict=True):
                    if i == 0:
                        head = header((flags.n, *of_seed.shape[1:]), of_seed.dtype)
                        np.lib.format.write_array_header_1_0(array, head)
                    array.write(np.ascontiguousarray(of_seed).tobytes())
            for array, archive, seed in zip(arrays, archives, seeds, strict=True):
                array.close()
                for name, values in beside(flags, run, source, seed).items():
                    with archive.open(f"{name}.npy", "w") as file:
                        np.lib.format.write_array(file, values)
        for made, file in zip(new, files, strict=True):
            made.replace(file)
    finally:
        for made in new:
            made.unlink(missing_ok=True)


def header(shape, dtype) -> dict:
    """Return the header of an .npy."""
    return {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}


def beside(flags, run, source, seed) -> dict[str, np.ndarray]:
    """Return what stands beside the samples: their protocol as a string of JSON, and their labels."""
    saved, step = rundir.read(flags.run), int(np.ravel(jax.device_get(run.state.step))[0])
    says = {"experiment": saved["experiment"], "data": source.name, "step": step, "seed": seed}
    says |= {"drawn_with_seed": flags.seed, "commit": saved.get("commit")}
    labels = getattr(run.experiment, "labels", None)
    found = {"protocol": np.array(json.dumps(says))}
    if labels:
        keys = run.keys(flags.seed, flags.n)
        y = np.concatenate([np.asarray(labels(run.cfg, key, loaded.AT_ONCE)) for key in keys])
        found["arr_1"] = jnp.asarray(y[: flags.n], jnp.int32)
    return {name: np.asarray(values) for name, values in found.items()}


if __name__ == "__main__":
    cli.run(main)
