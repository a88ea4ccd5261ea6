# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Normalisation formulas, statistics files and gripper conventions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla_adapter_ros.errors import CheckpointError, ObservationError
from vla_adapter_ros.processing.grippers import (
    calvin_commands,
    calvin_training_actions,
    libero_commands,
    libero_training_actions,
)
from vla_adapter_ros.processing.statistics import Normaliser, Statistics, VectorStatistics

Q01 = np.array([-0.54, -0.87, 0.0])
Q99 = np.array([0.94, 0.83, 1.0])
MASK = np.array([True, True, False])


def vector(**changes):
    values = {
        'mean': np.array([0.1, 0.2, 0.3]),
        'std': np.array([1.0, 2.0, 0.5]),
        'min': np.array([-1.0, -2.0, 0.0]),
        'max': np.array([3.0, 2.0, 1.0]),
        'q01': Q01,
        'q99': Q99,
        'mask': MASK,
    }
    return VectorStatistics(**(values | changes))


def entry():
    return {'action': vector().to_dict(), 'proprio': vector(mask=None).to_dict()}


def test_denormalise_is_the_official_formula_and_leaves_masked_dimensions():
    values = np.array([[0.5, -1.2, 0.7], [0.0, 3.0, -9.0]])
    result = Normaliser(vector()).denormalise(values)
    expected = 0.5 * (values + 1) * (Q99 - Q01 + 1e-8) + Q01
    expected[:, 2] = values[:, 2]
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.float64


def test_normalise_is_the_official_formula_clipped():
    values = np.array([0.3, 5.0, 0.7])
    result = Normaliser(vector()).normalise(values)
    first = 2 * (0.3 + 0.54) / (0.94 + 0.54 + 1e-8) - 1
    np.testing.assert_array_equal(result, [first, 1.0, 0.7])


def test_what_a_mask_excludes_is_clipped_as_in_the_official_evaluation():
    values = np.array([-0.3, 9.0, 1.7])
    scaled = np.where(MASK, 2 * (values - Q01) / (Q99 - Q01 + 1e-8) - 1, values)
    np.testing.assert_array_equal(Normaliser(vector()).normalise(values), np.clip(scaled, -1, 1))
    # Ours and official training keep them.
    assert Normaliser(vector(), zero_constant=True).normalise(values)[2] == 1.7


def test_bounds_use_minimum_and_maximum():
    result = Normaliser(vector(), 'bounds').normalise([1.0, 0.0, 0.0])
    np.testing.assert_allclose(result, 0.0, atol=1e-8)


def test_normal_uses_mean_and_deviation_and_does_not_clip():
    normaliser = Normaliser(vector(), 'normal')
    np.testing.assert_allclose(normaliser.normalise([10.1, 0.2, 4.0]), [10.0, 0.0, 4.0])
    np.testing.assert_allclose(normaliser.denormalise([10.0, 0.0, 4.0]), [10.1, 0.2, 4.0])


@pytest.mark.parametrize('mode', ('bounds_q99', 'bounds', 'normal'))
@settings(deadline=None)  # a busy machine is no error
@given(values=arrays(float, (4, 3), elements=st.floats(-0.5, 0.8)))
def test_denormalise_undoes_normalise_inside_the_bounds(mode, values):
    normaliser = Normaliser(vector(), mode)
    back = normaliser.denormalise(normaliser.normalise(values))
    np.testing.assert_allclose(back, values, atol=1e-12)


def test_constant_dimension_is_zero_in_training_and_minus_one_in_official_evaluation():
    same = np.full(3, 0.4)
    still = vector(min=same, max=same, q01=same, q99=same, mask=None)
    assert (Normaliser(still).normalise(same) == -1.0).all()
    assert (Normaliser(still, zero_constant=True).normalise(same) == 0.0).all()
    back = Normaliser(still, zero_constant=True).denormalise(np.zeros(3))
    np.testing.assert_allclose(back, 0.4, atol=1e-7)


@pytest.mark.parametrize('mode', ['bounds_q99', 'bounds', 'normal'])
def test_a_constant_dimension_that_is_not_normalised_comes_back_as_it_was(mode):
    """A gripper that is open in every demonstration must not be learned as closed."""
    open_gripper = vector(min=np.array([-1.0, -2.0, 1.0]), max=np.array([3.0, 2.0, 1.0]))
    normaliser = Normaliser(open_gripper, mode, zero_constant=True)
    values = np.array([0.1, 0.2, 1.0])
    assert normaliser.normalise(values)[2] == 1.0
    np.testing.assert_allclose(normaliser.denormalise(normaliser.normalise(values)), values)


