# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import math
import tracemalloc

import numpy as np
import pytest

from vla_adapter_ros.motion.latency import LatencyMonitor, SlidingWindow


@pytest.mark.parametrize('count', [1, 2, 7, 100])
@pytest.mark.parametrize('percent', [0.0, 50.0, 95.0, 99.0, 100.0])
def test_percentile_is_the_nearest_rank(count, percent):
    values = np.random.default_rng(count).normal(size=count)
    window = SlidingWindow(100)
    for value in values:
        window.add(value)
    expected = np.percentile(values, percent, method='inverted_cdf')
    assert window.percentile(percent) == expected


def test_only_the_last_values_count():
    window = SlidingWindow(5)
    for value in [100.0] * 20 + [1.0, 2.0, 3.0, 4.0, 5.0]:
        window.add(value)
    assert window.percentile(50.0) == 3.0 and window.percentile(100.0) == 5.0


def test_percentiles_leave_the_order_of_arrival_alone():
    window = SlidingWindow(3)
    for value in (9.0, 1.0, 5.0):
        window.add(value)
    assert window.percentile(50.0) == 5.0
    window.add(7.0)
    # The 9 went, not some value that a partition had moved to its place.
    assert window.percentile(100.0) == 7.0


def test_empty_is_nan_and_bad_values_are_ignored():
    window = SlidingWindow()
    assert math.isnan(window.percentile(50.0))
    window.add(math.nan)
    window.add(math.inf)
    assert window.count == 0


def test_cold_start_is_left_out_of_each_stage():
    monitor = LatencyMonitor(skip=1)
    for seconds in (5.0, 0.1, 0.1):
        monitor.add_all({'model': seconds, 'decode': seconds / 10})
    assert monitor.percentile('model', 99.0) == pytest.approx(0.1)
    assert monitor.summary()['decode'] == pytest.approx((0.01, 0.01, 0.01))
    assert math.isnan(monitor.percentile('unknown', 50.0))


def test_measuring_allocates_nothing_that_stays():
    window = SlidingWindow(200)
    for i in range(300):
        window.add(i * 0.001)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(20_000):
        window.add(i * 0.001)
    window.percentile(95.0)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 2_000
