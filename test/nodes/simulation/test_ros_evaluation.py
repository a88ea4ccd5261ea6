# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""`evaluation.simulate --ros`: judged through the real nodes, by the referee of the process."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from PIL import Image, ImageSequence
from sensor_msgs.msg import JointState

from support.graph_client import GraphClient
from support.ros_harness import isolated_environment, wait_until
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult
from vla_adapter_ros.nodes.simulation import ros_evaluation

# A busy machine then makes the simulation slower, not the policy later.
PATIENT = ('--ros', '--ros-sim-time', '1')


@pytest.fixture(autouse=True)
def own_domain(monkeypatch):
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)


def settings(policy, *arguments):
    options = simulate.make_parser().parse_args([policy, *arguments])
    return simulate.settings_from(options, policy)


def run(policy, jobs, *arguments):
    episodes = simulate.run_ros_jobs(settings(policy, *arguments), jobs, 1)
    return [result for _, result, _ in episodes]


def descendants():
    """Process ids of our children and theirs."""
    parents = {}
    for entry in Path('/proc').iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / 'stat').read_text().rpartition(')')[2].split()
            parents[int(entry.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    # These stay once another test has started processes: Python's own, and support/node_starter.
    lasting = named(found, 'multiprocessing.resource_tracker') + named(found, 'node_starter')
    return found - {os.getpid(), *lasting}


def named(pids, part):
    """Those processes whose command line has `part`."""
    chosen = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if part in Path(f'/proc/{pid}/cmdline').read_text():
                chosen.append(pid)
    return chosen


@pytest.mark.parametrize(
    'tasks',
    [
        ('reach',),
        pytest.param(
            ('reach', 'pick_and_place'),
            marks=pytest.mark.slow(reason='two more episodes; one task is run always'),
        ),
    ],
    ids=len,
)
def test_the_expert_solves_episodes_and_is_told_by_the_real_service(tasks, tmp_path, capsys):
    command = ['expert', '--episodes', '2', '--seed', '1', *PATIENT, '--out', str(tmp_path)]
    assert simulate.main([*command, *(w for task in tasks for w in ('--task', task))]) == 0
    table = capsys.readouterr().out
    # A busy machine may cost one episode: its nodes then hold instead of moving late.
    row = r'\| expert \| reach +\| (50|100) % \[\d+, \d+\] \([12]/2\) +\|'
    assert re.search(row, table), table
    report = json.loads((tmp_path / 'report.json').read_text())
    results = report['policies']['expert']['episodes']
    jobs = [EpisodeJob(task, seed) for task in tasks for seed in (1, 2)]
    assert [(r['task'], r['seed']) for r in results] == [(j.task, j.seed) for j in jobs]
    solved = [r['success'] for r in results]
    assert any(solved) and all(r['followed_instruction'] for r in results)
    assert all(r['chunks'] > 1 and 0.0 < r['inference'] < 0.5 for r in results)
    assert all(r['refused'] < r['chunks'] / 2 for r in results)
    # The same scenes in process: same instruction, about the same time.
    inside = [r for _, r, _ in simulate.run_jobs(settings('expert'), jobs, 1)]
    assert [r['instruction'] for r in results] == [r.instruction for r in inside]
    for through, direct in itertools.compress(zip(results, inside, strict=True), solved):
        assert through['seconds'] == pytest.approx(direct.seconds, abs=2.5)


def test_real_time_is_the_default_and_another_object_can_be_named():
    assert settings('expert', '--ros').sim_time_rate == 0.0
    began = time.monotonic()
    result = run('expert', [EpisodeJob('reach', 3, target='yellow ball')], '--ros')[0]
    spent = time.monotonic() - began
    names = [r.instruction for _, r, _ in simulate.run_jobs(
        settings('zero'), [EpisodeJob('reach', 3, target='yellow ball')], 1)]
    assert result.instruction == names[0]
    assert result.named == ('yellow ball',)
    # In real time an episode cannot be shorter than its simulated time.
    assert spent > result.seconds > 0.5


def test_a_policy_that_does_nothing_fails_when_time_is_out_and_a_film_shows_it(tmp_path):
    arguments = ('--ros', '--ros-sim-time', '2', '--task', 'reach', '--episodes', '1')
    assert simulate.main(['zero', *arguments, '--out', str(tmp_path)]) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    result = EpisodeResult.from_dict(report['policies']['zero']['episodes'][0])
    film = Image.open(tmp_path / 'failures' / 'zero-reach-0.gif')
    # Pictures of an arm that stands still may be one, shown for longer.
    shown = [frame.info['duration'] for frame in ImageSequence.Iterator(film)]
    assert sum(shown) == pytest.approx(4000, abs=250) and film.size[0] == 640
    assert not result.success and result.failure == ''
    assert result.seconds == pytest.approx(4.0, abs=0.02)
    assert result.acted_on is None
    assert result.chunks > 1


def test_settings_of_the_command_line_reach_the_node():
    job = EpisodeJob('move', 0)
    result = run('expert', [job], *PATIENT, '--execute-steps', '2')[0]
    whole = next(r for _, r, _ in simulate.run_jobs(settings('expert'), [job], 1))
    assert result.success and whole.success
    # 2 of 8 steps of each chunk in about the same time.
    assert result.chunks >= 1.6 * whole.chunks


def test_the_baseline_that_wanders_moves_the_arm():
    result = run('random', [EpisodeJob('reach', 0)], '--ros', '--ros-sim-time', '2')[0]
    assert not result.success and result.chunks > 1


@pytest.mark.parametrize(
    ('policy', 'arguments', 'reason'),
    [
        ('replay:somewhere', (), 'a node cannot know the episode'),
        ('nonesuch', (), "policy 'nonesuch': expected expert, zero"),
        ('expert', ('--robot', 'nonesuch'), 'nonesuch'),
    ],
)
def test_policies_that_cannot_run_are_refused_in_one_line(policy, arguments, reason):
    with pytest.raises(VLAAdapterError, match='--ros: ') as caught:
        run(policy, [EpisodeJob('reach', 0)], '--ros', *arguments)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_checkpoint_that_cannot_load_is_named_with_its_reason(tmp_path):
    (tmp_path / 'vla_adapter.json').write_text('{"nonsense": 1}')
    with pytest.raises(VLAAdapterError, match='--ros: ') as caught:
        run(str(tmp_path), [EpisodeJob('reach', 0)], '--ros')
    text = str(caught.value)
    assert str(tmp_path) in text and len(text.splitlines()) == 1
    assert descendants() == set(), 'the nodes were stopped'


def test_a_bad_episode_is_an_error_and_a_bad_request_too():
    with pytest.raises(VLAAdapterError, match="task 'nonesuch' is unknown"):
        run('zero', [EpisodeJob('nonesuch', 0)], '--ros')
    good = {'settings': asdict(settings('zero')), 'jobs': [asdict(EpisodeJob('reach', 0))]}
    for line in ('', 'hello', '[]', '{}', json.dumps({**good, 'jobs': [{'seed': 1}]}),
                 json.dumps({**good, 'settings': {'policy': 'zero'}})):  # fmt: skip
        answers = io.StringIO()
        assert ros_evaluation.serve(io.StringIO(line + '\n'), answers) == 1
        assert 'request: expected one JSON line' in json.loads(answers.getvalue())['error']
    read, jobs = ros_evaluation.read_request(json.dumps(good))
    assert (read, jobs) == (settings('zero'), [EpisodeJob('reach', 0)])


def test_a_node_that_dies_ends_the_evaluation_with_its_name():
    def kill():
        node = wait_until(lambda: named(descendants(), 'lib/vla_adapter_ros/vla_adapter'), 60)[0]
        os.kill(node, signal.SIGKILL)

    episodes = simulate.run_ros_jobs(
        settings('zero', '--ros'), [EpisodeJob('reach', s) for s in range(50)], 1
    )
    next(episodes)
    threading.Timer(0.5, kill).start()
    with pytest.raises(VLAAdapterError, match='vla_adapter ended with code -9') as caught:
        list(episodes)
    assert len(str(caught.value).splitlines()) == 1
    assert descendants() == set()


def test_it_does_not_command_an_arm_that_is_there_already():
    with contextlib.closing(GraphClient(dict(os.environ))) as other:
        other.node.create_publisher(JointState, '/sim/joint_states', 1)
        with pytest.raises(VLAAdapterError, match='someone else publishes joint_states'):
            run('zero', [EpisodeJob('reach', 0)], '--ros')


def test_an_arm_that_appears_later_ends_the_evaluation_before_the_next_episode():
    episodes = simulate.run_ros_jobs(
        settings('zero', '--ros'), [EpisodeJob('reach', s) for s in range(50)], 1
    )
    next(episodes)
    with contextlib.closing(GraphClient(dict(os.environ))) as other:
        other.node.create_publisher(JointState, '/sim/joint_states', 1)
        with pytest.raises(VLAAdapterError, match='someone else publishes joint_states'):
            list(episodes)
    assert descendants() == set()


def test_a_command_that_does_not_end_is_killed(tmp_path, monkeypatch, capsys):
    (tmp_path / 'deaf.py').write_text(
        'import signal, sys, time\n'
        'signal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'print(\'{"error": "stuck"}\', flush=True)\n'
        'time.sleep(300)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setattr(simulate, 'ROS_MODULE', 'deaf')
    monkeypatch.setattr(simulate, 'ROS_STOP_TIMEOUT', 1.0)
    with pytest.raises(VLAAdapterError, match='--ros: stuck'):
        run('zero', [EpisodeJob('reach', 0)], '--ros')
    assert 'deaf did not end and was killed' in capsys.readouterr().err
    assert named(descendants(), 'deaf') == []


def test_stopping_early_stops_the_nodes():
    episodes = simulate.run_ros_jobs(
        settings('zero', '--ros'), [EpisodeJob('reach', s) for s in range(50)], 1
    )
    next(episodes)
    assert len(descendants()) >= 2
    episodes.close()
    assert descendants() == set()


@pytest.mark.parametrize(
    'arguments',
    [['--ros', '--workers', '2'], ['--ros-sim-time', '1'], ['--ros', '--ros-sim-time', '0.001']],
)
def test_settings_that_do_not_go_together_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        simulate.main(['expert', *arguments])
    assert 'error:' in capsys.readouterr().err


def test_parameters_of_each_policy(monkeypatch, tmp_path):
    parameters = ros_evaluation.policy_parameters
    assert parameters('zero') == {'policy': 'hold'}
    assert parameters('expert') == {'policy': 'expert'}
    assert parameters(str(tmp_path)) == {'policy': 'checkpoint', 'checkpoint': str(tmp_path)}
    monkeypatch.setattr(
        'vla_adapter_ros.evaluation.policies.shipped_checkpoint', lambda: tmp_path
    )
    assert parameters('shipped')['checkpoint'] == str(tmp_path)
    monkeypatch.setattr('vla_adapter_ros.evaluation.policies.shipped_checkpoint', lambda: None)
    with pytest.raises(VLAAdapterError, match='no checkpoint ships'):
        parameters('shipped')
