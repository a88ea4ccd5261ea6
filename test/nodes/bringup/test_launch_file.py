# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The launch files, read and run by the real launch and launch_ros.

Skipped where launch_ros is not installed (it is not on PyPI); test_nodes_to_start.py tests what
they start, test_bringup.py the same start without launch.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

launch = pytest.importorskip('launch', reason='launch is not installed (PyPI has none)')
pytest.importorskip('launch_ros', reason='launch_ros is not installed (PyPI has none)')

from launch.actions import (  # noqa: E402
    DeclareLaunchArgument,
    GroupAction,
    LogInfo,
    RegisterEventHandler,
    SetEnvironmentVariable,
    SetLaunchConfiguration,
)
from launch.utilities import perform_substitutions  # noqa: E402
from launch_ros.actions import LifecycleNode, Node  # noqa: E402
from launch_ros.event_handlers import OnStateTransition  # noqa: E402

from support.ros_harness import isolated_environment, wait_until  # noqa: E402
from vla_adapter_ros.errors import VLAAdapterError  # noqa: E402
from vla_adapter_ros.nodes.bringup import launch_actions, view  # noqa: E402
from vla_adapter_ros.nodes.bringup.demonstrations import RECORD, TEACH  # noqa: E402
from vla_adapter_ros.nodes.bringup.launch_actions import start_actions  # noqa: E402
from vla_adapter_ros.nodes.bringup.launch_model import LaunchFile  # noqa: E402
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA  # noqa: E402
from vla_adapter_ros.nodes.bringup.view import installed  # noqa: E402
from vla_adapter_ros.robot.contract import contract_path  # noqa: E402

FOLDER = Path(__file__).resolve().parents[3] / 'launch'
FILE = FOLDER / 'alicia.launch.py'
FILES = pytest.mark.parametrize('file', [ALICIA, TEACH, RECORD], ids=lambda file: file.name)


