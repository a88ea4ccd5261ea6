# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A policy for any robot: sways the first joint, and closes and opens the gripper in turn.

The node loads it as `support.gripper_policy:OpenAndClose`.
"""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.inference.chunk import ActionChunk

CHUNK = 8
HALF_CYCLE = 2.0  # s


class OpenAndClose:
    """Joint positions; the gripper is open or closed for HALF_CYCLE each, by policy time."""

    def __init__(self, contract):
        self.contract = contract
        self.first = None

    def predict(self, observation):
        if self.first is None:
            self.first = observation.stamp, observation.proprioception.copy()
        began, start = self.first
        times = observation.stamp - began + self.contract.step_period * np.arange(1, CHUNK + 1)
        actions = np.tile(start, (CHUNK, 1))
        actions[:, 0] += 0.1 * np.sin(np.pi * times / HALF_CYCLE)
        actions[:, -1] = (times // HALF_CYCLE) % 2 == 0
        return ActionChunk(
            actions, observation.stamp, self.contract.step_period, observation.instruction,
            {'total': 0.0},
        )  # fmt: skip
