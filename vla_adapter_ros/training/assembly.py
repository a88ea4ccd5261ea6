# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Builds the datasets, network and pipeline of a training configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vla_adapter_ros.data.lerobot.columns import Columns
from vla_adapter_ros.data.sources import dataset_names
from vla_adapter_ros.data.training.dataset import Dataset, open_dataset
from vla_adapter_ros.data.training.mixture import Mixture
from vla_adapter_ros.data.training.paraphrases import Paraphrases
from vla_adapter_ros.errors import CheckpointError, ConfigError, DatasetError, InstructionError
from vla_adapter_ros.inference.official_processing import official_processing
from vla_adapter_ros.model import VLAAdapter, VLAAdapterConfig
from vla_adapter_ros.processing.augment import AugmentConfig
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.statistics import Normaliser, Statistics
from vla_adapter_ros.processing.tokenizer import Tokenizer
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract
from vla_adapter_ros.training.batches import LONGEST_MADE_UP, Collator
from vla_adapter_ros.training.config import SUBWORDS, DataConfig, TrainConfig
from vla_adapter_ros.training.config_loader import merged
from vla_adapter_ros.training.experiments.grounding.batches import SceneBatches
from vla_adapter_ros.training.experiments.grounding.loss import check_keypoints, load_grounded
from vla_adapter_ros.training.experiments.grounding.scenes import GroundingScenes, load_scenes
from vla_adapter_ros.training.model_setup import learn_words, network_config
from vla_adapter_ros.weights.metadata import WEIGHTS_FILE
from vla_adapter_ros.weights.own import save
from vla_adapter_ros.weights.released import (
    BASE_TOKENIZER,
    is_base_vlm,
    model_folder,
    tokenizer_folder,
)


@dataclass
class TrainingSetup:
    """Everything a run needs, before it is placed on a device.

    Attributes:
        model: the network in float32, not yet adapted.
        pipeline: turns observations into its inputs.
        statistics: of the training episodes, by dataset. Datasets of one robot contract share
            theirs; those of commands have each their own, as officially.
        contract: of the robot that recorded the data, with the action space of training.
        mixture: the training episodes.
        validation: the held-out episodes of each dataset that has any.
        collate: turns samples into batches.
    """

    model: VLAAdapter
    pipeline: InputPipeline
    statistics: dict[str, Statistics]
    contract: RobotContract | None
    mixture: Mixture
    validation: list[Dataset]
    collate: Collator

    def save(
        self, directory: Path, weights: dict[str, torch.Tensor], recipe: Any,
        file: str = WEIGHTS_FILE,
    ) -> None:
        """Write a self-describing checkpoint for `inference.policy.Policy` and the node.

        Under another `file` than the usual one the weights may be a part of the network.
        """
        save(
            self.model,
            directory,
            state_dict=weights,
            file=file,
            robot=None if self.contract is None else self.contract.to_dict(),
            statistics={k: v for s in self.statistics.values() for k, v in s.to_dict().items()},
            preprocessing=self.pipeline.config.to_dict(),
            training=self._with_step_period(recipe),
        )
        self.pipeline.tokenizer.save(directory)

    def _with_step_period(self, recipe: Any) -> Any:
        """Keep the time between two actions where no contract says it."""
        fps = self.mixture.datasets[0].fps
        if self.contract is not None or fps is None:
            return recipe
        return {**recipe, 'step_period': 1 / fps}


