# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The scripted operator: what it says (what it records: test/package/test_first_day.py)."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.rollout import EpisodeResult
from vla_adapter_ros.nodes.simulation import record_expert


def result(success: bool, failure: str = '') -> EpisodeResult:
    return EpisodeResult(
        'reach', 0, 'reach the red block', ('red block',), None, 3, success, 1.5, 4, 0, failure,
        0.01,
    )  # fmt: skip


def test_every_episode_is_a_line_and_an_error_ends_it_in_a_sentence(monkeypatch, capsys, tmp_path):
    seen = []

    def record(folder, task, seeds):
        seen.append((folder, task, list(seeds)))
        yield result(True)
        yield result(False, 'tripped')
        if len(seeds) > 2:
            raise VLAAdapterError('recorder did not answer')

    monkeypatch.setattr(record_expert, 'record_episodes', record)
    words = [str(tmp_path), '--task', 'reach', '--seed', '7', '--episodes']
    assert record_expert.main([*words, '2']) == 0
    assert seen == [(tmp_path, 'reach', [7, 8])]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        '1/2 reach the red block: success, 1.5 s',
        '2/2 reach the red block: failure tripped, 1.5 s',
    ]
    assert lines[2].endswith('1 marked as success')
    assert record_expert.main([*words, '3']) == 1
    assert capsys.readouterr().err == 'record_expert: recorder did not answer\n'
