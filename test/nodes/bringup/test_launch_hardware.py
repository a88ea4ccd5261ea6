# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Cameras and the vendor's driver by launch argument: what is started, and what is refused."""

from __future__ import annotations

import pytest

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup.launch_model import IncludedLaunch
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA, nodes_to_start
from vla_adapter_ros.robot.contract import contract_path

BY_ID = '/dev/v4l/by-id/usb-046d_HD_Pro_Webcam-video-index0'


def included_launches(arguments) -> list[IncludedLaunch]:
    return ALICIA.start(arguments).included


def node(name, **arguments):
    return {process.name: process for process in nodes_to_start(arguments)}[name]


def test_nothing_but_the_policy_is_started_by_default():
    assert [process.name for process in nodes_to_start({})] == ['vla_adapter']
    assert included_launches({}) == []


def test_builtin_cameras_have_the_contracts_size_and_names():
    names = [p.name for p in nodes_to_start({'camera_driver': 'builtin', 'usb_driver': 'builtin'})]
    assert names == ['third_person_camera', 'wrist_camera', 'vla_adapter']
    wrist = node('wrist_camera', camera_driver='builtin', serial='130322273894')
    assert (wrist.package, wrist.executable) == ('vla_adapter_ros', 'realsense_camera')
    wanted = {'camera': 'wrist', 'serial': '130322273894', 'width': 640, 'height': 480}
    assert wanted.items() <= wrist.parameters.items()
    usb = node('third_person_camera', usb_driver='builtin', usb_device=BY_ID)
    assert usb.parameters['device'] == BY_ID
    assert usb.parameters['camera'] == 'third_person'


