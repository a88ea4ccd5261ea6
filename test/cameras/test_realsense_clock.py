# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Camera time to host time from arrivals alone."""

from __future__ import annotations

import numpy as np
import pytest

from vla_adapter_ros.cameras.realsense import ClockOffset

OFFSET = 812.5  # host minus camera [s]
LEAST_DELAY = 0.004


def arrivals(count, rng, drift=0.0):
    """Camera times, and arrivals with a least delay and a long tail."""
    camera = np.arange(count) / 30.0
    delay = LEAST_DELAY + rng.exponential(0.004, count)
    return camera, camera * (1 + drift) + OFFSET + delay


def test_jitter_of_the_bus_is_removed():
    camera, arrival = arrivals(900, np.random.default_rng(1))
    clock = ClockOffset()
    stamps = np.array([clock.to_host(c, a) for c, a in zip(camera, arrival)])
    error = stamps - (camera + OFFSET)
    settled = error[90:]
    assert np.ptp(arrival - camera) > 0.02
    assert np.ptp(settled) < 0.001
    # Never before it was taken, and at most the least delay late.
    assert np.all(error > 0)
    assert np.all(settled < LEAST_DELAY + 0.001)


def test_drift_is_followed():
    camera, arrival = arrivals(18_000, np.random.default_rng(2), drift=100e-6)
    clock = ClockOffset(window=30.0)
    stamps = np.array([clock.to_host(c, a) for c, a in zip(camera, arrival)])
    true = camera * (1 + 100e-6) + OFFSET
    # 100 ppm over ten minutes is 60 ms; within one window it is 3 ms.
    assert np.max(np.abs(stamps - true)[900:]) < 0.003 + LEAST_DELAY + 0.001


def test_late_frame_keeps_its_true_age():
    clock = ClockOffset()
    for i in range(30):
        clock.to_host(i / 30, i / 30 + OFFSET + LEAST_DELAY)
    stamp = clock.to_host(1.0, 1.0 + OFFSET + 2.5)  # held up for 2.5 s
    assert stamp == pytest.approx(1.0 + OFFSET + LEAST_DELAY)
    assert clock.resets == 0


@pytest.mark.parametrize('restart', [0.0, 5000.0], ids=['wrapped', 'set forward'])
def test_camera_clock_that_jumps_is_noticed(restart):
    clock = ClockOffset()
    for i in range(30):
        clock.to_host(100 + i / 30, i / 30 + OFFSET)
    stamp = clock.to_host(restart, 1.0 + OFFSET + LEAST_DELAY)
    assert clock.resets == 1
    assert stamp == pytest.approx(1.0 + OFFSET + LEAST_DELAY)


def test_offset_is_known_after_the_first_frame():
    clock = ClockOffset()
    assert clock.offset is None
    clock.to_host(1.0, 11.0)
    assert clock.offset == pytest.approx(10.0)
