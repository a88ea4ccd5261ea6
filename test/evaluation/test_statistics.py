# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Intervals are Wilson's: right against published values and against coverage."""

import math

import numpy as np
import pytest

from vla_adapter_ros.evaluation.statistics import Rate, format_table, wilson_interval


@pytest.mark.parametrize(
    ('successes', 'trials', 'low', 'high'),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3 (score).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_the_published_ones(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_intervals_cover_the_true_rate_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    for rate in (0.1, 0.5, 0.95):
        hits = rng.binomial(100, rate, 4000)
        covered = np.mean([low <= rate <= high for low, high in
                           (wilson_interval(int(hit), 100) for hit in hits)])  # fmt: skip
        assert 0.93 < covered < 0.98


def test_certain_rates_keep_an_honest_other_end():
    assert wilson_interval(100, 100)[1] == 1.0
    assert 0.95 < wilson_interval(100, 100)[0] < 0.97
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(3, 10, 0.5)
    assert wilson_interval(3, 10)[0] < low < 0.3 < high < wilson_interval(3, 10)[1]


@pytest.mark.parametrize('counts', [(-1, 10), (11, 10), (1, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match='successes'):
        wilson_interval(*counts)
    with pytest.raises(ValueError, match='confidence'):
        wilson_interval(1, 2, 1.0)


def test_rates_say_what_they_are():
    rate = Rate.of([True, True, False, True])
    assert (rate.successes, rate.trials, rate.value) == (3, 4, 0.75)
    assert str(rate) == '75 % [30, 95] (3/4)'
    assert rate.to_dict()['interval_95'] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert math.isnan(Rate(0, 0).value)
    assert str(Rate(0, 0)) == '-'
    assert Rate(0, 0).to_dict()['rate'] is None


def test_tables_are_aligned():
    lines = format_table(['a', 'long name'], [['1', '2'], ['three', '4']]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].startswith('|--')
