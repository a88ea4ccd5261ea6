# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A small recipe to compare variants of, and figures of trainings that never ran."""

from __future__ import annotations

from typing import Any

from vla_adapter_ros.training.config import TrainConfig

ENTRY = {'preset': 'tiny', 'num_queries': 8, 'policy': {'heads': 2}}
BASE = TrainConfig(model=ENTRY)


def result(solved: int, **more: Any) -> dict[str, Any]:
    """A finished training that solved so many of ten episodes."""
    episodes = [
        {'task': 'reach', 'seed': s, 'success': s < solved, 'followed_instruction': s < 9}
        for s in range(10)
    ]
    return {'parameters': 1234, 'seconds_per_step': 0.25, 'loss': 0.1, 'validation_l1': 0.05,
            'episodes': episodes, **more}  # fmt: skip
