# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The LIBERO command with a stand-in for the simulator: results, resuming, faults, refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.stand_in import interpreter
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.libero.__main__ import main
from vla_adapter_ros.evaluation.libero.report import released
from vla_adapter_ros.evaluation.suites.comparison import Pairing
from vla_adapter_ros.evaluation.suites.store import ResultStore

ROOT = Path(__file__).parents[2]
# Task 0 is solved, task 1 is not; episode 2 kills the worker and episode 3 fails in it, as often
# as the file `faults` has lines.
SIMULATOR = f"""\
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from pathlib import Path
from vla_adapter_ros.evaluation.libero.worker import NEEDED
from vla_adapter_ros.evaluation.suites.serving import serve

faults = Path(__file__).with_name('faults')

def fails():
    count = int(faults.read_text()) if faults.exists() else 0
    faults.write_text(str(max(0, count - 1)))
    return count > 0

def hello(request):
    return {{'versions': {{'mujoco': os.environ.get('FAKE_MUJOCO', '3.3.0')}}}}

def episode(request):
    if request['episode'] == 2 and fails():
        sys.exit('killed by the system')
    if request['episode'] == 3 and fails():
        raise RuntimeError('no more memory')
    arrays = {{name: np.zeros(size) for name, size in zip(NEEDED[:3], (3, 4, 2))}}
    images = {{name: np.zeros((4, 4, 3), np.uint8) for name in NEEDED[3:]}}
    actions = yield {{'observe': True, 'instruction': 'pick'}}, {{**arrays, **images}}
    assert actions.shape == (8, 7) and (actions[:, 6] == -1).all()
    solved = request['task'] == 0
    over = {{'success': solved, 'steps': request['max_steps'], 'queries': 1,
            'instruction': 'pick', 'fixtures': {{}}, 'sha256': ''}}
    return {{'over': over}}, {{}}

serve(int(sys.argv[-1]), hello, episode)
"""


@pytest.fixture
def libero(tmp_path, capsys):
    python = interpreter(tmp_path, SIMULATOR)
    out = tmp_path / 'out'

    def run(*arguments: str) -> tuple[int, str]:
        status = main(['zero', '--suite', 'libero_object', '--tasks', '0,1', '--episodes', '4',
                       '--libero-python', python, '--out', str(out), *arguments])  # fmt: skip
        return status, capsys.readouterr().err

    run.out, run.faults, run.python = out, tmp_path / 'faults', python
    return run


def rows(libero) -> list[dict]:
    text = (libero.out / 'libero_object' / 'results.jsonl').read_text()
    return [json.loads(line) for line in text.splitlines()][1:]


def test_every_episode_is_counted_once_and_reported_beside_the_released_logs(libero):
    status, said = libero('--workers', '2')
    assert status == 0, said
    assert sorted((r['task'], r['episode'], r['success']) for r in rows(libero)) == [
        (task, episode, task == 0) for task in (0, 1) for episode in range(4)
    ]
    report = json.loads((libero.out / 'report.json').read_text())[0]
    assert (report['success']['successes'], report['success']['trials']) == (4, 8)
    assert report['released']['pro'] == {
        'episodes': 8, 'only_ours': 0, 'only_theirs': 4, 'mcnemar_p': 0.125
    }  # fmt: skip
    text = (libero.out / 'report.md').read_text()
    assert '50.0 % [21.5, 78.5] (4/8)' in text
    assert 'The paper: 99.2 % (VLA-Adapter), 99.6 % (Pro).' in text


def test_a_run_goes_on_where_it_ended_even_after_half_a_line(libero):
    libero()
    file = libero.out / 'libero_object' / 'results.jsonl'
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b''.join(lines[:6]) + lines[6][:20])
    assert libero()[0] == 0
    assert file.read_bytes().splitlines(keepends=True)[:6] == lines[:6]
    assert len(rows(libero)) == 8


