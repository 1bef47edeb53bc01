"""What every run has besides its experiment's Config."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import tyro

from gan_jax.run.config import Count, Every


@dataclasses.dataclass(frozen=True)
class Run:
    """What every experiment's run has besides its Config."""

    out: str = ""  # run folder [runs/<experiment>/<date-time>]
    resume: bool = False  # go on from the last checkpoint of --out [of the newest run]
    seed: int = 0  # the run is a function of it
    seeds: Count = 1  # runs trained at once, with seeds seed, seed + 1, ...
    log_every: Count = 100  # steps between rows of metrics.jsonl
    eval_every: Every = -1  # steps between evaluations with a picture; 0: only at the end; -1: 1000, or a fifth of all
    save_every: Count = 1000  # steps between checkpoints
    keep: Count = 3  # checkpoints that are kept
    measure: bool = True  # with --no-measure, no classifier is trained, and what asks one or `measure` is left out
    size: int = 0  # cut the pictures to squares and shrink these to this side [as they are]
    skip_bad: bool = False  # leave out what can't be read of a folder of pictures
    tensorboard: bool = False  # write rows and pictures for TensorBoard, too, into the run's folder
    stream: bool = False  # read records ahead on the host even where the set fits on the device
    rekey: int = 0  # with --resume, a new number: go on with other noise and data, and with other rates if you like
    precision: Literal["default", "high", "highest", "bf16"] = "default"  # of products on GPU, TPU; bf16: of all nets
    deterministic: bool = False  # on GPUs, use only operations that give the same bits every time
    cpu: bool = False  # run on the CPU
    gpu: bool = False  # run on the GPUs
    tpu: bool = False  # run on the TPUs
    distributed: bool = False  # join the other processes (done unasked on a TPU pod and under SLURM)
    experiment: tyro.conf.Suppress[str] = ""  # its module, "experiments.unrolled"
    config: tyro.conf.Suppress[Any] = None  # the Config as a dict, for config.json
    file: tyro.conf.Suppress[Any] = None  # the Path of the experiment's module

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.out)
