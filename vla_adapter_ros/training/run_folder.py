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
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from vla_adapter_ros.errors import CheckpointError

_STEP = re.compile(r'step-(\d+)$')
STATE_FILE = 'training_state.pt'
FULL_BYTES = 1_000_000  # a disk with less is full


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
        found = ((_STEP.match(p.name), p) for p in self.checkpoints.iterdir() if p.is_dir())
        return dict(sorted((int(m.group(1)), p) for m, p in found if m and not p.is_symlink()))

    def last(self) -> Path | None:
        """Return the newest complete checkpoint, or None."""
        return next(reversed(self.steps().values()), None)

    def save(self, step: int, write: Callable[[Path], None]) -> Path:
        """Write a checkpoint through `write(folder)`; it appears only once it is complete.

        Raises:
            CheckpointError: the disk is full or not writable; earlier checkpoints are intact.
        """
        final = self.checkpoints / f'step-{step:08d}'
        partial = self.checkpoints / f'.{final.name}.partial'
        try:
            self._remove_partials()
            partial.mkdir(parents=True)
            write(partial)
            _flush(partial)
            if final.exists():  # the same step again after a resume: it holds the same weights
                shutil.rmtree(final)
            partial.rename(final)
            _flush_entry(self.checkpoints)
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
        record = checkpoint / 'score.json'
        record.write_text(json.dumps({'validation_l1': score}), encoding='utf-8')
        link = self.checkpoints / '.best.new'
        link.unlink(missing_ok=True)
        link.symlink_to(checkpoint.name)
        link.replace(self.checkpoints / 'best')
        return True

    def best_score(self) -> float:
        """Return the validation error of the best checkpoint, infinity if there is none."""
        record = self.checkpoints / 'best' / 'score.json'
        if not record.is_file():
            return float('inf')
        return float(json.loads(record.read_text(encoding='utf-8'))['validation_l1'])

    def _prune(self) -> None:
        best = (self.checkpoints / 'best').resolve()
        for path in list(self.steps().values())[: -self._keep_last]:
            if path.resolve() != best:
                shutil.rmtree(path)

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


def _flush(folder: Path) -> None:
    for path in folder.rglob('*'):
        if path.is_file():
            _flush_entry(path)
    _flush_entry(folder)


def _flush_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot fsync a folder
            os.fsync(handle)
    finally:
        os.close(handle)
