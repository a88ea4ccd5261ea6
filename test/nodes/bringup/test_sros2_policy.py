# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""config/sros2 grants each node what it does on the graph, and what moves the arm to few.

The nodes are made in this process: what they have is read from the graph at once.
"""

from __future__ import annotations

import contextlib
import time
from fnmatch import fnmatchcase

import pytest
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from support.sros2_policy import POLICIES, read_grants
from vla_adapter_ros.nodes.bringup.demonstrations import RECORD, TEACH
from vla_adapter_ros.nodes.bringup.launch_model import PACKAGE
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA
from vla_adapter_ros.nodes.cameras.usb_camera import UsbCameraNode
from vla_adapter_ros.nodes.common.policy_client import PolicyClient
from vla_adapter_ros.nodes.demo.demo_observer import DemoObserver
from vla_adapter_ros.nodes.policy.policy_node import PolicyNode
from vla_adapter_ros.nodes.policy.preflight import PreflightNode
from vla_adapter_ros.nodes.recording.recorder_node import RecorderNode
from vla_adapter_ros.nodes.simulation.emulated_ros2_control import Ros2Control
from vla_adapter_ros.nodes.simulation.emulated_standalone_driver import StandaloneDriver
from vla_adapter_ros.nodes.simulation.sim_arm_node import SimArmNode
from vla_adapter_ros.nodes.teaching.first_motion import FirstMotionNode
from vla_adapter_ros.nodes.teaching.teach_node import TeachNode
from vla_adapter_ros.nodes.viewing.rerun_topics import RerunTopics
from vla_adapter_ros.robot.contract import resolve_contract

A, B, SIM = 'alicia_d', 'alicia_d_standalone', 'alicia_d_sim'
PARAMETERS = {
    'vla_adapter': {'policy': 'hold'}, 'recorder': {'camera_info': True},
    'sim_arm': {'publish_clock': True}, 'teach': {},
    'usb_camera': {'camera': 'third_person', 'device': 'generated'},
}  # fmt: skip


def viewer():
    node = rclpy.create_node('rerun_viewer')
    RerunTopics(node, resolve_contract(A), log=None)
    RerunTopics(node, resolve_contract(B), log=None, transport='compressed')
    return node


COMPRESSED = {
    'vla_adapter': {'image_transport': 'compressed'}, 'recorder': {'images': 'compressed'},
}  # fmt: skip
# Namespace, robot, node → other parameters, nodes.
GRAPHS = (
    ('', A, {}, (PolicyNode, RecorderNode, lambda: FirstMotionNode(A), UsbCameraNode, viewer,
                 lambda: PreflightNode(resolve_contract(A)))),
    ('', B, COMPRESSED, (PolicyNode, RecorderNode, lambda: FirstMotionNode(B),
                         lambda: PreflightNode(resolve_contract(B), 'compressed'))),
    ('', A, {'teach': {'mode': 'leader'}}, (TeachNode,)),
    ('', B, {'teach': {'mode': 'drag'}}, (TeachNode,)),
    ('sim', SIM, {}, (PolicyNode, SimArmNode, PolicyClient, RecorderNode,
                      lambda: DemoObserver(resolve_contract(SIM)))),
    ('sim', SIM, {'teach': {'mode': 'leader'}}, (TeachNode,)),
)  # fmt: skip
# Nodes whose process has an enclave of another name.
ENCLAVES = {
    '/usb_camera': '/third_person_camera', '/sim/evaluation': '/sim/sim_arm',
    '/controller_manager': '/driver', '/alicia_d_driver_node': '/driver',
}  # fmt: skip
COMMANDS = {
    '/Alicia_controller/joint_trajectory', '/Gripper_controller/joint_trajectory',
    '/joint_commands',
}  # fmt: skip
DEMO_UNUSED = (
    '/joint_commands', '/third_person/image/compressed', '/wrist/image/compressed',
    '/vla_adapter/instruction',
)  # fmt: skip


@contextlib.contextmanager
def ros(folder, space, robot, parameters):
    content = {}
    for node, fixed in PARAMETERS.items():
        own = {} if node == 'usb_camera' else {'robot': robot}
        own |= {'folder': str(folder)} if node == 'recorder' else {}
        found = {**own, **fixed, **parameters.get(node, {})}
        content[f'/**/{node}'] = {'ros__parameters': found}
    file = folder / 'parameters.yaml'
    file.write_text(yaml.safe_dump(content))
    arguments = ['--ros-args', '--params-file', str(file)]
    if space:
        arguments += ['-r', f'__ns:=/{space}']
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.shutdown()


def _until_it_publishes(camera):
    executor = SingleThreadedExecutor()
    executor.add_node(camera)
    end = time.monotonic() + 20.0
    while not camera.count_publishers('third_person/image') and time.monotonic() < end:
        executor.spin_once(0.1)


def endpoints(make):
    """Return a node's enclave and what it does on the graph, in the words of `read_grants`."""
    node = make()
    try:
        if isinstance(node, PolicyNode):
            node.trigger_configure()
            node.trigger_activate()
        if isinstance(node, UsbCameraNode):
            _until_it_publishes(node)
        name, space = node.get_name(), node.get_namespace()
        found = {
            (what, topic)
            for what, listed in (
                ('publish', node.get_publisher_names_and_types_by_node),
                ('subscribe', node.get_subscriber_names_and_types_by_node),
                ('reply', node.get_service_names_and_types_by_node),
                ('request', node.get_client_names_and_types_by_node),
            )
            for topic, _ in listed(name, space)
        }
        full = node.get_fully_qualified_name()
        return ENCLAVES.get(full, full), {
            (what, name.replace('/usb_camera/', '/third_person_camera/')) for what, name in found
        }
    finally:
        if hasattr(node, 'close'):
            node.close()
        node.destroy_node()


