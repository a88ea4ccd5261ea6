# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Modes and controls of a V4L2 camera, and finding cameras by stable paths."""

from __future__ import annotations

import ctypes
import os

import pytest

from support.camera_fakes import FakeVideoDriver
from vla_adapter_ros.cameras import v4l2
from vla_adapter_ros.cameras.usb import UsbSettings, check_mode
from vla_adapter_ros.cameras.v4l2 import choose_device, list_devices, opened
from vla_adapter_ros.errors import CameraError

BY_ID = 'dev/v4l/by-id/usb-046d_C920e_{}-video-index0'
BY_PATH = 'dev/v4l/by-path/pci-0000:00:14.0-usb-0:{}:1.0-video-index0'


@pytest.mark.parametrize(
    ('request_code', 'structure'),
    [
        (v4l2.QUERYCAP, v4l2.Capability), (v4l2.ENUM_FMT, v4l2.FormatDescription),
        (v4l2.ENUM_FRAMESIZES, v4l2.FrameSize), (v4l2.ENUM_FRAMEINTERVALS, v4l2.FrameInterval),
        (v4l2.QUERYCTRL, v4l2.ControlQuery), (v4l2.S_CTRL, v4l2.Control),
    ],
)
def test_structures_have_the_size_the_kernel_expects(request_code, structure):
    assert request_code >> 16 & 0x3FFF == ctypes.sizeof(structure)
    assert request_code >> 8 & 0xFF == ord('V')


def test_modes_are_listed_per_format_size_and_rate():
    modes = v4l2.query_modes(0, FakeVideoDriver())
    assert v4l2.Mode('MJPG', 640, 480, 15.0) in modes
    assert v4l2.Mode('YUYV', 1280, 720, 10.0) in modes
    assert len(modes) == 5


def test_offered_mode_is_accepted():
    modes = v4l2.query_modes(0, FakeVideoDriver())
    check_mode(modes, UsbSettings(width=1280, height=720), 'cam')


def test_mode_not_offered_is_answered_with_the_cameras_list():
    modes = v4l2.query_modes(0, FakeVideoDriver())
    with pytest.raises(CameraError) as error:
        check_mode(modes, UsbSettings(width=800, height=600), 'HD Pro Webcam')
    assert str(error.value) == (
        'HD Pro Webcam does not offer 800×600@30 MJPG; it offers:'
        ' 640×480@30 MJPG, 640×480@15 MJPG, 1280×720@30 MJPG'
    )


def test_rate_not_offered_is_refused():
    modes = v4l2.query_modes(0, FakeVideoDriver())
    settings = UsbSettings(width=1280, height=720, pixel_format='YUYV')
    with pytest.raises(CameraError, match='1280×720@10 YUYV'):
        check_mode(modes, settings, 'cam')


def test_control_is_set():
    driver = FakeVideoDriver()
    assert v4l2.set_control(0, 'focus', 25, driver) == ''
    assert driver.values == {'focus': 25}


def test_control_out_of_range_names_the_range():
    with pytest.raises(CameraError, match=r'exposure: got 5000, this camera allows 3 … 2047'):
        v4l2.set_control(0, 'exposure', 5000, FakeVideoDriver())


def test_control_the_camera_lacks_is_a_warning():
    assert v4l2.set_control(0, 'white_balance', 4500, FakeVideoDriver()) == (
        'the camera has no control white_balance'
    )


def test_metadata_node_is_refused():
    with pytest.raises(CameraError, match='metadata node of HD Pro Webcam'):
        v4l2.query_card(0, FakeVideoDriver(capabilities=0x00A00000))


def test_file_that_is_no_camera_is_refused(tmp_path):
    path = tmp_path / 'file'
    path.write_text('no camera')
    with opened(str(path)) as descriptor, pytest.raises(CameraError, match='not a Video4Linux2'):
        v4l2.query_card(descriptor)


def test_automatic_functions_are_off_before_values_are_set():
    names = list(UsbSettings(focus=10).controls())
    assert names.index('auto_focus') < names.index('focus')
    assert names.index('auto_exposure') < names.index('exposure')
    assert names.index('auto_white_balance') < names.index('white_balance')


def test_automatic_functions_leave_their_values_alone():
    controls = UsbSettings(auto_focus=True, auto_exposure=True).controls()
    assert controls['auto_focus'] == 1
    assert controls['auto_exposure'] == 3
    assert 'focus' not in controls
    assert 'exposure' not in controls


def test_denied_device_names_the_group(tmp_path):
    def deny(path, flags):
        raise PermissionError(13, 'Permission denied')

    with pytest.raises(CameraError, match=r'usermod -aG video \$USER'):
        with opened('/dev/video0', deny):
            pass


def test_descriptor_is_closed(tmp_path):
    path = tmp_path / 'file'
    path.touch()
    with opened(str(path)) as descriptor:
        os.fstat(descriptor)
    with pytest.raises(OSError):
        os.fstat(descriptor)


@pytest.fixture
def machine(tmp_path):
    """A file system with udev links; call it to connect a camera."""

    def connect(number, serial, port, name='C920e'):
        node = tmp_path / f'dev/video{number}'
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        model = tmp_path / f'sys/class/video4linux/video{number}/name'
        model.parent.mkdir(parents=True)
        model.write_text(name + '\n')
        for link in (BY_ID.format(serial), BY_PATH.format(port)):
            path = tmp_path / link
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # udev, too, lets the later camera win
            path.symlink_to(node)

    connect.root = tmp_path
    return connect


def test_only_camera_is_chosen_by_its_stable_name(machine):
    machine(0, 'A1', 3)
    assert choose_device('', machine.root) == '/' + BY_ID.format('A1')


def test_no_camera_is_one_sentence(machine):
    with pytest.raises(CameraError, match='no camera is connected; plug one in'):
        choose_device('', machine.root)


def test_several_cameras_are_listed(machine):
    machine(0, 'A1', 3)
    machine(2, 'B2', 4)
    with pytest.raises(CameraError, match='2 cameras are connected, set `device`') as error:
        choose_device('', machine.root)
    assert '/' + BY_ID.format('A1') in str(error.value)
    assert '/' + BY_ID.format('B2') in str(error.value)


def test_missing_device_lists_what_is_connected(machine):
    machine(0, 'A1', 3)
    with pytest.raises(CameraError, match='/dev/video9 is not connected; connected: /dev/v4l'):
        choose_device('/dev/video9', machine.root)


def test_two_cameras_with_one_serial_are_told_apart_by_port(machine):
    machine(0, 'A1', 3)
    machine(2, 'A1', 4)
    with pytest.raises(CameraError, match='names 2 cameras with one serial number') as error:
        choose_device('/' + BY_ID.format('A1'), machine.root)
    assert '/' + BY_PATH.format(3) in str(error.value)
    assert '/' + BY_PATH.format(4) in str(error.value)
    assert choose_device('/' + BY_PATH.format(3), machine.root) == '/' + BY_PATH.format(3)


def test_other_model_without_a_name_is_no_twin(machine):
    machine(0, 'A1', 3)
    machine(2, 'B2', 4, name='other')
    (machine.root / BY_ID.format('B2')).unlink()
    wanted = '/' + BY_ID.format('A1')
    assert choose_device(wanted, machine.root) == wanted
    assert len(list_devices(machine.root)) == 2
