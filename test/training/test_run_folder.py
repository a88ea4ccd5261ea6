# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints appear whole or not at all; the last k and the best survive."""

from __future__ import annotations

import errno
import shutil

import pytest

from vla_adapter_ros.errors import CheckpointError
from vla_adapter_ros.training.checkpoints.run_folder import RunFolder


def _writer(text='weights'):
    return lambda folder: (folder / 'weights.bin').write_text(text)


def test_keeps_the_last_k_and_the_best(tmp_path):
    run = RunFolder(tmp_path, keep_last=2)
    assert run.mark_best(run.save(1, _writer()), 0.5)
    for step in (2, 3, 4, 5):
        assert not run.mark_best(run.save(step, _writer()), 0.6)
    assert list(run.steps()) == [1, 4, 5]
    assert (run.checkpoints / 'best').resolve().name == 'step-00000001'
    assert run.mark_best(run.last(), 0.1)
    run.save(6, _writer())
    assert list(run.steps()) == [5, 6]
    assert run.best_score() == pytest.approx(0.1)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    run = RunFolder(tmp_path, keep_last=1)
    good = run.save(1, _writer())

    def full(folder):
        (folder / 'weights.bin').write_text('half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    with pytest.raises(CheckpointError, match=r'No space left.*step-00000001'):
        run.save(2, full)
    assert run.last() == good
    assert (good / 'weights.bin').read_text() == 'weights'
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ['step-00000001']


@pytest.mark.parametrize(('text', 'free'), [
    ('[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534', 4096),  # torch
    ('Error while serializing: I/O error: No space left on device', 10**12),  # safetensors
])
def test_a_full_disk_is_seen_behind_the_libraries_own_errors(tmp_path, monkeypatch, text, free):
    run = RunFolder(tmp_path, keep_last=1)
    run.save(1, _writer())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=free))

    def full(folder):
        (folder / 'weights.bin').write_text('half')
        raise RuntimeError(text)

    with pytest.raises(CheckpointError, match=r'No space left.*step-00000001'):
        run.save(2, full)
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ['step-00000001']


def test_another_error_while_saving_is_not_called_a_full_disk(tmp_path):
    run = RunFolder(tmp_path, keep_last=1)

    def wrong(folder):
        (folder / 'weights.bin').write_text('half')
        raise RuntimeError('a mistake of ours')

    with pytest.raises(RuntimeError, match='a mistake of ours'):
        run.save(2, wrong)
    assert not list(run.checkpoints.iterdir())


def test_a_kill_while_saving_leaves_only_a_hidden_folder_that_the_next_save_removes(tmp_path):
    run = RunFolder(tmp_path, keep_last=3)
    run.save(1, _writer())
    partial = run.checkpoints / '.step-00000002.partial'
    partial.mkdir()
    (partial / 'weights.bin').write_text('half')
    assert run.last().name == 'step-00000001'
    run.save(2, _writer('whole'))
    assert (run.last() / 'weights.bin').read_text() == 'whole'
    assert not partial.exists()
