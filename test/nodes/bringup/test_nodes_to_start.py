# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From arguments and the parameter file to the processes that launch and bringup start."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.demonstrations import RECORD, TEACH
from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess, check_spelling
from vla_adapter_ros.nodes.bringup.nodes_to_start import (
    ALICIA,
    nodes_to_start,
)
from vla_adapter_ros.nodes.common.dds_profile import (
    isolation_warning,
    node_environment,
    profile_environment,
    shipped_config,
)
from vla_adapter_ros.robot.contract import contract_path

ROOT = Path(__file__).resolve().parents[3]


def policy(**arguments: str) -> NodeProcess:
    return {process.name: process for process in nodes_to_start(arguments)}['vla_adapter']


def sim(**arguments: str) -> NodeProcess:
    nodes = nodes_to_start({'sim': 'true', **arguments})
    return {process.name: process for process in nodes}['sim_arm']


@pytest.fixture
def two_eyes(tmp_path) -> str:
    """A contract whose cameras have names of its own."""
    text = contract_path('alicia_d').read_text()
    path = tmp_path / 'two_eyes.yaml'
    path.write_text(text.replace('third_person: {', 'ceiling: {').replace('wrist: {', 'hand: {'))
    return str(path)


def shipped() -> dict:
    content = yaml.safe_load((ROOT / 'config' / 'alicia.yaml').read_text())
    return {key.rpartition('/')[2]: section for key, section in content.items()}


def test_hardware_gets_the_policy_node_alone_with_the_shipped_parameters():
    processes = nodes_to_start({})
    assert [process.name for process in processes] == ['vla_adapter']
    assert processes[0].parameters == shipped()['vla_adapter']['ros__parameters']
    assert processes[0].parameters['enable'] is False
    assert processes[0].lifecycle


def test_simulation_starts_first_and_enables_motion():
    processes = nodes_to_start({'sim': 'true'})
    assert [process.name for process in processes] == ['sim_arm', 'vla_adapter']
    assert processes[1].parameters['enable'] is True
    assert not processes[0].lifecycle


@pytest.mark.parametrize('simulated', ['true', 'false'])
@pytest.mark.parametrize('enable', ['true', 'false'])
def test_enable_argument_wins(simulated, enable):
    assert policy(sim=simulated, enable=enable).parameters['enable'] is (enable == 'true')


