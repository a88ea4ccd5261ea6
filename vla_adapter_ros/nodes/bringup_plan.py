# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which nodes to start and with what: the one truth behind the launch file and `bringup`.

Pure Python: from the arguments a user gave and the parameter file to a list of node processes.
`launch/alicia.launch.py` turns it into launch actions, `bringup.py` into subprocesses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.runtime.contract import config_folders

PACKAGE = 'vla_adapter_ros'
POLICY_NODE = 'vla_adapter'
SIM_NODE = 'sim_arm'
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# The name that Fast DDS 2 reads; Fast DDS 3 warns about it in every process.
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
OLD_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')
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


ARGUMENTS = (
    Argument('sim', 'false', 'Start the simulated arm and cameras too.', BOOLEANS),
    Argument(
        'params_file',
        '',
        'Parameter file; empty: config/alicia.yaml, with sim:=true config/alicia_sim.yaml.',
    ),
    Argument('robot', '', 'Robot contract: a name that ships, or the path of a YAML file.'),
    Argument('checkpoint', '', 'Checkpoint directory; empty: the one that ships.'),
    Argument('policy', '', 'checkpoint, expert (simulation only), random or hold.'),
    Argument('device', '', 'Device of the model: auto, cpu, cuda, cuda:0 and so on.'),
    Argument('instruction', '', 'Instruction at activation; empty: wait for set_instruction.'),
    Argument('enable', '', 'Motion enabled at activation.', ('', *BOOLEANS)),
    Argument('third_person_topic', '', 'Image topic of the third-person camera.'),
    Argument('wrist_topic', '', 'Image topic of the wrist camera.'),
    Argument('joint_states_topic', '', 'Topic of the measured joint states.'),
    Argument('namespace', '', 'Namespace of all nodes.'),
    Argument(
        'use_sim_time', '', 'Take time from /clock; sim:=true publishes it.', ('', *BOOLEANS)
    ),
    Argument('task', '', 'What lies on the table of the simulation.'),
    Argument('seed', '', 'Seed of the simulated scene and of random policies.'),
    Argument(
        'log_level', 'info', 'Log level of the nodes.', ('debug', 'info', 'warn', 'error', 'fatal')
    ),
)


@dataclass(frozen=True)
class NodeProcess:
    """One process to start.

    Attributes:
        executable: file in lib/vla_adapter_ros.
        name: node name.
        namespace: namespace, '' for the root.
        parameters: every parameter that the node gets, by name.
        remappings: (from, to) topic names.
        log_level: of this node.
        lifecycle: whether it must be configured and activated.
    """

    executable: str
    name: str
    namespace: str
    parameters: Mapping[str, Any]
    remappings: tuple[tuple[str, str], ...]
    log_level: str
    lifecycle: bool = False


def plan(given: Mapping[str, str]) -> list[NodeProcess]:
    """Return the processes to start, in order.

    Args:
        given: argument name → text, as typed; missing ones take their default.

    Raises:
        VLAAdapterError: unknown argument or value, or a parameter file that cannot be used.
    """
    arguments = check_arguments(given)
    sim = arguments['sim'] == 'true'
    shipped = 'alicia_sim.yaml' if sim else 'alicia.yaml'
    path = Path(arguments['params_file'] or shipped_config(shipped))
    parameters = read_parameters_file(path)
    common = {
        'namespace': arguments['namespace'].strip('/'),
        'remappings': _remappings(arguments),
        'log_level': arguments['log_level'],
    }
    policy = NodeProcess(
        executable=POLICY_NODE,
        name=POLICY_NODE,
        parameters={**parameters.get(POLICY_NODE, {}), **_policy_overrides(arguments)},
        lifecycle=True,
        **common,
    )
    if not sim:
        return [policy]
    arm = NodeProcess(
        executable=SIM_NODE,
        name=SIM_NODE,
        parameters={**parameters.get(SIM_NODE, {}), **_sim_overrides(arguments)},
        **common,
    )
    return [arm, policy]


