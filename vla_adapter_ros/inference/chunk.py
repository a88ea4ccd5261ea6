# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Action chunk in physical units, and the interface of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.processing.observation import Observation

CHUNK_SIZE = VLAAdapterConfig.chunk_size  # actions in a chunk, where no network decides it


@dataclass(frozen=True)
class ActionChunk:
    """Actions of a policy from one observation on.

    Attributes:
        actions: (K, A) float64 in contract order and units. `actions[i]` is the target to be
            reached at `observation_stamp + (i + 1) * step_period`.
        observation_stamp: stamp of the observation [s] it was computed from.
        step_period: time between two actions [s].
        instruction: the instruction it was computed for.
        latencies: stage name → seconds (`preprocess`, `model`, `total`, …).
        provenance: checkpoint, device, dtype, … that produced it, for logs.
    """

    actions: np.ndarray
    observation_stamp: float
    step_period: float
    instruction: str
    latencies: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


class ChunkPolicy(Protocol):
    """Anything that turns an observation into a chunk: a checkpoint, an expert, a replay."""

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the action chunk for one observation."""
        ...
