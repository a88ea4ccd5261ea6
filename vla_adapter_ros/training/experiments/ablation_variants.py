# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What an ablation compares: the paper's variants of the network, and changes to the recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.training.config import TrainConfig
from vla_adapter_ros.training.config_loader import merged, to_dict
from vla_adapter_ros.training.model_setup import network_config

Changes = dict[str, Any]


def _policy(**changes: Any) -> Changes:
    return {'policy': changes}


_FEATURES = {'raw': 'raw', 'queries': 'query', 'both': 'both'}
_LAYERS = ('first', 'middle', 'last', 'all')


def _reading(*pairs: tuple[str, str]) -> dict[str, Changes]:
    """Variants that read these features from these layers."""
    return {
        f'{name}, {layers}': _policy(features=_FEATURES[name], feature_layers=layers)
        for name, layers in pairs
    }


# Reference in the paper and variants of each comparison, as changes to the recipe's `model` entry.
GROUPS: dict[str, tuple[str, dict[str, Changes]]] = {
    'conditions': (
        'What the policy reads (Table 7): raw features, ActionQuery features, both',
        {name: _policy(features=features) for name, features in _FEATURES.items()},
    ),
    'layers': (
        'Which layers it reads them from (Figure 4, Table 7)',
        {name: _policy(feature_layers=name) for name in _LAYERS},
    ),
    'policies': (
        'Kind of policy: the two released L1 policies and a diffusion transformer (Appendix B)',
        {kind: _policy(kind=kind) for kind in ('original', 'pro', 'dit')},
    ),
    'queries': (
        'Number of ActionQueries (Figure 8)',
        {str(count): {'num_queries': count} for count in (1, 4, 8, 16, 64)},
    ),
    'injection': (
        'Injection degrees of raw and query features, 1 or a learned tanh(g) (Table 8)',
        {
            'raw tanh, query 1': _policy(raw_gate='tanh', query_gate='none'),
            'raw 1, query 1': _policy(raw_gate='none', query_gate='none'),
            'raw tanh, query tanh': _policy(raw_gate='tanh', query_gate='tanh'),
            'raw 1, query tanh': _policy(raw_gate='none', query_gate='tanh'),
        },
    ),
    'bridging': (
        "OpenVLA-OFT's bridging (+OFT in Table 2; Table 3 with a frozen VLM) and this one",
        {'oft': _policy(kind='oft'), 'adapter': {}},
    ),
    'grid': (
        'Features and layers together (Figure 4 and more)',
        _reading(*product(_FEATURES, _LAYERS)),
    ),
    'table7': (
        "The six rows of Table 7, and OpenVLA-OFT's bridging as it is (Table 2) beside them",
        {
            **_reading(
                ('raw', 'last'), ('queries', 'last'), ('raw', 'middle'),
                ('raw', 'all'), ('queries', 'all'), ('both', 'all'),
            ),
            'oft': _policy(kind='oft'),
        },
    ),
}
DEFAULT_GROUPS = ('conditions', 'layers', 'policies', 'queries', 'injection')
# The group of a user's own variants, see `ablation_recipe`.
RECIPE, RECIPE_TITLE = 'recipe', 'Parts of the recipe'


@dataclass(frozen=True)
class Variant:
    """What is trained, under every name it has.

    Attributes:
        run: name of its folder.
        listed_in: (group, name) pairs; what several groups contain is trained once.
        config: the recipe with its changes.
        settings: its changes as `key=value`, unless they are those of a group.
    """

    run: str
    listed_in: tuple[tuple[str, str], ...]
    config: TrainConfig
    settings: tuple[str, ...] = ()


def title_of(group: str) -> str:
    """Return the heading of a comparison."""
    return RECIPE_TITLE if group == RECIPE else GROUPS[group][0]


def make_variants(
    recipe: TrainConfig, groups: Sequence[str], own: Sequence[Variant] = ()
) -> list[Variant]:
    """Return the variants of some groups and a user's own, each training once.

    Args:
        recipe: what all variants share.
        groups: names of `GROUPS`.
        own: further variants.

    Raises:
        ConfigError: no such group, or a variant no network can be built from.
    """
    found: dict[str, Variant] = {}
    for variant in [*(v for group in groups for v in _variants_of(recipe, group)), *own]:
        key = learned_from(variant.config)
        if known := found.get(key):
            places = (*known.listed_in, *variant.listed_in)
            variant = replace(known, listed_in=places, settings=variant.settings)
        found[key] = variant
    return list(found.values())


def _variants_of(recipe: TrainConfig, group: str) -> list[Variant]:
    if group not in GROUPS:
        raise ConfigError(f'groups: got {group!r}, expected some of {list(GROUPS)}')
    return [
        Variant(
            f'{group}-{name}'.replace(', ', '-').replace(' ', '_'), ((group, name),),
            replace(recipe, model=merged(recipe.model, changes)),
        )
        for name, changes in GROUPS[group][1].items()
    ]  # fmt: skip


def learned_from(config: TrainConfig) -> str:
    """Return a text that is equal for two recipes if they train the same.

    Raises:
        ConfigError: no network can be built from its `model` entry.
    """
    from vla_adapter_ros.training.train import settings_that_affect_learning

    settings = settings_that_affect_learning(to_dict(config))
    # Different entries may describe one network.
    settings['model'] = network_config(config.model).to_dict()
    return json.dumps(settings, sort_keys=True)


def baseline_run(variants: Sequence[Variant], recipe: TrainConfig) -> str | None:
    """Return the run of the unchanged recipe among the variants, or None."""
    own = learned_from(recipe)
    return next((v.run for v in variants if learned_from(v.config) == own), None)
