# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The folder of a run: atomic checkpoints, keep-last-k, best.

    output_dir/checkpoints/step-00001000/   a self-describing checkpoint + training_state.pt
    output_dir/checkpoints/best             link to the one with the lowest validation error

A checkpoint is written under a hidden name, flushed to disk and renamed. A crash, a kill or a
full disk while saving therefore leaves the previous ones intact, and a folder named step-… is
always complete.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from vla_adapter_ros.data.files import remove_folder, sync_entry, sync_folder
from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.weights.files import make_folder, read_json_object, write_json

_STEP = re.compile(r'step-(\d+)$')
_REPLACED = '.replaced'
STATE_FILE = 'training_state.pt'
FULL_BYTES = 1_000_000  # a disk with less is full


def step_of(checkpoint: Path) -> int | None:
    """Return the step that a checkpoint's name tells; None if it is none of a run."""
    found = _STEP.match(checkpoint.name)
    return int(found.group(1)) if found else None


class RunFolder:
    """Checkpoints of one run.

    Args:
        path: the run's folder.
        keep_last: how many of the newest checkpoints survive a save (the best one always does).
    """

    def __init__(self, path: Path, keep_last: int) -> None:
        self.path = path
        self.checkpoints = path / 'checkpoints'
        self._keep_last = keep_last

    def steps(self) -> dict[int, Path]:
        """Return step → folder of the complete checkpoints, oldest first."""
        if not self.checkpoints.is_dir():
            return {}
        folders = [p for p in self.checkpoints.iterdir() if p.is_dir() and not p.is_symlink()]
        found = ((step_of(path), path) for path in folders)
        return dict(sorted((step, path) for step, path in found if step is not None))

    def last(self) -> Path | None:
        """Return the newest complete checkpoint, or None."""
        self._put_back()
        return next(reversed(self.steps().values()), None)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Write a checkpoint through `write(folder)`; it appears only once it is complete.

        Raises:
            CheckpointError: the disk is full or not writable; earlier checkpoints are intact.
        """
        final = self.checkpoints / f'step-{step:08d}'
        partial = self.checkpoints / f'.{final.name}.partial'
        try:
            self._put_back()
            self._remove_partials()
            make_folder(partial)
            write(partial)
            sync_folder(partial)
            replaced = self.checkpoints / f'.{final.name}{_REPLACED}'
            if final.exists():  # the same step again, after a resume from an earlier one
                final.rename(replaced)
            partial.rename(final)
            sync_entry(final)
            if replaced.exists():
                shutil.rmtree(replaced)
        except Exception as error:
            # Looked at before the partial one is removed, which may make room again.
            reason = _storage_reason(error, self.path)
            if reason is None:
                raise
            raise CheckpointError(
                f'checkpoint {final}: cannot be written: {reason}; '
                f'the last good one is {self.last() or "none"}'
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._prune()
        return final

    def mark_best(self, checkpoint: Path, score: float) -> bool:
        """Point `best` at `checkpoint` if `score` (lower is better) beats the present best."""
        if score >= self.best_score():
            return False
        write_json(checkpoint / 'score.json', {'validation_l1': score})
        link = self.checkpoints / '.best.new'
        link.unlink(missing_ok=True)
        link.symlink_to(checkpoint.name)
        link.replace(self.checkpoints / 'best')
        sync_entry(link)
        return True

    def best_score(self) -> float:
        """Return the validation error of the best checkpoint, infinity if there is none.

        Raises:
            CheckpointError: the file that tells it is damaged.
        """
        record = self.checkpoints / 'best' / 'score.json'
        if not record.is_file():
            return float('inf')
        score = read_json_object(record).get('validation_l1')
        if type(score) not in (int, float):
            raise CheckpointError(f'{record}: validation_l1: expected a number, got {score!r:.40}')
        return float(score)

    def _prune(self) -> None:
        best = (self.checkpoints / 'best').resolve()
        for path in list(self.steps().values())[: -self._keep_last]:
            if path.resolve() != best:
                remove_folder(path)

    def _put_back(self) -> None:
        """Undo what was cut off between the two renames of a replacement."""
        for replaced in self.checkpoints.glob(f'.step-*{_REPLACED}'):
            final = self.checkpoints / replaced.name[1 : -len(_REPLACED)]
            if final.exists():
                shutil.rmtree(replaced)
            else:
                replaced.rename(final)

    def _remove_partials(self) -> None:
        if self.checkpoints.is_dir():
            for path in self.checkpoints.glob('.step-*.partial'):
                shutil.rmtree(path)


def _storage_reason(error: Exception, place: Path) -> str | None:
    """Return the fault of the disk, or None if the error is another one.

    On a full disk torch raises RuntimeError about file positions, safetensors an error of its own.
    """
    if isinstance(error, OSError):
        return error.strerror or str(error)
    with contextlib.suppress(OSError):
        if 'No space left' in str(error) or shutil.disk_usage(place).free < FULL_BYTES:
            return os.strerror(errno.ENOSPC)
    return None
