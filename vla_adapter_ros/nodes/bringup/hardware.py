# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cameras and the vendor's driver beside the policy node, by launch argument.

Every camera, whatever drives it, publishes on `<camera>/image` of the contract.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.launch_model import (
    Argument,
    IncludedLaunch,
    NodeProcess,
    namespace_of,
)
from vla_adapter_ros.robot import alicia_d
from vla_adapter_ros.robot.contract import CameraSpec, RobotContract

CAMERA_ARGUMENTS = (
    Argument(
        'camera_driver', 'none', 'Wrist camera (RealSense): builtin starts our node,'
        ' realsense2_camera the wrapper; none: it runs already.',
        ('builtin', 'realsense2_camera', 'none'),
    ),
    Argument('serial', '', 'Serial number of the RealSense camera; empty: the only one.'),
    Argument(
        'camera_name', '', 'Which camera of the contract it is; empty: the one on the wrist.'
    ),
    Argument(
        'usb_driver', 'none',
        'Fixed camera (USB): builtin starts our node; none: it runs already.',
        ('builtin', 'usb_cam', 'v4l2_camera', 'none'),
    ),
    Argument('usb_device', '', 'Its path under /dev/v4l/by-id; empty: the only camera (builtin).'),
    Argument('usb_name', '', 'Which camera of the contract it is; empty: the fixed one.'),
)
HARDWARE_ARGUMENTS = (
    *CAMERA_ARGUMENTS,
    Argument(
        'driver', 'none', "The vendor's driver: ros2_control (front end A), standalone (front end"
        ' B); none: it runs already. Needs `ros2 launch`.',
        ('ros2_control', 'standalone', 'none'),
    ),
    Argument('port', '', "The arm's serial port (/dev/serial/by-id); empty: the driver looks."),
    Argument(
        'speed_deg_s', '', 'Speed of the arm [deg/s], for the driver that is started (empty: 20)'
        ' and for motion, which is planned no faster.',
    ),
    Argument(
        'gripper_type', '50mm', 'Gripper for the driver that is started.', ('50mm', '100mm')
    ),
)
# The node of a camera, and its section in the parameter file, is <camera>_camera.
CAMERA_NODE_SUFFIX = '_camera'


def camera_processes(
    arguments: Mapping[str, str],
    contract: RobotContract,
    parameters: Callable[[str], Mapping[str, Any]],
    common: Mapping[str, Any],
) -> list[NodeProcess]:
    """Return the requested camera nodes.

    Args:
        arguments: checked, HARDWARE_ARGUMENTS among them.
        contract: gives the image sizes.
        parameters: from a node's name to further parameters of our own camera nodes (exposure, …).
        common: namespace, log level and remappings, as of the other nodes.

    Raises:
        VLAAdapterError: the contract has no such camera, or a driver needs a device.
    """
    found = []
    if arguments['usb_driver'] != 'none':
        name = _camera_name(arguments['usb_name'], 'usb_name', 'fixed', contract)
        found.append(_usb(arguments, name, contract.cameras[name], parameters, common))
    if arguments['camera_driver'] != 'none':
        name = _camera_name(arguments['camera_name'], 'camera_name', 'wrist', contract)
        found.append(_realsense(arguments, name, contract.cameras[name], parameters, common))
    return found


def driver_launches(
    arguments: Mapping[str, str], contract: RobotContract, enable: bool
) -> list[IncludedLaunch]:
    """Return the requested launch file of the vendor, after checking for its traps.

    Raises:
        VLAAdapterError: the contract is for the other front end or another gripper, the speed is
            not a number, or motion is to be enabled at the same time.
    """
    driver = arguments['driver']
    if driver == 'none':
        return []
    vendor = alicia_d.driver_named(driver)
    if contract.front_end.kind != vendor.front_end:
        raise VLAAdapterError(
            f'driver:={driver} takes other commands than robot {contract.name} sends'
            f' ({contract.front_end.kind}); use robot:={vendor.robot}'
        )
    if namespace := namespace_of(arguments):
        raise VLAAdapterError(
            f'driver:={driver} starts a driver without namespace, which namespace:={namespace}'
            f' would not reach: start it yourself in namespace {namespace}'
        )
    _check_gripper(arguments['gripper_type'] if driver == 'ros2_control' else '50mm', contract)
    speed = f'{driver_speed(arguments):.1f}'
    if enable:
        raise VLAAdapterError(
            f'enable:=true together with driver:={driver}: the arm may drive to its zero pose when'
            f' the driver starts; look first, then call ~/enable'
        )
    if driver == 'ros2_control':
        given = {
            'port': arguments['port'], 'gripper_type': arguments['gripper_type'],
            'speed_deg_s': speed,
        }
        return [IncludedLaunch('alicia_d_moveit', 'real_robot.launch.py', given)]
    given = {'port': arguments['port'], alicia_d.SPEED_PARAMETER: speed}
    return [IncludedLaunch('alicia_d_driver', 'alicia_d_driver.launch.py', given)]


def _check_gripper(kind: str, contract: RobotContract) -> None:
    travel = abs(contract.gripper.closed_position - contract.gripper.open_position)
    expected = alicia_d.GRIPPER_TRAVEL_M[kind]
    if not math.isclose(travel, expected, rel_tol=0.02):
        raise VLAAdapterError(
            f'the driver has a {kind} gripper ({expected:g} m of travel), robot'
            f' {contract.name} one with {travel:g} m; set gripper_type or the contract right'
        )