def test_empty_arguments_keep_the_values_of_the_file(tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text('vla_adapter: {ros__parameters: {device: cuda, max_skew: 1e-1}}')
    parameters = policy(params_file=str(path), device='').parameters
    assert parameters == {'device': 'cuda', 'max_skew': 0.1}
    assert policy(params_file=str(path), device='cpu').parameters['device'] == 'cpu'


def test_words_that_yaml_would_convert_stay_words():
    assert policy(instruction='no').parameters['instruction'] == 'no'
    assert policy(checkpoint='12').parameters['checkpoint'] == '12'


def test_the_policy_server_reaches_the_node():
    url = 'ws://gpu:8000'
    assert policy(policy_server=url).parameters['policy_server'] == url


def test_seed_and_robot_reach_both_nodes():
    both = nodes_to_start({'sim': 'true', 'seed': '7', 'robot': 'alicia_d'})
    assert [process.parameters['seed'] for process in both] == [7, 7]
    assert [process.parameters['robot'] for process in both] == ['alicia_d', 'alicia_d']


@pytest.mark.parametrize('launch', [ALICIA, TEACH], ids=lambda launch: launch.name)
def test_the_level_reaches_the_simulated_arm_and_is_refused_without_one(launch):
    def levels(**arguments):
        nodes = launch.start(arguments).nodes
        return {n.name: n.parameters['level'] for n in nodes if 'level' in n.parameters}

    assert levels(sim='true', level='hard') == {'sim_arm': 'hard'}
    assert levels(sim='true', level='') == {}
    with pytest.raises(VLAAdapterError, match=r"argument level: got 'hard', but .*sim:=true"):
        levels(level='hard')


def test_the_level_of_the_argument_wins_over_that_of_the_file(tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text('/**/sim_arm: {ros__parameters: {level: bench}}')
    assert sim(params_file=str(path)).parameters['level'] == 'bench'
    assert sim(params_file=str(path), level='hard').parameters['level'] == 'hard'


def test_the_node_that_publishes_the_clock_does_not_wait_for_it():
    arm, node = nodes_to_start({'sim': 'true', 'use_sim_time': 'True'})
    assert arm.parameters['publish_clock'] is True
    assert 'use_sim_time' not in arm.parameters
    assert node.parameters['use_sim_time'] is True


@pytest.mark.parametrize(
    ('text', 'clock', 'waits'),
    [
        ('/**: {ros__parameters: {use_sim_time: true}}', True, None),
        ('/**/vla_adapter: {ros__parameters: {use_sim_time: true}}', True, None),
        ('/**/sim_arm: {ros__parameters: {use_sim_time: true, publish_clock: true}}', True, None),
        # Somebody else publishes the clock.
        ('{/**: {ros__parameters: {use_sim_time: true}},'
         ' /**/sim_arm: {ros__parameters: {publish_clock: false}}}', False, True),
    ],
)  # fmt: skip
def test_clock_of_a_parameter_file_is_that_of_the_argument(tmp_path, text, clock, waits):
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    parameters = sim(params_file=str(path)).parameters
    assert (parameters['publish_clock'], parameters.get('use_sim_time')) == (clock, waits)
    off = sim(params_file=str(path), use_sim_time='false').parameters
    assert (off['publish_clock'], off.get('use_sim_time')) == (False, None)


def test_two_arms_in_one_file_have_each_their_own_robot(tmp_path):
    path = tmp_path / 'two.yaml'
    path.write_text(
        'left: {vla_adapter: {ros__parameters: {robot: alicia_d_standalone}}}\n'
        '/right/vla_adapter: {ros__parameters: {robot: alicia_d_sim}}\n'
    )
    found = {
        namespace: policy(params_file=str(path), namespace=namespace).parameters['robot']
        for namespace in ('left', 'right')
    }
    assert found == {'left': 'alicia_d_standalone', 'right': 'alicia_d_sim'}
    with pytest.raises(VLAAdapterError, match='reaches /rigth/vla_adapter, only /left/vla_adapt'):
        policy(params_file=str(path), namespace='rigth')


@pytest.mark.parametrize('launch', [ALICIA, TEACH], ids=lambda launch: launch.name)
def test_simulation_has_a_namespace_of_its_own(launch):
    def namespaces(**arguments):
        return {node.namespace for node in launch.start(arguments).nodes}

    assert namespaces(sim='true') == {'sim'}
    assert namespaces(sim='true', namespace='left') == {'left'}
    assert namespaces(sim='true', namespace='/') == {''}
    assert namespaces() == {''}


@pytest.mark.parametrize('topic', ['/cam/image_raw', '/cam/image_raw/compressed'])
@pytest.mark.parametrize('launch', [ALICIA, TEACH, RECORD], ids=lambda launch: launch.name)
def test_a_camera_topic_is_remapped_raw_and_compressed(topic, launch):
    given = {'wrist_topic': topic, 'third_person_topic': ''}
    assert launch.start(given).nodes[-1].remappings == (
        ('wrist/image', '/cam/image_raw'),
        ('wrist/image/compressed', '/cam/image_raw/compressed'),
    )


@pytest.mark.parametrize(
    ('given', 'transport'),
    [
        ({}, 'raw'),
        ({'wrist_topic': '/cam/image_raw'}, 'raw'),
        ({'wrist_topic': '/cam/image_raw/compressed'}, 'compressed'),
        ({'image_transport': 'compressed'}, 'compressed'),
        ({'image_transport': 'raw', 'wrist_topic': '/cam/image_raw/compressed'}, 'raw'),
    ],
)
def test_the_image_transport_is_the_one_given_or_that_of_the_topics(given, transport):
    assert policy(**given).parameters.get('image_transport') == transport


@pytest.mark.parametrize('launch', [ALICIA, TEACH, RECORD], ids=lambda launch: launch.name)
def test_topic_arguments_are_those_of_the_contracts_cameras(launch, two_eyes):
    def topics(given):
        names = [argument.name for argument in launch.arguments(given)]
        own = [argument.name for argument in launch.own_arguments]
        return [name for name in names if name.endswith('_topic') and name not in own]

    assert topics({}) == ['third_person_topic', 'wrist_topic', 'joint_states_topic']
    other = {'robot': two_eyes}
    assert topics(other) == ['ceiling_topic', 'hand_topic', 'joint_states_topic']
    node = launch.start({**other, 'hand_topic': '/hand/color'}).nodes[-1]
    assert node.remappings == (
        ('hand/image', '/hand/color'),
        ('hand/image/compressed', '/hand/color/compressed'),
    )
    with pytest.raises(VLAAdapterError, match="argument 'wrist_topic' is unknown"):
        launch.start({**other, 'wrist_topic': '/hand/color'})


def test_camera_nodes_are_named_after_the_contracts_cameras(two_eyes, tmp_path):
    given = {'robot': two_eyes, 'camera_driver': 'builtin', 'usb_driver': 'builtin'}
    names = {n.name: n.parameters.get('camera') for n in nodes_to_start(given)}
    assert names == {'ceiling_camera': 'ceiling', 'hand_camera': 'hand', 'vla_adapter': None}
    path = tmp_path / 'p.yaml'
    path.write_text('hand_camera: {ros__parameters: {depth: true}}')
    hand = nodes_to_start({**given, 'params_file': str(path)})[1]
    assert hand.parameters['depth'] is True
    path.write_text('wrist_camera: {ros__parameters: {depth: true}}')
    expected = "node '/wrist_camera', expected: vla_adapter, sim_arm, ceiling_camera, hand_camera"
    for launch in (ALICIA, TEACH):
        with pytest.raises(VLAAdapterError, match=expected):
            launch.start({**given, 'params_file': str(path)})


def test_simulation_and_policy_have_the_same_remappings():
    topics = {'joint_states_topic': '/a/js', 'third_person_topic': '/t'}
    arm, node = nodes_to_start({'sim': 'true', **topics})
    assert arm.remappings == node.remappings
    assert ('joint_states', '/a/js') in node.remappings


def test_namespace_and_log_level_reach_every_node():
    for process in nodes_to_start({'sim': 'true', 'namespace': '/arm_1/', 'log_level': 'debug'}):
        assert process.namespace == 'arm_1'
        assert process.log_rule == f'arm_1.{process.name}:=debug'
    assert policy().log_rule == 'vla_adapter:=info'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'polcy': 'hold'}, "argument 'polcy' is unknown; arguments: sim, params_file"),
        ({'sim': 'maybe'}, "argument sim: got 'maybe', expected one of: 'true', 'false'"),
        ({'enable': '1'}, "argument enable: got '1'"),
        ({'log_level': 'loud'}, "argument log_level: got 'loud'"),
        ({'sim': 'true', 'level': 'easy'},
         "argument level: got 'easy', expected one of: '', 'nominal', 'bench', 'hard'"),
        ({'seed': '-1'}, "argument seed: got '-1', expected an integer"),
        ({'namespace': 'my-arm'}, "argument namespace: got 'my-arm', expected letters"),
        ({'robot': 'panda'}, "robot 'panda' is unknown; known robots: alicia_d"),
        ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml: No such file or directory'),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(arguments, message):
    with pytest.raises(VLAAdapterError) as caught:
        nodes_to_start(arguments)
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('node', 'module', 'name'), [
    ('vla_adapter', 'policy.policy_parameters', 'PolicyNodeParameters'),
    ('sim_arm', 'simulation.sim_arm_node', 'SimArmParameters'),
])  # fmt: skip
def test_shipped_file_lists_every_parameter_with_its_default(node, module, name):
    pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')
    from importlib import import_module

    kind = getattr(import_module(f'vla_adapter_ros.nodes.{module}'), name)
    values = shipped()[node]['ros__parameters']
    assert values == {spec.name: spec.default for spec in fields(kind)}
    assert {k: type(v) for k, v in values.items()} == {
        s.name: type(s.default) for s in fields(kind)
    }


