# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Calibration files of camera_info_manager: found, read, scaled, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from vla_adapter_ros.cameras.calibration import (
    CalibrationError,
    calibration_path,
    load_calibration,
    read_calibration,
)

# As `cameracalibrator` writes it; 1e-05 is what yaml-cpp makes of 0.00001.
OST = """
image_width: 640
image_height: 480
camera_name: third_person
camera_matrix:
  rows: 3
  cols: 3
  data: [610.0, 0, 322.5, 0, 612.0, 241.5, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 1e-05, -0.002, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [600, 0, 320.5, 0, 0, 605, 240.5, 0, 0, 0, 1, 0]
"""


def share_folder(package):
    return {'mine': '/share/mine'}[package]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'third_person.yaml'
    path.write_text(OST)
    return path


def load(url, width=640, height=480, home='/nowhere'):
    environment = {'ROS_HOME': str(home)}
    return load_calibration(str(url), 'third_person', width, height, share_folder, environment)


def test_file_of_the_calibrator_is_read(file):
    found = load(file)
    assert (found.source, found.doubtful) == (str(file), False)
    intrinsics = found.intrinsics
    assert intrinsics.camera_matrix == [610, 0, 322.5, 0, 612, 241.5, 0, 0, 1]
    assert intrinsics.distortion == (0.1, -0.2, 1e-5, -0.002, 0)
    assert intrinsics.projection_matrix[:7] == [600, 0, 320.5, 0, 0, 605, 240.5]


@pytest.mark.parametrize(
    ('url', 'path'),
    [
        ('', '/home/me/.ros/camera_info/wrist.yaml'),
        ('file:///etc/${NAME}.yaml', '/etc/wrist.yaml'),
        ('file://${ROS_HOME}/ost.yaml', '/home/me/.ros/ost.yaml'),
        ('package://mine/calibration/ost.yaml', '/share/mine/calibration/ost.yaml'),
        ('/etc/ost.yaml', '/etc/ost.yaml'),
        ('ost.yaml', 'ost.yaml'),
    ],
)
def test_urls_mean_what_they_mean_to_camera_info_manager(url, path):
    found = calibration_path(url, 'wrist', share_folder, {'HOME': '/home/me'})
    assert str(found) == path


@pytest.mark.parametrize(
    'url', ['http://host/a.yaml', 'file://a.yaml', 'flash:///', 'package://no/a']
)
def test_other_urls_are_refused_by_name(url):
    with pytest.raises(CalibrationError, match=f'^{url}: '):
        calibration_path(url, 'wrist', share_folder, {'HOME': '/home/me'})


def test_scaled_intrinsics_project_to_the_same_place_of_the_picture(file):
    # In fractions of the picture, from edge to edge.
    point = np.array([0.1, -0.05, 0.7])
    full, half = load(file).intrinsics, load(file, 320, 240)
    assert half.source.endswith(', scaled from 640×480') and not half.doubtful

    def place(intrinsics):
        matrices = (
            np.array(intrinsics.camera_matrix).reshape(3, 3),
            np.array(intrinsics.projection_matrix).reshape(3, 4)[:, :3],
        )
        pixels = np.array([m @ point / point[2] for m in matrices])[:, :2]
        return (pixels + 0.5) / [intrinsics.width, intrinsics.height]

    np.testing.assert_allclose(place(half.intrinsics), place(full), atol=1e-12)


def test_another_shape_is_refused_and_the_camera_counts_as_not_calibrated(file):
    found = load(file, 1280, 720)
    assert found.doubtful
    assert found.source == (
        f'not calibrated: {file}: it is for 640×480, the camera gives 1280×720, which has another '
        'aspect ratio'
    )
    assert found.intrinsics.camera_matrix == [0.0] * 9
    assert (found.intrinsics.width, found.intrinsics.height) == (1280, 720)


def test_missing_file_is_doubtful_only_if_it_was_asked_for(tmp_path):
    asked, default = load(tmp_path / 'none.yaml'), load('', home=tmp_path)
    assert asked.source == f'not calibrated: {tmp_path}/none.yaml does not exist'
    assert asked.doubtful and not default.doubtful
    assert default.source.endswith('camera_info/third_person.yaml')
    assert default.intrinsics.camera_matrix == [0.0] * 9


def test_file_in_the_default_place_is_found(file):
    folder = file.parent / 'camera_info'
    folder.mkdir()
    file.rename(folder / file.name)
    assert load('', home=file.parent).intrinsics.fx == 610


def test_file_of_another_camera_is_used_with_a_warning(file):
    file.write_text(OST.replace('camera_name: third_person', 'camera_name: narrow_stereo'))
    found = load(file)
    assert found.doubtful and found.intrinsics.fx == 610
    assert found.source.endswith("made for camera 'narrow_stereo', not 'third_person'")


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda d: d.pop('image_width'), 'image_width: got None, expected a number of pixels'),
        (lambda d: d.update(image_height=0), 'image_height: got 0'),
        (lambda d: d.pop('camera_matrix'), 'camera_matrix.data: got None, expected 9 numbers'),
        (lambda d: d['camera_matrix'].update(data=[1.0] * 8), 'expected 9 numbers'),
        (lambda d: d['camera_matrix'].update(data=[0.0] * 9), 'expected focal lengths above 0'),
        (lambda d: d['camera_matrix'].update(data='123456789'), 'expected 9 numbers'),
        (lambda d: d['projection_matrix'].update(data=[float('nan')] * 12), 'expected 12 numbers'),
        (lambda d: d.update(distortion_model='fisheye'), "got 'fisheye', expected one of: plumb"),
        (lambda d: d.update(distortion_model='equidistant'), 'expected 4 numbers'),
        (lambda d: d['distortion_coefficients'].update(data=['a'] * 5), 'expected 0 or 4 or 5'),
    ],
)
def test_mistakes_are_refused_by_file_key_and_what_is_allowed(file, change, said):
    data = yaml.safe_load(OST)
    change(data)
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(CalibrationError) as error:
        read_calibration(file)
    assert str(error.value).startswith(f'{file}: ') and said in str(error.value)


# A size that refers to itself, and one that is 10^7 words long when it is printed.
SELF = 'image_width: &a [*a]'
TENFOLD = [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 8)]
HUGE = '\n'.join(['a0: &a0 x', *TENFOLD, 'image_width: *a7'])


@pytest.mark.parametrize('text', ['', 'a: [1', '\x00', '- 1', SELF, HUGE])
def test_what_is_no_calibration_is_refused_in_one_line(file, text):
    file.write_text(text)
    with pytest.raises(CalibrationError) as error:
        read_calibration(file)
    said = str(error.value)
    assert str(file) in said and '\n' not in said and len(said) < len(str(file)) + 100