def build_setup(config: TrainConfig, progress: bool) -> TrainingSetup:
    """Open the datasets and build the network.

    Raises:
        ConfigError: no datasets, or settings that do not fit each other.
        DatasetError: the data cannot be read or do not fit the contract.
        CheckpointError: the start weights do not fit.
    """
    if not config.data.datasets:
        raise ConfigError('data.datasets: got none, expected at least one dataset folder')
    # Cheap checks come first: decoding a large dataset takes an hour.
    start = config.start
    if start.source and not model_folder(start.source).exists():
        raise CheckpointError(f'start.path: {start.source}: no such file or folder')
    known = known_tokenizer(config)
    metadata = _start_metadata(config)
    network = _start_network(config, metadata)
    processing = processing_config(config, metadata, network)
    _check_images(network, processing)
    scenes = load_scenes(*config.grounding.scenes) if config.grounding.scenes else None
    file = config.data.paraphrases
    paraphrases = None if file is None else Paraphrases.load(file)
    names = dataset_names(config.data.datasets)
    datasets = [
        _open(path, name, config, processing.images, network.chunk_size, progress)
        for path, name in zip(config.data.datasets, names, strict=True)
    ]
    contract = _contract(datasets[0], config)
    processing = _cameras(processing, datasets[0].cameras, contract, config)
    parts = [d.split(config.data.validation_fraction, config.seed) for d in datasets]
    mixture = _mixture([train for train, _ in parts], names, config)
    by_dataset = _statistics(mixture, contract)
    statistics = by_dataset[names[0]]
    texts = _sentences(datasets, paraphrases)
    tokenizer = known or new_tokenizer(config, texts)
    validation = [held for _, held in parts if held is not None]
    if config.data.instruction_pattern:
        chosen = _matching(mixture.datasets, config.data.instruction_pattern)
        mixture = _mixture(chosen, names, config)
        validation = _matching(validation, config.data.instruction_pattern)
    sizes = {
        'chunk_size': network.chunk_size,
        'num_images': len(processing.cameras),
        'proprio_dim': statistics.proprio.size,
        'action_dim': statistics.action.size,
    }
    if config.start.kind == 'random':
        network = network_config(
            config.model, vocab_size=tokenizer.vocab_size, film_pieces=tokenizer.pieces, **sizes
        )
    if config.start.kind == 'base':
        network = network.replace(**sizes)
    if config.start.kind in ('random', 'base'):
        network = _with_action_limit(network, by_dataset.values(), processing.normalisation)
    # Recorded, for wherever the policy runs.
    network = network.as_trained(config.compute.precision)
    model = start_model(config, network)
    _check_sizes(model.config, sizes, config)
    goes_on = config.start.kind == 'checkpoint'
    shown = [] if scenes is None else [t for group in scenes.instructions for t in group]
    if (goes_on or config.start.grounded) and config.adaptation.mode == 'full':
        tokenizer = learn_words(model, tokenizer, texts + shown)
    said = _sentences([*mixture.datasets, *validation], paraphrases)
    tokenizer = tokenizer.trained_on(said + shown, anew=not goes_on)
    _check_vocabulary(model.config, tokenizer, config)
    _check_words(config, tokenizer)
    pipeline = InputPipeline(processing, tokenizer, statistics)
    _check_instructions(pipeline, texts)
    changes = AugmentConfig(
        crop_area=processing.images.crop_area, **asdict(config.augmentation)
    )
    collate = Collator(
        pipeline, by_dataset, changes if config.data.augment else None,
        [d.name for d in mixture.datasets], None if config.latent_noise else _zero_latent(model),
        None if scenes is None else _scene_batches(scenes, model, pipeline),
        config.grounding.batch_size,
        # Compiled blocks are made for one length.
        _longest_prompt(pipeline, texts, config.data) if config.compute.compile else 0,
        {d.name for d in datasets if not d.holds_last},
        config.data.unknown_words, config.data.spelled_words, paraphrases,
    )
    return TrainingSetup(model, pipeline, by_dataset, contract, mixture, validation, collate)


def _mixture(datasets: Sequence[Dataset], names: Sequence[str], config: TrainConfig) -> Mixture:
    factors = dict(zip(names, config.data.weights or [1.0] * len(names), strict=True))
    return Mixture(datasets, [factors[d.name] * len(d) for d in datasets])


def _statistics(mixture: Mixture, contract: RobotContract | None) -> dict[str, Statistics]:
    if contract is None:
        return mixture.statistics()
    joint = mixture.joint_statistics(mixture.datasets[0].name)
    return {dataset.name: joint for dataset in mixture.datasets}


def _sentences(datasets: Iterable[Dataset], paraphrases: Paraphrases | None) -> list[str]:
    """Return the instructions of datasets, and other ways to say them."""
    texts = sorted({e.instruction for d in datasets for e in d.store.episodes})
    return texts if paraphrases is None else paraphrases.all_of(texts)


def _matching(datasets: Sequence[Dataset], pattern: str) -> list[Dataset]:
    """Return the datasets with the episodes whose instruction matches, without empty ones.

    Raises:
        ConfigError: no regular expression, or no instruction matches.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f'data.instruction_pattern: {pattern!r} is not a regular expression: {error}'
        ) from error
    kept = []
    for dataset in datasets:
        episodes = dataset.store.episodes
        chosen = [i for i in dataset.selected if wanted.search(episodes[i].instruction)]
        if chosen:
            kept.append(dataset.with_episodes(chosen))
    if datasets and not kept:
        raise ConfigError(
            f'data.instruction_pattern: {pattern!r} matches no instruction of the datasets'
        )
    return kept


def _with_action_limit(
    network: VLAAdapterConfig, statistics: Iterable[Statistics], normalisation: str
) -> VLAAdapterConfig:
    """Set a diffusion policy's range of normalised actions, unless the recipe sets it."""
    policy = network.policy
    if policy.kind != 'dit' or normalisation != 'normal' or policy.action_limit != 1.0:
        return network
    ends = [
        Normaliser(s.action, normalisation, zero_constant=True).normalise(
            np.stack([s.action.min, s.action.max])
        )
        for s in statistics
    ]
    limit = max(1.0, round(float(np.abs(ends).max()), 3))
    return network.replace(policy=replace(policy, action_limit=limit))


