# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What plans are made of: arguments that users give, processes and launch files to start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError

PACKAGE = 'vla_adapter_ros'
BOOLEANS = ('true', 'false')


@dataclass(frozen=True)
class Argument:
    """One argument of the launch file and of `bringup`; an empty value keeps the YAML's."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    @property
    def help(self) -> str:
        """Description with the allowed values."""
        named = [choice for choice in self.choices if choice]
        return f'{self.description} [{" | ".join(named)}]' if named else self.description


@dataclass(frozen=True)
class NodeProcess:
    """One process to start.

    Attributes:
        executable: file in lib/ of its package.
        name: node name.
        namespace: namespace, '' for the root.
        parameters: every parameter that the node gets, by name.
        remappings: (from, to) topic names.
        log_level: of this node.
        lifecycle: whether it must be configured and activated.
        package: whose executable it is.
    """

    executable: str
    name: str
    namespace: str
    parameters: Mapping[str, Any]
    remappings: tuple[tuple[str, str], ...]
    log_level: str
    lifecycle: bool = False
    package: str = PACKAGE


@dataclass(frozen=True)
class IncludedLaunch:
    """A launch file of another package to include.

    Attributes:
        package: whose share/launch folder holds it.
        file: its name.
        arguments: what it is given.
    """

    package: str
    file: str
    arguments: Mapping[str, str]


def check_arguments(
    given: Mapping[str, str], arguments: Sequence[Argument]
) -> dict[str, str]:
    """Return a value for every argument; raises VLAAdapterError naming what is allowed."""
    known = {argument.name: argument for argument in arguments}
    for name in given:
        if name not in known:
            raise VLAAdapterError(f'argument {name!r} is unknown; arguments: {", ".join(known)}')
    values = {name: str(given.get(name, known[name].default)) for name in known}
    for name, value in values.items():
        choices = known[name].choices
        # `ros2 launch` users write True as often as true.
        if set(BOOLEANS) <= set(choices):
            value = values[name] = value.lower()
        if choices and value not in choices:
            allowed = ', '.join(repr(choice) for choice in choices)
            raise VLAAdapterError(f'argument {name}: got {value!r}, expected one of: {allowed}')
    if values.get('seed') and not values['seed'].isdecimal():
        raise VLAAdapterError(f'argument seed: got {values["seed"]!r}, expected a whole number')
    return values
