"""What an experiment hands over to be run."""

from collections.abc import Callable
from typing import Any, NamedTuple

from gan_jax import data

Step = Callable[[Any, Any, Any], tuple[Any, dict]]  # (cfg, state, batch) -> (state, {name: number})
Sample = Callable[[Any, Any, Any, int], Any]  # (cfg, state, key, n) -> x [n, ...]
Measure = Callable[[Any, Any, Any, Any, Any], dict]  # (cfg, state, key, train, test) -> {name: number, or a Picture}


class Setup(NamedTuple):
    """What a run needs before its step is traced."""

    source: data.Source
    batch_size: int  # rows of data a step
    steps: int
    classifiers: tuple[data.Source, ...] = ()  # sets whose classifiers `measure` asks
    kinds: tuple[str, ...] = ("points", "image")  # of x, that the nets are made for
    begin: Callable | None = None  # state -> state: what a new run begins with in place of what `init` made


class Game(NamedTuple):
    """An experiment with its Config put in."""

    setup: Setup
    init: Callable  # key -> state
    step: Callable  # (state, batch) -> (state, {name: number})
    sample: Callable  # (state, key, n) -> x [n, ...]
    # (state, key, train, test) -> {name: number, or what is drawn (`Picture`, or an array [rows, columns, ...])}; train
    # and test: the raw records of whole splits (`data.decode`), {} where they are not on the device
    measure: Callable | None
    # of a G that has a latent: `sample(state, key, n)` is `generate(state, latent(key, n))`
    latent: Callable | None = None  # (key, n) -> z [n, z], or {"z": it, what stays as it is: [n, ...] or a key}
    generate: Callable | None = None  # (state, what `latent` returns) -> x [n, ...]
    # of one that has styles: `generate(state, z)` is `synthesise(state, styles(state, z, psi), z)` for some psi
    styles: Callable | None = None  # (state, z, psi) -> w [n, layers, w], psi times as far from the average style
    synthesise: Callable | None = None  # (state, w, z) -> x [n, ...]
    # of one whose D looks at x alone
    discriminate: Callable | None = None  # (state, x [n, ...]) -> its score [n], more the more real x looks
