# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What strangers wrote is read or refused in our own errors: no crash, no hang, bounded memory."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from support.foreign_files import READERS, fuzz_alone
from support.fuzz import Reader, fuzz

INPUTS = 100_000  # of the long test, in all
FEW = 8  # for each reader, in the short one


@pytest.mark.parametrize('reader', READERS, ids=lambda reader: reader.name)
def test_damaged_files_are_read_or_refused(reader, tmp_path):
    outcome = fuzz(reader, tmp_path / 'x', max(1, round(FEW * reader.share)))
    assert not outcome.failures, str(outcome)


@pytest.mark.slow(reason='100,000 damaged files take half an hour of CPU time')
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('reader', READERS, ids=lambda reader: reader.name)
def test_many_damaged_files_are_read_or_refused(reader, tmp_path):
    count = round(INPUTS * reader.share / sum(other.share for other in READERS))
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=fuzz_alone, args=(reader.name, tmp_path, count, theirs))
    process.start()
    theirs.close()
    try:
        outcome = ours.recv() if ours.poll(1800) else None
    except EOFError:
        outcome = None
    process.kill()
    process.join()
    assert outcome is not None, f'{reader.name}: hangs, or ends its process'
    print(f'{reader.name}: {outcome}')
    assert not outcome.failures, str(outcome)


def test_an_error_of_another_kind_is_told_with_its_place(tmp_path):
    def write(folder: Path) -> list[Path]:
        folder.mkdir()
        (folder / 'x').write_bytes(b'good')
        return [folder / 'x']

    def read(folder: Path) -> None:
        if (folder / 'x').read_bytes() != b'good':
            raise KeyError('no such field')

    outcome = fuzz(Reader('careless', write, read), tmp_path / 'x', 20)
    ((what, count),) = outcome.failures.items()
    assert what.startswith('careless: KeyError at ') and count > 10
    assert outcome.inputs == 20 and 'no such field' in str(outcome)
