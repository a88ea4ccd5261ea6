# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The paper's comparisons as changes to a recipe's `model` entry; nothing else differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.training.config_loader import merged
from vla_adapter_ros.training.model_setup import network_config

Changes = dict[str, Any]


def _policy(**changes: Any) -> Changes:
    return {'policy': changes}


# Reference in the paper and variants of each comparison.
GROUPS: dict[str, tuple[str, dict[str, Changes]]] = {
    'conditions': (
        'What the policy reads (Table 2): raw features, ActionQuery features, both',
        {
            'raw': _policy(features='raw'),
            'queries': _policy(features='query'),
            'both': _policy(features='both'),
        },
    ),
    'layers': (
        'Which layers it reads them from (Table 2, Figure 8)',
        {name: _policy(feature_layers=name) for name in ('first', 'middle', 'last', 'all')},
    ),
    'policies': (
        'Kind of policy: the two released L1 policies and a diffusion transformer (Appendix B)',
        {kind: _policy(kind=kind) for kind in ('original', 'pro', 'dit')},
    ),
    'queries': (
        'Number of ActionQueries (Table 7)',
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
        "OpenVLA-OFT's bridging (+OFT in Tables 2 and 3) and this one",
        {'oft': _policy(kind='oft'), 'adapter': {}},
    ),
    'grid': (
        'Features and layers together (Table 2)',
        {
            f'{name}, {layers}': _policy(features=features, feature_layers=layers)
            for name, features in (('raw', 'raw'), ('queries', 'query'), ('both', 'both'))
            for layers in ('first', 'middle', 'last', 'all')
        },
    ),
}
DEFAULT_GROUPS = ('conditions', 'layers', 'policies', 'queries', 'injection')


@dataclass(frozen=True)
class Variant:
    """One network to train, under every name it has.

    Attributes:
        run: name of its folder.
        listed_in: (group, name) pairs; a network that several groups contain is trained once.
        model: the recipe's `model` entry.
    """

    run: str
    listed_in: tuple[tuple[str, str], ...]
    model: Changes


def make_variants(recipe: Mapping[str, Any], groups: Sequence[str]) -> list[Variant]:
    """Return the variants of some groups, each network once.

    Args:
        recipe: `model` entry of the recipe all variants share.
        groups: names of `GROUPS`.

    Raises:
        ConfigError: no such group, or a variant no network can be built from.
    """
    found: dict[str, Variant] = {}
    for group in groups:
        if group not in GROUPS:
            raise ConfigError(f'groups: got {group!r}, expected some of {list(GROUPS)}')
        for name, changes in GROUPS[group][1].items():
            model = merged(recipe, changes)
            # Networks are equal if they are built from the same configuration.
            key = json.dumps(network_config(model).to_dict(), sort_keys=True)
            place = (group, name)
            if key in found:
                known = found[key]
                found[key] = Variant(known.run, (*known.listed_in, place), known.model)
            else:
                run = f'{group}-{name}'.replace(', ', '-').replace(' ', '_')
                found[key] = Variant(run, (place,), model)
    return list(found.values())


def baseline_run(variants: Sequence[Variant], recipe: Mapping[str, Any]) -> str | None:
    """Return the run of the recipe's own network among the variants, or None."""
    own = network_config(recipe)
    return next((v.run for v in variants if network_config(v.model) == own), None)
