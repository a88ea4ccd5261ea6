# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The package as installed, run away from the checkout: its recorder, and saving a checkpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS 2 is not installed')

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from support.data_samples import contract
from support.recorded_robot import RecordedRobot, start_recording
from support.ros_harness import REPOSITORY, isolated_environment, wait_until

PACKAGE = 'vla_adapter_ros'
NEWER_INSTALL = REPOSITORY / 'test' / 'support' / 'late_python_install'
SAVE = """
import sys, vla_adapter_ros
from pathlib import Path
from vla_adapter_ros.inference.policy import Policy
shipped = Path(vla_adapter_ros.__file__).parent / 'checkpoints' / 'tiny_sim'
policy = Policy.from_pretrained(shipped, device='cpu')
policy.save(sys.argv[1])
print(vla_adapter_ros.__file__, Policy.from_pretrained(sys.argv[1], device='cpu').contract.name)
"""


def cmake_folder(package: str) -> Path:
    try:
        return Path(get_package_prefix(package)) / 'share' / package / 'cmake'
    except PackageNotFoundError:
        pytest.skip(f'{package} is not installed')


@pytest.fixture(scope='module')
def build_folder():
    """Compiled once; what the versions of ament_cmake_python differ in is installed anew."""
    if shutil.which('cmake') is None:
        pytest.skip('cmake is not installed')
    with tempfile.TemporaryDirectory(prefix='vla_build_') as folder:
        yield Path(folder)


@pytest.fixture(scope='module', params=['older', 'newer', 'newer, linked'])
def installed(request, build_folder) -> Path:
    """The prefix of an installation by ament_cmake_python before and from 2.8.7."""
    older = cmake_folder('ament_cmake_python')
    chosen = older
    if request.param != 'older':
        if (older / 'ament_python_install_registered_packages.cmake').exists():
            pytest.skip('this ROS has the newer form, which "older" has run')
        chosen = NEWER_INSTALL
    prefix = build_folder / request.param.replace(', ', '_')
    options = {
        'CMAKE_INSTALL_PREFIX': prefix,
        'BUILD_TESTING': 'OFF',
        'Python3_EXECUTABLE': sys.executable,
        'ament_cmake_python_DIR': chosen,
        'OLDER': older,
        'AMENT_CMAKE_SYMLINK_INSTALL': int('linked' in request.param),
    }
    build = str(build_folder / 'build')
    # A link cannot take the place of the folder of an unlinked build.
    shutil.rmtree(build_folder / 'build' / 'ament_cmake_python', ignore_errors=True)
    for arguments in (
        ['-S', str(REPOSITORY), '-B', build, *(f'-D{k}={v}' for k, v in options.items())],
        ['--build', build],
        ['--install', build],
    ):
        run = subprocess.run(
            ['cmake', *arguments], cwd=build_folder, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return prefix


def environment_of(prefix: Path) -> dict[str, str]:
    """The environment of an overlay on the ROS installation, without the checkout."""
    (modules,) = prefix.glob(f'**/{PACKAGE}/__init__.py')
    own = get_package_prefix(PACKAGE)
    kept = [p for p in os.environ.get('PYTHONPATH', '').split(':') if p and not p.startswith(own)]
    libraries = [str(prefix / 'lib'), os.environ.get('LD_LIBRARY_PATH', '')]
    return {
        **isolated_environment(),
        'PYTHONPATH': ':'.join([str(modules.parents[1]), *kept]),
        'LD_LIBRARY_PATH': ':'.join(libraries),
        'AMENT_PREFIX_PATH': f'{prefix}:{os.environ["AMENT_PREFIX_PATH"]}',
    }


@pytest.mark.slow(reason='compiles the messages: 1.5 min for all of them')
@pytest.mark.timeout(900)
def test_an_installed_package_saves_checkpoints(installed, tmp_path):
    command = [sys.executable, '-c', SAVE, str(tmp_path / 'saved')]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment_of(installed), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    file, robot = run.stdout.split()
    assert Path(file).is_relative_to(installed)
    assert robot == 'alicia_d_sim'


@pytest.mark.slow(reason='compiles the messages: 1.5 min for all of them')
@pytest.mark.timeout(900)
def test_an_installed_recorder_records(installed, tmp_path):
    environment = environment_of(installed)
    robot_file = tmp_path / 'robot.yaml'
    robot_file.write_text(yaml.safe_dump(contract().to_dict()))
    bags = tmp_path / 'bags'
    parameters = {'robot': robot_file, 'folder': bags, 'instruction': 'push'}
    command = [str(installed / 'lib' / PACKAGE / 'recorder'), '--ros-args']
    for name, value in parameters.items():
        command += ['-p', f"{name}:='{value}'"]
    robot = RecordedRobot(environment)
    with (tmp_path / 'log').open('wb') as log:
        node = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        start_recording(robot)
        robot.frames_later(10)
        assert robot.ask('stop').success
        assert node.poll() is None
        assert (bags / 'episode_000000' / 'metadata.yaml').is_file()
        node.terminate()
        wait_until(lambda: node.poll() is not None, 20.0, 'end of the recorder')
        assert node.returncode == 0, (tmp_path / 'log').read_text()
    finally:
        robot.close()
        node.kill()
        node.wait()