def driver_speed(arguments: Mapping[str, str]) -> float:
    """Return the driver's speed [deg/s]; 0 if it is not given and no driver is started."""
    text = arguments['speed_deg_s']
    if not text:
        return 0.0 if arguments['driver'] == 'none' else alicia_d.DEFAULT_SPEED_DEG_S
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 4.0 <= speed <= 440.0:
        raise VLAAdapterError(f'argument speed_deg_s: got {text!r}, expected 4 … 440')
    return speed


def _camera_name(given: str, argument: str, mount: str, contract: RobotContract) -> str:
    """Return the contract's camera that a driver drives: the given one, or the only of a mount."""
    cameras = ', '.join(contract.cameras)
    if given and given not in contract.cameras:
        raise VLAAdapterError(f'robot {contract.name} has no camera {given}; it has: {cameras}')
    mounted = [name for name, camera in contract.cameras.items() if camera.mount == mount]
    if not given and len(mounted) != 1:
        count = len(mounted) or 'no'
        raise VLAAdapterError(
            f'robot {contract.name} has {count} cameras with mount: {mount}; it has: {cameras};'
            f' choose one with {argument}:='
        )
    return given or mounted[0]


def _usb(
    arguments: Mapping[str, str],
    name: str,
    camera: CameraSpec,
    parameters: Callable[[str], Mapping[str, Any]],
    common: Mapping[str, Any],
) -> NodeProcess:
    device, driver = arguments['usb_device'], arguments['usb_driver']
    node = f'{name}{CAMERA_NODE_SUFFIX}'
    if driver == 'builtin':
        own = _own_parameters(name, camera, parameters)
        if device:
            own['device'] = device
        return NodeProcess('usb_camera', node, parameters=own, **common)
    if not device:
        raise VLAAdapterError(f'usb_driver:={driver} needs usb_device:=/dev/v4l/by-id/…')
    common = {
        **common,
        'remappings': (*_onto('image_raw', name, common), _info_onto('camera_info', name, common)),
    }
    if driver == 'usb_cam':
        foreign = {
            'video_device': device, 'framerate': 30.0, 'image_width': camera.width,
            'image_height': camera.height, 'pixel_format': 'mjpeg2rgb',
            'av_device_format': 'YUV422P', 'autofocus': False, 'autoexposure': False,
            'auto_white_balance': False, 'camera_name': name,
        }
        return NodeProcess('usb_cam_node_exe', node, parameters=foreign, package=driver, **common)
    foreign = {
        'video_device': device, 'image_size': [camera.width, camera.height],
        'pixel_format': 'YUYV', 'output_encoding': 'rgb8',
    }
    return NodeProcess('v4l2_camera_node', node, parameters=foreign, package=driver, **common)


def _own_parameters(
    name: str, camera: CameraSpec, parameters: Callable[[str], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the parameters of our camera nodes: of the file, then of the contract."""
    return {
        **parameters(f'{name}{CAMERA_NODE_SUFFIX}'),
        'camera': name, 'width': camera.width, 'height': camera.height,
    }  # fmt: skip


def _realsense(
    arguments: Mapping[str, str],
    name: str,
    camera: CameraSpec,
    parameters: Callable[[str], Mapping[str, Any]],
    common: Mapping[str, Any],
) -> NodeProcess:
    serial, node = arguments['serial'], f'{name}{CAMERA_NODE_SUFFIX}'
    if arguments['camera_driver'] == 'builtin':
        own = _own_parameters(name, camera, parameters)
        if serial:
            own['serial'] = serial
        return NodeProcess('realsense_camera', node, parameters=own, **common)
    foreign: dict[str, Any] = {
        # The D405 has no RGB sensor; rgb_camera.* would have no effect.
        'depth_module.color_profile': f'{camera.width}x{camera.height}x30',
        'depth_module.color_format': 'RGB8',
        'enable_color': True,
        'enable_depth': False,
    }
    if serial:
        # The wrapper strips this underscore, which keeps the number a text.
        foreign['serial_no'] = f'_{serial}'
    # Up to 4.57.3 the D405's colour is image_rect_raw, later image_raw.
    topics = ('~/color/image_raw', '~/color/image_rect_raw')
    onto = tuple(pair for topic in topics for pair in _onto(topic, name, common))
    return NodeProcess(
        'realsense2_camera_node', node, parameters=foreign, package='realsense2_camera',
        **{**common, 'remappings': (*onto, _info_onto('~/color/camera_info', name, common))},
    )


def _onto(
    topic: str, camera: str, common: Mapping[str, Any]
) -> tuple[tuple[str, str], ...]:
    """Remap an image topic and its compressed form; a remapping does not reach subtopics.

    They go where the policy node looks, which the user may have remapped.
    """
    target = _image_topic(camera, common)
    return (topic, target), (f'{topic}/compressed', f'{target}/compressed')


def _info_onto(topic: str, camera: str, common: Mapping[str, Any]) -> tuple[str, str]:
    """Remap a camera_info topic beside the image, where all of ROS looks for it."""
    folder, separator, _ = _image_topic(camera, common).rpartition('/')
    return topic, f'{folder}{separator}camera_info'


def _image_topic(camera: str, common: Mapping[str, Any]) -> str:
    return dict(common['remappings']).get(f'{camera}/image', f'{camera}/image')