def _zero_latent(model: VLAAdapter) -> torch.Tensor | None:
    config = model.config
    if config.policy.kind not in ('original', 'pro'):
        return None  # the others have no latent
    return torch.zeros(config.chunk_size, config.policy_width * config.action_dim)


def _scene_batches(
    scenes: GroundingScenes, model: VLAAdapter, pipeline: InputPipeline
) -> SceneBatches:
    """Return the images of the grounding loss; ConfigError if they do not fit the network."""
    size, cameras = pipeline.config.images.size, len(pipeline.config.cameras)
    if scenes.images.shape[1:3] != (cameras, size):
        count, side = scenes.images.shape[1:3]
        raise ConfigError(
            f'grounding.scenes: images of {count} cameras, {side} px wide; '
            f'the network has {cameras} cameras and {size} px'
        )
    check_keypoints(model, scenes.points.shape[3])
    return SceneBatches(scenes, pipeline.tokenizer, pipeline.config)


def _start_metadata(config: TrainConfig) -> Any:
    if config.start.kind not in ('official', 'checkpoint'):
        return None
    from vla_adapter_ros.weights.directory import read_checkpoint_metadata

    return read_checkpoint_metadata(str(config.start.source))


def _start_network(config: TrainConfig, metadata: Any) -> VLAAdapterConfig:
    if metadata is None:
        return network_config(config.model)
    return metadata.config.override(**_changed_chunk(config))


def _changed_chunk(config: TrainConfig) -> dict[str, int]:
    """Return the one setting of `model` that changes a checkpoint's network: no weight of the
    paper's policies depends on it, and released files do not record it.
    """
    size = config.model.get('chunk_size')
    return {} if size is None else {'chunk_size': size}


def processing_config(
    config: TrainConfig, metadata: Any, network: VLAAdapterConfig
) -> ProcessingConfig:
    """Return the image and prompt settings of a recipe; the data name the cameras.

    Args:
        config: the recipe.
        metadata: of the checkpoint that training starts from; None: no checkpoint.
        network: the images must fit it.
    """
    if config.start.kind == 'checkpoint':
        if not metadata.preprocessing or not metadata.statistics:
            raise CheckpointError(
                f'checkpoint {config.start.source}: no preprocessing or no statistics; it is not '
                'a complete checkpoint of this trainer; start.kind=base takes its VLM alone'
            )
        base = dict(metadata.preprocessing)
    elif config.start.kind == 'official':
        base = official_processing(metadata).to_dict()
    else:
        base = ProcessingConfig(images=OWN_IMAGES, zero_constant=True).to_dict()
        base['images']['size'] = network.image_size
        base['images']['normalisations'] = base['images']['normalisations'][-len(network.vision):]
        if config.start.kind == 'random':
            base['prompt_format'] = 'plain'
        elif network.language.family == 'llama':
            base['prompt_format'] = 'in_out'
    return ProcessingConfig.from_dict(merged(base, config.processing))


def _cameras(
    processing: ProcessingConfig, cameras: tuple[str, ...], contract: RobotContract | None,
    config: TrainConfig,
) -> ProcessingConfig:
    """Take the data's cameras and the robot's rotations: the data are upright already."""
    if config.start.kind in ('random', 'base') and 'cameras' not in config.processing:
        processing = replace(processing, cameras=tuple(cameras))
    if contract is not None and config.start.kind in ('random', 'base'):
        turned = {name: camera.rotate for name, camera in contract.cameras.items()}
        processing = replace(processing, rotations=turned)
    if tuple(cameras) != processing.cameras:
        raise DatasetError(
            f'{config.data.datasets[0]}: has the cameras {list(cameras)}, '
            f'the policy sees {list(processing.cameras)}'
        )
    return processing


def _open(
    path: str, name: str, config: TrainConfig, images: ImageConfig, chunk_size: int,
    progress: bool,
) -> Dataset:
    contract = resolve_contract(config.data.contract) if config.data.contract else None
    return open_dataset(
        path,
        name=name,
        images=images,
        contract=contract,
        action_space=config.data.action_space,
        chunk_size=chunk_size,
        columns=columns_of(config),
        complete_chunks=config.data.complete_chunks,
        only_successes=config.data.only_successes,
        cache=config.data.cache,
        workers=max(1, config.data.workers),
        progress=progress,
    )


def columns_of(config: TrainConfig) -> Columns:
    """Return what a recipe says about the features of its LeRobot datasets."""
    data = config.data
    return Columns(data.state, data.action, data.cameras, data.actions)


