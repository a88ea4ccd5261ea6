# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.latest_value import InputMonitor, LatestValue


def at(stamp, now):
    """A message stamped `stamp` that arrives at `now`; both clocks agree."""
    return Arrival.of(stamp, now, now)


def camera():
    return LatestValue('wrist image', max_age=0.2)


def test_newest_value_is_kept():
    image = camera()
    image.receive('first', at(1.0, 1.01))
    image.receive('second', at(1.03, 1.04))
    assert image.value == 'second' and image.arrival.stamp == 1.03
    assert image.age(1.1) == pytest.approx(0.07)


def test_reason_names_the_input_and_both_figures():
    image = camera()
    assert image.problem(5.0).text == 'no wrist image yet'
    image.receive('x', at(1.0, 1.0))
    assert image.problem(1.1) is None
    problem = image.problem(1.52)
    assert problem.text == 'stale wrist image 0.52 s > 0.20 s'
    assert problem.kind == 'stale wrist image'


def test_old_stamp_is_stale_even_if_it_just_arrived():
    image = camera()
    image.receive('x', at(1.0, 2.0))
    assert 'stale wrist image 1.00 s' in image.problem(2.0).text


def test_missing_stamp_leaves_the_arrival():
    image = camera()
    image.receive('x', at(0.0, 500.0))
    assert image.problem(500.1) is None
    assert image.problem(500.3) is not None


def test_stamp_in_the_future_is_a_clock_that_differs():
    image = camera()
    image.receive('x', at(12.0, 10.0))
    assert image.problem(10.0).text == 'wrist image stamped 2.00 s in the future: clocks differ'


@pytest.mark.parametrize('step', [-3600.0, -0.4, 0.4, 3600.0])
def test_a_step_of_the_robots_clock_costs_at_most_the_messages_under_way(step):
    image = camera()
    image.receive('before', Arrival.of(9000.0, 9000.0, 5.0))
    # Stamped before the clock was set, received after it; then stamps of the new time.
    image.receive('under way', Arrival.of(9000.03, 9000.04 + step, 5.04))
    assert image.problem(5.04) is None and image.age(5.04) == pytest.approx(0.04)
    assert image.receive('after', Arrival.of(9000.07 + step, 9000.08 + step, 5.08))
    assert image.value == 'after' and image.age(5.08) == pytest.approx(0.01)


def test_a_message_that_is_older_than_the_one_before_is_left_out():
    image = camera()
    image.receive('new', at(1.10, 1.11))
    assert not image.receive('old', at(1.05, 1.12))
    assert image.value == 'new'


def test_rate_and_jitter_are_measured():
    image = camera()
    rng = np.random.default_rng(0)
    for i in range(60):
        image.receive(i, at(i / 30.0, i / 30.0 + rng.normal(0.0, 0.002)))
    report = image.report(59 / 30.0)
    assert report.rate == pytest.approx(30.0, rel=0.03)
    assert 0.001 < report.jitter < 0.006
    assert report.expected_rate == pytest.approx(30.0) and image.count == 60


def test_lost_frames_show_although_the_publisher_states_no_rate():
    image = camera()
    rng = np.random.default_rng(0)
    for i in range(120):
        if rng.random() < 0.6:
            image.receive(i, at(i / 30.0, i / 30.0 + 0.004))
    report = image.report(4.0)
    assert report.expected_rate == pytest.approx(30.0, rel=0.02)
    assert report.rate == pytest.approx(18.0, rel=0.2)


def test_rate_falls_while_nothing_comes():
    image = camera()
    for i in range(60):
        image.receive(i, at(i / 30.0, i / 30.0))
    rates = [image.report(2.0 + silence).rate for silence in (0.0, 1.0, 2.0, 4.0)]
    assert rates[0] > rates[1] > rates[2] > rates[3] == 0.0


def test_unknown_input_reports_minus_one():
    report = camera().report(3.0)
    assert report.age == -1.0 and report.rate == report.expected_rate == 0.0


def test_clock_that_goes_back_does_not_spoil_the_rate():
    image = camera()
    for i in range(30):
        image.receive(i, at(100 + i / 30.0, 100 + i / 30.0))
    for i in range(30):
        image.receive(i, at(i / 30.0, i / 30.0))
    assert image.report(29 / 30.0).rate == pytest.approx(30.0, rel=0.05)


def monitor():
    result = InputMonitor(max_skew=0.1)
    result.declare('third_person image', 0.2)
    result.declare('wrist image', 0.2)
    result.declare('joint states', 0.5)
    return result


def receive_all(inputs, stamp, now=None):
    for name in inputs.inputs:
        inputs.inputs[name].receive(name, at(stamp, stamp if now is None else now))


def test_observation_needs_every_input_fresh():
    inputs = monitor()
    assert inputs.problem(1.0).kind == 'no third_person image'
    receive_all(inputs, 1.0)
    assert inputs.problem(1.05) is None
    assert inputs.oldest().stamp == 1.0
    inputs.inputs['third_person image'].receive('x', at(1.3, 1.3))
    assert inputs.problem(1.3).text.startswith('stale wrist image 0.30 s')


def test_stamps_too_far_apart_are_named():
    inputs = monitor()
    receive_all(inputs, 1.0)
    inputs.inputs['joint states'].receive('x', at(1.15, 1.15))
    problem = inputs.problem(1.15)
    assert problem.kind == 'skew'
    assert problem.text == '0.15 s between third_person image and joint states > 0.10 s'


def test_each_skipped_cycle_has_one_counted_reason():
    inputs = monitor()
    for _ in range(3):
        inputs.skip(0.0)
    receive_all(inputs, 1.0)
    assert inputs.skip(1.0) is None
    inputs.skip(1.3)
    inputs.skip(1.4)
    assert dict(inputs.skipped) == {'no third_person image': 3, 'stale third_person image': 2}


def test_missing_and_recovered_are_said_once():
    inputs = monitor()
    inputs.changes(0.0, 5.0)
    assert len(inputs.changes(1.0, 6.0)) == 3
    assert inputs.changes(1.1, 6.1) == []
    receive_all(inputs, 2.0)
    assert sorted(inputs.changes(2.0, 7.0)) == [
        'joint states recovered',
        'third_person image recovered',
        'wrist image recovered',
    ]
    assert inputs.changes(2.1, 7.1) == []
    lines = inputs.changes(2.4, 7.4)
    assert lines == [
        'stale third_person image 0.40 s > 0.20 s',
        'stale wrist image 0.40 s > 0.20 s',
    ]
    assert inputs.changes(2.45, 7.45) == []


def test_sources_are_missed_a_second_after_listening_began_even_if_their_clock_stands():
    inputs = monitor()
    assert inputs.changes(0.0, 5.0) == []
    assert inputs.changes(0.0, 5.9) == []
    assert 'no joint states yet' in inputs.changes(0.0, 6.0)
    # Again after a reset; sources that send in time are not mentioned.
    receive_all(inputs, 9.0)
    inputs.changes(9.0, 7.0)
    inputs.reset()
    assert inputs.changes(9.1, 8.0) == []
    receive_all(inputs, 9.2)
    assert inputs.changes(9.2, 8.1) == []


def test_reset_forgets_values_but_not_counts():
    inputs = monitor()
    inputs.skip(0.0)
    receive_all(inputs, 1.0)
    inputs.reset()
    assert inputs.problem(1.0).kind == 'no third_person image'
    assert inputs.skipped.total() == 1
