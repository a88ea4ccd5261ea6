# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Which nodes `alicia.launch.py` starts and with what: from arguments and the parameter file.

Pure Python. launch_actions.py turns it into launch actions, bringup.py into subprocesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
    common_settings,
    full_name,
    given_only,
    is_simulated,
    namespace_of,
)
from vla_adapter_ros.nodes.bringup.parameter_files import ParameterFile, read_parameters_file
from vla_adapter_ros.nodes.bringup.view import VIEW_ARGUMENTS, view_processes
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.robot.camera_spec import IMAGE_TRANSPORTS
from vla_adapter_ros.robot.contract import RobotContract, contract_path
from vla_adapter_ros.simulation.levels.ranges import LEVELS

POLICY_NODE = 'vla_adapter'
DEFAULT_ROBOT = 'alicia_d'

LOG_LEVEL = Argument(
    'log_level', 'info', 'Log level of the nodes.', ('debug', 'info', 'warn', 'error', 'fatal')
)
LEVEL = Argument(
    'level', '', 'With sim:=true: how much light, cameras, colours, images and servos vary.',
    ('', *LEVELS),
)  # fmt: skip
FRAME_PREFIX = Argument(
    'frame_prefix', '', 'Put before the names of frames: left/ makes left/base_link.'
)
_ARGUMENTS = (
    Argument('sim', 'false', 'Start the simulated arm and cameras too.', BOOLEANS),
    Argument(
        'params_file',
        '',
        'Parameter file; empty: config/alicia.yaml, with sim:=true config/alicia_sim.yaml.',
    ),
    Argument('robot', '', 'Robot contract: a name that ships, or the path of a YAML file.'),
    Argument(
        'checkpoint', '', 'Checkpoint directory or org/name on the Hub; empty: the one that ships.'
    ),
    Argument('policy_server', '', 'Instead of checkpoint: a policy server, ws://HOST:PORT.'),
    Argument(
        'policy', '', 'checkpoint, expert (simulation only), random, random_network or hold.'
    ),
    Argument('device', '', 'Device of the model: auto, cpu, cuda, cuda:0 and so on.'),
    Argument('instruction', '', 'Instruction at activation; empty: wait for set_instruction.'),
    Argument(
        'image_transport', '', 'Images that the policy sees; empty: raw, or as the topics given.',
        ('', *IMAGE_TRANSPORTS),
    ),
    Argument('enable', '', 'Motion enabled at activation.', ('', *BOOLEANS)),
    Argument('dry_run', '', 'Compute and show everything, send nothing.', ('', *BOOLEANS)),
    Argument(
        'use_sim_time', '', 'Take time from /clock; sim:=true publishes it.', ('', *BOOLEANS)
    ),
    Argument('task', '', 'What lies on the table of the simulation.'),
    LEVEL,
    Argument('seed', '', 'Seed of the simulated scene and of random policies.'),
    FRAME_PREFIX,
    LOG_LEVEL,
    *VIEW_ARGUMENTS,
    *HARDWARE_ARGUMENTS,
)


def nodes_to_start(given: Mapping[str, str]) -> list[NodeProcess]:
    """Return the processes of `alicia.launch.py`, in order; see `LaunchFile.start`."""
    return ALICIA.start(given).nodes


def _robot(given: Mapping[str, str]) -> str:
    if robot := given.get('robot'):
        return robot
    namespace = namespace_of(given)
    return str(_file(given).of(full_name(namespace, POLICY_NODE)).get('robot', DEFAULT_ROBOT))


def _file(given: Mapping[str, str], contract: RobotContract | None = None) -> ParameterFile:
    shipped = 'alicia_sim.yaml' if is_simulated(given) else 'alicia.yaml'
    return parameter_file_of(given, shipped, contract)