def test_statistics_of_data_are_quantiles_over_all_rows():
    rows = np.linspace(0.0, 100.0, 101)[:, None]
    found = VectorStatistics.from_data(rows)
    assert (found.q01, found.q99, found.min, found.max) == (1.0, 99.0, 0.0, 100.0)


def test_wrong_length_is_refused():
    with pytest.raises(ObservationError, match='3 dimensions'):
        Normaliser(vector()).normalise(np.zeros(4))


def test_unknown_mode_and_missing_mean_are_refused():
    with pytest.raises(CheckpointError, match='q99'):
        Normaliser(vector(), 'quantiles')
    with pytest.raises(CheckpointError, match='finite'):
        Normaliser(vector(mean=np.full(3, np.nan)), 'normal')


def test_statistics_of_one_dataset_need_no_key():
    data = {'libero_object_no_noops': entry() | {'num_transitions': 5}}
    statistics = Statistics.from_dict(json.loads(json.dumps(data)))
    assert (statistics.key, statistics.num_transitions) == ('libero_object_no_noops', 5)
    np.testing.assert_array_equal(statistics.action.mask, MASK)
    assert statistics.proprio.mask is None
    assert Statistics.from_dict(statistics.to_dict()).to_dict() == statistics.to_dict()


def test_several_keys_and_none_chosen_are_refused_and_listed():
    data = {'one': entry(), 'two': entry()}
    with pytest.raises(CheckpointError, match=r"\['one', 'two'\]"):
        Statistics.from_dict(data)
    assert Statistics.from_dict(data, 'two').key == 'two'
    with pytest.raises(CheckpointError, match=r"'three'; there are \['one', 'two'\]"):
        Statistics.from_dict(data, 'three')


def test_libero_suite_may_be_named_without_no_noops():
    data = {'libero_goal_no_noops': entry(), 'other': entry()}
    assert Statistics.from_dict(data, 'libero_goal').key == 'libero_goal_no_noops'


@pytest.mark.parametrize(
    ('damage', 'complaint'),
    (
        (lambda e: e.pop('proprio'), 'proprio'),
        (lambda e: e['action'].clear(), 'q99'),
        (lambda e: e['action']['q01'].append(1.0), r'action.q01: got shape \(4,\)'),
        (lambda e: e['action'].update(mask=[True]), r'action.mask: got shape \(1,\)'),
    ),
)
def test_damaged_statistics_are_refused_naming_the_part(damage, complaint):
    data = entry()
    damage(data)
    with pytest.raises(CheckpointError, match=complaint):
        Statistics.from_dict({'set': data})


def test_file_without_minimum_serves_quantiles_only():
    data = {k: v for k, v in vector().to_dict().items() if k in ('q01', 'q99', 'mask')}
    found = VectorStatistics.from_dict(data, 'here')
    assert found.to_dict() == data
    Normaliser(found, 'bounds_q99')
    with pytest.raises(CheckpointError, match='no finite min and max'):
        Normaliser(found, 'bounds')


def test_empty_statistics_are_refused():
    with pytest.raises(CheckpointError, match='empty'):
        Statistics.from_dict({})


def with_gripper(*values):
    actions = np.full((len(values), 7), 0.25)
    actions[:, -1] = values
    return actions


@pytest.mark.parametrize(
    ('convention', 'given_values', 'expected'),
    (
        (libero_commands, (1.0, 0.6, 0.5, 0.4, 0.0), (-1, -1, 0, 1, 1)),
        (calvin_commands, (1.0, 0.6, 0.5, 0.4, 0.0), (1, 1, -1, -1, -1)),
        (libero_training_actions, (-1.0, 0.0, 1.0), (1, 1, 0)),
        (calvin_training_actions, (-1.0, 0.0, 1.0), (0, 0, 1)),
    ),
)
def test_gripper_conventions(convention, given_values, expected):
    actions = with_gripper(*given_values)
    result = convention(actions)
    np.testing.assert_array_equal(result[:, -1], expected)
    np.testing.assert_array_equal(result[:, :-1], 0.25)
    np.testing.assert_array_equal(actions[:, -1], given_values)
