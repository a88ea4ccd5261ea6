# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Variants of an ablation that a user names on the command line, and what they need to train."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vla_adapter_ros.errors import ConfigError, VLAAdapterError
from vla_adapter_ros.training.config import TrainConfig, load_config
from vla_adapter_ros.training.experiments.ablation_variants import RECIPE, Variant, learned_from

FORM = "'NAME: key=value; key=value'"
UNCHANGED = 'unchanged'  # name of the reference
_NAME = re.compile(r'(?=.*[^\W_])[\w .,+()-]{1,60}')


def recipe_variants(
    recipe: str | Path, shared: Sequence[str], texts: Sequence[str]
) -> list[Variant]:
    """Return the unchanged recipe and the variants of `texts`; none if these are none.

    Args:
        recipe: file or name of what they change.
        shared: settings of all of them.
        texts: of `FORM`. A value may hold no semicolon.

    Raises:
        ConfigError: a text of another form, a name that is taken or is no name, a setting that
            the recipe does not have, or a variant that trains the same as one before it.
    """
    if not texts:
        return []
    config = load_config(recipe, shared)
    found = [Variant(_run(UNCHANGED), ((RECIPE, UNCHANGED),), config)]
    for text in texts:
        name, settings = _parsed(text)
        try:
            config = load_config(recipe, [*shared, *settings])
            _check(name, config, found)
        except VLAAdapterError as error:
            raise ConfigError(f'--variant {name!r}: {error}') from error
        found.append(Variant(_run(name), ((RECIPE, name),), config, settings))
    return found


def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, rest = (part.strip() for part in text.partition(':'))
    settings = tuple(part.strip() for part in rest.split(';') if part.strip())
    if not settings:
        raise ConfigError(f'--variant {text!r}: expected {FORM}')
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f'--variant {name!r}: expected a name of up to 60 letters, digits, spaces and .,+()-_'
        )
    return name, settings


def _run(name: str) -> str:
    """Return the folder of a variant; without hyphens in the name, for `-seed8` is another's."""
    return f'{RECIPE}-' + re.sub(r'[^\w.]+', '_', name).strip('_')


def _check(name: str, config: TrainConfig, found: Sequence[Variant]) -> None:
    """Refuse what does not differ from the variants before, the first of which is the recipe."""
    recipe, learned = found[0].config, learned_from(config)
    if (config.seed, config.output_dir) != (recipe.seed, recipe.output_dir):
        raise ConfigError('seed, output_dir: each training has its own, expected other settings')
    for other in found:
        # Some file systems do not tell capitals from small letters.
        if _run(name).casefold() == other.run.casefold():
            raise ConfigError(
                f'its folder {other.run} is that of {_name(other)!r}, expected another name'
            )
        if learned == learned_from(other.config):
            raise ConfigError(
                f'trains the same as {_name(other)!r}, expected settings that change the training'
            )


def _name(variant: Variant) -> str:
    return dict(variant.listed_in)[RECIPE]


def check_sources(variants: Sequence[Variant]) -> None:
    """Look for the data and the tokenizer of each variant, before hours of training.

    Raises:
        VLAAdapterError: something is not there or not what it should be.
    """
    from vla_adapter_ros.data.sources import open_source
    from vla_adapter_ros.training.assembly import columns_of, known_tokenizer
    from vla_adapter_ros.training.experiments.grounding.scenes import shards_of

    opened: set[str] = set()
    for variant in variants:
        config = variant.config
        columns = columns_of(config)
        try:
            if not config.data.datasets:
                raise ConfigError('data.datasets: got none, expected at least one dataset folder')
            for path in config.data.datasets:
                if f'{path} {columns}' not in opened:
                    open_source(path, columns)
                opened.add(f'{path} {columns}')
            for path in config.grounding.scenes:
                shards_of(path)
            known_tokenizer(config)
        except VLAAdapterError as error:
            if not variant.settings:
                raise
            raise ConfigError(f'--variant {_name(variant)!r}: {error}') from error
