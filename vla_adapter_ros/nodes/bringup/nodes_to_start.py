# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which nodes to start and with what: the one truth behind the launch file and `bringup`.

Pure Python: from the arguments a user gave and the parameter file to a list of node processes.
`launch/alicia.launch.py` turns it into launch actions, `bringup.py` into subprocesses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup import launch_model
from vla_adapter_ros.nodes.bringup.hardware import (
    CAMERA_NODES,
    HARDWARE_ARGUMENTS,
    camera_processes,
    driver_launches,
    driver_speed,
    wants_hardware,
)
from vla_adapter_ros.nodes.bringup.launch_model import (
    BOOLEANS,
    Argument,
    IncludedLaunch,
    NodeProcess,
)
from vla_adapter_ros.robot.contract import config_folders, resolve_contract

POLICY_NODE = 'vla_adapter'
SIM_NODE = 'sim_arm'
DEFAULT_ROBOT = 'alicia_d'
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# The name that Fast DDS 2 reads; Fast DDS 3 warns about it in every process.
OLD_PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
OLD_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')

# What every launch file of ours takes.
TOPIC_ARGUMENTS = (
    Argument('third_person_topic', '', 'Image topic of the third-person camera.'),
    Argument('wrist_topic', '', 'Image topic of the wrist camera.'),
    Argument('joint_states_topic', '', 'Topic of the measured joint states.'),
    Argument('namespace', '', 'Namespace of all nodes.'),
)
LOG_LEVEL = Argument(
    'log_level', 'info', 'Log level of the nodes.', ('debug', 'info', 'warn', 'error', 'fatal')
)
ARGUMENTS = (
    Argument('sim', 'false', 'Start the simulated arm and cameras too.', BOOLEANS),
    Argument(
        'params_file',
        '',
        'Parameter file; empty: config/alicia.yaml, with sim:=true config/alicia_sim.yaml.',
    ),
    Argument('robot', '', 'Robot contract: a name that ships, or the path of a YAML file.'),
    Argument('checkpoint', '', 'Checkpoint directory; empty: the one that ships.'),
    Argument(
        'policy', '', 'checkpoint, expert (simulation only), random, random_network or hold.'
    ),
    Argument('device', '', 'Device of the model: auto, cpu, cuda, cuda:0 and so on.'),
    Argument('instruction', '', 'Instruction at activation; empty: wait for set_instruction.'),
    Argument('enable', '', 'Motion enabled at activation.', ('', *BOOLEANS)),
    *TOPIC_ARGUMENTS,
    Argument(
        'use_sim_time', '', 'Take time from /clock; sim:=true publishes it.', ('', *BOOLEANS)
    ),
    Argument('task', '', 'What lies on the table of the simulation.'),
    Argument('seed', '', 'Seed of the simulated scene and of random policies.'),
    LOG_LEVEL,
    *HARDWARE_ARGUMENTS,
)


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
    if wants_hardware(arguments):
        return [*_cameras(arguments, policy, parameters, common), policy]
    if not sim:
        return [policy]
    arm = NodeProcess(
        executable=SIM_NODE,
        name=SIM_NODE,
        parameters={**parameters.get(SIM_NODE, {}), **_sim_overrides(arguments)},
        **common,
    )
    return [arm, policy]


def included_launches(given: Mapping[str, str]) -> list[IncludedLaunch]:
    """Return the launch files of other packages to include; raises as `plan` does."""
    arguments = check_arguments(given)
    if arguments['driver'] == 'none':
        return []
    policy = plan(given)[-1]
    contract = resolve_contract(policy.parameters.get('robot', DEFAULT_ROBOT))
    return driver_launches(arguments, contract, bool(policy.parameters.get('enable')))


def _cameras(
    arguments: Mapping[str, str],
    policy: NodeProcess,
    parameters: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
) -> list[NodeProcess]:
    if arguments['sim'] == 'true':
        raise VLAAdapterError(
            'sim:=true brings its own arm and cameras: leave camera_driver, usb_driver and driver'
            ' at none'
        )
    contract = resolve_contract(policy.parameters.get('robot', DEFAULT_ROBOT))
    return camera_processes(arguments, contract, parameters, common)


def check_arguments(given: Mapping[str, str]) -> dict[str, str]:
    """Return a value for every argument; raises VLAAdapterError naming what is allowed."""
    return launch_model.check_arguments(given, ARGUMENTS)


def read_parameters_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return node name → parameters of a ROS parameter file.

    Nodes are matched by their last name, so `vla_adapter`, `/arm_1/vla_adapter` and
    `/**/vla_adapter` all reach the policy node, on every ROS distribution; `/**` reaches policy
    node and simulation. The camera sections are for our own camera nodes.

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
    everywhere = (POLICY_NODE, SIM_NODE)
    found: dict[str, dict[str, Any]] = {name: {} for name in (*everywhere, *CAMERA_NODES)}
    for key, section in content.items():
        values = section.get('ros__parameters') if isinstance(section, dict) else None
        if not isinstance(values, dict):
            raise VLAAdapterError(f'parameter file {path}: {key} has no ros__parameters')
        name = str(key).rsplit('/', 1)[-1]
        if name not in (*found, '**'):
            allowed = ', '.join((*found, '/**'))
            raise VLAAdapterError(f'parameter file {path}: node {key!r}, expected: {allowed}')
        for node in everywhere if name == '**' else [name]:
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
    if speed := driver_speed(arguments):
        overrides['driver_speed_deg_s'] = speed
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