@pytest.fixture(scope='module')
def grants():
    return read_grants()


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """Enclave → what its nodes do on the graph, of all robots and modes together."""
    folder = tmp_path_factory.mktemp('recordings')
    found: dict[str, set[tuple[str, str]]] = {}
    for space, robot, parameters, makers in GRAPHS:
        with ros(folder, space, robot, parameters):
            for make in makers:
                enclave, does = endpoints(make)
                found.setdefault(enclave, set()).update(does)
    return found


def refused(does, allowed):
    return sorted(
        (what, name)
        for what, name in does
        if not any(what == w and fnmatchcase(name, pattern) for w, pattern in allowed)
    )


def test_each_node_is_granted_what_it_does(graph, grants):
    assert {e: r for e, does in graph.items() if (r := refused(does, grants[e]))} == {}
    assert len(graph) == 12


def test_nothing_is_granted_that_no_node_does(graph, grants):
    def without_namespace(found):
        return {(what, name.removeprefix('/sim')) for what, name in found}

    does: dict[str, set[tuple[str, str]]] = {}
    for enclave, found in graph.items():
        does.setdefault(enclave.removeprefix('/sim'), set()).update(without_namespace(found))
    unused = {
        (enclave, what, name)
        for enclave, found in grants.items()
        if enclave in graph
        for what, name in without_namespace(found) - does[enclave.removeprefix('/sim')]
        if name not in ('/clock', '/parameter_events')
    }
    assert unused == {
        # Its messages are not on PyPI.
        ('/vla_adapter', 'request', '/controller_manager/list_controllers'),
        ('/sim/vla_adapter', 'request', '/controller_manager/list_controllers'),
        # Asked, and not kept.
        ('/preflight', 'request', '/alicia_d_driver_node/get_parameters'),
        ('/preflight', 'request', '/vla_adapter/get_parameters'),
        # The demo looks at the simulated arm only.
        *(('/sim/demo', 'subscribe', name) for name in DEMO_UNUSED),
    }


@pytest.mark.parametrize('make', [Ros2Control, StandaloneDriver])
def test_emulated_drivers_may_do_what_they_do(grants, make, tmp_path):
    with ros(tmp_path, '', A, {}):
        enclave, does = endpoints(make)
    assert refused(does, grants[enclave]) == []