def _contract(dataset: Dataset, config: TrainConfig) -> RobotContract | None:
    if dataset.contract is None:
        return None
    data = dataset.contract.to_dict() | {'action_space': dataset.action_space}
    return RobotContract.from_dict(data, f'contract of {config.data.datasets[0]}')


def _check_instructions(pipeline: InputPipeline, texts: Iterable[str]) -> None:
    """Refuse here, not in the batch that holds it, an instruction that no prompt can carry."""
    for text in texts:
        try:
            pipeline.prompt_ids(text)
        except InstructionError as error:
            raise DatasetError(f'training data: the task {text!r}: {error}') from error


def _longest_prompt(pipeline: InputPipeline, texts: list[str], data: DataConfig) -> int:
    spellings = pipeline.tokenizer.spellings
    spelled = spellings if data.spelled_words else {}
    lengths = (
        sum(len(spelled.get(token, [token])) for token in pipeline.prompt_ids(text).tolist())
        for text in texts
    )
    unknown = (1 + LONGEST_MADE_UP if spellings else 1) if data.unknown_words else 0
    return max(lengths) + unknown


def _check_words(config: TrainConfig, tokenizer: Tokenizer) -> None:
    if config.data.unknown_words and not tokenizer.words:
        raise ConfigError(
            'data.unknown_words: got a tokenizer that has every word; expected 0, or a policy '
            'with a word list or subwords'
        )
    if config.tokenizer == SUBWORDS and not tokenizer.spellings:
        raise ConfigError(
            f'tokenizer: got {SUBWORDS}, but start.grounded {config.start.grounded} has a word '
            'list; ground with the same setting'
        )
    if config.data.spelled_words and not tokenizer.spellings:
        raise ConfigError(
            'data.spelled_words: got a tokenizer without pieces of words; expected 0, or a policy '
            'with tokenizer=subwords'
        )


def new_tokenizer(config: TrainConfig, texts: Iterable[str]) -> Tokenizer:
    """Return the tokenizer that a recipe makes of its instructions."""
    if config.tokenizer == SUBWORDS:
        return Tokenizer.subwords(texts)
    return Tokenizer.from_texts(texts)


def known_tokenizer(config: TrainConfig) -> Tokenizer | None:
    """Return the tokenizer, or None if it is built from the instructions."""
    named = None if config.tokenizer == SUBWORDS else config.tokenizer
    if folder := named or config.start.grounded:
        return Tokenizer.from_directory(tokenizer_folder(folder))
    if config.start.kind == 'random':
        return None
    folder = model_folder(str(config.start.source))
    try:
        if config.start.kind == 'base' and is_base_vlm(folder):
            return Tokenizer.from_directory(tokenizer_folder(BASE_TOKENIZER))
        return Tokenizer.from_directory(folder)
    except CheckpointError as error:
        raise CheckpointError(f'{error}; or name its folder with tokenizer=FOLDER') from error


def start_model(config: TrainConfig, network: VLAAdapterConfig) -> VLAAdapter:
    """Return the network with the weights that a run starts from, in float32.

    Raises:
        CheckpointError: the weights are missing or do not fit.
    """
    torch.manual_seed(config.seed)
    if config.start.kind == 'random':
        model = VLAAdapter.from_config(network)
        if config.start.grounded:
            load_grounded(model, config.start.grounded)
        return model
    if config.start.kind == 'base':
        return VLAAdapter.from_vlm(
            str(config.start.source), network, vision_weights=config.start.vision_weights
        )
    return VLAAdapter.from_pretrained(
        str(config.start.source),
        dtype=torch.float32,
        rope_precision=network.policy.rope_precision,
        **_changed_chunk(config),
    )


def _check_images(network: VLAAdapterConfig, processing: ProcessingConfig) -> None:
    images = processing.images
    if images.size != network.image_size or len(images.normalisations) != len(network.vision):
        raise ConfigError(
            f'processing.images: size {images.size} for {len(images.normalisations)} towers, '
            f'the network has size {network.image_size} and {len(network.vision)} towers'
        )


def _check_vocabulary(
    network: VLAAdapterConfig, tokenizer: Tokenizer, config: TrainConfig
) -> None:
    if tokenizer.vocab_size > network.language.vocab_size:
        raise ConfigError(
            f'tokenizer: {config.tokenizer or config.start.source} has {tokenizer.vocab_size} '
            f'tokens, the language model has {network.language.vocab_size}'
        )


def _check_sizes(network: VLAAdapterConfig, sizes: dict[str, int], config: TrainConfig) -> None:
    for name, wanted in sizes.items():
        if getattr(network, name) != wanted:
            raise DatasetError(
                f'{config.data.datasets[0]}: {name} is {wanted}, the weights of '
                f'{config.start.source} have {getattr(network, name)}; start.kind=base takes '
                'their VLM and a new policy'
            )
