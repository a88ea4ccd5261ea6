# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import json

import numpy as np
import pytest

from benchmarks.seams import (
    TICK,
    PlainExecutor,
    SeamSettings,
    Task,
    compare,
    main,
)
from support.motion_helpers import HOME, ROBOTS, chunk_to, line_from, robot, slow_step


@pytest.fixture(scope='module')
def results():
    return compare(robot(), SeamSettings(seconds=12.0))[0]['executors']


def test_scheduler_has_no_discontinuity_at_any_seam(results):
    ours = results['scheduler']
    assert ours['seams'] > 20
    assert ours['position_jump_max_mrad'] < 1e-6
    assert ours['velocity_jump_max_rad_s'] < 1e-6
    # What is left is what the acceleration limit allows between two ticks.
    allowed = robot().max_acceleration[:-1].max() * TICK
    assert ours['tick_velocity_change_max_rad_s'] <= allowed * 1.01


def test_plain_publishing_jumps_at_seams(results):
    assert results['positions']['velocity_jump_p99_rad_s'] > 0.3
    assert results['setpoints']['position_jump_p99_mrad'] > 30.0


def test_scheduler_keeps_the_pace_of_the_policy_and_its_path(results):
    ours = results['scheduler']
    assert ours['pace'] > 0.93
    assert ours['path_error_mean_mrad'] < results['positions']['path_error_mean_mrad'] + 4.0


def test_plain_executor_starts_each_chunk_again_on_arrival():
    executor = PlainExecutor(HOME, execute_steps=4, linear=True)
    goals = line_from(HOME, slow_step())
    executor.accept(chunk_to(goals, 0.0), 0.3, HOME)
    assert executor.commanded(0.4)[0] == pytest.approx(goals[0])
    assert executor.commanded(0.35)[1][0] == pytest.approx(0.2)
    assert executor.commanded(9.0)[0] == pytest.approx(goals[-1])
    steps = PlainExecutor(HOME, execute_steps=4, linear=False)
    steps.accept(chunk_to(goals, 0.0), 0.3, HOME)
    assert steps.commanded(0.35)[0] == pytest.approx(goals[0])
    assert steps.commanded(0.45)[0] == pytest.approx(goals[1])


def test_policy_of_the_benchmark_sees_where_the_arm_is():
    settings = SeamSettings(bias=0.0, drift=0.0, jitter=0.0)
    task = Task(robot(), settings)
    seen = np.append(task.path(np.array([0.3]))[0], 0.5)
    chunk = task.chunk(seen, 7.0, 0.1)
    assert chunk.actions[:, :-1] == pytest.approx(
        task.path(0.35 + 0.1 * np.arange(1, 9)), abs=5e-3
    )


def test_command_writes_json_and_plot(tmp_path, capsys):
    robot_file = str(ROBOTS / 'alicia_d.yaml')
    code = main(['--output', str(tmp_path / 'a'), '--seconds', '7', '--robot', robot_file])
    assert code == 0
    assert 'velocity jump at a seam' in capsys.readouterr().out
    written = json.loads((tmp_path / 'a' / 'seams.json').read_text())
    assert written['settings']['seconds'] == 7.0
    assert set(written['executors']) == {'scheduler', 'positions', 'setpoints'}
    assert (tmp_path / 'a' / 'seams.png').stat().st_size > 10_000


def test_unknown_robot_is_named(capsys):
    assert main(['--robot', 'nobody']) == 2
    assert 'nobody' in capsys.readouterr().err
