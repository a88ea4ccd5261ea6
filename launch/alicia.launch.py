# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start the policy node for the Alicia-D, with the simulated arm if asked, and activate it.

    ros2 launch vla_adapter_ros alicia.launch.py sim:=true instruction:='push the red block'

`--show-args` lists the arguments. nodes/bringup/nodes_to_start.py decides what is started;
`python -m vla_adapter_ros.nodes.bringup` uses where launch_ros is not installed.
"""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from vla_adapter_ros.nodes.bringup.launch_model import IncludedLaunch, NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import (
    ARGUMENTS,
    included_launches,
    plan,
    profile_environment,
)


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            # Values are checked by plan(), for `bringup` too.
            argument.name,
            default_value=argument.default,
            description=argument.help,
        )
        for argument in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[Action]:
    given = {a.name: context.launch_configurations[a.name] for a in ARGUMENTS}
    processes = plan(given)
    profile = profile_environment(given['sim'].lower() == 'true', os.environ)
    actions: list[Action] = [SetEnvironmentVariable(*item) for item in profile.items()]
    actions += [include(launch) for launch in included_launches(given)]
    for process in processes:
        actions += lifecycle_actions(process) if process.lifecycle else [plain_node(process)]
    return actions


def include(launch: IncludedLaunch) -> IncludeLaunchDescription:
    """Return the action that starts another package's launch file."""
    folder = Path(get_package_share_directory(launch.package)) / 'launch'
    source = PythonLaunchDescriptionSource(str(folder / launch.file))
    return IncludeLaunchDescription(source, launch_arguments=list(launch.arguments.items()))


def plain_node(process: NodeProcess) -> Node:
    return Node(**node_arguments(process))


def node_arguments(process: NodeProcess) -> dict:
    return {
        'package': process.package,
        'executable': process.executable,
        'name': process.name,
        'namespace': process.namespace,
        'parameters': [{k: parameter_value(v) for k, v in process.parameters.items()}],
        'remappings': list(process.remappings),
        'arguments': ['--ros-args', '--log-level', f'{process.name}:={process.log_level}'],
        'output': 'both',
        'emulate_tty': True,
        'on_exit': shut_down_once,
    }


def shut_down_once(event: ProcessExited, context: LaunchContext) -> list[Action]:
    # One node without the other is useless. On Ctrl-C the shutdown is already under way, and a
    # second one is an error.
    return [] if context.is_shutdown else [Shutdown(reason=f'{event.process_name} ended')]


def parameter_value(value: object) -> object:
    # Otherwise launch reads text as YAML: the instruction 'no' would become false.
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def lifecycle_actions(process: NodeProcess) -> list[Action]:
    """Configure when the process runs, activate when that has succeeded."""
    node = LifecycleNode(**node_arguments(process))

    def change(transition: int) -> EmitEvent:
        matcher = matches_action(node)
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition)
        )

    def when(start: str, goal: str, *entities: Action) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start,
                goal_state=goal,
                entities=list(entities),
            )
        )

    failed = f'{process.name} did not configure; its message above says why'
    return [
        when('configuring', 'inactive', change(Transition.TRANSITION_ACTIVATE)),
        when('configuring', 'unconfigured', LogInfo(msg=failed)),
        when('activating', 'active', LogInfo(msg=f'{process.name} is active')),
        RegisterEventHandler(
            OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)])
        ),
        node,
    ]
