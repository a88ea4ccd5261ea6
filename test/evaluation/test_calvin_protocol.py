# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The CALVIN loop against recordings of the official one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from vla_adapter_ros.evaluation.calvin.sequences import (
    scene_seed,
    sequences,
    start_state,
)
from vla_adapter_ros.evaluation.calvin.trace import replay_trace

GOLDEN = Path(__file__).parents[1] / 'golden' / 'suites'
CASES = json.loads((GOLDEN / 'calvin_official_trace.json').read_text())['cases']


@pytest.mark.parametrize('case', CASES, ids=lambda case: case['name'])
def test_an_official_chain_is_repeated_event_for_event(case):
    assert replay_trace(case).differences(case) == []


def test_a_change_of_any_event_is_noticed():
    changed = {**CASES[0], 'oracle_true_at_env_step': [14, 25]}
    assert {'sha256', 'trace', 'query_at_env_step'} <= set(
        replay_trace(changed).differences(CASES[0])
    )


def test_the_thousand_chains_are_the_published_ones():
    listed = [[chain.condition, list(chain.tasks)] for chain in sequences()]
    text = json.dumps(listed).encode()
    assert hashlib.sha256(text).hexdigest().startswith('840cb992')
    assert len({chain.tasks[0] for chain in sequences()}) > 20


@pytest.mark.parametrize(
    'case', json.loads((GOLDEN / 'calvin_initial_states.json').read_text()),
    ids=lambda case: str(case['index']),
)  # fmt: skip
def test_the_scene_of_a_chain_is_the_official_one_to_the_last_bit(case):
    chain = sequences()[case['index']]
    assert (chain.condition, list(chain.tasks)) == (case['condition'], case['sequence'])
    assert scene_seed(case['condition']) == case['seed']
    robot, scene = start_state(case['condition'])
    assert robot.tolist() == case['robot_obs']
    assert scene.tolist() == case['scene_obs']
