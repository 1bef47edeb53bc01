"""`python -m benchmarks mocogan`: is the asked action seen, and how much does content change, beside VGAN's clips?

Two nets judge that never met G: one of 3-D convolutions learned the actions of the training clips, one of single frames
the people in them. The first one's clips have grain, since samples flicker, and flicker is no action. The share of
samples whose action is the asked one stands beside the first one's accuracy on people it never saw. The average content
distance (ACD) of Tulyakov et al. 2018 (arXiv 1707.04993) is that of the second one's features, of unit length, between
the frames of a clip; the paper takes OpenFace's, on the faces of MUG, and has 0.201 for MoCoGAN and 0.322 for VGAN.
"""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import gan_jax
from benchmarks import harness
from experiments.video import mocogan, vgan
from gan_jax import data
from gan_jax.errors import UserError
from gan_jax.game import rng
from gan_jax.metrics import classifier
from gan_jax.metrics.clips import content_distance
from gan_jax.nets.conv import Conv
from gan_jax.run import cli
from gan_jax.run.config import Count

GRAIN = 0.15  # deviation of the noise in pixels of [-1, 1] in which actions are learned
HEAD = ("clips", "asked action seen", "content distance", "steps")


class Actions(nn.Module):
    """Clips x [b, t, h, w, c] -> logits of actions [b, classes], by how frames differ from the clip's mean."""

    classes: int

    @nn.compact
    def __call__(self, x):
        x = x - x.mean(1, keepdims=True)
        for channels in (8, 16, 32):
            x = nn.relu(Conv(channels, 4, 2)(x))
        return nn.Dense(self.classes)(nn.relu(nn.Dense(32)(x.mean(1).reshape(len(x), -1))))


class People(nn.Module):
    """Frames x [b, h, w, c] -> (logits of people [b, classes], features [b, 32])."""

    classes: int

    @nn.compact
    def __call__(self, x):
        for channels in (8, 16, 32):
            x = nn.relu(Conv(channels, 4, 2)(x))
        features = nn.Dense(32)(x.reshape(len(x), -1))
        return nn.Dense(self.classes)(nn.relu(features)), features


def main(
    vgan_flags: str = "",
    mocogan_flags: str = "",
    judge_steps: Count = 400,
    rows: Count = 256,
    out: str = "benchmarks/quality/results",
    runs: str = "runs/mocogan",
):
    """Train both, and the two judges on the training split, and measure the last step.

    Args:
        vgan_flags: more flags of VGAN's run, as one word: --vgan-flags="--steps=2000 --gpu".
        mocogan_flags: more flags of MoCoGAN's run.
        judge_steps: updates of each judge.
        rows: samples of each.
        out: folder of mocogan_content.jsonl.
        runs: folder of folders `vgan` and `mocogan`; a run that is finished, as of `benchmarks defaults`, stays.
    """
    given = {vgan: harness.words(vgan_flags), mocogan: harness.words(mocogan_flags)}
    source = clips(cli.parse(module.Config, module.PRESETS, flags)[0].dataset for module, flags in given.items())
    found = {}
    for module, flags in given.items():
        name = module.__name__.rpartition(".")[2]
        harness.trained(module, flags, Path(runs, name))
        found[name] = gan_jax.load(Path(runs, name))
    cfg = found["mocogan"].cfg
    acts, features = judges(source, judge_steps)
    test = data.some(source.test, rows)
    right = lambda x, y: float((acts(x) == y).mean())
    row = lambda name, x, **more: {"clips": name, "distance": float(content_distance(features(x)).mean())} | more
    known = data.some(source, rows)
    rows_of = [row("training", known["x"], seen=right(known["x"], known["y"]))]
    rows_of.append(row("held out", test["x"], seen=right(test["x"], test["y"])))
    z = mocogan.latent(cfg, jax.random.key(0), rows)
    x = jax.jit(lambda s, z: mocogan.generate(cfg, s, z))(found["mocogan"].state, z)
    steps = {name: {"steps": int(run.state.step)} for name, run in found.items()}
    rows_of.append(row("MoCoGAN", x, seen=right(x, z["action"].argmax(1)), **steps["mocogan"]))
    rows_of.append(row("VGAN", found["vgan"].sample(jax.random.key(0), rows), **steps["vgan"]))
    harness.table(HEAD, [cells(one) for one in rows_of])
    folder = Path(runs, "mocogan")
    facts = {"dataset": cfg.dataset, "judge_steps": judge_steps, "trained": harness.trained_by(folder)}
    harness.record("mocogan_content", [one | facts for one in rows_of], out)


def clips(names):
    """Return the source of both runs' clips, with people where they are known; UserError where judges can't learn."""
    first, *others = dict.fromkeys(names)
    if others:
        raise UserError(f"the same nets judge both, so both need the same --dataset, not {first} and {others[0]}.")
    source = data.load(f"{first},person=person" if "weizmann" in first else first)
    if not (source.classes and source.test):
        raise UserError(f"{first} can't be judged: it needs labels and a split called test.")
    return source


def judges(source, steps):
    """Return (clips -> actions [n], clips -> features of unit length [n, t, f]), of nets trained on a source."""
    people = "person" if "person" in source.fields else "y"
    act, who = Actions(source.classes), People(source.fields[people].classes)
    entropy = optax.softmax_cross_entropy_with_integer_labels

    def act_loss(params, batch, key, i):
        x = batch["x"]
        mirror = rng.uniform(rng.at(key, i, "mirror"), (len(x), 1, 1, 1, 1)) < 0.5
        x = moved(rng.at(key, i, "shift"), jnp.where(mirror, jnp.flip(x, 3), x), 3)
        x = x + GRAIN * rng.normal(rng.at(key, i, "grain"), x.shape)
        return entropy(act.apply(params, x), batch["y"]).mean()

    def who_loss(params, batch, key, i):
        x = batch["x"]
        at = jax.random.randint(rng.at(key, i, "frames"), (len(x),), 0, x.shape[1])
        x = classifier.shifted(rng.at(key, i, "shift"), x[jnp.arange(len(x)), at], 2)
        return entropy(who.apply(params, x)[0], batch[people]).mean()

    still = dataclasses.replace(source, fields=source.fields | {"x": data.Field(source.shape[1:], "image")})
    b, silent = min(32, source.n), lambda steps: classifier.Silent()
    of_acts = classifier.averaged(act_loss, act, source, b, steps, silent)
    of_people = classifier.averaged(who_loss, who, still, b, steps, silent)

    def features(x):
        found = who.apply(of_people, x.reshape(-1, *x.shape[2:]))[1].reshape(*x.shape[:2], -1)
        return found / jnp.linalg.norm(found, axis=2, keepdims=True)

    return jax.jit(lambda x: act.apply(of_acts, x).argmax(1)), jax.jit(features)


def moved(key, x, reach):
    """Return clips x [b, t, h, w, c], each moved by up to `reach` pixels, all its frames alike."""
    b, t, h, w, c = x.shape
    flat = jnp.moveaxis(x, 1, 3).reshape(b, h, w, t * c)
    return jnp.moveaxis(classifier.shifted(key, flat, reach).reshape(b, h, w, t, c), 3, 1)


def cells(row) -> tuple:
    """Return a row's cells of the table, under HEAD."""
    seen = f"{row['seen']:.1%}" if "seen" in row else "-"
    return row["clips"], seen, f"{row['distance']:.3f}", row.get("steps", "-")


if __name__ == "__main__":
    harness.command(main)