def parameter_file_of(
    given: Mapping[str, str], shipped: str, contract: RobotContract | None = None
) -> ParameterFile:
    """Return the file of `params_file`, or a shipped one.

    Sections `<camera>_camera` are for our own camera nodes; with a contract, a file of the user
    may have them only for its cameras.

    Raises:
        VLAAdapterError: see `read_parameters_file`.
    """
    path = given.get('params_file')
    if not path:
        # The shipped files have sections for the cameras of the Alicia-D.
        return read_parameters_file(shipped_config(shipped))
    cameras = [f'{camera}{CAMERA_NODE_SUFFIX}' for camera in contract.cameras] if contract else []
    known = (POLICY_NODE, SIM_NODE, *cameras) if contract else None
    return read_parameters_file(Path(path), known)


def _choose(arguments: Mapping[str, str], contract: RobotContract) -> Startup:
    scene = scene_parameters(arguments)
    file, common = _file(arguments, contract), common_settings(arguments, contract)
    of_node = node_parameters(arguments, file)
    policy = NodeProcess(
        executable=POLICY_NODE,
        name=POLICY_NODE,
        parameters={**of_node(POLICY_NODE), **_policy_overrides(arguments)},
        lifecycle=True,
        **common,
    )
    cameras = camera_processes(arguments, contract, of_node, common)
    enable = bool(policy.parameters.get('enable'))
    folder = contract_path(_robot(arguments)).parent
    views = view_processes(arguments, contract, folder, policy)
    if arguments['sim'] != 'true':
        driver = driver_launches(arguments, contract, enable)
        return Startup([*cameras, policy], driver, views)
    if cameras or arguments['driver'] != 'none':
        raise VLAAdapterError(
            'sim:=true brings its own arm and cameras: leave camera_driver, usb_driver and driver'
            ' at none'
        )
    parameters = {**of_node(SIM_NODE), **given_only(arguments, 'robot'), **scene}
    _set_clock(parameters, arguments['use_sim_time'], policy.parameters)
    arm = NodeProcess(SIM_NODE, SIM_NODE, parameters=parameters, **common)
    return Startup([arm, policy], views=views)


def scene_parameters(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return what the arguments say of the simulated scene.

    Raises:
        VLAAdapterError: a level, and no simulation: somebody believes to have one.
    """
    if arguments['level'] and arguments['sim'] != 'true':
        raise VLAAdapterError(
            f'argument level: got {arguments["level"]!r}, but it is of the simulated scene; add'
            ' sim:=true or leave it out'
        )
    return given_only(arguments, 'task', 'level', 'seed')


def node_parameters(
    arguments: Mapping[str, str], file: ParameterFile
) -> Callable[[str], dict[str, Any]]:
    """Return a function from a node's name to its parameters, of the file and of all nodes."""
    namespace, common = namespace_of(arguments), given_only(arguments, 'frame_prefix')
    return lambda name: {**file.of(full_name(namespace, name)), **common}


ALICIA = LaunchFile(
    'alicia', 'the policy node, with the simulated arm, cameras or a driver if asked',
    _ARGUMENTS, _robot, _choose,
)  # fmt: skip


def _policy_overrides(arguments: Mapping[str, str]) -> dict[str, Any]:
    overrides = given_only(
        arguments, 'robot', 'checkpoint', 'policy_server', 'policy', 'device', 'instruction',
        'seed',
    )  # fmt: skip
    topics = (topic for name, topic in arguments.items() if name.endswith('_topic'))
    if any(topic.endswith('/compressed') for topic in topics):
        overrides['image_transport'] = 'compressed'
    overrides.update(given_only(arguments, 'image_transport'))
    for name in ('enable', 'dry_run', 'use_sim_time'):
        if arguments[name]:
            overrides[name] = arguments[name] == 'true'
    if speed := driver_speed(arguments):
        overrides['driver_speed_deg_s'] = speed
    return overrides


def _set_clock(arm: dict[str, Any], argument: str, policy: Mapping[str, Any]) -> None:
    """Let the simulation publish the clock that the policy waits for, and not wait for it."""
    if argument:
        arm['publish_clock'] = argument == 'true'
    elif policy.get('use_sim_time'):
        # Unless the file says that somebody else publishes it.
        arm.setdefault('publish_clock', True)
    if argument == 'false' or arm.get('publish_clock'):
        arm.pop('use_sim_time', None)
