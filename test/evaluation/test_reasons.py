# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Why an episode failed is said by what happened in it."""

import pytest

from vla_adapter_ros.evaluation.report import task_summary
from vla_adapter_ros.evaluation.rollout import EpisodeResult


def result(**changes):
    fields = {
        'task': 'stack', 'seed': 0, 'instruction': '', 'named': ('red block',),
        'acted_on': 'red block', 'objects': 3, 'success': False, 'seconds': 12.0, 'chunks': 9,
        'refused': 0, 'failure': '', 'inference': 0.01, 'lifted': True,
    }  # fmt: skip
    return EpisodeResult(**{**fields, **changes})


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'success': True}, ''),
        ({'failure': 'tripped: Joint5'}, 'stopped'),
        ({'acted_on': None}, 'nothing acted on'),
        ({'acted_on': 'blue block'}, 'wrong object'),
        ({'in_order': False}, 'wrong order'),
        ({'lifted': False}, 'grasp'),
        ({'lifted': False, 'task': 'move'}, 'time'),
        ({}, 'time'),
    ],
)
def test_the_reason_of_a_failure(changes, reason):
    made = result(**changes)
    assert made.reason == reason
    assert EpisodeResult.from_dict(made.to_dict()) == made
    assert task_summary([made])['reasons'] == ({reason: 1} if reason else {})
