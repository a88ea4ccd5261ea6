# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Reading one mapping of a YAML file; errors name key, value and allowed values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vla_adapter_ros.errors import ContractError

_MISSING = object()
# Relative, absolute or private names of topics, services and actions in ROS 2.
_ROS_NAME = re.compile(r'(~?/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')
ROS_NAME_RULE = (
    'expected a ROS name: letters, digits and _ in parts separated by /, no part beginning with'
    ' a digit'
)


def is_ros_name(text: str) -> bool:
    """Return whether ROS 2 accepts this as the name of a topic, service or action."""
    return _ROS_NAME.fullmatch(text) is not None


class Section:
    """A mapping at a named place; `finish` rejects the keys that were not read."""

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, Mapping):
            raise ContractError(f'{place}: expected a mapping, got {values!r}')
        self._values = values
        self._place = place
        self._read: set[str] = set()

    def _get(self, key: str, default: Any) -> Any:
        self._read.add(key)
        if key not in self._values:
            if default is _MISSING:
                raise ContractError(f'{self._place}: key {key!r} is missing')
            return default
        return self._values[key]

    def has(self, key: str) -> bool:
        """Return whether an optional key is present and not null."""
        return self._get(key, None) is not None

    def is_list(self, key: str) -> bool:
        """Return whether a key holds a list."""
        return isinstance(self._get(key, None), list)

    def fail(self, key: str, expected: str) -> ContractError:
        """Return the error for a key with a value that is not allowed."""
        return ContractError(f'{self._place}.{key}: got {self._values.get(key)!r}, {expected}')

    def number(
        self,
        key: str,
        default: Any = _MISSING,
        *,
        above: float = -math.inf,
        at_most: float = math.inf,
    ) -> float:
        """Return a finite number with `above` < value <= `at_most`."""
        value = self._get(key, default)
        # bool is an int in Python; `max_velocity: yes` must not become 1.0.
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.fail(key, 'expected a number')
        if not math.isfinite(value) or not above < value <= at_most:
            raise self.fail(key, f'expected a finite number in ({above:g}, {at_most:g}]')
        return float(value)

    def integer(self, key: str, default: Any = _MISSING, *, low: int, high: int) -> int:
        """Return an integer in [low, high]."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f'expected an integer in [{low}, {high}]')
        return value

    def flag(self, key: str, default: Any = _MISSING) -> bool:
        """Return true or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, 'expected true or false')
        return value

    def text(self, key: str, default: Any = _MISSING, *, choices: Sequence[str] = ()) -> str:
        """Return a non-empty string, one of `choices` if given."""
        value = self._get(key, default)
        if not isinstance(value, str) or (not value and default is _MISSING):
            raise self.fail(key, 'expected a non-empty string')
        if choices and value not in choices:
            raise self.fail(key, f'expected one of {list(choices)}')
        return value

    def ros_name(self, key: str, default: Any = _MISSING) -> str:
        """Return the name of a topic, service or action; the default may be ''."""
        value = self.text(key, default)
        if value != default and not is_ros_name(value):
            raise self.fail(key, ROS_NAME_RULE)
        return value

    def numbers(self, key: str, default: Any = _MISSING, *, length: int) -> tuple[float, ...]:
        """Return `length` finite numbers."""
        value = self._get(key, default)
        good = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == length
        if not good or not all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
            for v in value
        ):
            raise self.fail(key, f'expected a list of {length} finite numbers')
        return tuple(float(v) for v in value)

    def section(self, key: str, default: Any = _MISSING) -> Section | None:
        """Return a nested mapping, or None if absent and `default` is None."""
        value = self._get(key, default)
        return None if value is None else Section(value, f'{self._place}.{key}')

    def required_section(self, key: str) -> Section:
        """Return a nested mapping that must be present."""
        return Section(self._get(key, _MISSING), f'{self._place}.{key}')

    def sections(self, key: str) -> list[Section]:
        """Return a non-empty list of mappings."""
        value = self._get(key, _MISSING)
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.fail(key, 'expected a non-empty list')
        return [Section(item, f'{self._place}.{key}[{i}]') for i, item in enumerate(value)]

    def items(self) -> Iterator[tuple[str, Section]]:
        """Yield every entry as a named nested mapping."""
        for key, value in self._values.items():
            self._read.add(key)
            yield str(key), Section(value, f'{self._place}.{key}')

    def finish(self) -> None:
        """Reject keys that were not read: a typo must not silently keep a default."""
        unknown = sorted(str(k) for k in self._values if k not in self._read)
        if unknown:
            known = ', '.join(sorted(self._read))
            raise ContractError(f'{self._place}: unknown key {unknown[0]!r}; known keys: {known}')
