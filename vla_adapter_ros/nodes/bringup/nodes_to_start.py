# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which nodes `alicia.launch.py` starts and with what: from arguments and the parameter file.

Pure Python. launch_actions.py turns it into launch actions, bringup.py into subprocesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.hardware import (
    CAMERA_NODE_SUFFIX,
    HARDWARE_ARGUMENTS,
    camera_processes,
    driver_launches,
    driver_speed,
)
from vla_adapter_ros.nodes.bringup.launch_model import (
    BOOLEANS,
    SIM_NODE,
    Argument,
    LaunchFile,
    NodeProcess,
    Startup,
    given_only,
    remappings,
)
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.robot.contract import RobotContract

POLICY_NODE = 'vla_adapter'
DEFAULT_ROBOT = 'alicia_d'

LOG_LEVEL = Argument(
    'log_level', 'info', 'Log level of the nodes.', ('debug', 'info', 'warn', 'error', 'fatal')
)
_ARGUMENTS = (
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
    Argument(
        'use_sim_time', '', 'Take time from /clock; sim:=true publishes it.', ('', *BOOLEANS)
    ),
    Argument('task', '', 'What lies on the table of the simulation.'),
    Argument('seed', '', 'Seed of the simulated scene and of random policies.'),
    LOG_LEVEL,
    *HARDWARE_ARGUMENTS,
)


def nodes_to_start(given: Mapping[str, str]) -> list[NodeProcess]:
    """Return the processes of `alicia.launch.py`, in order; see `LaunchFile.start`."""
    return ALICIA.start(given).nodes


def _robot(given: Mapping[str, str]) -> str:
    if robot := given.get('robot'):
        return robot
    return _parameters(given)[POLICY_NODE].get('robot', DEFAULT_ROBOT)


def _parameters(
    given: Mapping[str, str], contract: RobotContract | None = None
) -> dict[str, dict[str, Any]]:
    if path := given.get('params_file'):
        return read_parameters_file(Path(path), contract)
    # The shipped files have sections for the cameras of the Alicia-D.
    sim = given.get('sim', '').lower() == 'true'
    return read_parameters_file(shipped_config('alicia_sim.yaml' if sim else 'alicia.yaml'))


def _choose(arguments: Mapping[str, str], contract: RobotContract) -> Startup:
    parameters = _parameters(arguments, contract)
    common = {
        'namespace': arguments['namespace'].strip('/'),
        'remappings': remappings(arguments, contract.cameras),
        'log_level': arguments['log_level'],
    }
    policy = NodeProcess(
        executable=POLICY_NODE,
        name=POLICY_NODE,
        parameters={**parameters[POLICY_NODE], **_policy_overrides(arguments)},
        lifecycle=True,
        **common,
    )
    cameras = camera_processes(arguments, contract, parameters, common)
    enable = bool(policy.parameters.get('enable'))
    if arguments['sim'] != 'true':
        driver = driver_launches(arguments, contract, enable)
        return Startup([*cameras, policy], driver)
    if cameras or arguments['driver'] != 'none':
        raise VLAAdapterError(
            'sim:=true brings its own arm and cameras: leave camera_driver, usb_driver and driver'
            ' at none'
        )
    overrides = _sim_overrides(arguments)
    arm = NodeProcess(
        SIM_NODE, SIM_NODE, parameters={**parameters[SIM_NODE], **overrides}, **common
    )
    return Startup([arm, policy])


ALICIA = LaunchFile(
    'alicia', 'the policy node, with the simulated arm, cameras or a driver if asked',
    _ARGUMENTS, _robot, _choose,
)  # fmt: skip


def read_parameters_file(
    path: Path, contract: RobotContract | None = None
) -> dict[str, dict[str, Any]]:
    """Return node name → parameters of a ROS parameter file.

    Nodes are matched by their last name, so `vla_adapter`, `/arm_1/vla_adapter` and
    `/**/vla_adapter` all reach the policy node, on every ROS distribution; `/**` reaches policy
    node and simulation. Sections `<camera>_camera` are for our own camera nodes; with a contract,
    only for the cameras that it has.

    Raises:
        VLAAdapterError: the file is missing, is not YAML, or has another form.
    """
    cameras = contract.cameras if contract else None
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
    found: dict[str, dict[str, Any]] = {name: {} for name in everywhere}
    for key, section in content.items():
        values = section.get('ros__parameters') if isinstance(section, dict) else None
        if not isinstance(values, dict):
            raise VLAAdapterError(f'parameter file {path}: {key} has no ros__parameters')
        name = str(key).rsplit('/', 1)[-1]
        camera = name.removesuffix(CAMERA_NODE_SUFFIX)
        is_camera = camera != name and (cameras is None or camera in cameras)
        if name not in (*everywhere, '**') and not is_camera:
            nodes = [f'{camera}{CAMERA_NODE_SUFFIX}' for camera in cameras or ('CAMERA',)]
            allowed = ', '.join((*everywhere, *nodes, '/**'))
            raise VLAAdapterError(f'parameter file {path}: node {key!r}, expected: {allowed}')
        for node in everywhere if name == '**' else [name]:
            found.setdefault(node, {}).update(values)
    return found


def _policy_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    overrides = given_only(
        arguments, 'robot', 'checkpoint', 'policy', 'device', 'instruction', 'seed'
    )
    for name in ('enable', 'use_sim_time'):
        if arguments[name]:
            overrides[name] = arguments[name] == 'true'
    if speed := driver_speed(arguments):
        overrides['driver_speed_deg_s'] = speed
    return overrides


def _sim_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    overrides = given_only(arguments, 'robot', 'task', 'seed')
    # The node that publishes /clock cannot wait for it.
    if arguments['use_sim_time']:
        clock = arguments['use_sim_time'] == 'true'
        overrides['publish_clock' if clock else 'use_sim_time'] = clock
    return overrides