def load(file: LaunchFile):
    path = FOLDER / f'{file.name}.launch.py'
    spec = importlib.util.spec_from_file_location(f'{file.name}_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def started(file: LaunchFile = ALICIA, **given: str) -> list:
    """The actions that the launch file starts for these arguments."""
    context = launch.LaunchContext()
    for argument in file.arguments({}):
        context.launch_configurations[argument.name] = argument.default
    # As `ros2 launch` does with what is typed, declared or not.
    context.launch_configurations.update(given)
    return start_actions(context, file)


def text(parts) -> str:
    return perform_substitutions(launch.LaunchContext(), list(parts))


@FILES
def test_every_argument_is_declared_with_default_and_description(file):
    entities = load(file).generate_launch_description().entities
    declared = [e for e in entities if isinstance(e, DeclareLaunchArgument)]
    wanted = file.arguments({})
    assert [action.name for action in declared] == [argument.name for argument in wanted]
    for action, argument in zip(declared, wanted):
        assert text(action.default_value) == argument.default
        assert action.description == argument.help


@FILES
@pytest.mark.parametrize('sim', ['true', 'false'])
def test_nodes_are_those_of_the_model(file, sim):
    given = {} if file is RECORD else {'sim': sim}
    nodes = [action for action in started(file, **given) if isinstance(action, Node)]
    startup = file.start(given)
    wanted = [*startup.nodes, *installed(startup.views)[0]]
    assert [node.node_executable for node in nodes] == [process.executable for process in wanted]
    assert [isinstance(node, LifecycleNode) for node in nodes] == [p.lifecycle for p in wanted]


def test_views_end_nothing_else_and_get_their_words_before_those_of_ros(monkeypatch):
    monkeypatch.setattr(view, 'get_package_prefix', lambda package: '/opt')
    nodes = [a for a in started(sim='true', rviz='true') if isinstance(a, Node)]
    ends = {node.node_executable: node._ExecuteLocal__on_exit for node in nodes}
    names = ['static_transform_publisher'] * 2 + ['robot_state_publisher', 'rviz2']
    assert [node.node_executable for node in nodes][2:] == names
    assert ends['sim_arm'] and ends['vla_adapter']
    assert not any(ends[name] for name in names)
    words = nodes[-1]._Node__arguments
    assert words[0] == '-d' and words[2] == '--ros-args'


def test_views_that_are_not_installed_are_named():
    said = [text(a.msg) for a in started(sim='true', rviz='true') if isinstance(a, LogInfo)]
    missing = installed(ALICIA.start({'sim': 'true', 'rviz': 'true'}).views)[1]
    assert (missing in said) == bool(missing)


def test_topics_of_a_robot_with_other_cameras_are_remapped(tmp_path):
    path = tmp_path / 'robot.yaml'
    text_of_robot = contract_path('alicia_d').read_text()
    path.write_text(text_of_robot.replace('wrist: {', 'hand: {'))
    actions = started(RECORD, robot=str(path), hand_topic='/hand/color')
    (node,) = (action for action in actions if isinstance(action, Node))
    assert [tuple(text(part) for part in pair) for pair in node._Node__remappings] == [
        ('hand/image', '/hand/color'),
        ('hand/image/compressed', '/hand/color/compressed'),
    ]


def test_activation_follows_our_own_configure_only():
    handlers = [a.event_handler for a in started() if isinstance(a, RegisterEventHandler)]
    assert len(handlers) == 3
    # A person who configures later has not asked for motion.
    after_states = [h for h in handlers if isinstance(h, OnStateTransition)]
    assert [handler.handle_once for handler in after_states] == [True, True]


def test_launch_file_of_the_vendor_sees_its_own_arguments_only(tmp_path, monkeypatch):
    seen = tmp_path / 'seen'
    (tmp_path / 'launch').mkdir()
    (tmp_path / 'launch' / 'real_robot.launch.py').write_text(f"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction

def see(context):
    with open({str(seen)!r}, 'w') as file:
        for item in sorted(context.launch_configurations.items()):
            print(*item, file=file)
        print(*sorted(k for k in context.environment if 'PROFILES' in k), file=file)

def generate_launch_description():
    return LaunchDescription([
        DeclareLaunchArgument('robot', default_value='theirs'), OpaqueFunction(function=see),
    ])
""")
    monkeypatch.setattr(launch_actions, 'get_package_share_directory', lambda name: str(tmp_path))
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)
    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    (group,) = (a for a in started(driver='ros2_control') if isinstance(a, GroupAction))
    service = launch.LaunchService()
    ours = [SetLaunchConfiguration(name, 'ours') for name in ('robot', 'namespace')]
    service.include_launch_description(launch.LaunchDescription([*ours, group]))
    assert service.run() == 0
    lines = seen.read_text().splitlines()
    assert lines[:-1] == ['gripper_type 50mm', 'port ', 'robot theirs', 'speed_deg_s 20.0']
    assert 'FASTDDS_DEFAULT_PROFILES_FILE' in lines[-1]


def test_nodes_in_a_namespace_have_the_log_level_that_was_asked_for():
    nodes = [a for a in started(namespace='left', log_level='debug') if isinstance(a, Node)]
    assert nodes[0]._Node__arguments[-2:] == ['--log-level', 'left.vla_adapter:=debug']


def test_a_misspelt_argument_is_refused():
    context = launch.LaunchContext(argv=['sim:=true', 'polcy:=hold', 'of_a_parent_file:=1'])
    with pytest.raises(VLAAdapterError, match="argument 'polcy' is unknown; did you mean policy"):
        start_actions(context, ALICIA)


def test_simulation_sets_its_profile_and_the_users_is_kept(monkeypatch):
    monkeypatch.delenv('FASTDDS_DEFAULT_PROFILES_FILE', raising=False)
    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    assert any(isinstance(action, SetEnvironmentVariable) for action in started(sim='true'))
    monkeypatch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', 'mine.xml')
    assert not any(isinstance(action, SetEnvironmentVariable) for action in started(sim='true'))


def test_a_bad_argument_is_refused_with_the_allowed_values():
    with pytest.raises(VLAAdapterError, match='argument sim: got'):
        started(sim='maybe')


RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = dict(word.split(':=', 1) for word in sys.argv[2:]).items()
source = PythonLaunchDescriptionSource(sys.argv[1])
service = LaunchService(argv=[])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@pytest.fixture
def launched(tmp_path):
    """Run the launch file; returns a function that starts it and one that reads its output."""
    packages = pytest.importorskip('ament_index_python.packages')
    try:
        packages.get_package_prefix('vla_adapter_ros')
    except packages.PackageNotFoundError:
        pytest.skip('the package is not built; run make build')
    output = tmp_path / 'output'
    processes = []

    def start(*arguments: str) -> subprocess.Popen:
        with output.open('wb') as file:
            process = subprocess.Popen(
                [sys.executable, '-c', RUN, str(FILE), *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**isolated_environment(), 'ROS_LOG_DIR': str(tmp_path)},
                start_new_session=True,
            )
        processes.append(process)
        return process

    yield start, output.read_text
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_launch_activates_the_simulated_arm_and_ends_cleanly_on_ctrl_c(launched):
    start, output = launched
    process = start('sim:=true', 'policy:=hold', 'instruction:=no')
    wait_until(lambda: 'vla_adapter is active' in output(), 60.0, 'activation')
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, output()
    assert 'Caught exception' not in output()


def test_launch_says_when_the_node_does_not_configure(launched):
    start, output = launched
    process = start('checkpoint:=/nowhere')
    wait_until(lambda: 'vla_adapter did not configure' in output(), 60.0, 'the refusal')
    assert process.poll() is None
    assert '/nowhere' in output()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0, output()
