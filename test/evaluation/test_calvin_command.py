# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The CALVIN command with a stand-in for the simulator: results, resuming, refusals; its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from support.stand_in import interpreter
from vla_adapter_ros.evaluation.calvin import simulator
from vla_adapter_ros.evaluation.calvin.__main__ import OFFICIAL_COMMIT, main
from vla_adapter_ros.evaluation.calvin.asking import CALVIN
from vla_adapter_ros.evaluation.calvin.report import PAPER, mean_length

ROOT = Path(__file__).parents[2]
# Chain n solves n mod 6 tasks and leaves the gripper closed if n is odd; what the gripper was at
# the beginning is kept in `steps`. Chain 2 fails as often as the file `faults` says.
SIMULATOR = f"""\
import os, sys
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from pathlib import Path
from vla_adapter_ros.evaluation.calvin.worker import NEEDED
from vla_adapter_ros.evaluation.suites.serving import serve

faults = Path(__file__).with_name('faults')

def hello(request):
    assert request['calvin'].startswith('/')
    return {{'versions': {{'calvin_env': os.environ.get('FAKE_COMMIT', {OFFICIAL_COMMIT!r})}}}}

def sequence(request):
    number = request['sequence']
    count = int(faults.read_text()) if faults.exists() else 0
    if number == 2 and count:
        faults.write_text(str(count - 1))
        sys.exit('killed by the system')
    images = {{name: np.zeros((4, 4, 3), np.uint8) for name in NEEDED[1:]}}
    header = {{'observe': True, 'instruction': 'lift'}}
    chunk = yield header, {{NEEDED[0]: np.zeros(15), **images}}
    assert chunk.shape == (8, 7) and (chunk[:, 6] == 1).all() and not chunk[:, :6].any()
    over = {{'tasks': list('abcde'), 'solved': number % 6, 'steps': request.get('gripper', 0),
            'queries': 1, 'gripper': -1.0 if number % 2 else 1.0}}
    return {{'over': over}}, {{}}

serve(int(sys.argv[-1]), hello, sequence)
"""


@pytest.fixture
def calvin(tmp_path, capsys):
    python = interpreter(tmp_path, SIMULATOR)
    out = tmp_path / 'out'

    def run(*arguments: str) -> tuple[int, str]:
        status = main(['zero', '--calvin', str(tmp_path), '--sequences', '6',
                       '--calvin-python', python, '--out', str(out), *arguments])  # fmt: skip
        return status, capsys.readouterr().err

    run.out, run.faults = out, tmp_path / 'faults'
    return run


def rows(calvin) -> list[dict]:
    lines = (calvin.out / 'results.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def test_chains_are_counted_in_a_row_beside_the_papers_table(calvin):
    options = ('--steps', '360', '--ensemble', 'none', '--batch', '2', '--films', '2')
    assert calvin('--workers', '2', *options)[0] == 0
    assert len(list((calvin.out / 'failures').glob('0[0-4].gif'))) == 2
    assert sorted((r['sequence'], r['solved']) for r in rows(calvin)) == [(n, n) for n in range(6)]
    report = json.loads((calvin.out / 'report.json').read_text())
    assert [rate['successes'] for rate in report['in_a_row']] == [5, 4, 3, 2, 1]
    assert report['mean_length']['mean'] == 2.5
    assert {task: (r['successes'], r['trials']) for task, r in report['tasks'].items()} == {
        'a': (5, 6), 'b': (4, 5), 'c': (3, 4), 'd': (2, 3), 'e': (1, 2)
    }  # fmt: skip
    text = (calvin.out / 'report.md').read_text()
    for deviation in ('6 of 1000', '360 steps', 'no averaging', '--carry-gripper'):
        assert deviation in text
    assert ' 80.0 ' in text


@pytest.mark.slow(reason='starts half a dozen interpreters')
def test_a_lost_worker_is_an_error_and_the_same_command_repeats_only_that_chain(calvin):
    calvin.faults.write_text('2')
    assert calvin()[0] == 1
    assert [r['sequence'] for r in rows(calvin) if r['error']] == [2]
    assert json.loads((calvin.out / 'report.json').read_text())['in_a_row'][0]['trials'] == 5
    assert calvin()[0] == 0
    assert [r['sequence'] for r in rows(calvin)][6:] == [2]


@pytest.mark.slow(reason='starts half a dozen interpreters')
def test_the_gripper_is_carried_from_chain_to_chain_also_over_an_interruption(calvin):
    calvin('--sequences', '2', '--carry-gripper')
    assert calvin('--sequences', '3', '--carry-gripper')[0] == 0
    assert [r['steps'] for r in rows(calvin)] == [1.0, 1.0, -1.0]
    assert json.loads((calvin.out / 'report.json').read_text())['deviations'] == [
        '3 of 1000 sequences'
    ]


def test_another_calvin_is_refused_by_its_commit(calvin, monkeypatch):
    monkeypatch.setenv('FAKE_COMMIT', OFFICIAL_COMMIT + '+')
    status, text = calvin()
    assert status == 1
    assert 'calvin_env 1431a46 with changes: the official one is 1431a46' in text
    assert calvin('--any-commit', '--sequences', '1')[0] == 0


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (('--calvin-python', '/nowhere/python'), 'cannot run /nowhere/python'),
        (('--calvin-python', sys.executable), 'no checkout of CALVIN with its submodule'),
    ],
)
def test_what_cannot_be_run_is_one_sentence(calvin, arguments, reason):
    status, text = calvin(*arguments)
    assert status == 1
    assert reason in text
    assert text.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (('--sequences', '1001'), 'expected 1 to 1000'),
        (('--steps', '0'), '--steps: got 0, must be at least 1'),
        (('--batch', '0'), '--batch: got 0, must be at least 1'),
        (('--carry-gripper', '--workers', '2'), 'needs --workers 1'),
    ],
)
def test_impossible_options_are_named(calvin, capsys, arguments, reason):
    with pytest.raises(SystemExit):
        calvin(*arguments)
    assert reason in capsys.readouterr().err


