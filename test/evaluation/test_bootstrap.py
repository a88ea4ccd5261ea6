# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Bootstrap intervals: known cases, what widens them and what narrows them."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.evaluation.bootstrap import crossed_interval

TASKS = ['reach'] * 60 + ['stack'] * 40


def width(values, strata=TASKS):
    low, high = crossed_interval(values, strata)
    return high - low


def solved(seed_rates, rng):
    """Outcomes of 100 scenes by networks that solve these fractions of them."""
    return np.array([rng.random(100) < rate for rate in seed_rates], float)


def test_networks_that_never_differ_have_no_difference():
    assert crossed_interval(np.zeros((3, 100)), TASKS) == (0, 0)


def test_the_interval_of_a_network_that_mostly_wins_lies_above_zero_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    difference = solved([0.8] * 3, rng) - solved([0.4] * 3, rng)
    low, high = crossed_interval(difference, TASKS)
    assert 0.2 < low < difference.mean() < high < 0.6
    assert (low, high) == crossed_interval(difference, TASKS)
    assert crossed_interval(np.ones((3, 100)), TASKS) == (1, 1)


def test_one_row_gives_the_interval_of_the_columns_alone():
    values = np.random.default_rng(1).normal(0.3, 1, (1, 400))
    error = 1.96 * values.std() / np.sqrt(400)  # normal approximation
    expected = values.mean() + np.array([-error, error])
    np.testing.assert_allclose(crossed_interval(values, ['reach'] * 400), expected, atol=0.01)


def test_one_column_gives_the_interval_of_the_rows_alone():
    values = np.random.default_rng(1).normal(0.3, 1, (400, 1))
    error = 1.96 * values.std() / np.sqrt(400)
    expected = values.mean() + np.array([-error, error])
    np.testing.assert_allclose(crossed_interval(values, ['reach']), expected, atol=0.01)


def test_differences_between_training_seeds_widen_the_interval():
    alike, different = (solved(rates, np.random.default_rng(2)) for rates in
                        ([0.5, 0.5, 0.5], [0.2, 0.5, 0.8]))  # fmt: skip
    assert width(different) > 1.5 * width(alike)


def test_pairing_narrows_the_interval_where_both_networks_fail_in_the_same_scenes():
    hard = np.random.default_rng(3).random(100) < 0.5
    reference = np.tile(~hard, (3, 1)).astype(float)
    network = reference.copy()
    network[:, np.flatnonzero(hard)[:5]] = 1.0  # solves five more
    paired = width(network - reference)
    assert paired < 0.5 * np.hypot(width(network), width(reference))


def test_differences_between_tasks_do_not_widen_the_interval():
    values = np.tile([1.0] * 60 + [0.0] * 40, (3, 1))
    assert width(values) == 0
    assert width(values, ['any'] * 100) == pytest.approx(0.19, abs=0.01)  # 3.92 √(0.6 · 0.4 / 100)