@pytest.mark.parametrize('launch', [ALICIA, TEACH, RECORD], ids=lambda launch: launch.name)
def test_every_argument_has_a_description(launch):
    arguments = launch.arguments({})
    assert all(argument.description.endswith('.') for argument in arguments)
    assert len({argument.name for argument in arguments}) == len(arguments)


def test_recorder_alone_gets_the_arguments_that_are_given():
    (node,) = RECORD.start({'instruction': 'no', 'images': 'jpeg', 'use_sim_time': 'True'}).nodes
    assert (node.executable, node.name) == ('recorder', 'recorder')
    assert node.parameters == {'instruction': 'no', 'images': 'jpeg', 'use_sim_time': True}


def test_arguments_of_record_are_parameters_of_the_recorder():
    pytest.importorskip('rclpy', reason='ROS 2 is not in this environment')
    from vla_adapter_ros.nodes.recording.recorder_parameters import RecorderParameters

    names = {argument.name for argument in RECORD.own_arguments} - {'use_sim_time', 'log_level'}
    assert names <= {spec.name for spec in fields(RecorderParameters)}


def test_simulation_stays_on_the_machine_and_a_robot_may_have_several():
    (loopback,) = profile_environment(True, {}).values()
    (network,) = profile_environment(False, {}).values()
    assert '<address>127.0.0.1</address>' in Path(loopback).read_text()
    assert 'interfaceWhiteList' not in Path(network).read_text()


