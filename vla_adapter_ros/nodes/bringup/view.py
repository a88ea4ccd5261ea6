# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What only shows: frames of the cameras, the model of the arm, RViz, Foxglove, rerun.

None of it is needed to move the arm: what is not installed is left out, and
what ends (a closed window) ends nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.launch_model import BOOLEANS, PACKAGE, Argument, NodeProcess
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.robot.contract import RobotContract, urdf_path

VIEW_ARGUMENTS = (
    Argument('rviz', 'false', 'Start RViz, and a robot_state_publisher for it.', BOOLEANS),
    Argument(
        'foxglove', 'false', 'Start foxglove_bridge for this machine only, and a '
        'robot_state_publisher for it.', BOOLEANS,
    ),
    Argument('rerun', 'false', "Show cameras, joints and chunks in rerun's window.", BOOLEANS),
    Argument(
        'robot_state_publisher',
        'true',
        'With rviz:=true or foxglove:=true show the URDF of the robot contract;'
        ' false: show what the driver publishes (robot_description, /tf).',
        BOOLEANS,
    ),
)
RVIZ_FILE = 'viewers/vla_adapter.rviz'
# Apart from the driver's own, which the policy node reads.
DESCRIPTION = 'vla_adapter/robot_description'
# Viewers show and do not command: nobody publishes, calls or sets anything through the bridge.
_BRIDGE = {'address': '127.0.0.1', 'capabilities': ['connectionGraph', 'assets']}
_IMAGE = 'rviz_default_plugins/Image'
_MODEL = 'rviz_default_plugins/RobotModel'


def view_processes(
    arguments: Mapping[str, str],
    contract: RobotContract,
    folder: Path,
    policy: NodeProcess,
) -> list[NodeProcess]:
    """Return frames of the cameras whose pose the contract has, and the viewers asked for.

    Args:
        arguments: checked, VIEW_ARGUMENTS among them.
        contract: gives poses, base frame, cameras and URDF.
        folder: of the contract's file.
        policy: the policy node: namespace, topics, log level, frame_prefix and use_sim_time.

    Raises:
        VLAAdapterError: the URDF cannot be read.
    """
    prefix = str(policy.parameters.get('frame_prefix', ''))
    own_model = arguments['robot_state_publisher'] == 'true'
    # Frames of two arms have the same names: kept apart by prefix, or else by topic.
    own_tf = own_model and policy.namespace and not prefix
    tf = tuple((f'/{topic}', topic) for topic in ('tf', 'tf_static') if own_tf)
    common: dict[str, Any] = {
        'namespace': policy.namespace, 'log_level': policy.log_level,
    }  # fmt: skip
    clock = {'use_sim_time': True} if policy.parameters.get('use_sim_time') else {}
    found = _camera_frames(contract, prefix, {**common, 'remappings': tf})
    if arguments['rerun'] == 'true':
        found.append(_rerun(policy, clock))
    rviz, foxglove = (arguments[name] == 'true' for name in ('rviz', 'foxglove'))
    if not rviz and not foxglove:
        return found
    common['remappings'] = (*policy.remappings, *tf)
    urdf = urdf_path(contract, folder)
    if own_model and urdf is not None:
        found.append(_model(contract, urdf, {**clock, 'frame_prefix': prefix}, common))
    else:
        common['remappings'] += ((DESCRIPTION, 'robot_description'),)
    if foxglove:
        found.append(
            NodeProcess(
                'foxglove_bridge', 'foxglove_bridge', parameters={**clock, **_BRIDGE},
                package='foxglove_bridge', **{**common, 'remappings': ()},
            )
        )  # fmt: skip
    if rviz:
        found.append(_rviz(contract, prefix, clock, common))
    return found


def _rerun(policy: NodeProcess, clock: Mapping[str, Any]) -> NodeProcess:
    same = {
        name: policy.parameters[name]
        for name in ('robot', 'image_transport')
        if name in policy.parameters
    }
    return NodeProcess(
        'rerun_viewer', 'rerun_viewer', policy.namespace, {**clock, **same}, policy.remappings,
        policy.log_level,
    )  # fmt: skip


def _rviz(
    contract: RobotContract, prefix: str, clock: Mapping[str, Any], common: Mapping[str, Any]
) -> NodeProcess:
    base = contract.kinematics.base if contract.kinematics else 'base_link'
    settings = rviz_settings(yaml.safe_load(_rviz_file().read_text()), contract, base, prefix)
    return NodeProcess(
        'rviz2', 'rviz2', parameters=clock, package='rviz2',
        arguments=('-d', str(_settings_file(settings))), **common,
    )  # fmt: skip


