# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint as a policy: observation in, action chunk in physical units out.

    policy = Policy.from_pretrained('path/to/checkpoint')
    chunk = policy.predict(Observation(images, proprioception, 'put the red block in the bin', t))

For our own and for official checkpoint directories. The ROS node's worker thread, offline
evaluation, simulation and a researcher's notebook all run this class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_adapter_ros.errors import CheckpointError, readable
from vla_adapter_ros.inference.chunk import PipelinePolicy
from vla_adapter_ros.inference.engine import Engine, EngineSettings
from vla_adapter_ros.inference.official_processing import official_processing
from vla_adapter_ros.inference.precision import fastest
from vla_adapter_ros.model import VisionTowerConfig, VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.observation import Observation
from vla_adapter_ros.processing.pipeline import InputPipeline, ModelInputs, ProcessingConfig
from vla_adapter_ros.processing.statistics import Normaliser, Statistics
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import RobotContract
from vla_adapter_ros.weights.directory import checkpoint_fingerprint, missing_statistics
from vla_adapter_ros.weights.released import checkpoint_name, model_folder

# LIBERO and CALVIN run at 20 Hz and 30 Hz; official files do not record a rate.
OFFICIAL_STEP_PERIOD_S = 0.05
WARM_UP_EXAMPLES = 3
WARM_UP_INSTRUCTION = 'pick up the red block and put it in the box'


