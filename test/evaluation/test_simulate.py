# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies are evaluated through the node's own motion path, on the same episodes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.code_origin import code_fingerprint, code_revision
from vla_adapter_ros.evaluation.episode_log import EpisodeLog, provenance
from vla_adapter_ros.evaluation.policies import ReplayPolicy, make_policy
from vla_adapter_ros.evaluation.report import chance, success_table
from vla_adapter_ros.evaluation.rollout import (
    EpisodeJob,
    EpisodeResult,
    EpisodeRunner,
    retargeted,
    swapped,
)
from vla_adapter_ros.evaluation.simulated_node import ControlSettings, SimulatedNode
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.robot.contract import resolve_contract
from vla_adapter_ros.simulation import collect
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.goals import Move, Place, Sequence, Stack
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS, TaskOptions, make_task
from vla_adapter_ros.weights.directory import checkpoint_fingerprint


@pytest.fixture(scope='module')
def contract():
    return resolve_contract('alicia_d_sim')


def evaluated(policy, jobs, **settings):
    runner = EpisodeRunner(policy, ControlSettings(**settings), TaskOptions())
    try:
        return [runner.run(job) for job in jobs]
    finally:
        runner.close()


SLOW = pytest.mark.slow(reason='five episodes; the other spaces are always tried')


@pytest.mark.parametrize(
    'space', ['joint_position', pytest.param('joint_delta', marks=SLOW), 'ee_delta']
)
def test_the_expert_solves_every_task_in_every_action_space(contract, space):
    expert = make_policy('expert', replace(contract, action_space=space))
    results = evaluated(expert, [EpisodeJob(task, 900) for task in EVALUATED_TASKS])
    assert [r.success for r in results] == [True] * len(EVALUATED_TASKS)
    assert all(r.followed_instruction and not r.failure for r in results)


@pytest.mark.parametrize(
    'settings', [{'execute_steps': 2}, {'latency': 0.0}, {'latency': 0.3}, {'blend_steps': 2}]
)
def test_the_expert_succeeds_under_other_scheduling(contract, settings):
    jobs = [EpisodeJob('move', seed) for seed in range(3)]
    assert all(r.success for r in evaluated(make_policy('expert', contract), jobs, **settings))


# Dropped and picked up again, each took 8.7 s or more.
@pytest.mark.parametrize(('seed', 'late'), [(58, 0.0), (16, 0.02), (32, 0.035)])
def test_the_expert_leaves_with_the_object_at_once(contract, monkeypatch, seed, late):
    """Also when images are late [s]."""
    observe = SimulatedNode.observe

    def observe_late(node):
        seen = observe(node)
        return replace(seen, stamp=seen.stamp - late)

    monkeypatch.setattr(SimulatedNode, 'observe', observe_late)
    [result] = evaluated(make_policy('expert', contract), [EpisodeJob('pick_and_place', seed)])
    assert result.success and result.seconds < 7.5


@pytest.mark.slow(reason='whole episodes that fail')
def test_baselines_fail_and_choose_by_chance(contract):
    jobs = [EpisodeJob('reach', seed) for seed in range(6)]
    for name in ('zero', 'random'):
        results = evaluated(make_policy(name, contract), jobs)
        assert not any(r.success for r in results)
        assert all(r.seconds == pytest.approx(4.0, abs=0.05) for r in results)
    assert chance(results) == pytest.approx(1 / 3)


def test_an_episode_is_reproducible(contract):
    policy = make_policy('random', contract)
    job = EpisodeJob('pick_and_place', 5)
    first, second = (replace(r, inference=0.0) for r in evaluated(policy, [job, job]))
    assert first == second


def test_another_object_can_be_named_on_the_same_scene(contract):
    runner = EpisodeRunner(make_policy('expert', contract), ControlSettings(), TaskOptions())
    names = runner.scene_names('reach', 3)
    results = [runner.run(EpisodeJob('reach', 3, target=name)) for name in names]
    runner.close()
    assert [r.acted_on for r in results] == list(names)
    assert len({r.instruction for r in results}) == len(names)
    assert all(r.success and r.named == (name,) for r, name in zip(results, names))


@pytest.mark.slow(reason='whole episodes that fail')
def test_a_deaf_policy_is_seen_to_be_deaf(contract):
    """A policy that always does the first thing it was ever told."""

    class Deaf:
        needs_images = False

        def __init__(self, expert):
            self._expert = expert
            self.contract = expert.contract
            self._told = None

        def begin(self, simulation, task, seed):
            self._expert.begin(simulation, task, seed)

        def predict(self, observation):
            self._told = self._told or observation.instruction
            return self._expert.predict(replace(observation, instruction=self._told))

    runner = EpisodeRunner(Deaf(make_policy('expert', contract)), ControlSettings(), TaskOptions())
    names = runner.scene_names('pick_and_place', 1)
    results = [runner.run(EpisodeJob('pick_and_place', 1, target=name)) for name in names]
    runner.close()
    assert [r.followed_instruction for r in results] == [True, False, False]
    assert len({r.acted_on for r in results}) == 1