def who(grants, what, name):
    return {
        e for e, allowed in grants.items()
        if any(w == what and fnmatchcase(name, p) for w, p in allowed)
    }  # fmt: skip


def test_few_may_command_the_arm_or_say_where_it_is(grants):
    for topic in COMMANDS:
        assert who(grants, 'publish', topic) == {'/vla_adapter', '/teach', '/first_motion'}
        assert who(grants, 'publish', f'/sim{topic}') == {'/sim/vla_adapter', '/sim/teach'}
    assert who(grants, 'publish', '/joint_states') == {'/driver'}
    assert who(grants, 'publish', '/sim/joint_states') == {'/sim/sim_arm'}
    for camera in ('third_person', 'wrist'):
        for name in (f'/{camera}/image', f'/{camera}/image/compressed'):
            assert who(grants, 'publish', name) <= {f'/{camera}_camera'}


def test_few_may_ask_the_policy_node(grants):
    for name in ('enable', 'clear_trip', 'home', 'set_parameters', '_action/send_goal'):
        assert who(grants, 'request', f'/vla_adapter/{name}') <= {'/operator'}
    assert who(grants, 'request', '/set_instruction') == {'/operator'}
    assert who(grants, 'request', '/vla_adapter/change_state') == {'/', '/operator'}
    assert who(grants, 'publish', '/vla_adapter/estop') == {'/operator'}


def test_what_is_asked_or_heard_is_granted_to_somebody_who_answers_or_says_it(grants):
    other_side = {'request': 'reply', 'subscribe': 'publish'}
    from_outside = {'joy', 'leader/joint_states', 'hand', 'zero_calibrate', 'compressed'}
    lonely = {
        (what, name)
        for allowed in grants.values()
        for what, name in allowed
        if what in other_side and '*' not in name and not who(grants, other_side[what], name)
        and not any(name.endswith(end) for end in from_outside)
    }  # fmt: skip
    assert all(name.startswith('/sim/') for _, name in lonely)
    assert {name.removeprefix('/sim') for _, name in lonely} == {
        # The simulation has no controller manager, and nobody else is there.
        '/Alicia_controller/follow_joint_trajectory/_action/status',
        '/Gripper_controller/follow_joint_trajectory/_action/status',
        '/controller_manager/list_controllers', '/robot_description', '/teach/keys',
    }  # fmt: skip


@pytest.mark.parametrize(
    ('launch', 'given'),
    [
        (ALICIA, {'sim': 'true', 'policy': 'hold'}),
        (ALICIA, {'policy': 'hold', 'camera_driver': 'builtin', 'usb_driver': 'builtin',
                  'rerun': 'true'}),
        (TEACH, {'sim': 'true'}), (TEACH, {'camera_driver': 'builtin'}), (RECORD, {}),
    ],
)  # fmt: skip
def test_every_node_that_is_started_has_its_enclave(grants, launch, given):
    startup = launch.start(given)
    own = [p for p in (*startup.nodes, *startup.views) if p.package == PACKAGE]
    assert own and {process.full_name for process in own} <= set(grants)


@pytest.mark.parametrize(
    ('before', 'after', 'sentence'),
    [
        ('version="0.2.0"', 'version="0.1.0"', 'version 0.2.0'),
        ('<topic>teach/keys</topic>', '<service>teach/keys</service>', 'expected topic'),
        ('path="/teach"', 'path="/recorder"', 'enclave /recorder is there twice'),
    ],
)
def test_a_policy_against_the_schema_is_noticed(tmp_path, before, after, sentence):
    text = POLICIES.read_text()
    assert before in text
    (tmp_path / 'profiles').symlink_to(POLICIES.parent / 'profiles')
    (tmp_path / 'x.xml').write_text(text.replace(before, after))
    with pytest.raises(ValueError, match=sentence):
        read_grants(tmp_path / 'x.xml')
