# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Parts of an untrained policy for a robot, with a random network."""

from __future__ import annotations

import numpy as np
import torch

from vla_adapter_ros.inference.simple_policies import small_movements
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.images import (
    DINO_STATISTICS,
    OWN_IMAGES,
    SIGLIP_STATISTICS,
    ImageConfig,
)
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.statistics import Statistics, VectorStatistics
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import RobotContract

# Spread of the normalised actions over random inputs, and how many of those.
ACTION_SPREAD = 0.5
EXAMPLES = 8


def random_policy_parts(
    contract: RobotContract, seed: int, config: VLAAdapterConfig | None
) -> tuple[VLAAdapter, InputPipeline, Statistics]:
    """Return network, pipeline and statistics of an untrained policy for `contract`."""
    statistics = plausible_statistics(contract)
    if config is None:
        config = VLAAdapterConfig.tiny(
            num_images=len(contract.cameras),
            action_dim=statistics.action.size,
            proprio_dim=statistics.proprio.size,
        )
    processing = processing_for(contract, config)
    pipeline = InputPipeline(processing, Tokenizer.from_texts(), statistics)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VLAAdapter.from_config(config)
    if config.policy.kind != 'dit':  # which spreads them by its noise
        _spread_actions(model, pipeline, seed)
    return model, pipeline, statistics


def processing_for(contract: RobotContract, config: VLAAdapterConfig) -> ProcessingConfig:
    """Return the processing of our own checkpoints for a robot and a network."""
    images = ImageConfig(
        size=config.image_size,
        jpeg_round_trip=OWN_IMAGES.jpeg_round_trip,
        normalisations=(DINO_STATISTICS, SIGLIP_STATISTICS)[: len(config.vision)],
    )
    return ProcessingConfig(
        images=images,
        cameras=tuple(contract.cameras),
        rotations={name: camera.rotate for name, camera in contract.cameras.items()},
        prompt_format='plain',
        zero_constant=True,
    )


def plausible_statistics(contract: RobotContract) -> Statistics:
    """Return statistics under which normalised actions in [-1, 1] are small, safe movements."""
    centre, half = small_movements(contract)
    proprio = bounds(contract.lower, contract.upper)
    return Statistics('random', bounds(centre - half, centre + half), proprio)


def bounds(low: np.ndarray, high: np.ndarray) -> VectorStatistics:
    """Return the statistics of values spread evenly between two bounds."""
    return VectorStatistics(
        mean=(low + high) / 2, std=(high - low) / 12**0.5, min=low, max=high, q01=low, q99=high
    )


@torch.no_grad()
def _spread_actions(model: VLAAdapter, pipeline: InputPipeline, seed: int) -> None:
    """Set the last layer so that actions of random inputs spread over the range.

    A random network's actions hardly depend on the input; the arm would stand still.
    """
    random = np.random.default_rng(seed)
    size, config = pipeline.config.images.size, model.config
    shape = (EXAMPLES, config.channels_per_image * config.num_images, size, size)
    ids = np.tile(pipeline.prompt_ids('pick up the red block'), (EXAMPLES, 1))
    actions = model.predict(
        torch.from_numpy(random.standard_normal(shape).astype(np.float32)),
        torch.from_numpy(ids),
        torch.from_numpy(random.uniform(-1, 1, (EXAMPLES, config.proprio_dim)).astype(np.float32)),
    )
    spread, mean = torch.std_mean(actions, dim=(0, 1))
    factor = ACTION_SPREAD / spread.clamp(min=1e-6)
    last = model.policy.network.fc2
    last.weight.mul_(factor[:, None])
    last.bias.sub_(mean).mul_(factor)