def test_goals_are_swapped_wherever_they_name_an_object():
    assert swapped(Stack('red block', 'blue block'), 'red block', 'blue block') == Stack(
        'blue block', 'red block'
    )
    assert swapped(Move('red block', 'left'), 'red block', 'green block').direction == 'left'
    both = Sequence((Place('red block'), Place('blue block')))
    assert swapped(both, 'red block', 'green block').goals[0] == Place('green block')


def test_retargeting_keeps_scene_and_wording():
    with ArmSimulation() as arm:
        task = make_task('stack')
        for seed in range(8):
            words = task.reset(arm, seed).split()
            before = {n: p.position for n, p in arm.object_poses().items()}
            for name in [item.name for item in arm.scene_objects()]:
                task.reset(arm, seed)
                new = retargeted(task, arm, name)
                assert task.goal.target == name
                assert len(new.split()) == len(words)
                for other, position in before.items():
                    np.testing.assert_array_equal(arm.object_pose(other).position, position)
        with pytest.raises(VLAAdapterError, match='cannot be named'):
            retargeted(task, arm, 'teapot')


def test_a_policy_that_trips_the_safety_filter_ends_the_episode(contract):
    class Mad:
        needs_images = False

        def __init__(self):
            self.contract = contract

        def begin(self, *_):
            pass

        def predict(self, observation):
            return ActionChunk(np.full((8, 7), np.nan), observation.stamp, 0.1, '')

    result = evaluated(Mad(), [EpisodeJob('reach', 0)])[0]
    assert not result.success
    assert result.failure or result.refused == result.chunks > 0


def test_the_virtual_node_keeps_to_its_latency(contract):
    seen = []

    class Watch:
        def predict(self, observation):
            seen.append(observation.stamp)
            return ActionChunk(np.zeros((8, 7)), observation.stamp, 0.1, '')

    with ArmSimulation() as arm:
        node = SimulatedNode(arm, Watch(), contract, ControlSettings(latency=0.1), True, 'x')
        for _ in range(5):
            node.step()
            assert node.chunks == 0
        node.step()
        assert node.chunks == 1
        assert node.latest.images['wrist'].shape == (240, 320, 3)
        assert seen == pytest.approx([0.0, 0.1])


def test_a_replay_solves_the_episodes_it_recorded(tmp_path):
    demos = tmp_path / 'demos'
    command = [str(demos), '--task', 'reach', '--episodes', '3', '--seed', '60', '--image-size',
               '64', '--storage', 'image', '--workers', '1', '--disturb', '0',
               '--start-spread', '0.04', '--closed-start', '0']  # fmt: skip
    assert collect.main(command) == 0
    replay = ReplayPolicy(demos)
    assert replay.seeds('reach') == [60, 61, 62]
    jobs = [EpisodeJob('reach', seed) for seed in replay.seeds('reach')]
    assert all(r.success for r in evaluated(replay, jobs, latency=0.0))
    assert not evaluated(replay, [EpisodeJob('reach', 200)], latency=0.0)[0].success
    with pytest.raises(VLAAdapterError, match='no episode of task move'):
        evaluated(replay, [EpisodeJob('move', 0)])


def test_the_command_prints_a_table_and_writes_report_and_films(tmp_path, capsys):
    out = tmp_path / 'report'
    assert simulate.main(['expert', 'zero', '--task', 'reach', '--episodes', '2',
                          '--instruction-check', '1',
                          '--films', '1', '--out', str(out)]) == 0  # fmt: skip
    printed = capsys.readouterr().out
    assert '| expert | reach | 100 % [34, 100] (2/2) |' in printed
    assert 'each object named in turn' in printed
    data = json.loads((out / 'report.json').read_text())
    assert data['policies']['expert']['tasks']['reach']['success']['rate'] == 1.0
    assert data['policies']['zero']['tasks']['reach']['success']['rate'] == 0.0
    assert len(data['instruction_check']['expert']['episodes']) == 3
    assert data['policies']['expert']['episodes'][0]['seed'] == 0
    films = [path.name for path in (out / 'failures').iterdir()]
    assert films == ['zero-reach-0.gif']
    assert (out / 'report.md').read_text().strip() in printed


