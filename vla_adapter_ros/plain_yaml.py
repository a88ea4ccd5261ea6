# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""YAML texts of strangers: plain data of bounded size. Every room may import this."""

from __future__ import annotations

from typing import Any

import yaml

# libyaml's parser where PyYAML has it: ten times as fast.
YAML_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
# What references to anchors may make of a file; the largest that ships has a few hundred.
_MOST_VALUES = 1_000_000


def parse_yaml(text: str, loader: type[Any] = YAML_LOADER) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        yaml.YAMLError: not YAML, or a value refers to itself, or references to anchors make it so
            large that printing it would fill the memory.
    """
    try:
        data = yaml.load(text, loader)
        _count(data, {})
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        # Of dates that do not exist, numbers with too many digits, unhashable keys, …
        raise yaml.YAMLError(str(error)) from error
    return data


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values there are, each as often as it is referred to."""
    if not isinstance(value, (dict, list, set)):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES  # where it is found again in itself
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(item, known) for item in inner)
    if known[id(value)] >= _MOST_VALUES:
        raise yaml.YAMLError('a value refers to itself, or to too many others')
    return known[id(value)]