def _camera_frames(
    contract: RobotContract, prefix: str, common: Mapping[str, Any]
) -> list[NodeProcess]:
    found = []
    for name, camera in contract.cameras.items():
        if (pose := camera.pose) is None:
            continue
        keys = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
        words: list[str] = []
        for key, value in zip(keys, (*pose.xyz, *pose.quaternion), strict=True):
            words += [f'--{key}', f'{value:.9f}']
        words += ['--frame-id', f'{prefix}{pose.parent}']
        words += ['--child-frame-id', f'{prefix}{name}_optical_frame']
        found.append(
            NodeProcess(
                'static_transform_publisher', f'{name}_frame', parameters={}, package='tf2_ros',
                arguments=tuple(words), **common,
            )
        )  # fmt: skip
    return found


def _model(
    contract: RobotContract, urdf: Path, parameters: Mapping[str, Any], common: Mapping[str, Any]
) -> NodeProcess:
    remappings = (*common['remappings'], ('robot_description', DESCRIPTION))
    return NodeProcess(
        'robot_state_publisher', 'model_state_publisher', package='robot_state_publisher',
        parameters={**parameters, 'robot_description': described(urdf, contract)},
        **{**common, 'remappings': remappings},
    )  # fmt: skip


def described(urdf: Path, contract: RobotContract) -> str:
    """Return the URDF with its joints named as the driver names them in joint states.

    Raises:
        VLAAdapterError: the file is missing or is not XML.
    """
    try:
        root = ElementTree.fromstring(urdf.read_text(encoding='utf-8'))
    except OSError as error:
        raise VLAAdapterError(f'URDF {urdf}: {error.strerror}') from None
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise VLAAdapterError(f'URDF {urdf} is not XML: {error}') from None
    names = dict(zip(contract.names, contract.driver_names, strict=True))
    for tag, key in (('joint', 'name'), ('mimic', 'joint')):
        for element in root.iter(tag):
            name = element.get(key, '')
            element.set(key, names.get(name, name))
    return ElementTree.tostring(root, encoding='unicode')


def rviz_settings(
    shipped: Mapping[str, Any], contract: RobotContract, base: str, prefix: str
) -> dict[str, Any]:
    """Return the shipped RViz configuration for a robot: its cameras, base frame and prefix.

    RViz itself puts a / behind the prefix, so `prefix` should end with one.
    """
    manager = dict(shipped['Visualization Manager'])
    displays: list[dict[str, Any]] = []
    for display in manager['Displays']:
        if display['Class'] == _MODEL:
            display = {**display, 'TF Prefix': prefix.removesuffix('/')}
        if display['Class'] != _IMAGE:
            displays.append(display)
    form = next(display for display in manager['Displays'] if display['Class'] == _IMAGE)
    for camera in contract.cameras:
        topic = {**form['Topic'], 'Value': f'{camera}/image'}
        displays.append({**form, 'Name': camera, 'Topic': topic})
    manager['Displays'] = displays
    manager['Global Options'] = {**manager['Global Options'], 'Fixed Frame': f'{prefix}{base}'}
    return {**shipped, 'Visualization Manager': manager}


def _rviz_file() -> Path:
    return shipped_config(RVIZ_FILE)


def _settings_file(settings: Mapping[str, Any]) -> Path:
    """Return the shipped file if it says the same, else a new one for this start."""
    if settings == yaml.safe_load(_rviz_file().read_text()):
        return _rviz_file()
    with tempfile.NamedTemporaryFile(
        'w', prefix=f'{PACKAGE}_', suffix='.rviz', delete=False
    ) as file:
        yaml.safe_dump(dict(settings), file, sort_keys=False)
    return Path(file.name)


def installed(processes: Iterable[NodeProcess]) -> tuple[list[NodeProcess], str]:
    """Return those whose package is installed, and a sentence on the others ('' if none)."""
    present: list[NodeProcess] = []
    missing: dict[str, list[str]] = {}
    for process in processes:
        try:
            get_package_prefix(process.package)
        except PackageNotFoundError:
            missing.setdefault(process.package, []).append(process.name)
        else:
            present.append(process)
    if not missing:
        return present, ''
    packages = ', '.join(f'{package} (for {", ".join(n)})' for package, n in missing.items())
    return present, f'not installed, so not started: {packages}'
