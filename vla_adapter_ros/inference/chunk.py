# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Action chunk in physical units, the interface of a policy, and what trained ones share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vla_adapter_ros.architecture.config import VLAAdapterConfig
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import InputPipeline
from vla_adapter_ros.processing.prompt import clean_instruction
from vla_adapter_ros.processing.statistics import Statistics
from vla_adapter_ros.robot.contract import RobotContract

CHUNK_SIZE = VLAAdapterConfig.chunk_size  # actions in a chunk, where no network decides it
# Names of precisions (`EngineSettings.dtype`), here because command lines must not import torch.
PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16', 'int8')
EXAMPLE_IMAGE_SIZE = (480, 640)  # height, width [px], where no contract says it


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


class PipelinePolicy:
    """What policies with an input pipeline share; subclasses compute the actions.

    Attributes:
        pipeline: from observations to the network's inputs.
        statistics: of the data it was trained on.
        contract: the robot it was trained for; None for official checkpoints.
        step_period: time between two actions [s].
        chunk_size: actions in a chunk, K.
        recipe: of its training, as far as that was recorded.
        provenance: origin of the weights, device, dtype, …; part of every chunk.
    """

    pipeline: InputPipeline
    statistics: Statistics
    contract: RobotContract | None
    step_period: float
    chunk_size: int
    recipe: Mapping[str, Any]
    provenance: dict[str, str]

    def predict(self, observation: Observation) -> ActionChunk:
        """Return the chunk for one observation: actions (K, A) in contract units.

        Raises:
            ObservationError: the observation does not fit.
        """
        return self.predict_many([observation])[0]

    def predict_many(self, observations: Sequence[Observation]) -> list[ActionChunk]:
        """Return the chunks for observations of any instructions, computed in one batch.

        They differ from those of `predict` by rounding. Latencies are those of the batch. An
        engine that takes one observation at a time computes them one by one.

        Raises:
            ObservationError: an observation does not fit.
        """
        if not observations:
            return []
        start = time.perf_counter()
        inputs = [self._prepare(observation) for observation in observations]
        prepared = time.perf_counter()
        actions = self._infer(inputs)
        end = time.perf_counter()
        latencies = {
            'preprocess': prepared - start,
            'model': end - prepared,
            'total': end - start,
        }
        return [
            ActionChunk(
                actions=chunk,
                observation_stamp=observation.stamp,
                step_period=self.step_period,
                instruction=observation.instruction,
                latencies=latencies,
                provenance=self.provenance,
            )
            for observation, chunk in zip(observations, actions, strict=True)
        ]

    def _prepare(self, observation: Observation) -> Any:
        """Return what `_infer` takes."""
        raise NotImplementedError

    def _infer(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return actions (B, K, A) float64 in contract units."""
        raise NotImplementedError

    def warm_up(self, *, batch: int = 1) -> None:
        """Run synthetic observations so that the first real one is not slower than the others.

        Args:
            batch: observations at once in `predict_many`.
        """
        raise NotImplementedError

    @property
    def action_space(self) -> str | None:
        """The contract's action space, or None for official checkpoints."""
        return None if self.contract is None else self.contract.action_space

    def clean_instruction(self, text: str) -> str:
        """Return an instruction as the policy reads it; see `processing.prompt`.

        Raises:
            InstructionError: it cannot be used.
        """
        return clean_instruction(text, self.pipeline.tokenizer)

    def unknown_words(self, instruction: str) -> list[str]:
        """Return the words of an instruction that the policy's vocabulary does not have.

        Any thread may call this while another predicts: encoding only reads.

        Raises:
            InstructionError: the instruction cannot be used at all.
        """
        return self.pipeline.tokenizer.unknown_words(self.clean_instruction(instruction))

    def read_as(self, instruction: str) -> dict[str, str]:
        """Return those unknown words that the policy takes for a known one, and that one.

        Raises:
            InstructionError: the instruction cannot be used at all.
        """
        return self.pipeline.tokenizer.read_as(self.clean_instruction(instruction))

    def example_observation(self, instruction: str, seed: int = 0) -> Observation:
        """Return a synthetic observation of the right form, for warm-up and tests."""
        random = np.random.default_rng(seed)
        images = {}
        for name in self.pipeline.config.cameras:
            height, width = EXAMPLE_IMAGE_SIZE
            if self.contract is not None and name in self.contract.cameras:
                camera = self.contract.cameras[name]
                width, height = camera.seen_size
            # Smooth colours, as in real images: noise is not a fair test of int8.
            coarse = random.integers(0, 256, (6, 8, 3)).astype(np.float32)
            rows = np.repeat(np.repeat(coarse, -(-height // 6), 0), -(-width // 8), 1)
            images[name] = rows[:height, :width].astype(np.uint8)
        proprio = self.pipeline.proprio
        state = proprio.denormalise(random.uniform(-1, 1, proprio.size))
        return Observation(images, state, instruction, 0.0)
