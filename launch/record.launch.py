# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Start the recorder of demonstrations.

    ros2 launch vla_adapter_ros record.launch.py instruction:='pick up the red block'
    ros2 service call /recorder/start std_srvs/srv/Trigger
    ros2 service call /recorder/stop std_srvs/srv/Trigger

`--show-args` lists the arguments.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# Name → (default, description). Empty keeps the node's own default.
PARAMETERS = {
    'robot': ('', 'Robot contract: a name that ships, or the path of a YAML file.'),
    'folder': ('', 'Where finished episodes lie, one bag each.'),
    'images': ('', 'raw, jpeg (compressed by the recorder) or compressed (by the camera).'),
    'instruction': ('', 'What is done; empty: as the policy or the teaching node says.'),
    'instruction_topic': ('', 'Latched text topic of the instruction.'),
    'operator': ('', 'Who records; kept with every episode.'),
}
TOPICS = {
    'third_person_topic': ('third_person/image', 'Image topic of the third-person camera.'),
    'wrist_topic': ('wrist/image', 'Image topic of the wrist camera.'),
    'joint_states_topic': ('joint_states', 'Topic of the measured joint states.'),
}
OTHERS = {
    'namespace': ('', 'Namespace of the node.'),
    'use_sim_time': ('false', 'Take time from /clock [true | false].'),
}


def generate_launch_description() -> LaunchDescription:
    arguments = PARAMETERS | TOPICS | OTHERS
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_recorder)])


def start_recorder(context: LaunchContext) -> list[Action]:
    given = context.launch_configurations
    parameters = {
        # Otherwise launch reads text as YAML: the instruction 'no' would become false.
        name: ParameterValue(given[name], value_type=str) for name in PARAMETERS if given[name]
    }
    parameters['use_sim_time'] = given['use_sim_time'].lower() == 'true'
    remappings = []
    for name, (topic, _) in TOPICS.items():
        if given[name] != topic:
            remappings.append((topic, given[name]))
            remappings.append((f'{topic}/compressed', f'{given[name]}/compressed'))
    node = Node(
        package='vla_adapter_ros',
        executable='recorder',
        name='recorder',
        namespace=given['namespace'],
        parameters=[parameters],
        remappings=remappings,
        output='both',
        emulate_tty=True,
    )
    return [node]
