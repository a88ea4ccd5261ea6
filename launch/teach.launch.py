# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Teach the Alicia-D: start the teaching node and the recorder, with cameras or the simulation.

    ros2 launch vla_adapter_ros teach.launch.py sim:=true instruction:='push the red block'
    ros2 run vla_adapter_ros teach_keyboard                      # in a second terminal

`--show-args` lists the arguments. What is started is decided in nodes/bringup/teach_plan.py, which
`python -m vla_adapter_ros.nodes.bringup.teach_bringup` uses where launch_ros is not installed.
"""

from __future__ import annotations

import os

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import profile_environment
from vla_adapter_ros.nodes.bringup.teach_plan import TEACH_ARGUMENTS, plan_teaching


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(
            argument.name, default_value=argument.default, description=argument.help
        )
        for argument in TEACH_ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_nodes)])


def start_nodes(context: LaunchContext) -> list[Action]:
    given = {a.name: context.launch_configurations[a.name] for a in TEACH_ARGUMENTS}
    processes = plan_teaching(given)
    profile = profile_environment(given['sim'].lower() == 'true', os.environ)
    actions: list[Action] = [SetEnvironmentVariable(*item) for item in profile.items()]
    return actions + [node(process) for process in processes]


def node(process: NodeProcess) -> Node:
    parameters = {
        # Otherwise launch reads text as YAML: the instruction 'no' would become false.
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in process.parameters.items()
    }
    return Node(
        package=process.package,
        executable=process.executable,
        name=process.name,
        namespace=process.namespace,
        parameters=[parameters],
        remappings=list(process.remappings),
        arguments=['--ros-args', '--log-level', f'{process.name}:={process.log_level}'],
        output='both',
        emulate_tty=True,
        on_exit=shut_down_once,
    )


def shut_down_once(event: ProcessExited, context: LaunchContext) -> list[Action]:
    return [] if context.is_shutdown else [Shutdown(reason=f'{event.process_name} ended')]
