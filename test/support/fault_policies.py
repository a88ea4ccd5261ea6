# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Policies that misbehave, for the fault suite.

The node loads them as `support.fault_policies:Class`.

Each first sways the arm gently, so that a fault meets a moving arm, and misbehaves while the file
named by FAULT_FILE exists.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np

from vla_adapter_ros.inference.chunk import ActionChunk

PERIOD = 0.1


class Swaying:
    """Moves joints 1 and 6 on sines of the observation's time."""

    def __init__(self, contract):
        self.contract = contract
        self.start = None

    @property
    def faulty(self) -> bool:
        return Path(os.environ['FAULT_FILE']).exists()

    def sway(self, observation):
        if self.start is None:
            self.start = observation.proprioception.copy()
        times = observation.stamp + PERIOD * np.arange(1, 9)
        targets = np.tile(self.start, (8, 1))
        targets[:, 0] += 0.25 * np.sin(2 * math.pi * 0.25 * times)
        targets[:, 5] += 0.25 * np.cos(2 * math.pi * 0.25 * times)
        targets[:, 6] = 1.0
        return targets

    def chunk(self, observation, targets):
        actions = targets.copy()
        if self.contract.action_space == 'joint_delta':
            actions[:, :6] -= observation.proprioception[:6]
        return ActionChunk(
            actions, observation.stamp, PERIOD, observation.instruction, {'total': 0.0}
        )

    def misbehave(self, observation, targets):
        return targets

    def predict(self, observation):
        targets = self.sway(observation)
        if self.faulty:
            targets = self.misbehave(observation, targets)
        return self.chunk(observation, targets)


class HalfSecondStall(Swaying):
    def misbehave(self, observation, targets):
        time.sleep(0.5)
        return targets


class ThreeSecondStall(Swaying):
    def misbehave(self, observation, targets):
        time.sleep(3.0)
        return targets


class Raising(Swaying):
    def misbehave(self, observation, targets):
        raise RuntimeError('CUDA error: device-side assert triggered')


class OutOfRange(Swaying):
    def misbehave(self, observation, targets):
        return targets + 10.0


class NotFinite(Swaying):
    def misbehave(self, observation, targets):
        return np.full_like(targets, np.nan)


class Erratic(Swaying):
    """Random targets all over the joint ranges, new ones in every chunk."""

    def __init__(self, contract):
        super().__init__(contract)
        self.random = np.random.default_rng(0)

    def misbehave(self, observation, targets):
        return self.random.uniform(self.contract.lower, self.contract.upper, targets.shape)