def check_arguments(given: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every argument; raises VLAAdapterError naming what is allowed."""
    known = {argument.name: argument for argument in ARGUMENTS}
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
    if values['seed'] and not values['seed'].isdecimal():
        raise VLAAdapterError(f'argument seed: got {values["seed"]!r}, expected a whole number')
    return values


def read_parameters_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return node name → parameters of a ROS parameter file.

    Nodes are matched by their last name, so `vla_adapter`, `/arm_1/vla_adapter` and
    `/**/vla_adapter` all reach the policy node, on every ROS distribution; `/**` reaches all.

    Raises:
        VLAAdapterError: the file is missing, is no YAML, or has another form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise VLAAdapterError(f'parameter file {path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = ' '.join(str(error).split())
        raise VLAAdapterError(f'parameter file {path} is not YAML: {problem}') from None
    if not isinstance(content, dict):
        raise VLAAdapterError(f'parameter file {path}: expected node names at the top level')
    found: dict[str, dict[str, Any]] = {POLICY_NODE: {}, SIM_NODE: {}}
    for key, section in content.items():
        values = section.get('ros__parameters') if isinstance(section, dict) else None
        if not isinstance(values, dict):
            raise VLAAdapterError(f'parameter file {path}: {key} has no ros__parameters')
        name = str(key).rsplit('/', 1)[-1]
        if name not in (*found, '**'):
            allowed = ', '.join((*found, '/**'))
            raise VLAAdapterError(f'parameter file {path}: node {key!r}, expected: {allowed}')
        for node in found if name == '**' else [name]:
            found[node].update(values)
    return found


def shipped_config(name: str) -> Path:
    """Return the path of a file of config/, installed or in a checkout."""
    for folder in config_folders():
        if (folder / name).is_file():
            return folder / name
    raise VLAAdapterError(f'{name} is missing from the installation: {config_folders()}')


def profile_environment(sim: bool, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the Fast DDS variables to set; empty when the user has chosen a profile.

    With Fast DDS's own defaults the second camera's images are lost. A simulation stays on this
    machine: it publishes on the topics of a real arm.
    """
    if environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE):
        return {}
    profile = str(shipped_config('fastdds_loopback.xml' if sim else 'fastdds_network.xml'))
    old = environment.get('ROS_DISTRO') in OLD_DISTRIBUTIONS
    return dict.fromkeys((PROFILE_VARIABLE, *([OLD_PROFILE_VARIABLE] * old)), profile)


def use_shipped_profile(sim: bool) -> None:
    """Set the Fast DDS profile for this process and those that it starts."""
    os.environ.update(profile_environment(sim, os.environ))


def _remappings(arguments: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Remap raw and compressed images together: a remapping does not reach subtopics."""
    found: list[tuple[str, str]] = []
    for camera in ('third_person', 'wrist'):
        topic = arguments[f'{camera}_topic'].removesuffix('/compressed')
        if topic:
            found.append((f'{camera}/image', topic))
            found.append((f'{camera}/image/compressed', f'{topic}/compressed'))
    if arguments['joint_states_topic']:
        found.append(('joint_states', arguments['joint_states_topic']))
    return tuple(found)


def _policy_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    names = ('robot', 'checkpoint', 'policy', 'device', 'instruction')
    overrides: dict[str, Any] = {name: arguments[name] for name in names if arguments[name]}
    if arguments['enable']:
        overrides['enable'] = arguments['enable'] == 'true'
    return {**overrides, **_shared_overrides(arguments)}


def _sim_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    names = ('robot', 'task')
    overrides: dict[str, Any] = {name: arguments[name] for name in names if arguments[name]}
    overrides.update(_shared_overrides(arguments))
    # The node that publishes /clock cannot wait for it.
    if overrides.pop('use_sim_time', False):
        overrides['publish_clock'] = True
    return overrides


def _shared_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    if arguments['seed']:
        overrides['seed'] = int(arguments['seed'])
    if arguments['use_sim_time']:
        overrides['use_sim_time'] = arguments['use_sim_time'] == 'true'
    return overrides
