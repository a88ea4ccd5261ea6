# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Choosing a RealSense camera, its profile and its controls; what goes wrong is one sentence."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vla_adapter_ros.cameras import realsense
from vla_adapter_ros.cameras.realsense import (
    Profile,
    RealSenseDevice,
    choose_camera,
    choose_profile,
    explain,
    load_sdk,
    set_option,
    to_millimetres,
)
from vla_adapter_ros.errors import CameraError

ONE = RealSenseDevice('D405', '130322273894', '2-1', '3.2')
OTHER = RealSenseDevice('D405', '031222071149', '2-2', '3.2')


def test_only_camera_needs_no_serial_number():
    assert choose_camera([ONE], '') is ONE


def test_serial_number_chooses():
    assert choose_camera([ONE, OTHER], OTHER.serial) is OTHER


def test_serial_number_that_lost_its_leading_zero_still_fits():
    assert choose_camera([ONE, OTHER], '31222071149') is OTHER


def test_several_cameras_are_listed():
    with pytest.raises(CameraError, match='2 RealSense cameras are connected, set `serial`') as e:
        choose_camera([ONE, OTHER], '')
    assert ONE.serial in str(e.value)
    assert OTHER.serial in str(e.value)


def test_wrong_serial_number_lists_what_is_connected():
    with pytest.raises(CameraError, match='RealSense 99 is not connected; connected: D405 1303'):
        choose_camera([ONE], '99')


def test_two_cameras_with_one_serial_number_are_named_by_port():
    twin = RealSenseDevice(ONE.name, ONE.serial, '2-4', '3.2')
    with pytest.raises(CameraError, match=r'2 cameras have .* \(ports 2-1 and 2-4\).* unplug one'):
        choose_camera([ONE, twin], ONE.serial)
    with pytest.raises(CameraError, match='unplug one'):
        choose_camera([ONE, twin], '')


def test_usb2_port_is_refused_unless_allowed():
    slow = RealSenseDevice('D405', '1', '1-1', '2.1')
    with pytest.raises(CameraError, match=r'is on a USB 2\.1 link.*USB 3 port'):
        choose_camera([slow], '')
    assert choose_camera([slow], '', allow_usb2=True) is slow


@pytest.fixture
def usb(tmp_path):
    def plug(vendor, product):
        folder = tmp_path / '2-1'
        folder.mkdir()
        (folder / 'idVendor').write_text(vendor + '\n')
        (folder / 'product').write_text(product + '\n')

    plug.root = tmp_path
    return plug


def test_camera_seen_by_usb_but_not_by_the_sdk_points_to_the_udev_rules(usb):
    usb('8086', 'Intel(R) RealSense(TM) Depth Camera 405')
    with pytest.raises(CameraError, match=r'Camera 405 is plugged in \(USB 2-1\).*udev rules'):
        choose_camera([], '', usb_devices=usb.root)


def test_other_intel_device_is_no_camera(usb):
    usb('8086', 'Bluetooth adapter')
    with pytest.raises(CameraError, match='no RealSense camera is connected'):
        choose_camera([], '', usb_devices=usb.root)


def test_profile_list_is_sorted_and_without_repeats():
    offered = [Profile(848, 480, 30), Profile(640, 480, 30), Profile(640, 480, 30)]
    assert choose_profile(offered, Profile(640, 480, 30), 'colour', 'D405') == offered[1]
    with pytest.raises(CameraError) as error:
        choose_profile(offered, Profile(640, 480, 25), 'colour', 'D405')
    assert str(error.value) == (
        'D405 offers no colour stream of 640×480@25; it offers: 640×480@30, 848×480@30'
    )


@pytest.mark.parametrize(
    ('text', 'way_out'),
    [
        ('failed to open usb interface: 0, error: RS2_USB_STATUS_ACCESS', 'udev rules'),
        ('xioctl(VIDIOC_S_FMT) failed, errno=16 Last Error: Device or resource busy', 'close it'),
        ('failed to set power state', 'close it'),
        ('No device connected', 'check the cable'),
        ('Something new\nat line 3', 'the RealSense SDK says: Something new'),
    ],
)
def test_errors_of_the_sdk_say_what_to_do(text, way_out):
    message = explain(RuntimeError(text))
    assert way_out in message
    assert '\n' not in message


class FakeSensor:
    def __init__(self, low, high, supported=True):
        self.range = SimpleNamespace(min=low, max=high, step=1.0)
        self.supported = supported
        self.values = {}

    def supports(self, kind):
        return self.supported

    def get_option_range(self, kind):
        return self.range

    def set_option(self, kind, value):
        self.values[kind] = value


def test_option_is_set_where_it_exists():
    lacks, has = FakeSensor(0, 1, supported=False), FakeSensor(1, 165_000)
    assert set_option([lacks, has], 'exposure', 'EXPOSURE', 16_000) == []
    assert has.values == {'EXPOSURE': 16_000}
    assert lacks.values == {}


def test_option_out_of_range_names_the_range():
    with pytest.raises(CameraError, match=r'exposure: got 0, this camera allows 1 … 165000'):
        set_option([FakeSensor(1, 165_000)], 'exposure', 'EXPOSURE', 0)


def test_option_no_sensor_has_is_a_warning():
    assert set_option([FakeSensor(0, 1, supported=False)], 'gain', 'GAIN', 1) == [
        'the camera has no control gain'
    ]


def test_depth_is_rounded_to_millimetres_and_saturates():
    raw = np.array([[0, 2500, 2504, 2506, 65535]], np.uint16)
    assert to_millimetres(raw, 0.0001).tolist() == [[0, 250, 250, 251, 6554]]
    assert to_millimetres(np.array([[300]], np.uint16), 0.001).tolist() == [[300]]
    assert to_millimetres(np.array([[65535]], np.uint16), 0.01).tolist() == [[65535]]


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyrealsense2', None)
    with pytest.raises(CameraError, match='pip install pyrealsense2'):
        load_sdk()


def test_missing_libusb_says_how_to_install_it(monkeypatch):
    def refuse(name):
        if name == 'pyrealsense2':
            raise ImportError('libusb-1.0.so.0: cannot open shared object file')
        raise ImportError(name)

    monkeypatch.setattr(realsense.importlib, 'import_module', refuse)
    with pytest.raises(CameraError, match=r'apt install libusb-1\.0-0'):
        load_sdk()