@pytest.mark.parametrize(('faults', 'errors'), [(1, 0), (4, 1)])
def test_a_lost_worker_is_tried_once_more_and_then_an_error_never_a_failure(
    libero, faults, errors
):
    libero.faults.write_text(str(faults))
    status, _ = libero('--tasks', '0')
    assert status == int(bool(errors))
    found = {r['episode']: r for r in rows(libero)}
    assert [e for e, r in found.items() if r['error']] == ([2, 3] if faults == 4 else [])
    assert found[2]['attempts'] == 2
    report = json.loads((libero.out / 'report.json').read_text())[0]
    good = 2 if errors else 4
    assert (report['success']['successes'], report['success']['trials']) == (good, good)
    if errors:
        assert 'killed by the system' in found[2]['error']
        assert 'no more memory' in found[3]['error']
        told = (libero.out / 'report.md').read_text()
        assert f'1 ended in an error: {found[3]["error"]}' in told
        # Repeating the command repeats only these.
        assert libero('--tasks', '0')[0] == 0
        assert len(rows(libero)) == 6


def test_a_mujoco_that_draws_or_settles_differently_is_refused(libero, monkeypatch):
    monkeypatch.setenv('FAKE_MUJOCO', '3.3.3')
    status, text = libero()
    assert status == 1
    assert 'MuJoCo 3.3.3: draws LIBERO darker' in text
    assert libero('--any-mujoco')[0] == 0


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (('--tasks', '0,10'), 'libero_object has 0 to 9'),
        (('--open-loop', '9'), 'the policy gives 8 actions'),
        (('--libero-python', '/nowhere/python'), 'cannot run /nowhere/python'),
        (('--libero-python', sys.executable), 'LIBERO is not installed here'),
    ],
)
def test_what_cannot_be_run_is_one_sentence(libero, arguments, reason):
    status, text = libero(*arguments)
    assert status == 1
    assert reason in text
    assert text.count('\n') == 1


def test_the_expert_is_refused_where_it_knows_no_task(libero, capsys):
    status = main(['expert', '--suite', 'libero_spatial', '--libero-python', libero.python])
    assert status == 1
    assert 'solves libero_object only, not libero_spatial' in capsys.readouterr().err


def test_results_of_another_run_are_not_mixed(libero):
    libero()
    before = (libero.out / 'libero_object' / 'results.jsonl').read_bytes()
    status, text = libero('--open-loop', '4')
    assert status == 1
    assert 'open_loop 8, now 4' in text
    assert (libero.out / 'libero_object' / 'results.jsonl').read_bytes() == before


def test_damaged_or_unwritable_results_are_named(tmp_path):
    (tmp_path / 'results.jsonl').write_text('{"run": 1}\nnonsense\n')
    with pytest.raises(VLAAdapterError, match=r'results.jsonl: cannot be .*; choose another'):
        ResultStore(tmp_path, {}, {})
    (tmp_path / 'file').touch()
    with pytest.raises(VLAAdapterError, match='cannot be written'):
        ResultStore(tmp_path / 'file' / 'folder', {}, {})


def test_mcnemar_is_the_binomial_test():
    first = {i: i < 8 for i in range(20)}
    second = {i: i >= 6 and i < 9 for i in range(1, 20)}
    pairing = Pairing.of(first, second)
    assert pairing == Pairing(19, 5, 1)
    assert pairing.p_value == pytest.approx(2 * (1 + 6) / 64)
    assert Pairing(5, 0, 0).p_value == 1.0


@pytest.mark.parametrize(
    ('suite', 'variant', 'solved'),
    [('libero_spatial', 'original', 489), ('libero_10', 'pro', 482), ('libero_90', 'pro', None)],
)
def test_the_released_logs_have_the_published_counts(suite, variant, solved):
    log = released(suite, variant)
    assert solved is None if log is None else (len(log), sum(log.values())) == (500, solved)
