# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from vla_adapter_ros.runtime.watchdog import Watchdog


def test_fires_once_when_nothing_comes():
    dog = Watchdog('no chunk', 1.0)
    assert dog.check(100.0) is None
    dog.start(0.0)
    assert dog.check(1.0) is None
    assert dog.check(1.25) == 'no chunk for 1.25 s > 1.00 s'
    assert dog.check(1.5) is None
    assert dog.expired and dog.count == 1


def test_feeding_postpones_and_ends_the_expired_state():
    dog = Watchdog('no chunk', 1.0)
    dog.start(0.0)
    assert not dog.feed(0.9)
    assert dog.check(1.8) is None
    assert dog.check(2.0) is not None
    assert dog.feed(2.1)
    assert not dog.expired
    assert dog.check(3.2) is not None and dog.count == 2


def test_start_does_not_prolong_what_runs():
    dog = Watchdog('inference runs', 0.5)
    dog.start(0.0)
    dog.start(0.4)
    assert dog.check(0.6) is not None


def test_stopped_watchdog_waits_for_nothing():
    dog = Watchdog('no chunk', 1.0)
    dog.start(0.0)
    dog.stop()
    assert dog.check(50.0) is None


def test_clock_that_goes_back_starts_the_wait_anew():
    dog = Watchdog('no chunk', 1.0)
    dog.start(100.0)
    assert dog.check(5.0) is None
    assert dog.check(5.9) is None
    assert dog.check(6.1) is not None
