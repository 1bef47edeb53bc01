"""Pictures: samples as grids or scatter plots, and curves of a run."""

import json
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image


def grid(images, columns: int | None = None):
    """Return images [n, h, w, c] in [-1, 1] as one picture uint8 [rows * h, columns * w, c], filled up with black."""
    images = np.clip(np.round((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    images = np.concatenate([images, np.zeros((-len(images) % columns, *images.shape[1:]), np.uint8)])
    return rearrange(images, "(r q) h w c -> (r h) (q w) c", q=columns)


def save_image(file: Path, picture, least: int = 512):
    """Write a picture [h, w, c] as PNG, enlarged by a whole factor; of c channels the first three, or one, show."""
    picture = picture[..., :3] if picture.shape[-1] >= 3 else picture[..., 0]
    factor = max(1, -(-least // max(picture.shape[:2])))
    Image.fromarray(picture).resize((picture.shape[1] * factor, picture.shape[0] * factor), Image.NEAREST).save(file)


def rows(file: Path, images):
    """Write images [rows, columns, h, w, c] in [-1, 1] as they stand."""
    save_image(file, grid(np.reshape(images, (-1, *images.shape[2:])), images.shape[1]))


def figure(panels=1, width=3.2, height=3.2, across=4):
    """Return (figure, axes [panels]), `across` of them side by side at most; needs no screen."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    down, across = -(-panels // across), min(panels, across)
    fig, axes = plt.subplots(down, across, figsize=(width * across, height * down), squeeze=False, layout="constrained")
    for spare in axes.ravel()[panels:]:
        spare.remove()
    return fig, axes.ravel()[:panels]


def scatter(file: Path, panels: dict[str, np.ndarray], means, std):
    """Write points [n, 2] of each panel over circles of 3 std around the true means."""
    import matplotlib.pyplot as plt

    fig, axes = figure(len(panels))
    reach = 1.35 * np.abs(means).max()
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        axis.add_collection(
            plt.matplotlib.collections.PatchCollection(
                [plt.Circle(m, max(3 * std, 0.03 * reach)) for m in means], facecolor="none", edgecolor="0.6", zorder=1
            )
        )
        axis.scatter(*np.asarray(points)[:, :2].T, s=2, alpha=0.5, linewidths=0, color="#1764ab", zorder=2)
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[], title=title)
    fig.savefig(file, dpi=110)
    plt.close(fig)


def samples(file: Path, x, source, seeds):
    """Write what a run drew at one moment: x [n, ...], or [s, n, ...] for several seeds (the first four are shown)."""
    x = np.asarray(x, np.float32)
    x = x[None] if len(seeds) == 1 else x[:4]
    if source.kind == "points":
        scatter(file, {f"seed {s}": one for s, one in zip(seeds, x, strict=False)}, *source.modes[:2])
    elif source.kind == "image":
        save_image(file, np.concatenate([grid(one[:64], 8) for one in x], 1))


def curves(file: Path, rows: Path):
    """Write every metric of a metrics.jsonl against the step: "loss/g" and "loss/d" share a panel, a line a seed.

    In the panel of "p/real" and "p/fake", D's probabilities, a line at 0.5 is where D can't tell.
    """
    import matplotlib.pyplot as plt

    table = [json.loads(line) for line in rows.read_text().splitlines()]
    names = list(dict.fromkeys(name for row in table for name in row if name != "step"))
    panels = {}
    for name in names:
        panels.setdefault(name.rpartition("/")[0] or name, []).append(name)
    if not panels:
        return
    fig, axes = figure(len(panels), 3.4, 2.6)
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for colour, name in enumerate(names):
            points = [(row["step"], row[name]) for row in table if name in row]
            at, values = (np.asarray(a, float) for a in zip(*points, strict=True))
            values = values[:, 0] if values.ndim == 3 else values  # of several lists, the first seed's
            style = {} if name == "labels" else {"color": f"C{colour}"}
            lines = axis.plot(at, values, linewidth=1, alpha=0.8, **style)
            lines[0].set_label(name.rpartition("/")[2])
        if title == "p":
            axis.axhline(0.5, color="0.6", linewidth=1, linestyle="--")
        if len(names) > 1:
            axis.legend(fontsize="small")
        axis.set(title=title, xlabel="step")
    fig.savefig(file, dpi=110)
    plt.close(fig)
