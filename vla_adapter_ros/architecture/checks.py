# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Checks of the fields of configurations; each refusal names class, field and what is allowed."""

from __future__ import annotations

from typing import Any, NoReturn

from vla_adapter_ros.errors import ConfigError


def refuse(config: Any, key: str, reason: str) -> NoReturn:
    """Raise ConfigError: the field `key` cannot be so, for a reason."""
    raise ConfigError(f'{type(config).__name__}.{key}: {reason}')


def one_of(config: Any, key: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not allowed."""
    if (value := getattr(config, key)) not in allowed:
        refuse(config, key, f'got {value!r}, allowed are {list(allowed)}')


# No network has more of anything. What a damaged file says must not overflow torch's sizes.
_MOST = 2**24


def positive(config: Any, *keys: str) -> None:
    """Refuse what is no number of things."""
    for key in keys:
        value = getattr(config, key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
            refuse(config, key, f'got {value!r}, must be an integer of 1 to {_MOST}')


def given_positive(config: Any, *keys: str) -> None:
    """As `positive`, for fields that may be None."""
    positive(config, *(key for key in keys if getattr(config, key) is not None))


def at_least_zero(config: Any, key: str, *, above: bool = False) -> None:
    """Refuse what is no finite number of at least zero, or above it."""
    value = getattr(config, key)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < float('inf') or (above and value == 0):
        bound = 'above 0' if above else 'of at least 0'
        refuse(config, key, f'got {value!r}, must be a finite number {bound}')


def divides(config: Any, width: int) -> None:
    """Refuse heads that do not divide a width."""
    if width % config.heads:
        refuse(config, 'heads', f'{config.heads} heads do not divide the width {width}')