@pytest.mark.parametrize('name', ['loopback', 'network'])
def test_every_profile_has_shared_memory_for_images(name):
    from xml.etree import ElementTree

    tree = ElementTree.parse(shipped_config(f'fastdds_{name}.xml'))
    sizes = [int(e.text) for e in tree.iter() if e.tag.endswith('segment_size')]
    # Two cameras, 640x480x3 bytes each, several frames deep.
    assert sizes and min(sizes) >= 8 * 2 * 640 * 480 * 3 / 2


def test_the_profile_of_the_user_is_kept():
    assert profile_environment(True, {'FASTDDS_DEFAULT_PROFILES_FILE': 'mine.xml'}) == {}
    assert profile_environment(True, {'FASTRTPS_DEFAULT_PROFILES_FILE': 'mine.xml'}) == {}


@pytest.mark.parametrize(
    ('environment', 'set_', 'warned'),
    [
        ({'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp'}, {}, ''),
        ({'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp', 'FASTDDS_DEFAULT_PROFILES_FILE': 'my.xml'}, {},
         'my.xml decides which machines hear the simulation'),
        ({'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp', 'ROS_DISTRO': 'jazzy'},
         {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': ''}, ''),
        ({'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'},
         {}, ''),
        ({'RMW_IMPLEMENTATION': 'rmw_cyclonedds_cpp', 'ROS_DISTRO': 'humble'},
         {'ROS_LOCALHOST_ONLY': '1'}, ''),
        ({'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp', 'ROS_DISTRO': 'kilted'},
         {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_STATIC_PEERS': ''},
         'rmw_zenoh_cpp: its router decides'),
    ],
)  # fmt: skip
def test_simulation_is_kept_on_the_machine_with_every_middleware(environment, set_, warned):
    found = node_environment(True, environment)
    for name in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_STATIC_PEERS', 'ROS_LOCALHOST_ONLY'):
        assert found.get(name) == set_.get(name)
        # A robot's computers must find each other.
        assert name not in node_environment(False, environment)
    assert isolation_warning(environment).startswith(warned) and bool(warned) == bool(
        isolation_warning(environment)
    )


@pytest.mark.parametrize('launch', [ALICIA, TEACH], ids=lambda launch: launch.name)
def test_frame_prefix_reaches_every_node_that_names_frames(launch):
    def prefixes(**arguments):
        nodes = launch.start({'frame_prefix': 'left/', **arguments}).nodes
        return {node.name for node in nodes if node.parameters.get('frame_prefix') == 'left/'}

    policy_too = {'vla_adapter'} if launch is ALICIA else set()
    cameras = {'usb_driver': 'builtin', 'camera_driver': 'builtin'}
    assert prefixes(sim='true') == {'sim_arm', *policy_too}
    assert prefixes(**cameras) == {'third_person_camera', 'wrist_camera', *policy_too}


def test_a_misspelt_argument_of_ros2_launch_is_named():
    arguments = ALICIA.arguments({})
    with pytest.raises(VLAAdapterError, match="'namspace' is unknown; did you mean namespace"):
        check_spelling(['sim', 'namspace'], arguments, {'sim': 'true'})
    # Given both: the first belongs to a launch file that includes ours.
    check_spelling(['robots', 'speed'], arguments, {'robot': 'alicia_d'})
    check_spelling(['camera_name', 'wrist_topic'], arguments, {'camera_name': 'wrist'})


def test_older_distributions_get_the_name_that_they_read():
    assert set(profile_environment(False, {'ROS_DISTRO': 'humble'})) == {
        'FASTDDS_DEFAULT_PROFILES_FILE',
        'FASTRTPS_DEFAULT_PROFILES_FILE',
    }
    assert set(profile_environment(False, {'ROS_DISTRO': 'kilted'})) == {
        'FASTDDS_DEFAULT_PROFILES_FILE'
    }