def test_an_interrupted_evaluation_goes_on(tmp_path, monkeypatch):
    out = tmp_path / 'report'
    command = ['zero', '--task', 'reach', '--episodes', '3', '--films', '0', '--out', str(out)]
    run, ran = EpisodeRunner.run, []

    def interrupted(self, job):
        if job.seed == 1 and len(ran) == 1:
            raise KeyboardInterrupt
        ran.append(job.seed)
        return run(self, job)

    monkeypatch.setattr(EpisodeRunner, 'run', interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate.main(command)
    with (out / 'episodes.jsonl').open('a') as file:
        file.write('{"made_with": "cut o')
    ran.append(-1)  # from here on nothing is interrupted
    assert simulate.main(command) == 0
    assert ran == [0, -1, 1, 2]
    data = json.loads((out / 'report.json').read_text())
    assert [e['seed'] for e in data['policies']['zero']['episodes']] == [0, 1, 2]
    # A complete evaluation is not taken for an interrupted one.
    assert not (out / 'episodes.jsonl').exists()


def test_episodes_of_another_setting_or_version_are_run_again(tmp_path):
    job = EpisodeJob('reach', 3, film=True)
    result = EpisodeResult('reach', 3, 'reach', ('red block',), None, 3, True, 1.0, 2, 0, '', 0.1)
    EpisodeLog(tmp_path, {'latency': 0.05}).add(job, result)
    assert EpisodeLog(tmp_path, {'latency': 0.05}).find(replace(job, film=False)) == result
    assert EpisodeLog(tmp_path, {'latency': 0.05}).find(replace(job, target='ball')) is None
    assert EpisodeLog(tmp_path, {'latency': 0.1}).find(job) is None


def test_what_made_a_report_is_named():
    made = provenance('shipped', 'alicia_d_sim')
    assert made['fingerprint'] == checkpoint_fingerprint(made['checkpoint'])
    assert made['robot'] == 'alicia_d_sim' and made['versions']['vla_adapter_ros']
    assert made['revision'] == code_revision() and made['code'] == code_fingerprint()
    through_nodes = provenance('expert', 'alicia_d', nodes=True)
    assert through_nodes['robot'] == 'alicia_d' and through_nodes['contract'] != made['contract']
    assert through_nodes['code'] == code_fingerprint(nodes=True) != made['code']


@pytest.mark.slow(reason='starts two processes that import the simulation')
def test_workers_give_the_same_results(tmp_path):
    texts = []
    for workers in ('1', '2'):
        out = tmp_path / workers
        assert simulate.main(['random', '--task', 'move', '--episodes', '4', '--films', '0',
                              '--workers', workers, '--out', str(out)]) == 0  # fmt: skip
        data = json.loads((out / 'report.json').read_text())
        episodes = data['policies']['random']['episodes']
        texts.append([{**episode, 'inference': 0} for episode in episodes])
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['nonesuch'], "policy 'nonesuch': expected expert, zero, random"),
        (['replay:/nonexistent'], 'no such file or folder'),
        (['expert', '--robot', 'nonesuch'], 'nonesuch'),
    ],
)
def test_bad_requests_are_refused_in_one_line(arguments, reason, capsys):
    assert simulate.main([*arguments, '--episodes', '1', '--task', 'reach']) == 1
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith('simulate:')]
    assert len(lines) == 1 and reason in lines[0]


def test_bad_settings_are_refused(capsys):
    for arguments in (['--episodes', '0'], ['--execute-steps', '9']):
        with pytest.raises(SystemExit):
            simulate.main(['expert', *arguments])
        assert 'error:' in capsys.readouterr().err


def test_the_table_has_a_row_for_each_task_and_policy():
    result = EpisodeResult('reach', 0, 'reach the red block', ('red block',), 'blue block', 3,
                           False, 4.0, 5, 0, '', 0.01)  # fmt: skip
    table = success_table({'a': [result], 'b': [result, replace(result, task='move')]})
    assert len(table.splitlines()) == 2 + 3
    names = [row.split('|')[2].strip() for row in table.splitlines()[2:]]
    assert names == ['reach', 'reach', 'left or right']
    assert '0 % [0, 79] (0/1)' in table


def test_a_policy_that_cannot_be_loaded_ends_the_command_with_workers_too(capfd):
    command = ['nowhere', '--task', 'reach', '--episodes', '2', '--workers', '2']
    assert simulate.main(command) == 1
    error = capfd.readouterr().err
    assert "policy 'nowhere': expected expert" in error
    assert 'simulate: a worker process ended early; its error is above' in error
