# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Launch vocabulary: arguments that users give, and the processes and launch files to start."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.robot.contract import RobotContract, resolve_contract

PACKAGE = 'vla_adapter_ros'
# With the same names as a real arm's, topics of a simulation would reach its driver.
SIM_NAMESPACE = 'sim'
BOOLEANS = ('true', 'false')
SIM_NODE = 'sim_arm'
# Similarity of two names, of which one is then a misspelt other.
_NEARLY = 0.9


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file and of `bringup`; an empty value keeps the node's default."""

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
        arguments: words before `--ros-args`, for executables that are not ours.
    """

    executable: str
    name: str
    namespace: str
    parameters: Mapping[str, Any]
    remappings: tuple[tuple[str, str], ...]
    log_level: str
    lifecycle: bool = False
    package: str = PACKAGE
    arguments: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Name with its namespace, e.g. `/left/vla_adapter`; of its SROS 2 enclave, too."""
        return full_name(self.namespace, self.name)

    @property
    def logger(self) -> str:
        """Name of its logger, e.g. `left.vla_adapter`."""
        return self.full_name[1:].replace('/', '.')

    @property
    def log_rule(self) -> str:
        """Value of `--log-level` for this node."""
        return f'{self.logger}:={self.log_level}'


@dataclass(frozen=True)
class IncludedLaunch:
    """A launch file of another package to include.

    Attributes:
        package: whose share/launch folder holds it.
        file: its name.
        arguments: name → text.
    """

    package: str
    file: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class Startup:
    """The processes and launch files to start, in order.

    Attributes:
        nodes: processes of nodes.
        included: launch files of other packages, before the nodes.
        views: what only shows, after the nodes: left out where it is not installed, and free to
            end.
    """

    nodes: list[NodeProcess]
    included: list[IncludedLaunch] = field(default_factory=list)
    views: list[NodeProcess] = field(default_factory=list)

    @property
    def simulated(self) -> bool:
        """Whether the simulated arm is started: its topics must not reach other machines."""
        return any(node.executable == SIM_NODE for node in self.nodes)


@dataclass(frozen=True)
class LaunchFile:
    """One file of launch/, which `bringup` starts too.

    Attributes:
        name: launch/NAME.launch.py.
        summary: what it starts, for `bringup --help`.
        own_arguments: all but the topics, which depend on the robot's cameras.
        robot: given arguments → robot contract, as a name or path.
        choose: checked arguments and contract → what to start.
        ends_together: when one node ends, the others are stopped.
        hint: one line to print when everything is started.
    """

    name: str
    summary: str
    own_arguments: Sequence[Argument]
    robot: Callable[[Mapping[str, str]], str]
    choose: Callable[[Mapping[str, str], RobotContract], Startup]
    ends_together: bool = True
    hint: str = ''

    def arguments(self, given: Mapping[str, str]) -> tuple[Argument, ...]:
        """Return every argument, the image topics of the given robot's cameras among them.

        Raises:
            VLAAdapterError: there is no such robot.
        """
        return self._arguments(resolve_contract(self.robot(given)))

    def start(self, given: Mapping[str, str]) -> Startup:
        """Return what to start.

        Args:
            given: argument name → text, as typed; missing ones take their default.

        Raises:
            VLAAdapterError: unknown argument or value, or values that do not go together.
        """
        contract = resolve_contract(self.robot(given))
        return self.choose(check_arguments(given, self._arguments(contract)), contract)

    def _arguments(self, contract: RobotContract) -> tuple[Argument, ...]:
        return (*self.own_arguments, *topic_arguments(contract.cameras))


def topic_arguments(cameras: Iterable[str]) -> tuple[Argument, ...]:
    """Return what every launch file takes: topics of cameras and joint states, a namespace."""
    return (
        *(Argument(f'{name}_topic', '', f'Image topic of camera {name}.') for name in cameras),
        Argument('joint_states_topic', '', 'Topic of the measured joint states.'),
        Argument(
            'namespace', '', 'Namespace of all nodes; empty: sim with sim:=true, else none (/).'
        ),
    )


def is_simulated(given: Mapping[str, str]) -> bool:
    """Return whether the simulated arm is asked for."""
    return given.get('sim', '').lower() == 'true'


def namespace_of(given: Mapping[str, str]) -> str:
    """Return the namespace of all nodes without outer slashes, '' for the root.

    Raises:
        VLAAdapterError: the given one is no ROS name.
    """
    text = given.get('namespace', '')
    if not text:
        return SIM_NAMESPACE if is_simulated(given) else ''
    name = text.strip('/')
    if name and not re.fullmatch(r'[A-Za-z_]\w*(/[A-Za-z_]\w*)*', name, re.ASCII):
        raise VLAAdapterError(
            f'argument namespace: got {text!r}, expected letters, digits, _ and /, e.g. left'
        )
    return name


def full_name(namespace: str, name: str) -> str:
    """Return a node's name with its namespace."""
    return '/' + '/'.join(filter(None, (namespace, name)))


def common_settings(arguments: Mapping[str, str], contract: RobotContract) -> dict[str, Any]:
    """Return what all nodes of a launch have in common, for `NodeProcess`."""
    return {
        'namespace': namespace_of(arguments),
        'log_level': arguments['log_level'],
        'remappings': remappings(arguments, contract.cameras),
    }


def remappings(
    arguments: Mapping[str, str], cameras: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """Return what `topic_arguments` ask for; raw and compressed images go together.

    A remapping does not reach subtopics.
    """
    found: list[tuple[str, str]] = []
    for camera in cameras:
        if topic := arguments[f'{camera}_topic'].removesuffix('/compressed'):
            found.append((f'{camera}/image', topic))
            found.append((f'{camera}/image/compressed', f'{topic}/compressed'))
    if topic := arguments['joint_states_topic']:
        found.append(('joint_states', topic))
    return tuple(found)


def given_only(arguments: Mapping[str, str], *names: str) -> dict[str, Any]:
    """Return the named arguments that are not empty, the seed as a number."""
    values: dict[str, Any] = {name: arguments[name] for name in names if arguments[name]}
    if 'seed' in values:
        values['seed'] = int(values['seed'])
    return values


def check_spelling(
    typed: Iterable[str], arguments: Sequence[Argument], given: Mapping[str, str]
) -> None:
    """Refuse a misspelt argument of `ros2 launch`, which lets every name pass.

    Args:
        typed: names on the command line, perhaps of another launch file that includes this one.
        arguments: of this launch file.
        given: name → value of those that are given or have their default.

    Raises:
        VLAAdapterError: a typed name is no argument, but nearly one that was left out.
    """
    left_out = [a.name for a in arguments if given.get(a.name, a.default) == a.default]
    for name in sorted(set(typed) - {a.name for a in arguments}):
        if near := difflib.get_close_matches(name, left_out, 1, _NEARLY):
            raise VLAAdapterError(f'argument {name!r} is unknown; did you mean {near[0]}:=?')


def check_arguments(
    given: Mapping[str, str], arguments: Sequence[Argument]
) -> dict[str, str]:
    """Return a value for every argument; raises VLAAdapterError naming the allowed ones."""
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
        raise VLAAdapterError(f'argument seed: got {values["seed"]!r}, expected an integer')
    return values
