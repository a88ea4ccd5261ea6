# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The processors that lerobot runs before and after our policy.

They rename features, add the batch dimension and choose the device. Resizing, normalisation and
the prompt are the policy's own, so that there is one code for training, robot and lerobot.
"""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action

from vla_adapter_ros.lerobot_policy.configuration_vla_adapter import VlaAdapterConfig
from vla_adapter_ros.lerobot_policy.export import POSTPROCESSOR, PREPROCESSOR


def make_vla_adapter_pre_post_processors(
    config: VlaAdapterConfig, dataset_stats: Any = None
) -> tuple[PolicyProcessorPipeline, PolicyProcessorPipeline]:
    """Return the processors before and after the policy; lerobot finds this by its name.

    Args:
        config: not used: images are taken from whatever device to the CPU, where they are resized.
        dataset_stats: not used: a checkpoint carries its own statistics.
    """
    before = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        DeviceProcessorStep(device='cpu'),
    ]
    after = [DeviceProcessorStep(device='cpu')]
    return (
        PolicyProcessorPipeline(steps=before, name=PREPROCESSOR),
        PolicyProcessorPipeline(
            steps=after,
            name=POSTPROCESSOR,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
