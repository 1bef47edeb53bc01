"""Checkpoints by Orbax: asynchronous, atomic, the last few kept, each leaf with a digest.

Orbax restores a flipped byte in silence and casts to the dtype of the target; so the digests of all leaves are saved
beside them and checked on restore, dtypes and shapes included. It also takes some characters of a path for a pattern
and then writes what it can't read again; so a folder with such characters is reached by a link without them.
"""

import contextlib
import errno
import functools
import gc
import hashlib
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax.errors import UserError, first_line, printable
from gan_jax.run import sharding

# What keeps a file from being read for a while: it says nothing of the file.
PASSING = (errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ESTALE)
PASSING_WORDS = "can't start new thread", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "PERMISSION_DENIED"
FULL = errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT


def digests(state: Any) -> dict[str, str]:
    """Return {path of leaf: digest of its dtype, shape and bytes}."""
    leaves = jax.tree_util.tree_leaves_with_path(sharding.to_host(state))
    return {
        jax.tree_util.keystr(path): hashlib.blake2b(
            f"{leaf.dtype} {leaf.shape} ".encode() + leaf.tobytes(), digest_size=16
        ).hexdigest()
        for path, leaf in leaves
    }


class Checkpoints:
    """The checkpoints of one run, in `folder`, the last `keep` of them.

    read_only: of a run that another process may be training: nothing is written, renamed or tidied up.
    """

    def __init__(self, folder: Path, keep: int = 3, read_only: bool = False):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is said below, once
        _hush()
        self._ocp, self._folder, self._read_only = ocp, folder.absolute(), read_only
        self._links = contextlib.ExitStack()
        self._path = self._links.enter_context(plain(self._folder))
        # Orbax times its waits by the wall clock, which somebody may set meanwhile
        patient = ocp.AsyncOptions(timeout_secs=30 * 24 * 3600, create_directories_asynchronously=False)
        self._options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep, async_options=patient, read_only=read_only, create=not read_only
        )
        self._open()

    def _open(self):
        self._manager = self._listed(lambda: self._ocp.CheckpointManager(self._path, options=self._options))

    def _listed(self, look):
        """Return look(), which lists the folder; a reader looks again where a checkpoint goes away meanwhile."""
        for _ in range(100 if self._read_only else 0):
            # the second one is Orbax's, where a folder goes between its exists() and its is_dir()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return look()
            time.sleep(0.01)
        return look()

    def save(self, step: int, state: Any) -> None:
        """Begin to save; the state may be donated to the next step at once. Waits for an earlier save to end."""
        args = self._ocp.args
        items = args.Composite(state=args.StandardSave(state), digests=args.JsonSave(digests(state)))
        # A step is a function of the run: what is there already is what would be written.
        with self._written(), contextlib.suppress(self._ocp.checkpoint_manager.StepAlreadyExistsError):
            os.stat(self._folder)  # Orbax would make it anew where somebody took it away
            self._manager.save(step, args=items, force=True)

    def wait(self) -> None:
        """Return when all is written. Raises UserError where this or an earlier save met a full disk, say."""
        with self._written():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    @contextlib.contextmanager
    def _written(self):
        """Say in two lines what kept a checkpoint from being written: a save fails in whatever way its parts do."""
        try:
            yield
        except Exception as error:
            reason = next((text for text in map(os.strerror, FULL) if text in str(error)), first_line(error))
            raise UserError(
                f"{printable(self._folder)}: a checkpoint can't be written: {reason}.\n"
                "Put that right and go on from the last good one with --resume."
            ) from error

    def try_out(self, step: int, like: Any) -> None:
        """Read back what was just saved. Raises UserError where that can't be done: nothing should be trained then."""
        self.wait()
        try:
            self._read(step, like)
        except Exception as error:
            raise UserError(
                f"{printable(self._folder)}: a checkpoint that was just written can't be read again: "
                f"{first_line(error)}.\nChoose another --out."
            ) from error

    def restore(self, like: Any, first: bool = False, only: int | None = None) -> Any | None:
        """Return the newest good state (first: the oldest; only: that of this step), or None without any checkpoint.

        like: a state of shapes, dtypes and shardings. A bad checkpoint is named on stderr and, by the process that
        trains, set aside as STEP.bad; the next one is tried. Raises UserError where none is good, and where one can't
        be read for a reason that may pass: then nothing is set aside.
        """
        bad, steps = [], self._steps(first)
        if only is not None and steps and only not in steps:
            there = ", ".join(map(str, sorted(steps)))
            raise UserError(f"{self._folder} holds no checkpoint of step {only}; there are {there}.")
        for step in steps if only is None else steps and [only]:
            state, reason = self._tried(step, like)
            if reason:
                _collect()
                if self._read_only and self._steps(first) != steps:
                    return self.restore(like, first, only)  # its trainer took it away meanwhile
                if sharding.is_first():
                    print(f"checkpoint {step} is bad: {reason}", file=sys.stderr)
                bad.append(step)  # whatever is wrong with one checkpoint, an earlier one may be good
                continue
            if bad and not self._read_only:
                self._set_aside(bad)
            return state
        if bad and only is not None:
            raise UserError(f"checkpoint {only} in {self._folder} can't be restored: take another --step.")
        if bad:
            raise UserError(
                f"none of the checkpoints in {printable(self._folder)} can be restored; begin anew with another --out."
            )
        return None

    def _steps(self, first: bool) -> list[int]:
        """Return the steps that are saved, the one to be tried first in front."""
        self._listed(self._manager.reload)
        return sorted(self._manager.all_steps(), reverse=not first)

    def _read(self, step: int, like):
        """Return the state of a step. Raises whatever is wrong with it."""
        args = self._ocp.args
        wanted = args.Composite(state=args.StandardRestore(like), digests=args.JsonRestore())
        restored = self._manager.restore(step, args=wanted)
        wrong = [k for k, v in digests(restored.state).items() if restored.digests.get(k) != v]
        if wrong or len(restored.digests) != len(jax.tree.leaves(like)):
            raise ValueError(f"its digest differs at {wrong[0] if wrong else 'a leaf that is no longer there'}")
        return restored.state

    def _tried(self, step: int, like):
        """Return (the state of a step, ""), or (None, what is wrong with it)."""
        try:
            return self._read(step, like), ""
        except Exception as error:
            self._check_passing(step, error)
            self._check_nets(step, like)
            return None, first_line(error)

    def _check_nets(self, step: int, like) -> None:
        """Raise UserError where the checkpoint is of other names, shapes or dtypes: no byte of it is bad."""
        of = lambda leaf: (tuple(leaf.shape), str(leaf.dtype))
        rows = jax.tree_util.tree_leaves_with_path(jax.eval_shape(_without_keys, like))
        asked = {jax.tree_util.keystr(path, simple=True, separator="."): of(leaf) for path, leaf in rows}
        try:
            tree = self._ocp.StandardCheckpointHandler().metadata(self._path / str(step) / "state").tree
            saved = {leaf.name: of(leaf) for leaf in jax.tree.leaves(tree)}
        except Exception:  # then these are bad
            return
        if other := sorted(asked.items() ^ saved.items()):
            raise UserError(
                f"the checkpoints in {printable(self._folder)} are of other nets or optimisers than the experiment "
                f"makes now: {other[0][0]} differs.\nTake that change back, or begin anew with another --out."
            )

    def _check_passing(self, step: int, error: Exception) -> None:
        """Raise UserError where the error says nothing of the checkpoint itself."""
        text = str(error)
        words = [os.strerror(number) for number in PASSING]
        passing = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in PASSING)
        if passing or any(word in text for word in (*words, *PASSING_WORDS)):
            reason = first_line(error).rstrip(".")
            raise UserError(
                f"checkpoint {step} in {printable(self._folder)} can't be read now: {reason}.\n"
                "Nothing was changed: put that right, and try again."
            ) from error

    def _set_aside(self, steps: list[int]) -> None:
        """Rename bad checkpoints, and forget them."""
        for step in steps if sharding.is_first() else []:
            aside = self._folder / f"{step}.bad"
            while aside.exists():  # of an earlier time
                aside = aside.with_name(f"{aside.name}.bad")
            os.rename(self._folder / str(step), aside)
        self._manager.close()
        self._open()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        # After an error of this process alone the others never come to where `close` waits for them.
        if jax.process_count() == 1 or kind in (None, SystemExit):
            self.close()

    def close(self) -> None:
        """Wait for the last save and let go of the folder."""
        with self._links:
            self.wait()
            self._manager.close()


def _without_keys(state):
    """Return the state with its random keys as the numbers that are saved of them."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, state)


@functools.cache
def _hush():
    """Let go unsaid what the rest of a failed save says in other threads, once its event loop is closed."""
    usual = sys.unraisablehook
    sys.unraisablehook = lambda what: str(what.exc_value) == "Event loop is closed" or usual(what)


def _collect():
    """Collect what a failed restore leaves behind, without the tracebacks that its coroutines would print."""
    usual, sys.unraisablehook = sys.unraisablehook, lambda *_: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = usual


@contextlib.contextmanager
def plain(folder: Path) -> Iterator[Path]:
    """Give a path of the folder, made where it is missing, in which no library sees a pattern: its own, or a link's."""
    if re.fullmatch(r"[\w./ +,=@:~-]*", str(folder), re.ASCII):
        yield folder
        return
    if jax.process_count() > 1:  # which have to agree on one path
        raise UserError(
            f"several processes can't save in {printable(folder)}: choose an --out of letters, digits and ./-_ alone."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gan_jax-") as beside:
        link = Path(beside, "run")
        link.symlink_to(folder, target_is_directory=True)
        yield link
