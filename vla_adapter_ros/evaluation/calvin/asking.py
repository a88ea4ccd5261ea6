# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between CALVIN and a policy: observations as the training data have them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vla_adapter_ros.data.public.calvin import VIEWS
from vla_adapter_ros.evaluation.calvin.simulator import STATE
from vla_adapter_ros.evaluation.suites.policies import CAMERAS, Benchmark
from vla_adapter_ros.processing.observation import Observation

TOOL_AND_WIDTH, GRIPPER_ACTION = slice(0, 7), slice(14, 15)  # of the 15 numbers of the robot


def observation_for(arrays: Mapping[str, np.ndarray], instruction: str) -> Observation:
    """Return the policy's observation: both images, and 8 numbers.

    These are the tool's position [m] and Euler angles [rad], the gripper's width [m] and its last
    command.
    """
    images = {camera: arrays[VIEWS[camera]] for camera in CAMERAS}
    robot = arrays[STATE]
    state = np.concatenate([robot[TOOL_AND_WIDTH], robot[GRIPPER_ACTION]])
    return Observation(images, state, instruction, 0.0)


def chunk_of(actions: np.ndarray) -> np.ndarray:
    """Return a chunk (K, 7) as it is: the worker averages chunks before it turns the gripper."""
    return np.asarray(actions, np.float64)


CALVIN = Benchmark('CALVIN', observation_for, chunk_of, (0.0,) * 6 + (1.0,))
