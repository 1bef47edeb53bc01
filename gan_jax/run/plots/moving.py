"""The samples of a run, moving: the pictures of its evaluations one after another."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from gan_jax.run.plots import page

FRAMES, LARGEST = 60, 800  # of an animation, at most; pixels of a side
SECONDS = 8  # of an animation, about


def animation(folder: Path, at: int, ended: bool) -> None:
    """Write samples.gif out of the run's pictures up to step `at`, the step on each; nothing where there is but one.

    ended: whether samples/final.png is the picture of that step. Of many pictures, FRAMES at even distances.
    """
    found = {int(file.stem): file for file in (folder / "samples").glob("*.png") if re.fullmatch(r"\d{8,}", file.stem)}
    found = {step: file for step, file in found.items() if step <= at}
    final = folder / "samples" / "final.png"
    if ended and at not in found and final.exists():
        found[at] = final
    if len(found) < 2:
        return
    steps = sorted(found)
    shown = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, min(FRAMES, len(steps))).round().astype(int))]
    frames = [_frame(found[step], step) for step in shown]
    size = max(f.width for f in frames), max(f.height for f in frames)
    time = int(min(500, max(80, 1000 * SECONDS / len(frames))))
    page.animate(folder / "samples.gif", [_fitted(f, size) for f in frames], [time] * (len(frames) - 1) + [2000])


def _frame(file, step):
    with Image.open(file) as image:
        image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    return Image.fromarray(page.headed(np.asarray(image), f"step {step:,}"))


def _fitted(image, size):
    sheet = page.blank(size[1], size[0])
    sheet.paste(image)
    return np.asarray(sheet)
