# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Actions of bags: steady whatever the cameras do, of one clock, and with their source told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.bag_samples import BagSpec, write_bag
from vla_adapter_ros.data.bags.contents import BagOptions
from vla_adapter_ros.data.bags.episode import BagEpisode
from vla_adapter_ros.data.bags.source import BagSource
from vla_adapter_ros.data.convert import main
from vla_adapter_ros.errors import DatasetError


@pytest.mark.parametrize('camera_rate', [14.7, 29.3])
@pytest.mark.parametrize('fps', [10, 20, 30])
def test_labels_of_a_steady_motion_are_steady_whatever_the_cameras(tmp_path, camera_rate, fps):
    spec = BagSpec(duration=4.0, camera_rate=camera_rate)
    path = write_bag(tmp_path / 'a', spec, size=(8, 6))
    episode = BagEpisode(path, options=BagOptions(fps=fps))
    # From the first command on; joint 6 moves at 0.3 rad/s.
    speed = np.diff(episode.actions[fps // 2 : -fps // 4, 5]) * fps
    np.testing.assert_allclose(speed, 0.3, rtol=1e-3)
    report = BagEpisode(path, options=BagOptions(fps=fps, actions='next_state')).report
    assert report['label_speed'] == report['true_speed'] == pytest.approx(0.3, rel=0.05)
    assert report['speed_deviation'] == 0.0


def test_label_speeds_that_are_not_the_arm_s_are_told(tmp_path):
    # The commands begin 0.25 rad from the arm.
    report = BagEpisode(write_bag(tmp_path / 'a', size=(8, 6))).report
    assert report['label_speed'] > report['true_speed'] * 1.1
    assert report['speed_deviation'] > 0.1


@pytest.mark.parametrize('offset', [0.3, -0.3, 1.0])
def test_two_clocks_in_a_recording_are_refused(tmp_path, offset):
    path = write_bag(tmp_path / 'a', BagSpec(camera_offset=offset), size=(8, 6))
    side = 'ahead of' if offset > 0 else 'behind'
    with pytest.raises(DatasetError, match=rf'third_person/image: .* {abs(offset):.2f} s {side} '):
        BagEpisode(path)


def test_a_camera_s_own_latency_is_no_second_clock(tmp_path):
    BagEpisode(write_bag(tmp_path / 'a', BagSpec(camera_offset=-0.06), size=(8, 6)))


def test_the_source_of_gripper_actions_is_told_and_measured_ones_can_be_closed(tmp_path, capsys):
    commanded = write_bag(tmp_path / 'a', size=(8, 6))
    report = BagEpisode(commanded).report
    assert report['action_sources'] == {'arm': 'commands', 'gripper': 'commands'}
    assert not report['warnings']
    path = write_bag(tmp_path / 'bags/b', BagSpec(gripper=False))
    episode = BagEpisode(path)
    assert episode.report['action_sources'] == {'arm': 'commands', 'gripper': 'measured'}
    np.testing.assert_allclose(episode.actions[:, 6], 0.5, atol=1e-9)
    assert main([str(path), str(tmp_path / 'set'), '--quiet']) == 0
    assert 'warning: b: the arm was commanded, but no command of the' in capsys.readouterr().out
    for below, expected in ((0.6, 0.0), (0.4, 0.5)):
        options = BagOptions(gripper='threshold', gripper_closed_below=below)
        closed = BagEpisode(path, options=options)
        np.testing.assert_allclose(closed.actions[:, 6], expected, atol=1e-9)
        np.testing.assert_array_equal(closed.actions[:, :6], episode.actions[:, :6])
        assert not closed.report['warnings']
        # What the policy sees of the gripper stays what was measured.
        np.testing.assert_array_equal(closed.state, episode.state)


def test_trajectories_stamped_by_another_clock_are_told(tmp_path):
    def warnings(offset):
        spec = BagSpec(command_offset=offset)
        return BagEpisode(write_bag(tmp_path / f'{offset}', spec, size=(8, 6))).report['warnings']

    # A planner stamps when it sends, or a little ahead, so that all joints start together.
    assert warnings(0.0) == warnings(0.2) == []
    (found,) = warnings(1.0)
    assert '/Alicia_controller/joint_trajectory: stamped 1.00 s after the arrival' in found
    # What is over when it arrives moves nothing, but the arm moved.
    with pytest.raises(DatasetError, match='from its commands in 100% of the frames'):
        warnings(-0.6)


def test_flicker_of_a_servo_count_is_no_motion(tmp_path, monkeypatch):
    count = 2 * np.pi / 4096

    def still(seconds):
        return np.append(np.full(6, count * (round(seconds * 50) % 2)), 0.5)

    monkeypatch.setattr('support.bag_samples.joints_at', still)
    path = write_bag(tmp_path / 'a', BagSpec(commands=False, duration=1.0), size=(8, 6))
    drop = BagOptions(no_op_filter='all', fps=30)
    assert len(BagEpisode(path, options=drop)) == 1
    assert len(BagEpisode(path, options=replace(drop, no_op_tolerance=1e-3))) > 1


def test_what_options_make_of_a_bag_is_in_the_fingerprint_of_the_cache(tmp_path):
    write_bag(tmp_path / 'a', size=(8, 6))
    options = [
        None, BagOptions(actions='next_state'), BagOptions(fps=20), BagOptions(instruction='x'),
        BagOptions(no_op_filter='all', no_op_tolerance=0.05),
        BagOptions(topics={'wrist': '/third_person/image'}),
    ]  # fmt: skip
    found = [BagSource(tmp_path / 'a', options=chosen).fingerprint() for chosen in options]
    assert len(set(found)) == len(options)
    assert BagSource(tmp_path / 'a').fingerprint() == found[0]
