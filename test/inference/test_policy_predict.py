# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy from observation to chunk, with random weights: units, timing, provenance, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from support.policy_cases import ONE_THREAD, action_tolerance, alicia, observation
from vla_adapter_ros.errors import CheckpointError, InstructionError, ObservationError
from vla_adapter_ros.inference.policy import Policy
from vla_adapter_ros.processing.statistics import VectorStatistics


@pytest.fixture(scope='module')
def policy():
    return Policy.random(alicia(), seed=0, settings=ONE_THREAD)


def test_chunk_has_contract_shape_and_carries_the_observation(policy):
    chunk = policy.predict(observation())
    assert chunk.actions.shape == (8, 7)
    assert chunk.actions.dtype == np.float64
    assert np.isfinite(chunk.actions).all()
    assert chunk.observation_stamp == 12.5
    assert chunk.step_period == policy.contract.step_period == 0.1
    assert chunk.instruction == 'pick up the red block'
    assert (policy.chunk_size, policy.action_space) == (8, 'joint_position')


def test_latencies_add_up(policy):
    latencies = policy.predict(observation()).latencies
    assert set(latencies) == {'preprocess', 'model', 'total'}
    assert min(latencies.values()) > 0
    parts = latencies['preprocess'] + latencies['model']
    assert parts == pytest.approx(latencies['total'], rel=1e-6)


def test_provenance_says_where_the_actions_come_from(policy):
    provenance = policy.predict(observation()).provenance
    assert provenance['checkpoint'] == 'random weights, seed 0'
    assert (provenance['device'], provenance['dtype']) == ('cpu', 'float32')


def test_actions_are_the_networks_in_physical_units(policy, monkeypatch):
    seen = observation()
    normalised = policy.engine.run(policy.pipeline(seen)).astype(np.float64)
    monkeypatch.setattr(policy.engine, 'run_many', lambda _: normalised.astype(np.float32)[None])
    bounds = policy.statistics.action
    expected = 0.5 * (normalised + 1) * (bounds.q99 - bounds.q01 + 1e-8) + bounds.q01
    np.testing.assert_array_equal(policy.predict(seen).actions, expected)


@pytest.fixture(scope='module')
def tolerance(policy):
    return action_tolerance(policy, observation())


@pytest.mark.parametrize('change', ('third_person', 'wrist', 'proprioception', 'instruction'))
def test_every_input_changes_the_actions(policy, tolerance, change):
    seen, other = observation(), observation(1)
    if change in seen.images:
        varied = {'images': {**seen.images, change: other.images[change]}}
    elif change == 'instruction':
        varied = {'instruction': 'push the blue block'}
    else:
        varied = {'proprioception': other.proprioception}
    base = policy.predict(seen).actions
    actions = policy.predict(dataclasses.replace(seen, **varied)).actions
    assert (np.abs(actions - base) > 2 * tolerance).any()
    assert (np.abs(policy.predict(seen).actions - base) < tolerance).all()


def test_same_seed_same_actions_other_seed_others(policy, tolerance):
    seen = observation()
    again = Policy.random(alicia(), seed=0, settings=ONE_THREAD).predict(seen).actions
    other = Policy.random(alicia(), seed=1, settings=ONE_THREAD).predict(seen).actions
    base = policy.predict(seen).actions
    assert (np.abs(again - base) < tolerance).all()
    assert np.abs(other - base).max() > 0.01


def test_several_observations_get_the_chunks_that_each_gets_alone(policy, tolerance):
    texts = ('pick up the red block', 'push', 'pick up the red block and put it in the box')
    seen = [observation(i, instruction=text, stamp=float(i)) for i, text in enumerate(texts)]
    chunks = policy.predict_many(seen)
    assert [chunk.instruction for chunk in chunks] == list(texts)
    assert [chunk.observation_stamp for chunk in chunks] == [0.0, 1.0, 2.0]
    alone = [policy.predict(each).actions for each in seen]
    for chunk, expected in zip(chunks, alone, strict=True):
        assert chunk.actions.shape == (8, 7)
        assert (np.abs(chunk.actions - expected) < 2 * tolerance).all()
    assert (np.abs(alone[0] - alone[1]) > 2 * tolerance).any()
    assert policy.predict_many([]) == []


@pytest.mark.parametrize('space', ('joint_position', 'joint_delta', 'ee_delta'))
def test_random_movements_are_plausible_in_every_action_space(space):
    contract = alicia(action_space=space)
    policy = Policy.random(contract, settings=ONE_THREAD)
    actions = np.concatenate([policy.predict(observation(s)).actions for s in range(4)])
    assert actions.std(axis=0).min() > 1e-4
    if space == 'joint_position':
        assert (actions[:, :-1] >= contract.lower[:-1]).all()
        assert (actions[:, :-1] <= contract.upper[:-1]).all()
    else:
        assert np.abs(actions[:, :-1]).max() < 0.5


def test_camera_rotation_of_the_contract_is_applied(tolerance):
    cameras = alicia().to_dict()['cameras']
    cameras['wrist']['rotate'] = 180
    turned = Policy.random(alicia(cameras=cameras), settings=ONE_THREAD)
    plain = Policy.random(alicia(), settings=ONE_THREAD)
    seen = observation()
    flipped = {**seen.images, 'wrist': np.ascontiguousarray(seen.images['wrist'][::-1, ::-1])}
    actions = turned.predict(seen).actions
    expected = plain.predict(dataclasses.replace(seen, images=flipped)).actions
    assert (np.abs(actions - expected) < tolerance).all()


def test_bad_observation_is_refused_and_the_next_one_works(policy):
    with pytest.raises(ObservationError, match='wrist'):
        policy.predict(observation(images={'third_person': np.zeros((48, 64, 3), np.uint8)}))
    with pytest.raises(InstructionError):
        policy.predict(observation(instruction=' '))
    assert policy.predict(observation()).actions.shape == (8, 7)


def test_unknown_words_are_named(policy):
    assert policy.unknown_words('Pick up the RED block') == []
    assert policy.unknown_words('pick up the flurb') == ['flurb']
    with pytest.raises(InstructionError):
        policy.unknown_words('')


def test_a_mistyped_word_acts_as_the_word_that_is_meant(policy):
    typed = policy.predict(observation(instruction='Pick up the RED blocck'))
    meant = policy.predict(observation(instruction='pick up the red block'))
    np.testing.assert_array_equal(typed.actions, meant.actions)
    assert policy.read_as('Pick up the RED blocck') == {'blocck': 'block'}
    other = policy.predict(observation(instruction='pick up the red flurb'))
    assert np.abs(other.actions - meant.actions).max() > 0


def test_policy_of_one_camera(policy):
    cameras = {'third_person': alicia().to_dict()['cameras']['third_person']}
    single = Policy.random(alicia(cameras=cameras), settings=ONE_THREAD)
    seen = observation()
    images = {'third_person': seen.images['third_person']}
    assert single.predict(dataclasses.replace(seen, images=images)).actions.shape == (8, 7)


def test_parts_that_do_not_fit_are_refused(policy):
    other = Policy.random(alicia(action_space='ee_delta'), settings=ONE_THREAD)
    short = VectorStatistics.from_data(np.random.default_rng(0).normal(size=(9, 6)))
    wrong = dataclasses.replace(other.statistics, action=short)
    with pytest.raises(CheckpointError, match='action dimensions: got 6, the network has 7'):
        Policy(policy.engine, policy.pipeline, wrong, None, 0.1, {})
