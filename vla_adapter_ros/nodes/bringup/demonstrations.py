# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The nodes of `teach.launch.py` and `record.launch.py`: teaching node, recorder, cameras."""

from __future__ import annotations

from collections.abc import Mapping

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.hardware import CAMERA_ARGUMENTS, camera_processes
from vla_adapter_ros.nodes.bringup.launch_model import (
    BOOLEANS,
    SIM_NODE,
    Argument,
    LaunchFile,
    NodeProcess,
    Startup,
    common_settings,
    given_only,
    is_simulated,
)
from vla_adapter_ros.nodes.bringup.nodes_to_start import (
    DEFAULT_ROBOT,
    FRAME_PREFIX,
    LEVEL,
    LOG_LEVEL,
    node_parameters,
    parameter_file_of,
    scene_parameters,
)
from vla_adapter_ros.robot.contract import RobotContract

_RECORDER_ARGUMENTS = (
    Argument('folder', '', 'Where episodes are recorded, one bag each; empty: recordings.'),
    Argument(
        'images', '', 'raw, jpeg (compressed by the recorder) or compressed (by the camera).',
        ('', 'raw', 'jpeg', 'compressed'),
    ),
    Argument('operator', '', 'Who demonstrates; kept with every episode.'),
)
_TEACH_ARGUMENTS = (
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
    *_RECORDER_ARGUMENTS,
    Argument('speed', '', "Fraction of the contract's joint velocities, 0.01 … 1; empty: 0.3."),
    Argument('leader_topic', '', 'Joint states of the leader arm; empty: leader/joint_states.'),
    Argument('params_file', '', 'Parameter file for the cameras; empty: config/alicia.yaml.'),
    Argument('task', '', 'What lies on the table of the simulation.'),
    LEVEL,
    Argument('seed', '', 'Seed of the simulated scene.'),
    FRAME_PREFIX,
    LOG_LEVEL,
    *CAMERA_ARGUMENTS,
)
_RECORD_ARGUMENTS = (
    Argument('robot', '', 'Robot contract: a name that ships, or the path of a YAML file.'),
    *_RECORDER_ARGUMENTS,
    Argument('instruction', '', 'What is done; empty: as the policy or teaching node publishes.'),
    Argument('instruction_topic', '', 'Latched text topic of the instruction.'),
    Argument('use_sim_time', 'false', 'Take time from /clock.', BOOLEANS),
    LOG_LEVEL,
)


def _taught_robot(given: Mapping[str, str]) -> str:
    sim = is_simulated(given)
    if robot := given.get('robot'):
        return robot
    if given.get('mode') == 'drag':
        if sim:
            raise VLAAdapterError(
                'mode:=drag frees a real arm (or emulated_standalone_driver); the simulated arm'
                ' cannot be held by hand: use mode:=jog'
            )
        return 'alicia_d_standalone'
    return 'alicia_d_sim' if sim else DEFAULT_ROBOT


def _choose_teaching(arguments: Mapping[str, str], contract: RobotContract) -> Startup:
    robot, scene = _taught_robot(arguments), scene_parameters(arguments)
    common = common_settings(arguments, contract)
    if topic := arguments['leader_topic']:
        common['remappings'] += (('leader/joint_states', topic),)
    recorder = {'robot': robot, **given_only(arguments, 'folder', 'images', 'operator')}
    teach = {'robot': robot, 'mode': arguments['mode'], **given_only(arguments, 'instruction')}
    if arguments['speed']:
        teach['speed'] = _number(arguments['speed'])
    nodes = [
        NodeProcess('recorder', 'recorder', parameters=recorder, **common),
        NodeProcess('teach', 'teach', parameters=teach, **common),
    ]
    of_node = node_parameters(arguments, parameter_file_of(arguments, 'alicia.yaml', contract))
    cameras = camera_processes(arguments, contract, of_node, common)
    if arguments['sim'] != 'true':
        return Startup([*cameras, *nodes])
    if cameras:
        raise VLAAdapterError('sim:=true brings its own cameras: leave the camera drivers at none')
    parameters = {'robot': robot, **scene, **given_only(arguments, 'frame_prefix')}
    return Startup([NodeProcess(SIM_NODE, SIM_NODE, parameters=parameters, **common), *nodes])


def _choose_recording(arguments: Mapping[str, str], contract: RobotContract) -> Startup:
    parameters = given_only(
        arguments, 'robot', 'folder', 'images', 'operator', 'instruction', 'instruction_topic'
    )
    parameters['use_sim_time'] = arguments['use_sim_time'] == 'true'
    common = common_settings(arguments, contract)
    return Startup([NodeProcess('recorder', 'recorder', parameters=parameters, **common)])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise VLAAdapterError(f'argument speed: got {text!r}, expected 0.01 … 1') from None


TEACH = LaunchFile(
    'teach', 'the teaching node and the recorder, with cameras or the simulated arm',
    _TEACH_ARGUMENTS, _taught_robot, _choose_teaching,
    hint='keys, in another terminal: ros2 run vla_adapter_ros teach_keyboard',
)  # fmt: skip
RECORD = LaunchFile(
    'record', 'the recorder of demonstrations', _RECORD_ARGUMENTS,
    lambda given: given.get('robot') or DEFAULT_ROBOT, _choose_recording, ends_together=False,
)  # fmt: skip
