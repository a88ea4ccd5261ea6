# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Strict reading of YAML and `key=value` overrides into typed dataclasses.

Independent of training: turns nested mappings into nested dataclasses, refuses unknown keys (with
the nearest one as a hint) and wrong types in one line, and describes every key for `--help`.
jsonargparse was tried: wrapped so that these messages, integers like 2e3 and the refusal of
infinite numbers remain, it needs as many lines as this module.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vla_adapter_ros.errors import ConfigError
from vla_adapter_ros.plain_yaml import parse_yaml

T = TypeVar('T')


def option(default: Any, text: str) -> Any:
    """Return a dataclass field with a help text; a mutable default is copied per instance."""
    if isinstance(default, (list, dict)):
        return dataclasses.field(
            default_factory=lambda: copy.deepcopy(default), metadata={'help': text}
        )
    return dataclasses.field(default=default, metadata={'help': text})


def section(cls: type, text: str) -> Any:
    """Return a dataclass field that is itself a dataclass."""
    return dataclasses.field(default_factory=cls, metadata={'help': text})


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping of a YAML file.

    Raises:
        ConfigError: the file is missing, not YAML, or not a mapping.
    """
    try:
        data = parse_yaml(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'config {path}: cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f' at line {mark.line + 1}' if mark else ''
        raise ConfigError(f'config {path}: not valid YAML{where}') from error
    if not isinstance(data, dict):
        raise ConfigError(f'config {path}: expected a mapping of keys, got {type(data).__name__}')
    return data


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `values` with `section.key=value` (or `--section.key=value`) applied, read as YAML.

    Raises:
        ConfigError: an override has no `=`, or its path runs through something not a mapping.
    """
    result = copy.deepcopy(values)
    for text in overrides:
        path, equals, raw = text.removeprefix('--').partition('=')
        if not equals or not path:
            raise ConfigError(f'override {text!r}: expected key=value, e.g. optimizer.lr=1e-4')
        try:
            value = _yaml_value(raw)
        except yaml.YAMLError as error:
            raise ConfigError(f'override {text!r}: the value is not valid YAML') from error
        _set(result, path.split('.'), value, text)
    return result


def _yaml_value(raw: str) -> Any:
    value = parse_yaml(raw)
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 (no dot) as text
            return float(value) if not value[:1].isalpha() else value
        except ValueError:
            return value
    return value


def _set(target: dict[str, Any], keys: list[str], value: Any, text: str) -> None:
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise ConfigError(f'override {text!r}: {key!r} is a value, not a section')
    target[keys[-1]] = value


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`; a mapping is merged into a mapping, one level deep."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = {**result[key], **value} if both else copy.deepcopy(value)
    return result


def build(cls: type[T], values: Any, place: str = '') -> T:
    """Return the dataclass `cls` from a nested mapping.

    Raises:
        ConfigError: unknown key (with the nearest known one), or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f'{place or "config"}: expected a mapping of keys, got {values!r}')
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise ConfigError(_unknown_key(place, str(key), known))
    read = {k: _convert(hints[k], v, _join(place, k)) for k, v in values.items()}
    return cls(**read)


def _unknown_key(place: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    guess = f' (did you mean {near[0]!r}?)' if near else ''
    return f'{_join(place, key)}: unknown key{guess}; known keys: {", ".join(known)}'


def _join(place: str, key: str) -> str:
    return f'{place}.{key}' if place else key


def _convert(hint: Any, value: Any, place: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, place)
    if origin in (typing.Union, types.UnionType):
        return _convert_optional(args, value, place)
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool):
            raise ConfigError(f'{place}: got {value!r}, expected one of {list(args)}')
        return value
    if origin in (list, tuple):
        return _convert_sequence(origin, args, value, place)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f'{place}: got {value!r}, expected a mapping')
        return {str(k): _convert(args[1], v, _join(place, str(k))) for k, v in value.items()}
    if hint is Any:
        return value
    return _convert_scalar(hint, value, place)


def _convert_optional(args: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in args:
        return None
    return _convert(next(a for a in args if a is not type(None)), value, place)


def _convert_sequence(kind: Any, args: tuple[Any, ...], value: Any, place: str) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f'{place}: got {value!r}, expected a list')
    fixed = kind is tuple and Ellipsis not in args
    if fixed and len(value) != len(args):
        raise ConfigError(f'{place}: got {len(value)} values, expected {len(args)}')
    kinds = args if fixed else [args[0]] * len(value)
    return kind(_convert(a, v, f'{place}[{i}]') for i, (a, v) in enumerate(zip(kinds, value)))


def _convert_scalar(hint: Any, value: Any, place: str) -> Any:
    # bool is an int in Python; `steps: yes` must not become 1.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int and number and float(value).is_integer():
        return int(value)
    if hint is float and isinstance(value, str):
        try:
            value, number = float(value), True
        except ValueError:
            number = False
    if hint is float and number and math.isfinite(value):
        return float(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    names = {int: 'an integer', float: 'a finite number', str: 'text', bool: 'true or false'}
    raise ConfigError(f'{place}: got {value!r}, expected {names.get(hint, hint)}')


def to_dict(config: Any) -> dict[str, Any]:
    """Return the nested mapping of a dataclass, tuples as lists, fit for JSON and YAML."""
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value
    return plain(dataclasses.asdict(config))


def describe(cls: type, prefix: str = '') -> list[str]:
    """Return one line per key: name, type, default and meaning, for `--help`."""
    lines: list[str] = []
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        name, hint = f'{prefix}{item.name}', hints[item.name]
        text = item.metadata.get('help', '')
        if dataclasses.is_dataclass(hint):
            lines += ['', f'  {name}: {text}', *describe(typing.cast(type, hint), f'{name}.')]
            continue
        lines.append(f'    {name} ({_type_name(hint)}, default {_default(item)!r}): {text}')
    return lines


def _default(item: dataclasses.Field[Any]) -> Any:
    if item.default is not dataclasses.MISSING:
        return item.default
    return item.default_factory() if callable(item.default_factory) else None


def _type_name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return '|'.join(str(a) for a in args)
    if origin in (typing.Union, types.UnionType):
        return ' or '.join('none' if a is type(None) else _type_name(a) for a in args)
    if origin is not None:
        inner = ', '.join('...' if a is Ellipsis else _type_name(a) for a in args)
        return f'{origin.__name__}[{inner}]'
    return getattr(hint, '__name__', str(hint))
