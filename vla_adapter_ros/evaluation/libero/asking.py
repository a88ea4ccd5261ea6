# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Between LIBERO and a policy: observations as the training data have them, commands back."""

from __future__ import annotations

import numpy as np

from vla_adapter_ros.evaluation.libero.episode import (
    AGENT_VIEW,
    WRIST_VIEW,
    RawObservation,
    proprioception,
    turned,
)
from vla_adapter_ros.evaluation.suites.policies import CAMERAS, Benchmark
from vla_adapter_ros.processing.grippers import libero_commands
from vla_adapter_ros.processing.observation import Observation


def observation_for(raw: RawObservation, instruction: str) -> Observation:
    """Return the policy's observation: both images upright, the 8 numbers of the state."""
    images = {
        camera: turned(raw[view])
        for camera, view in zip(CAMERAS, (AGENT_VIEW, WRIST_VIEW), strict=True)
    }
    return Observation(images, proprioception(raw), instruction, 0.0)


def commands_of(actions: np.ndarray) -> np.ndarray:
    """Return the simulator's commands (K, 7) of a chunk in physical units (K, 7)."""
    return libero_commands(actions)


LIBERO = Benchmark('LIBERO', observation_for, commands_of, (0.0,) * 6 + (-1.0,))
