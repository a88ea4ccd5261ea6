# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From what a launch file starts to actions of `launch`; imported by launch/*.launch.py only."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    GroupAction,
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

from vla_adapter_ros.nodes.bringup.launch_model import (
    IncludedLaunch,
    LaunchFile,
    NodeProcess,
    check_spelling,
)
from vla_adapter_ros.nodes.bringup.view import installed
from vla_adapter_ros.nodes.common.dds_profile import isolation_warning, node_environment


def launch_description(launch: LaunchFile) -> LaunchDescription:
    """Return the description of one of our launch files.

    Declared are the arguments of the default robot. Those of another robot's cameras
    (`<camera>_topic`) need no declaration: launch hands on every argument it is given. Values are
    checked by the launch file's model, for `bringup` too.
    """
    declared = [
        DeclareLaunchArgument(
            argument.name, default_value=argument.default, description=argument.help
        )
        for argument in launch.arguments({})
    ]
    start = OpaqueFunction(function=start_actions, args=[launch])
    return LaunchDescription([*declared, start])


def start_actions(context: LaunchContext, launch: LaunchFile) -> list[Action]:
    """Return the actions for the arguments of a launch."""
    values = context.launch_configurations
    arguments = launch.arguments(values)
    given = {a.name: values[a.name] for a in arguments if a.name in values}
    typed = (word.partition(':=')[0] for word in context.argv if ':=' in word)
    check_spelling(typed, arguments, given)
    startup = launch.start(given)
    actions: list[Action] = _environment(startup.simulated)
    if startup.simulated and (warning := isolation_warning(os.environ)):
        actions.append(LogInfo(msg=warning))
    actions += [_include(other) for other in startup.included]
    for process in startup.nodes:
        arguments = _node_arguments(process, launch.ends_together)
        lifecycle = process.lifecycle
        actions += _lifecycle_actions(process, arguments) if lifecycle else [Node(**arguments)]
    views, missing = installed(startup.views)
    actions += [Node(**_node_arguments(process, ends_together=False)) for process in views]
    return [*actions, LogInfo(msg=missing)] if missing else actions


def _environment(simulated: bool) -> list[Action]:
    variables = node_environment(simulated, os.environ)
    return [SetEnvironmentVariable(*item) for item in variables.items()]


def _include(other: IncludedLaunch) -> GroupAction:
    """Include a launch file that sees its own arguments only, not ours of the same name."""
    folder = Path(get_package_share_directory(other.package)) / 'launch'
    source = PythonLaunchDescriptionSource(str(folder / other.file))
    include = IncludeLaunchDescription(source, launch_arguments=list(other.arguments.items()))
    # Without forwarding the environment starts anew, too.
    return GroupAction([*_environment(False), include], scoped=True, forwarding=False)


def _node_arguments(process: NodeProcess, ends_together: bool) -> dict:
    ros = ['--ros-args', '--enclave', process.full_name, '--log-level', process.log_rule]
    return {
        'package': process.package,
        'executable': process.executable,
        'name': process.name,
        'namespace': process.namespace,
        'parameters': [{k: _parameter_value(v) for k, v in process.parameters.items()}],
        'remappings': list(process.remappings),
        'arguments': [*process.arguments, *ros],
        'output': 'both',
        'emulate_tty': True,
        'on_exit': _shut_down_once if ends_together else None,
    }


def _shut_down_once(event: ProcessExited, context: LaunchContext) -> list[Action]:
    # One node without the other is useless. On Ctrl-C the shutdown is already under way, and a
    # second one is an error.
    return [] if context.is_shutdown else [Shutdown(reason=f'{event.process_name} ended')]


def _parameter_value(value: object) -> object:
    # Otherwise launch reads text as YAML: the instruction 'no' would become false.
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def _lifecycle_actions(process: NodeProcess, arguments: dict) -> list[Action]:
    """Configure when the process runs, activate when that has succeeded."""
    node = LifecycleNode(**arguments)

    def change(transition: int) -> EmitEvent:
        matcher = matches_action(node)
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition)
        )

    def after_configuring(context: LaunchContext) -> list[Action]:
        if context.locals.event.goal_state == 'inactive':
            return [change(Transition.TRANSITION_ACTIVATE)]
        return [LogInfo(msg=f'{process.name} did not configure; its message above says why')]

    def once(start: str, *entities: Action) -> RegisterEventHandler:
        # A person who configures the node later has not asked for more than that.
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start,
                entities=list(entities),
                handle_once=True,
            )
        )

    def after_activating(context: LaunchContext) -> list[Action]:
        done = context.locals.event.goal_state == 'active'
        return [LogInfo(msg=f'{process.name} {"is active" if done else "did not activate"}')]

    return [
        once('configuring', OpaqueFunction(function=after_configuring)),
        once('activating', OpaqueFunction(function=after_activating)),
        RegisterEventHandler(
            OnProcessStart(target_action=node, on_start=[change(Transition.TRANSITION_CONFIGURE)])
        ),
        node,
    ]