def test_the_policy_sees_the_state_of_the_training_data():
    arrays = {
        'robot_obs': np.arange(15.0),
        'rgb_static': np.full((200, 200, 3), 1, np.uint8),
        'rgb_gripper': np.full((84, 84, 3), 2, np.uint8),
    }
    seen = CALVIN.observation(arrays, 'lift')
    assert seen.proprioception.tolist() == [*range(7), 14]
    assert [seen.images[name][0, 0, 0] for name in ('third_person', 'wrist')] == [1, 2]


def test_the_interval_of_the_mean_length_is_that_of_the_normal_approximation():
    lengths = np.random.default_rng(1).integers(0, 6, 1000)
    found = mean_length(lengths.tolist())
    error = 1.96 * lengths.std() / np.sqrt(1000)
    np.testing.assert_allclose(
        found['interval_95'], lengths.mean() + np.array([-error, error]), atol=0.01
    )
    low, high = mean_length([5] * 4)['interval_95']
    assert low < 3 and high == 5
    assert mean_length([])['mean'] is None


@pytest.mark.parametrize('name', PAPER)
def test_the_papers_mean_length_is_the_sum_of_its_rates(name):
    rates, length = PAPER[name]
    assert sum(rates) / 100 == pytest.approx(length, abs=0.02)


class Table:
    """Stands in for CALVIN's environment; `started` receives each one that is built."""

    started: ClassVar[list[Table]] = []
    egl = True

    def __init__(self) -> None:
        if not Table.egl:
            sys.exit()
        Table.started.append(self)
        self.robot = SimpleNamespace(gripper_action=1)
        self.rendered = 0
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def get_camera_obs(self):
        self.rendered += 1
        return {'rgb_static': np.ones(1), 'rgb_gripper': np.ones(1)}, {}

    def get_obs(self):
        images, _ = self.get_camera_obs()
        return {'rgb_obs': images, 'robot_obs': np.array([self.robot.gripper_action])}

    def reset(self, robot_obs, scene_obs):
        return self.get_obs()

    def get_info(self):
        return 0

    def step(self, action):
        assert action.dtype == float
        action *= 0.02  # as CALVIN scales what it is given
        self.robot.gripper_action = action[-1]
        return self.get_obs(), 0, False, {'done': 'lift'}


class Tasks:
    def __init__(self, tasks):
        pass

    def get_task_info_for_set(self, start, end, tasks):
        return tasks & {end['done']}


@pytest.fixture
def table(monkeypatch, tmp_path):
    fakes = {
        'hydra': SimpleNamespace(
            utils=SimpleNamespace(instantiate=lambda configuration, **options: Table())
        ),
        'omegaconf': SimpleNamespace(
            OmegaConf=SimpleNamespace(
                load=lambda path: SimpleNamespace(tasks={}),
                to_container=lambda _: {'lift': ['Lift']},
            )
        ),
        'calvin_env': ModuleType('calvin_env'),
        'calvin_env.envs': ModuleType('calvin_env.envs'),
        'calvin_env.envs.tasks': SimpleNamespace(Tasks=Tasks),
    }
    for name, module in fakes.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(simulator, 'prepare_import', lambda folder: None)
    monkeypatch.setattr(simulator, '_configuration', lambda conf: SimpleNamespace(env=None))
    monkeypatch.setattr(Table, 'started', [])
    return lambda: simulator.CalvinTable(tmp_path)


def test_cameras_are_rendered_only_where_the_policy_looks(table):
    calvin = table()
    real = Table.started[0]
    first = real.rendered
    calvin.reset(np.zeros(15), np.zeros(24))
    command = [0.5] * 6 + [-1.0]
    assert set(calvin.step(command, images=False)) == {'robot_obs'}
    assert real.rendered == first
    assert set(calvin.step(command, images=True)) == {'robot_obs', 'rgb_static', 'rgb_gripper'}
    assert set(calvin.get_obs()) == {'robot_obs', 'rgb_static', 'rgb_gripper'}
    assert real.rendered == first + 2
    assert command == [0.5] * 6 + [-1.0]
    assert calvin.solved(calvin.get_info(), 'lift') and not calvin.solved(0, 'push')


def test_each_chain_begins_in_a_simulation_built_anew_with_the_gripper_asked_for(table):
    calvin = table()
    calvin.reset(np.zeros(15), np.zeros(24))
    assert len(Table.started) == 1
    calvin.step([0.0] * 6 + [-1.0], images=False)
    assert calvin.gripper == -1.0
    calvin.gripper = 1.0
    calvin.reset(np.zeros(15), np.zeros(24))
    assert [built.closed for built in Table.started] == [True, False]
    assert Table.started[1].robot.gripper_action == 1.0


def test_without_egl_calvin_is_refused_by_name(table, monkeypatch):
    monkeypatch.setattr(Table, 'egl', False)
    with pytest.raises(RuntimeError, match="PyBullet's EGL renderer cannot be loaded"):
        table()
