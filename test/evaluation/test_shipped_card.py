# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The card of the checkpoint that ships says what the reports beside it say."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from vla_adapter_ros.evaluation.report import by_task
from vla_adapter_ros.evaluation.rollout import EpisodeResult
from vla_adapter_ros.evaluation.statistics import Rate
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint
from vla_adapter_ros.simulation.tasks import EVALUATED_TASKS

FOLDER = shipped_checkpoint()
pytestmark = pytest.mark.skipif(FOLDER is None, reason='no checkpoint ships')
REPORTS = ('report.json', 'report_bench.json', 'report_hard.json')


def card() -> str:
    return (FOLDER / 'README.md').read_text(encoding='utf-8')


def episodes(report: str) -> list[EpisodeResult]:
    (found,) = json.loads((FOLDER / report).read_text())['policies'].values()
    return [EpisodeResult.from_dict(episode) for episode in found['episodes']]


def test_its_time_per_inference_is_that_of_the_reports():
    means = [round(1e3 * np.mean([r.inference for r in episodes(name)])) for name in REPORTS]
    told = re.search(r'(\d+) to (\d+) ms per inference', card())
    assert told and [int(number) for number in told.groups()] == [min(means), max(means)]


def test_its_success_is_that_of_the_reports():
    columns = []
    for name in REPORTS:
        groups = by_task(episodes(name))
        rates = [str(Rate.of(r.success for r in groups[task])) for task in EVALUATED_TASKS]
        columns.append([rate.partition(' (')[0] for rate in rates])
    rows = [line.split('|')[2:-1] for line in card().splitlines() if ' % [' in line]
    assert [[cell.strip() for cell in row] for row in rows] == [list(r) for r in zip(*columns)]
