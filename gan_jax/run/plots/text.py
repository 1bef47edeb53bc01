"""Text: samples of tokens in words, as a text file and as a picture of its beginning."""

from pathlib import Path

import numpy as np

from gan_jax.data import tokens
from gan_jax.data.source import Field
from gan_jax.run.log import write_whole
from gan_jax.run.plots import music, page
from gan_jax.run.plots.given import Given, Panels

WIDTH, LINES = 760, 40  # pixels of a picture, and lines


def words(x: np.ndarray, field: Field) -> str:
    """Return tokens [t] by their names: letters joined, words with blanks between; without names, their numbers.

    Padding is left out, and an end begins a line.
    """
    x = np.rint(np.asarray(x)).astype(int).ravel()
    if not field.names:
        return " ".join(map(str, x))
    said = [field.names[i] if 0 <= i < len(field.names) else f"<{i}>" for i in x]
    said = ["\n" if name == tokens.SPECIAL[tokens.END] else name for name in said if name != tokens.SPECIAL[tokens.PAD]]
    letters = all(len(name) == 1 for name in field.names if name not in tokens.SPECIAL)
    return ("" if letters else " ").join(said).replace(" \n", "\n").replace("\n ", "\n").rstrip("\n")


def picture(panels: Panels, given: Given) -> np.ndarray:
    """Return the beginnings of the samples, one under the other; of music, piano rolls."""
    if music.is_music(given.field):
        return music.picture(panels, given)
    return page.beside({title: written([words(one, given.field) for one in x]) for title, x in panels.items()})


def written(samples: list[str]) -> np.ndarray:
    """Return texts as a picture, a line between two."""
    most = max(1, LINES // len(samples))
    texts = []
    for text in samples:
        parts = [page.wrapped(line, WIDTH, most, even=True) for line in text.strip().splitlines() or [""]]
        texts.append([line for part in parts for line in part][:most])
    sheet = page.blank(page.height_of(max(LINES, len(texts))) + page.GAP * (len(samples) + 1), WIDTH + 2 * page.GAP)
    top = page.GAP
    for lines in texts:
        page.write(sheet, (page.GAP, top), lines, even=True)
        top += page.height_of(len(lines)) + page.GAP
        sheet.paste((180,) * 3, (0, top - 3, sheet.width, top - 2))
    return np.asarray(sheet)


def files(file: Path, panels: Panels, given: Given) -> None:
    """Write FILE.txt: a sample a line, or a paragraph where it has lines of its own; of music, FILE.mid."""
    if music.is_music(given.field):
        music.files(file, panels, given)
        return
    parts = []
    for title, x in panels.items():
        texts = [words(one, given.field) for one in x]
        between = "\n\n" if any("\n" in text for text in texts) else "\n"
        parts.append((f"{title}\n\n" if len(panels) > 1 else "") + between.join(texts))
    write_whole(file.with_suffix(".txt"), "\n\n".join(parts) + "\n")
