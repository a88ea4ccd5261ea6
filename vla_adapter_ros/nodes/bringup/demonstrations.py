# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What `teach.launch.py` starts: the teaching node, the recorder, cameras or the simulation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.hardware import HARDWARE_ARGUMENTS, camera_processes
from vla_adapter_ros.nodes.bringup.launch_model import (
    BOOLEANS,
    Argument,
    NodeProcess,
    check_arguments,
)
from vla_adapter_ros.nodes.bringup.nodes_to_start import (
    LOG_LEVEL,
    TOPIC_ARGUMENTS,
    read_parameters_file,
    shipped_config,
)
from vla_adapter_ros.robot.contract import resolve_contract

_CAMERA_ARGUMENTS = ('camera_driver', 'serial', 'usb_driver', 'usb_device')

TEACH_ARGUMENTS = (
    Argument('sim', 'false', 'Start the simulated arm and cameras too.', BOOLEANS),
    Argument(
        'robot', '', 'Robot contract; empty: alicia_d, alicia_d_sim with sim:=true,'
        ' alicia_d_standalone with mode:=drag.',
    ),
    Argument(
        'mode', 'jog', 'jog: keyboard or gamepad; leader: a leader arm; drag: the free arm.',
        ('jog', 'leader', 'drag'),
    ),
    Argument('instruction', '', 'What is taught; recorded with every episode.'),
    Argument('folder', '', 'Where episodes are recorded; empty: recordings.'),
    Argument('images', '', 'How images are recorded.', ('', 'raw', 'jpeg', 'compressed')),
    Argument('operator', '', 'Who teaches; kept with every episode.'),
    Argument('speed', '', "Share of the contract's joint velocities, 0.01 … 1; empty: 0.3."),
    Argument('leader_topic', '', 'Joint states of the leader arm; empty: leader/joint_states.'),
    *TOPIC_ARGUMENTS,
    Argument('params_file', '', 'Parameter file for the cameras; empty: config/alicia.yaml.'),
    Argument('task', '', 'What lies on the table of the simulation.'),
    Argument('seed', '', 'Seed of the simulated scene.'),
    LOG_LEVEL,
    *(argument for argument in HARDWARE_ARGUMENTS if argument.name in _CAMERA_ARGUMENTS),
)


def plan_teaching(given: Mapping[str, str]) -> list[NodeProcess]:
    """Return the processes to start, in order.

    Args:
        given: argument name → text, as typed; missing ones take their default.

    Raises:
        VLAAdapterError: unknown argument or value, or things that do not go together.
    """
    arguments = check_arguments(given, TEACH_ARGUMENTS)
    sim = arguments['sim'] == 'true'
    robot = arguments['robot'] or _default_robot(arguments['mode'], sim)
    contract = resolve_contract(robot)
    common = {
        'namespace': arguments['namespace'].strip('/'),
        'log_level': arguments['log_level'],
        'remappings': _remappings(arguments),
    }
    recorder = {'robot': robot, **_given(arguments, 'folder', 'images', 'operator')}
    teach: dict[str, Any] = {
        'robot': robot, 'mode': arguments['mode'], **_given(arguments, 'instruction'),
    }
    if arguments['speed']:
        teach['speed'] = _number(arguments['speed'])
    processes = [
        NodeProcess('recorder', 'recorder', parameters=recorder, **common),
        NodeProcess('teach', 'teach', parameters=teach, **common),
    ]
    if not sim:
        path = Path(arguments['params_file'] or shipped_config('alicia.yaml'))
        parameters = read_parameters_file(path)
        return [*camera_processes(arguments, contract, parameters, common), *processes]
    if arguments['camera_driver'] != 'none' or arguments['usb_driver'] != 'none':
        raise VLAAdapterError('sim:=true brings its own cameras: leave the camera drivers at none')
    scene: dict[str, Any] = {'robot': robot, **_given(arguments, 'task')}
    if arguments['seed']:
        scene['seed'] = int(arguments['seed'])
    return [NodeProcess('sim_arm', 'sim_arm', parameters=scene, **common), *processes]


def _default_robot(mode: str, sim: bool) -> str:
    if mode == 'drag':
        if sim:
            raise VLAAdapterError(
                'mode:=drag frees a real arm (or emulated_standalone_driver); the simulated arm'
                ' cannot be held by hand: use mode:=jog'
            )
        return 'alicia_d_standalone'
    return 'alicia_d_sim' if sim else 'alicia_d'


def _given(arguments: Mapping[str, str], *names: str) -> dict[str, Any]:
    return {name: arguments[name] for name in names if arguments[name]}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise VLAAdapterError(f'argument speed: got {text!r}, expected 0.01 … 1') from None


def _remappings(arguments: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for camera in ('third_person', 'wrist'):
        if topic := arguments[f'{camera}_topic'].removesuffix('/compressed'):
            found += [(f'{camera}/image', topic)]
            found += [(f'{camera}/image/compressed', f'{topic}/compressed')]
    for argument, topic in (
        ('joint_states_topic', 'joint_states'), ('leader_topic', 'leader/joint_states')
    ):
        if arguments[argument]:
            found.append((topic, arguments[argument]))
    return tuple(found)
