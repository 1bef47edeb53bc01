"""Checkpoints by Orbax: asynchronous, atomic, the last few kept, each leaf with a digest.

Orbax restores a flipped byte in silence and casts to the dtype of the target; so the digests of all leaves are saved
beside them and checked on restore, dtypes and shapes included.
"""

import contextlib
import errno
import hashlib
import logging
import os
import sys
from pathlib import Path

import jax

from gan_jax.errors import UserError, first_line
from gan_jax.run import mesh


def digests(state) -> dict[str, str]:
    """Return {path of leaf: digest of its dtype, shape and bytes}."""
    leaves = jax.tree_util.tree_leaves_with_path(mesh.to_host(state))
    return {
        jax.tree_util.keystr(path): hashlib.blake2b(
            f"{leaf.dtype} {leaf.shape} ".encode() + leaf.tobytes(), digest_size=16
        ).hexdigest()
        for path, leaf in leaves
    }


class Checkpoints:
    """The checkpoints of one run, in `folder`, the last `keep` of them."""

    def __init__(self, folder: Path, keep: int = 3):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is said below, once
        self._ocp, self._folder = ocp, folder.absolute()
        # Orbax times its waits by the wall clock, which somebody may set meanwhile
        patient = ocp.AsyncOptions(timeout_secs=30 * 24 * 3600, create_directories_asynchronously=False)
        self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, async_options=patient)
        self._open()

    def _open(self):
        self._manager = self._ocp.CheckpointManager(self._folder, options=self._options)

    def save(self, step: int, state):
        """Begin to save; the state may be donated to the next step at once. Waits for an earlier save to end."""
        args = self._ocp.args
        items = args.Composite(state=args.StandardSave(state), digests=args.JsonSave(digests(state)))
        # A step is a function of the run: what is there already is what would be written.
        with self._written(), contextlib.suppress(self._ocp.checkpoint_manager.StepAlreadyExistsError):
            os.stat(self._folder)  # Orbax would make it anew where somebody took it away
            self._manager.save(step, args=items, force=True)

    def wait(self):
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
            known = [os.strerror(n) for n in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT)]
            reason = next((text for text in known if text in str(error)), first_line(error))
            raise UserError(
                f"{self._folder}: a checkpoint can't be written: {reason}.\n"
                "Put that right and go on from the last good one with --resume."
            ) from error

    def restore(self, like, first: bool = False):
        """Return the newest good state (first: the oldest), or None where there is no checkpoint at all.

        like: a state of shapes, dtypes and shardings. A bad checkpoint is named on stderr and set aside as STEP.bad,
        and the next one is tried. Raises UserError where none is good.
        """
        args, bad = self._ocp.args, []
        for step in sorted(self._manager.all_steps(), reverse=not first):
            try:
                restored = self._manager.restore(
                    step, args=args.Composite(state=args.StandardRestore(like), digests=args.JsonRestore())
                )
                wrong = [k for k, v in digests(restored.state).items() if restored.digests.get(k) != v]
                if wrong or len(restored.digests) != len(jax.tree.leaves(like)):
                    raise ValueError(f"its digest differs at {wrong[0] if wrong else 'a leaf that is no longer there'}")
            except Exception as error:  # whatever is wrong with one checkpoint, an earlier one may be good
                if mesh.is_first():
                    print(f"checkpoint {step} is bad: {first_line(error)}", file=sys.stderr)
                bad.append(step)
                continue
            if bad and mesh.is_first():
                for number in bad:
                    aside = self._folder / f"{number}.bad"
                    while aside.exists():  # of an earlier time
                        aside = aside.with_name(f"{aside.name}.bad")
                    os.rename(self._folder / str(number), aside)
            if bad:
                self._manager.close()
                self._open()
            return restored.state
        if bad:
            raise UserError(
                f"none of the checkpoints in {self._folder} can be restored; begin anew with another --out."
            )
        return None

    def close(self):
        """Wait for the last save and let go of the folder."""
        self.wait()
        self._manager.close()
