# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The USB camera node publishes camera_info with every image, calibrated or not."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from support.camera_listener import CameraListener
from support.ros_harness import NodeProcess, isolated_environment, wait_until

CALIBRATION = """
image_width: 640
image_height: 480
camera_name: third_person
camera_matrix: {rows: 3, cols: 3, data: [610, 0, 319.5, 0, 610, 239.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, -0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 600, 240, 0, 0, 0, 1, 0]}
"""


def test_camera_info_goes_with_each_image_and_follows_the_parameter(tmp_path):
    file = tmp_path / 'ost.yaml'
    file.write_text(CALIBRATION)
    environment = {**isolated_environment(), 'ROS_HOME': str(tmp_path)}
    listener = CameraListener(environment, 'third_person')
    size = {'width': 320, 'height': 240}
    node = NodeProcess('usb_camera', {'device': 'generated', **size}, environment)
    try:
        wait_until(lambda: len(listener.infos) > 5, 30, 'camera_info')
        first = listener.infos[-1]
        assert (first.width, first.height) == (320, 240)
        assert list(first.k) == [0.0] * 9 and not first.d
        seen = len(listener.images)
        wait_until(lambda: len(listener.images) > seen + 1, 10, 'an image')
        assert listener.infos[3].header in [m.header for m in listener.images]
        assert first.header.frame_id == 'third_person_optical_frame'

        assert listener.set_parameter('usb_camera', 'camera_info_url', f'file://{file}')[0]
        wait_until(lambda: listener.infos[-1].k[0] > 0.0, 20, 'calibrated camera_info')
        info = listener.infos[-1]
        assert list(info.k) == pytest.approx([305, 0, 159.5, 0, 305, 119.5, 0, 0, 1])
        assert list(info.d) == [0.1, -0.2, 0.001, -0.002, 0]
        assert info.p[0] == 300 and info.distortion_model == 'plumb_bob'
        wait_until(lambda: 'scaled' in listener.values.get('calibration', ''), 10, 'diagnostics')

        assert listener.set_parameter('usb_camera', 'camera_info_url', '/none.yaml')[0]
        wait_until(lambda: listener.infos[-1].k[0] == 0.0, 20, 'uncalibrated camera_info')
        seen = len(listener.images)
        wait_until(lambda: len(listener.images) > seen + 5, 20, 'images without calibration')
        assert node.log.count('camera_info: not calibrated: /none.yaml does not exist') == 1
    finally:
        listener.close()
        node.stop()
