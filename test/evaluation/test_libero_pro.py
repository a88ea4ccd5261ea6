# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The perturbed suites of LIBERO-PRO through LIBERO's command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.stand_in import interpreter
from vla_adapter_ros.evaluation.libero import worker
from vla_adapter_ros.evaluation.libero.__main__ import main
from vla_adapter_ros.evaluation.libero.suites import PUBLISHED, SUITES, base_of
from vla_adapter_ros.evaluation.suites.worker_process import WorkerLost, WorkerProcess

PLAIN = ('libero_spatial', 'libero_object')  # suites of the stand-in for upstream's LIBERO


@pytest.mark.parametrize('name', PUBLISHED)
def test_a_perturbed_suite_has_the_limits_and_policies_of_its_base(name):
    for suffix, own_words in (('lan', True), ('object', False), ('swap', False), ('task', True)):
        suite = SUITES[f'{name}_{suffix}']
        assert (suite.max_steps, suite.tasks) == (SUITES[name].max_steps, SUITES[name].tasks)
        assert base_of(f'{name}_{suffix}') == name == base_of(name)
        assert suite.paper is None  # the paper's rates are not of this suite
        # Else other words and other tasks would never reach the policy.
        assert suite.own_words == own_words
    assert not SUITES[name].own_words


def test_the_worker_tells_the_perturbed_sentence_where_the_words_are_perturbed(monkeypatch):
    built = []

    class Task:
        def __init__(self, suite, number, own_words, cameras):
            built.append((suite, own_words))

        def close(self):
            pass

    monkeypatch.setattr(worker, 'LiberoTask', Task)
    running = worker.Worker()
    for suite in ('libero_goal', 'libero_goal_lan', 'libero_goal_swap', 'libero_goal_task'):
        running._built(suite, 0, True)
    assert [own_words for _, own_words in built] == [False, True, False, True]


@pytest.fixture
def plain_libero(tmp_path, monkeypatch):
    """An interpreter that has upstream's LIBERO, which knows no perturbed suites."""
    package = tmp_path / 'libero' / 'libero'
    package.mkdir(parents=True)
    (package.parent / '__init__.py').touch()
    (package / '__init__.py').touch()
    (package / 'benchmark.py').write_text(
        f'def get_benchmark_dict():\n    return dict.fromkeys({PLAIN!r})\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('LIBERO_CONFIG_PATH', str(tmp_path))
    (tmp_path / 'config.yaml').touch()
    return sys.executable


@pytest.mark.slow(reason='starts Python twice')
def test_a_libero_without_perturbed_suites_is_refused_before_anything_runs(plain_libero):
    process = WorkerProcess(plain_libero, 'vla_adapter_ros.evaluation.libero.worker', None)
    try:
        assert process.ask({'do': 'hello', 'suites': list(PLAIN)})[0]['versions']
        with pytest.raises(WorkerLost) as refused:
            process.ask({'do': 'hello', 'suites': ['libero_object', 'libero_object_lan']})
    finally:
        process.close()
    assert 'suites libero_object_lan: not in this LIBERO' in str(refused.value)
    assert 'libero_object,' not in str(refused.value)


SIMULATOR = f"""\
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import numpy as np
from vla_adapter_ros.evaluation.libero.worker import NEEDED
from vla_adapter_ros.evaluation.suites.serving import serve

def episode(request):
    shapes = ((3,), (4,), (2,), (4, 4, 3), (4, 4, 3))
    arrays = {{name: np.zeros(shape, np.uint8) for name, shape in zip(NEEDED, shapes)}}
    yield {{'observe': True, 'instruction': 'grab'}}, arrays
    over = {{'success': request['suite'].endswith('_lan'), 'steps': request['max_steps'],
            'queries': 1, 'instruction': 'grab', 'fixtures': {{}}, 'sha256': ''}}
    return {{'over': over}}, {{}}

serve(int(sys.argv[-1]), lambda request: {{'versions': {{'mujoco': '3.3.0'}}}}, episode)
"""


@pytest.mark.slow(reason='starts Python three times')
def test_perturbed_suites_are_reported_beside_each_other(tmp_path, capsys):
    status = main(
        ['zero', '--suite', 'libero_10_lan', '--suite', 'libero_10_task', '--tasks', '0',
         '--episodes', '1', '--out', str(tmp_path),
         '--libero-python', interpreter(tmp_path, SIMULATOR)]
    )  # fmt: skip
    assert status == 0
    text = capsys.readouterr().out
    assert 'LIBERO-PRO Long, other words' in text
    rows = [line for line in text.splitlines() if line.startswith('| PRO Long')]
    assert [('(1/1)' in row, '(0/1)' in row) for row in rows] == [(True, False), (False, True)]
    reports = json.loads((tmp_path / 'report.json').read_text())
    assert [report['identity']['instruction'] for report in reports] == ['description'] * 2
    assert [report['identity']['max_steps'] for report in reports] == [520, 520]


def test_the_policy_of_the_base_suite_is_evaluated(tmp_path, capsys, monkeypatch):
    from vla_adapter_ros.evaluation.suites import command

    monkeypatch.setattr(command, 'versions_of', lambda *_: {'mujoco': '3.3.0'})
    status = main(['/nowhere/{suite}', '--suite', 'libero_goal_swap', '--out', str(tmp_path)])
    assert status == 1
    assert '/nowhere/libero_goal' in capsys.readouterr().err.replace('libero_goal_swap', '')
