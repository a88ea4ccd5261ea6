# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""ROS parameter files, read as ROS does: which section reaches which node, with what values.

Launch must know some values itself (robot, clock), and its arguments must win over the file. Both
are safe only if it reads the file: given the file and then its own values, rcl merges them in an
order in which an argument can lose to the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.plain_yaml import parse_yaml

_PARAMETERS = 'ros__parameters'
_PATTERN = re.compile(r'(/(\*\*|\*|\w+))+')
_SCALARS = (
    ('tag:yaml.org,2002:bool', r'y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on'
     r'|On|ON|off|Off|OFF', 'yYnNtTfFoO'),
    ('tag:yaml.org,2002:int', r'[-+]?(\d+|0x[0-9a-fA-F]+)', '-+0123456789'),
    ('tag:yaml.org,2002:float', r'[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?'
     r'|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)', '-+.0123456789'),
    ('tag:yaml.org,2002:null', '', ('',)),
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """YAML with the numbers and words of rcl: 1e-3 is a number, 1_000 and 2026-01-31 are text."""

    bool_values: ClassVar = {**yaml.SafeLoader.bool_values, 'y': True, 'n': False}
    yaml_implicit_resolvers: ClassVar[dict[str, list]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        # A key is text, even if it looks like a number or is called `n`.
        return {str(key.value): self.construct_object(value, deep) for key, value in node.value}


for _tag, _text, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(f'^(?:{_text})$'), list(_first))


@dataclass(frozen=True)
class ParameterFile:
    """A parameter file.

    Attributes:
        path: of the file.
        sections: pattern of full node names (`*`: one name, `**`: any names) → parameters, in
            the order of the file.
    """

    path: Path
    sections: Mapping[str, Mapping[str, Any]]

    def of(self, full_name: str) -> dict[str, Any]:
        """Return the parameters that a node gets; later sections win, as in rclpy.

        Raises:
            VLAAdapterError: the file has sections for nodes of this name, but none reaches it.
        """
        reaching = [key for key in self.sections if _reaches(key, full_name)]
        name = full_name.rpartition('/')[2]
        others = [key for key in self.sections if key.endswith(f'/{name}')]
        # A name alone is a node without a namespace: easily forgotten when one is given.
        missed = f'/{name}' in others and f'/{name}' not in reaching
        if others and not set(others) & set(reaching) and (missed or not reaching):
            raise VLAAdapterError(
                f'parameter file {self.path}: no section for {name} reaches {full_name}, only'
                f' {", ".join(others)}; /**/{name} reaches it in every namespace'
            )
        return {name: value for key in reaching for name, value in self.sections[key].items()}


def read_parameters_file(path: Path, known: Iterable[str] | None = None) -> ParameterFile:
    """Return the content of a parameter file.

    Args:
        path: of the file.
        known: names of nodes that it may have sections for, in any namespace; None: any.

    Raises:
        VLAAdapterError: the file is missing, is not YAML, or has another form.
    """
    try:
        content = parse_yaml(path.read_text(encoding='utf-8'), _Loader)
    except OSError as error:
        raise VLAAdapterError(f'parameter file {path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = ' '.join(str(error).split())
        raise VLAAdapterError(f'parameter file {path} is not YAML: {problem}') from None
    if not isinstance(content, dict):
        raise VLAAdapterError(f'parameter file {path}: expected node names at the top level')
    names = [*(known or ()), '*', '**']
    sections: dict[str, dict[str, Any]] = {}
    for key, values in _sections('', content, path):
        unknown = known is not None and key.rpartition('/')[2] not in names
        if unknown or not _PATTERN.fullmatch(key):
            allowed = ', '.join((*names[:-2], '/**'))
            raise VLAAdapterError(
                f'parameter file {path}: node {key!r}, expected: {allowed}, in any namespace'
            )
        sections.setdefault(key, {}).update(values)
    return ParameterFile(path, sections)


def _sections(
    parent: str, content: Mapping[str, Any], path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield pattern and parameters; namespaces may be written out or nested."""
    for key, section in content.items():
        name = f'{parent}/{key.strip("/")}'
        if not isinstance(section, dict) or not section:
            raise VLAAdapterError(f'parameter file {path}: {name[1:]} has no {_PARAMETERS}')
        nested = dict(section)
        if _PARAMETERS in nested:
            values = nested.pop(_PARAMETERS)
            if not isinstance(values, dict):
                raise VLAAdapterError(f'parameter file {path}: {name[1:]} has no {_PARAMETERS}')
            yield name, dict(_flat('', values, path))
        yield from _sections(name, nested, path)


def _flat(
    prefix: str, values: Mapping[str, Any], path: Path
) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f'{prefix}{key}'
        if isinstance(value, dict):
            yield from _flat(f'{name}.', value, path)
        elif value is None:
            raise VLAAdapterError(f'parameter file {path}: parameter {name} has no value')
        else:
            yield name, value


def _reaches(pattern: str, full_name: str) -> bool:
    """Return whether a section reaches a node, by rclpy's own replacement of wildcards."""
    return re.fullmatch(pattern.replace('/*', r'(/\w+)'), full_name) is not None
