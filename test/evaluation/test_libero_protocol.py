# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The LIBERO loop against recordings of the official one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vla_adapter_ros.evaluation.libero.episode import WAIT_COMMAND, axis_angle, episode
from vla_adapter_ros.evaluation.libero.trace import RecordedEnvironment, replay_trace

CASES = json.loads(
    (Path(__file__).parents[1] / 'golden' / 'suites' / 'libero_official_trace.json').read_text()
)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case['name'])
def test_an_official_episode_is_repeated_event_for_event(case):
    replay = replay_trace(case)
    assert replay.differences(case) == []
    assert len(replay.trace) == case['trace_events']


def test_a_change_of_any_event_is_noticed():
    case = CASES[0]
    replay = replay_trace({**case, 'done_at': [16]})
    assert {'frames', 'steps', 'trace_events', 'trace_sha256'} <= set(replay.differences(case))


def test_images_are_rendered_only_for_the_queries():
    rendered = []

    class Watched(RecordedEnvironment):
        def step(self, command, images):
            rendered.append(images)
            return super().step(command, images)

    run = episode(Watched([], []), None, 20)
    next(run)
    with pytest.raises(StopIteration):
        while True:
            run.send([WAIT_COMMAND] * 8)
    assert [step for step, images in enumerate(rendered, 1) if images] == [10, 18, 26]


@pytest.mark.parametrize(
    ('quaternion', 'expected'),
    [
        ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0, 1.0, 0.0), (0.0, 0.0, math.pi)),
        ((1.0, 0.0, 0.0, 1.0000001), (0.0, 0.0, 0.0)),  # rounding above one is cut off
        ((0.0, math.sin(2.0), 0.0, math.cos(2.0)), (0.0, 4.0, 0.0)),  # longer than pi
    ],
)
def test_the_rotation_vector_is_robosuite_s(quaternion, expected):
    assert axis_angle(np.array(quaternion)) == pytest.approx(expected, abs=1e-12)
