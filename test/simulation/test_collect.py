# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Demonstrations: clean labels under noise, a readable dataset, resumed without repeats."""

import json
from itertools import pairwise

import numpy as np
import pytest

from vla_adapter_ros.data.lerobot.writer import final_keys
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.simulation import collect
from vla_adapter_ros.simulation.arm_simulation import ArmSimulation
from vla_adapter_ros.simulation.demonstration import (
    Disturbance,
    demonstrate,
    demonstrate_in_turn,
)
from vla_adapter_ros.simulation.expert.expert import ExpertPolicy
from vla_adapter_ros.simulation.goals import scene_state
from vla_adapter_ros.simulation.instructions import parse_instruction
from vla_adapter_ros.simulation.session import TaskSession
from vla_adapter_ros.simulation.tasks import make_task, random_goal
from vla_adapter_ros.simulation.wordings import describe


@pytest.fixture(scope='module')
def simulation():
    with ArmSimulation() as arm:
        yield arm


def record(simulation, disturbance, seed=7, task='pick_and_place', tail=4):
    session = TaskSession(simulation, make_task(task))
    expert = ExpertPolicy(simulation.object_poses)
    return demonstrate(session, expert, seed, disturbance, tail)


def run(output, *extra):
    command = [str(output), '--task', 'reach', '--image-size', '64', '--storage', 'image',
               '--workers', '1', '--seed', '40', *extra]  # fmt: skip
    return collect.main(command)


def test_noise_moves_the_arm_but_not_the_recorded_actions(simulation):
    calm = record(simulation, None)
    noisy = record(simulation, Disturbance(chance=1.0, size=0.03))
    assert calm.success and noisy.success
    assert calm.disturbed == 0 < noisy.disturbed
    first = calm.observations[0], noisy.observations[0]
    np.testing.assert_array_equal(first[0].proprioception, first[1].proprioception)
    assert first[0].instruction == first[1].instruction
    # The state leaves what the recorded actions asked for only where noise was added.
    gaps = {}
    for name, demo in (('calm', calm), ('noisy', noisy)):
        states = np.array([seen.proprioception[:6] for seen in demo.observations])
        gaps[name] = np.abs(states[1:] - np.array(demo.actions)[:-1, :6]).max()
    assert gaps['calm'] < 0.02 < gaps['noisy']


def test_the_tail_shows_what_to_do_afterwards(simulation):
    short, long = (record(simulation, None, task='reach', tail=tail) for tail in (1, 9))
    assert len(long.actions) == len(short.actions) + 8
    assert np.abs(np.diff(np.array(long.actions)[-5:], axis=0)).max() < 1e-2


def test_one_command_makes_a_readable_dataset_and_goes_on_where_it_stopped(tmp_path, capsys):
    output = tmp_path / 'demos'
    assert run(output, '--episodes', '3') == 0
    assert '3 kept' in capsys.readouterr().out
    source = open_source(output)
    assert final_keys(output) == [f'reach-{seed:08d}' for seed in (40, 41, 42)]
    assert source.cameras == ('third_person', 'wrist')
    assert source.contract.name == 'alicia_d_sim'
    vectors = source.states_actions(0)
    assert vectors.state.shape == vectors.actions.shape == (source.episodes[0].length, 7)
    image = next(iter(source.images(0, 'wrist', [0])))
    assert image.shape == (64, 64, 3) and image.std() > 10
    assert run(output, '--episodes', '5', '--append') == 0
    assert '2 kept' in (printed := capsys.readouterr().out) and '3 there before' in printed
    assert len(open_source(output).episodes) == 5


@pytest.mark.slow(reason='starts two processes that import the simulation')
def test_two_workers_make_the_same_episodes_as_one(tmp_path):
    states = {}
    for workers in ('1', '2'):
        output = tmp_path / workers
        assert run(output, '--episodes', '4', '--workers', workers) == 0
        source = open_source(output)
        states[workers] = {
            episode.key: source.states_actions(i).state
            for i, episode in enumerate(source.episodes)
        }
    assert states['1'].keys() == states['2'].keys()
    for key, state in states['1'].items():
        np.testing.assert_array_equal(state, states['2'][key])


def test_the_metadata_tells_how_an_episode_was_made(tmp_path):
    assert run(tmp_path / 'demos', '--episodes', '1', '--distractors', '1') == 0
    found = [
        json.loads(line)
        for path in (tmp_path / 'demos').rglob('*.jsonl')
        for line in path.read_text().splitlines()
    ]
    metadata = next(item['metadata'] for item in found if item.get('key') == 'reach-00000040')
    assert metadata['seed'] == 40 and metadata['task'] == 'reach' and metadata['success']
    assert metadata['options']['distractors'] == 1


def test_bad_command_lines_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path, '--episodes', '0')
    assert 'at least 1' in capsys.readouterr().err
    assert run(tmp_path / 'a', '--episodes', '1', '--robot', 'nonesuch') == 1
    message = capsys.readouterr().err
    assert 'nonesuch' in message and message.count('\n') == 1
    assert run(tmp_path / 'b', '--episodes', '1') == 0
    capsys.readouterr()
    assert run(tmp_path / 'b', '--episodes', '1') == 1
    assert 'already holds a dataset' in capsys.readouterr().err


def test_training_seeds_are_not_evaluation_seeds():
    assert collect.make_parser().parse_args(['out']).seed >= 1_000_000


def test_instructions_in_turn_begin_where_the_last_one_left_the_arm(simulation):
    session = TaskSession(simulation, make_task('tabletop'))
    expert = ExpertPolicy(simulation.object_poses)
    records = demonstrate_in_turn(session, expert, seed=3, count=3)
    assert [demo.success for demo in records] == [True, True, True]
    for before, after in pairwise(records):
        last, first = before.observations[-1], after.observations[0]
        gap = np.abs(first.proprioception - last.proprioception)
        assert gap.max() < 0.05 < last.stamp
    assert len({demo.observations[0].instruction for demo in records}) > 1


def test_a_goal_drawn_for_a_table_is_one_that_is_not_done(simulation):
    session = TaskSession(simulation, make_task('tabletop'))
    session.reset(1)
    state = scene_state(simulation)
    rng = np.random.default_rng(0)
    goals = [random_goal(state, rng) for _ in range(40)]
    assert not any(goal.done(state, state) for goal in goals)
    assert {type(goal).__name__ for goal in goals} == {'Reach', 'Move', 'Place', 'Stack'}
    for goal in goals:
        assert parse_instruction(describe(goal), simulation.object_names) == goal


@pytest.mark.slow(reason='whole demonstrations')
def test_a_series_is_kept_as_episodes_of_its_own(tmp_path, capsys):
    output = tmp_path / 'series'
    command = [str(output), '--task', 'tabletop', '--image-size', '64', '--storage', 'image']
    command += ['--workers', '1', '--seed', '3', '--episodes', '1']
    assert collect.main(command) == 0
    assert '3 kept' in capsys.readouterr().out
    assert final_keys(output) == [f'tabletop-00000003{turn}' for turn in ('', '-1', '-2')]
    assert collect.main([*command, '--append']) == 0
    assert '1 there before' in capsys.readouterr().out
