# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The checkpoint that ships solves its tasks through the node, at level bench."""

from __future__ import annotations

import time

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')

from support.ros_harness import isolated_environment
from vla_adapter_ros.evaluation import simulate
from vla_adapter_ros.evaluation.rollout import EpisodeJob
from vla_adapter_ros.inference.simple_policies import shipped_checkpoint

pytestmark = pytest.mark.skipif(
    shipped_checkpoint() is None,
    reason='no checkpoint ships in vla_adapter_ros/checkpoints/tiny_sim yet',
)
# Seeds from 0 on are for judging; demonstrations begin at 1 000 000.
SEEDS = 4
FLOOR = {'reach': 3, 'move': 3, 'pick_and_place': 3, 'stack': 3}


@pytest.mark.timeout(600)  # a slow or busy machine makes it slower, not worse
@pytest.mark.parametrize(
    ('floor', 'seeds'),
    [
        ({'pick_and_place': 1}, 2),
        pytest.param(
            FLOOR, SEEDS, marks=pytest.mark.slow(reason='16 episodes; two are run always')
        ),
    ],
    ids=['one task', 'all tasks'],
)
def test_it_reaches_the_floor_through_the_node(floor, seeds, monkeypatch):
    for name, value in isolated_environment().items():
        monkeypatch.setenv(name, value)
    # Simulated time: a busy machine makes the test slower, not the policy worse.
    words = ['shipped', '--ros', '--ros-sim-time', '2', '--level', 'bench']
    options = simulate.make_parser().parse_args(words)
    jobs = [EpisodeJob(task, seed) for task in floor for seed in range(seeds)]
    began = time.monotonic()
    results = [
        result
        for _, result, _ in simulate.run_ros_jobs(
            simulate.settings_from(options, 'shipped'), jobs, 1
        )
    ]
    spent = time.monotonic() - began
    solved = {task: sum(r.success for r in results if r.task == task) for task in floor}
    told = '; '.join(
        f'{r.task} {r.seed}: {r.seconds:.1f} s, {r.chunks} chunks, acted on {r.acted_on}'
        f' for {r.instruction!r} {r.failure}'
        for r in results
        if not r.success
    )
    assert all(solved[task] >= least for task, least in floor.items()), (
        f'solved {solved} of {seeds} in {spent:.0f} s; {told}'
    )