def test_exposure_and_the_like_come_from_the_parameter_file(tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text(
        'third_person_camera: {ros__parameters: {exposure: 300, device: /dev/video3, width: 99}}\n'
        'wrist_camera: {ros__parameters: {depth: true}}\n'
    )
    arguments = {'usb_driver': 'builtin', 'camera_driver': 'builtin', 'params_file': str(path)}
    usb = node('third_person_camera', **arguments).parameters
    assert (usb['exposure'], usb['device']) == (300, '/dev/video3')
    assert usb['width'] == 640  # the contract's: the policy takes no other
    assert node('wrist_camera', **arguments).parameters['depth'] is True
    named = node('third_person_camera', **arguments, usb_device=BY_ID)
    assert named.parameters['device'] == BY_ID
    # Other packages have other parameter names.
    other = node('third_person_camera', **{**arguments, 'usb_driver': 'usb_cam'}, usb_device=BY_ID)
    assert 'exposure' not in other.parameters


def test_shipped_parameters_are_all_that_the_nodes_know_with_their_defaults():
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from dataclasses import fields

    from vla_adapter_ros.nodes.cameras.realsense_camera import RealSenseParameters
    from vla_adapter_ros.nodes.cameras.usb_camera import UsbCameraParameters

    for name, arguments, kind in (
        ('wrist_camera', {'camera_driver': 'builtin'}, RealSenseParameters),
        ('third_person_camera', {'usb_driver': 'builtin'}, UsbCameraParameters),
    ):
        # The shipped file shows every parameter with its default; launch adds the contract's.
        defaults = {spec.name: spec.default for spec in fields(kind)}
        defaults['camera'] = name.removesuffix('_camera')
        assert node(name, **arguments).parameters == defaults


def test_wrapper_publishes_where_the_policy_looks_in_all_its_versions():
    wrist = node('wrist_camera', camera_driver='realsense2_camera', serial='031222071149')
    assert (wrist.package, wrist.executable) == ('realsense2_camera', 'realsense2_camera_node')
    remaps = dict(wrist.remappings)
    assert remaps['~/color/image_raw'] == 'wrist/image'
    assert remaps['~/color/image_rect_raw'] == 'wrist/image'
    assert remaps['~/color/image_raw/compressed'] == 'wrist/image/compressed'
    assert remaps['~/color/camera_info'] == 'wrist/camera_info'
    assert wrist.parameters['depth_module.color_profile'] == '640x480x30'
    assert wrist.parameters['serial_no'] == '_031222071149'
    assert not any(name.startswith('rgb_camera') for name in wrist.parameters)


def test_camera_follows_a_remapped_policy():
    arguments = {'camera_driver': 'realsense2_camera', 'wrist_topic': '/arm_1/eye'}
    wrapper = dict(node('wrist_camera', **arguments).remappings)
    assert wrapper['~/color/image_raw'] == '/arm_1/eye'
    assert wrapper['~/color/camera_info'] == '/arm_1/camera_info'
    builtin = node('wrist_camera', camera_driver='builtin', wrist_topic='/arm_1/eye')
    assert ('wrist/image', '/arm_1/eye') in builtin.remappings


@pytest.mark.parametrize(
    ('driver', 'package', 'parameter'),
    [('usb_cam', 'usb_cam', 'framerate'), ('v4l2_camera', 'v4l2_camera', 'image_size')],
)
def test_other_usb_drivers(driver, package, parameter):
    camera = node('third_person_camera', usb_driver=driver, usb_device=BY_ID)
    assert camera.package == package
    assert camera.parameters['video_device'] == BY_ID
    assert parameter in camera.parameters
    assert dict(camera.remappings)['image_raw'] == 'third_person/image'
    assert dict(camera.remappings)['camera_info'] == 'third_person/camera_info'


def test_framerate_of_usb_cam_is_a_float():
    camera = node('third_person_camera', usb_driver='usb_cam', usb_device=BY_ID)
    assert isinstance(camera.parameters['framerate'], float)


def test_other_usb_drivers_need_a_device():
    with pytest.raises(VLAAdapterError, match='usb_driver:=usb_cam needs usb_device'):
        nodes_to_start({'usb_driver': 'usb_cam'})


def test_simulation_and_hardware_exclude_each_other():
    for argument in ('camera_driver', 'usb_driver'):
        with pytest.raises(VLAAdapterError, match='sim:=true brings its own arm and cameras'):
            nodes_to_start({'sim': 'true', argument: 'builtin'})
    with pytest.raises(VLAAdapterError, match='sim:=true brings its own'):
        included_launches({'sim': 'true', 'driver': 'ros2_control'})


@pytest.mark.parametrize(
    ('mounts', 'arguments', 'words'),
    [
        (('fixed', 'fixed'), {'camera_driver': 'builtin'},
         'has no cameras with mount: wrist; it has: third_person, eye; choose one with camera_n'),
        (('fixed', 'fixed'), {'usb_driver': 'builtin'},
         'has 2 cameras with mount: fixed; it has: third_person, eye; choose one with usb_name:='),
        (('fixed', 'wrist'), {'usb_driver': 'builtin', 'usb_name': 'nose'},
         'has no camera nose; it has: third_person, eye'),
    ],
)  # fmt: skip
def test_camera_that_cannot_be_told_is_refused(tmp_path, mounts, arguments, words):
    robot = contract_with_eye(tmp_path, mounts)
    with pytest.raises(VLAAdapterError, match=words):
        nodes_to_start({**arguments, 'robot': robot})


def test_camera_is_found_by_its_mount_or_its_given_name(tmp_path):
    robot = contract_with_eye(tmp_path, ('fixed', 'wrist'))
    assert node('eye_camera', camera_driver='builtin', robot=robot).parameters['camera'] == 'eye'
    robot = contract_with_eye(tmp_path, ('fixed', 'fixed'))
    named = {'camera_driver': 'builtin', 'camera_name': 'eye', 'robot': robot}
    assert node('eye_camera', **named).executable == 'realsense_camera'
    named = {'usb_driver': 'usb_cam', 'usb_device': BY_ID, 'usb_name': 'eye', 'robot': robot}
    assert dict(node('eye_camera', **named).remappings)['image_raw'] == 'eye/image'


def contract_with_eye(folder, mounts) -> str:
    text = contract_path('alicia_d').read_text().replace('wrist: {', 'eye: {')
    for before, mount in zip(('mount: fixed', 'mount: wrist'), mounts, strict=True):
        name = 'third_person: {' if before == 'mount: fixed' else 'eye: {'
        start = text.index(name)
        text = text[:start] + text[start:].replace(before, f'mount: {mount}', 1)
    path = folder / 'robot.yaml'
    path.write_text(text)
    return str(path)


def test_vendor_launch_gets_port_speed_and_gripper():
    launch = included_launches(
        {'driver': 'ros2_control', 'port': '/dev/serial/by-id/a', 'speed_deg_s': '60'}
    )[0]
    assert (launch.package, launch.file) == ('alicia_d_moveit', 'real_robot.launch.py')
    assert launch.arguments == {
        'port': '/dev/serial/by-id/a', 'gripper_type': '50mm', 'speed_deg_s': '60.0'
    }
    standalone = included_launches({'driver': 'standalone', 'robot': 'alicia_d_standalone'})[0]
    assert standalone.package == 'alicia_d_driver'
    assert standalone.arguments['default_speed_deg_s'] == '20.0'


@pytest.mark.parametrize(
    ('arguments', 'speed'),
    [
        ({}, None),
        ({'speed_deg_s': '60'}, 60.0),
        ({'driver': 'ros2_control'}, 20.0),
        ({'driver': 'ros2_control', 'speed_deg_s': '45'}, 45.0),
    ],
)
def test_motion_is_planned_for_the_speed_of_the_driver(arguments, speed):
    assert node('vla_adapter', **arguments).parameters.get('driver_speed_deg_s') in (speed, 0.0)
    if speed is not None:
        assert node('vla_adapter', **arguments).parameters['driver_speed_deg_s'] == speed


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'driver': 'standalone'}, 'use robot:=alicia_d_standalone'),
        ({'driver': 'ros2_control', 'robot': 'alicia_d_standalone'}, 'use robot:=alicia_d'),
        ({'driver': 'ros2_control', 'enable': 'true'}, 'may drive to its zero pose'),
        ({'driver': 'ros2_control', 'gripper_type': '100mm'}, 'the driver has a 100mm gripper'),
        ({'driver': 'ros2_control', 'namespace': 'left'}, 'start it yourself in namespace left'),
        ({'driver': 'ros2_control', 'speed_deg_s': '1000'}, 'expected 4 … 440'),
        ({'driver': 'ros2_control', 'speed_deg_s': 'fast'}, "got 'fast'"),
    ],
)
def test_trap_is_refused_before_anything_starts(arguments, words):
    with pytest.raises(VLAAdapterError, match=words):
        included_launches(arguments)