class Policy(PipelinePolicy):
    """A network with its preprocessing and statistics. One thread at a time may predict.

    Args:
        engine: the network on its device.
        pipeline: from observations to its inputs.
        statistics: to bring its actions to physical units.
        contract: the robot it was trained for; None for official checkpoints.
        step_period: time between two actions [s].
        provenance: origin of the weights; becomes part of every chunk.

    Raises:
        CheckpointError: network, preprocessing, statistics and contract do not fit each other.
    """

    def __init__(
        self,
        engine: Engine,
        pipeline: InputPipeline,
        statistics: Statistics,
        contract: RobotContract | None,
        step_period: float,
        provenance: Mapping[str, str],
    ) -> None:
        self.engine = engine
        self.pipeline = pipeline
        self.statistics = statistics
        self.contract = contract
        self.step_period = step_period
        self.provenance = {
            **provenance,
            'statistics': statistics.key,
            'device': str(engine.device),
            'dtype': engine.dtype,
        }
        self._actions = Normaliser(statistics.action, pipeline.config.normalisation)
        _check_fit(engine.model.config, pipeline, statistics)
        if engine.device.type == 'cuda':  # on a CPU numpy is as fast
            engine.take_views(pipeline.config.images)
            pipeline.views_only = True

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        device: str = 'auto',
        dtype: str = 'auto',
        compile: bool = False,
        threads: int = 0,
        statistics_key: str | None = None,
        step_period: float | None = None,
        vision_towers: Mapping[str, VisionTowerConfig] | None = None,
        revision: str | None = None,
        **overrides: Any,
    ) -> Policy:
        """Load a checkpoint directory, our own or an official one.

        Args:
            directory: the checkpoint, or its address on the Hub, `org/name@revision`.
            device: as all up to `threads`, see `EngineSettings`.
            dtype: precision.
            compile: compile the network's blocks (GPU).
            threads: CPU threads.
            statistics_key: which statistics, if the checkpoint holds several.
            step_period: time between two actions [s]; None: the contract's, else that of the
                training data, else 0.05.
            vision_towers: shapes of vision towers with unknown names in an official config.
            revision: of a model on the Hub, in place of `@revision`: a branch, tag or commit.
            overrides: fields of the network's configuration, see `VLAAdapter.from_pretrained`.

        Raises:
            CheckpointError: missing, damaged, incomplete or inconsistent files.
            ConfigError: an override names no field, or has an impossible value.
            DeviceError: the device or precision is not available.
        """
        directory = model_folder(directory, revision=revision)

        def load(dtype: str) -> Policy:
            settings = EngineSettings(device, dtype, compile, threads)
            return cls._load(
                directory, settings, statistics_key, step_period, vision_towers, overrides
            )

        if dtype == 'auto' and EngineSettings(device).resolved()[0].type == 'cpu':
            return fastest(load('float32'), load)
        return load(dtype)

    @classmethod
    def _load(
        cls,
        directory: Path,
        settings: EngineSettings,
        statistics_key: str | None,
        step_period: float | None,
        vision_towers: Mapping[str, VisionTowerConfig] | None,
        overrides: Mapping[str, Any],
    ) -> Policy:
        model = VLAAdapter.from_pretrained(
            directory,
            dtype=settings.load_dtype,
            device=settings.resolved()[0],
            vision_towers=vision_towers,
            **overrides,
        )
        metadata = model.metadata
        with readable(f'checkpoint {directory}', CheckpointError):
            if metadata.preprocessing:
                processing = ProcessingConfig.from_dict(metadata.preprocessing)
            elif metadata.source.get('format') == 'official':
                processing = official_processing(metadata)
            else:
                raise CheckpointError(
                    f"checkpoint {directory}: no 'preprocessing' entry; it cannot be run as a "
                    'policy'
                )
            if not metadata.statistics:
                raise CheckpointError(f'checkpoint {directory}: {missing_statistics(directory)}')
            statistics = Statistics.from_dict(metadata.statistics, statistics_key)
            contract = RobotContract.from_dict(metadata.robot) if metadata.robot else None
            recorded = float((metadata.training or {}).get('step_period', OFFICIAL_STEP_PERIOD_S))
            period = contract.step_period if contract else recorded
        provenance = {
            'checkpoint': checkpoint_name(directory),
            'fingerprint': checkpoint_fingerprint(directory),
        }
        pipeline = InputPipeline(processing, Tokenizer.from_directory(directory), statistics)
        policy = cls(
            Engine(model, settings),
            pipeline,
            statistics,
            contract,
            period if step_period is None else step_period,
            provenance,
        )
        if policy.engine.dtype == 'int8':
            policy.warm_up()  # quantises, and refuses if that changes the actions too much
        return policy

    @classmethod
    def random(
        cls,
        contract: RobotContract,
        seed: int = 0,
        *,
        config: VLAAdapterConfig | None = None,
        settings: EngineSettings | None = None,
    ) -> Policy:
        """Return an untrained policy: the complete path with random weights.

        Args:
            contract: the robot; the actions stay in a small part of its joint ranges.
            seed: of the weights.
            config: the network; default: the tiny one.
            settings: device and precision.
        """
        from vla_adapter_ros.inference.random_policy import random_policy_parts

        model, pipeline, statistics = random_policy_parts(contract, seed, config)
        engine = Engine(model, settings)
        provenance = {'checkpoint': f'random weights, seed {seed}', 'fingerprint': ''}
        policy = cls(engine, pipeline, statistics, contract, contract.step_period, provenance)
        if engine.dtype == 'int8':
            policy.warm_up()
        return policy

    @property
    def chunk_size(self) -> int:
        """Actions in a chunk, K."""
        return self.engine.chunk_size

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Of its training; {} where none was recorded."""
        return (self.engine.model.metadata.training or {}).get('config') or {}

    def _prepare(self, observation: Observation) -> ModelInputs:
        return self.pipeline(observation)

    def _infer(self, inputs: Sequence[ModelInputs]) -> np.ndarray:
        return self._actions.denormalise(self.engine.run_many(inputs))

    def warm_up(self, instruction: str = WARM_UP_INSTRUCTION, *, batch: int = 1) -> None:
        """Run synthetic observations so that the first real one is not slower than the others.

        On a GPU this captures a graph for prompts up to a little longer than with twice this
        instruction, and one for batches; with int8 it quantises and checks.

        Args:
            instruction: of the observations.
            batch: observations at once in `predict_many`.

        Raises:
            QuantisationError: int8 changes the actions too much.
        """
        self.engine.prepare(self.warm_up_inputs(instruction), batch)
        if self.engine.int8_error is not None:
            self.provenance['int8_error'] = str(self.engine.int8_error)

    def warm_up_inputs(self, instruction: str = WARM_UP_INSTRUCTION) -> list[ModelInputs]:
        """Return the inputs that `warm_up` runs."""
        instructions = [instruction] * WARM_UP_EXAMPLES
        if self.engine.device.type == 'cuda':
            instructions += [instruction.split()[0], f'{instruction} {instruction}']
        return [
            self.pipeline(self.example_observation(text, seed))
            for seed, text in enumerate(instructions)
        ]

    def save(self, directory: str | Path, **metadata: Any) -> None:
        """Write a self-describing checkpoint; `metadata` as in `VLAAdapter.save_pretrained`."""
        self.engine.model.save_pretrained(
            directory,
            robot=None if self.contract is None else self.contract.to_dict(),
            statistics=self.statistics.to_dict(),
            preprocessing=self.pipeline.config.to_dict(),
            **metadata,
        )
        self.pipeline.tokenizer.save(directory)


def _check_fit(config: VLAAdapterConfig, pipeline: InputPipeline, statistics: Statistics) -> None:
    processing = pipeline.config
    facts = (
        ('statistics: action dimensions', statistics.action.size, config.action_dim),
        ('preprocessing.cameras: images', len(processing.cameras), config.num_images),
        ('preprocessing.images.size', processing.images.size, config.image_size),
        (
            'preprocessing.images.normalisations: towers',
            len(processing.images.normalisations),
            len(config.vision),
        ),
    )
    if config.use_proprio:
        size = statistics.proprio.size
        facts = (('statistics: proprio dimensions', size, config.proprio_dim), *facts)
    for what, got, expected in facts:
        if got != expected:
            raise CheckpointError(f'{what}: got {got}, the network has {expected}')
    if pipeline.tokenizer.vocab_size > config.language.vocab_size:
        raise CheckpointError(
            f'tokenizer: {pipeline.tokenizer.vocab_size} tokens, '
            f'the network has embeddings for {config.language.vocab_size}'
        )
