# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The CALVIN loop against recordings of the official one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
