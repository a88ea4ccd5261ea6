# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The last line of the demo says what happened, and why where nothing did."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from vla_adapter_ros.msg import PolicyStatus

from vla_adapter_ros.nodes.demo import demo
from vla_adapter_ros.nodes.demo.demo_observer import Recording

OPTIONS = SimpleNamespace(instruction='reach the red block')


def summary(success: float | None, **status: str) -> str:
    observer = SimpleNamespace(recording=Recording(), status=PolicyStatus(**status))
    observer.recording.success = success
    return demo.summary_line(OPTIONS, observer)


def test_the_summary_says_why_nothing_was_done():
    waiting = {'state_text': 'WAITING_FOR_INPUT', 'reason': 'stale wrist image 0.45 s > 0.20 s'}
    text = summary(None, **waiting)
    assert 'not done, WAITING_FOR_INPUT (stale wrist image 0.45 s > 0.20 s) at the end;' in text
    assert 'not done;' in summary(None, state_text='RUNNING')
    assert 'done after 2.5 s;' in summary(2.5, **waiting)
