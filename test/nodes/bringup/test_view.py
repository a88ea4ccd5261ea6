# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""What is started to look at the arm: frames of cameras, its model, RViz and its configuration."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.bringup import view
from vla_adapter_ros.nodes.bringup.nodes_to_start import ALICIA
from vla_adapter_ros.nodes.bringup.view import installed, rviz_settings
from vla_adapter_ros.nodes.common.dds_profile import shipped_config
from vla_adapter_ros.robot.contract import contract_path, resolve_contract

FILE = shipped_config('viewers/vla_adapter.rviz')
TF = (('/tf', 'tf'), ('/tf_static', 'tf_static'))
POSE = 'pose: {parent: base_link, xyz: [0.5, 0, 0.4], quaternion: [0, 1, 0, 0]}'


def views(**given: str) -> dict:
    return {process.name: process for process in ALICIA.start(given).views}


def options(process) -> dict[str, str]:
    words = process.arguments
    return dict(zip(words[::2], words[1::2]))


@pytest.fixture
def posed(tmp_path) -> str:
    """A contract with cameras of its own, one of them with a pose."""
    text = contract_path('alicia_d').read_text()
    text = text.replace('third_person: {', f'ceiling: {{{POSE}, ').replace('wrist: {', 'hand: {')
    path = tmp_path / 'posed.yaml'
    path.write_text(text)
    return str(path)


def test_nothing_is_shown_unasked_but_frames_of_cameras_with_a_pose(posed):
    assert views() == {}
    assert list(views(robot=posed)) == ['ceiling_frame']
    assert list(views(sim='true')) == ['third_person_frame', 'wrist_frame']


def test_frames_are_those_of_the_contract(posed):
    process = views(robot=posed)['ceiling_frame']
    assert (process.package, process.executable) == ('tf2_ros', 'static_transform_publisher')
    assert process.remappings == ()
    found = options(process)
    assert (found.pop('--frame-id'), found.pop('--child-frame-id')) == (
        'base_link', 'ceiling_optical_frame',
    )  # fmt: skip
    assert list(found) == ['--x', '--y', '--z', '--qx', '--qy', '--qz', '--qw']
    assert [float(v) for v in found.values()] == [0.5, 0, 0.4, 0, 1, 0, 0]


def test_rviz_comes_with_the_model_of_the_arm():
    found = views(sim='true', rviz='true')
    assert list(found)[2:] == ['model_state_publisher', 'rviz2']
    model, rviz = found['model_state_publisher'], found['rviz2']
    # Apart from the driver's, which the policy node reads.
    assert ('robot_description', 'vla_adapter/robot_description') in model.remappings
    root = ElementTree.fromstring(model.parameters['robot_description'])
    assert {'Joint1', 'Joint6', 'Gripper'} <= {joint.get('name') for joint in root.iter('joint')}
    assert rviz.arguments == ('-d', str(FILE))
    assert {process.namespace for process in found.values()} == {'sim'}
    assert all(process.remappings[-2:] == TF for process in (rviz, found['wrist_frame']))


def test_foxglove_gets_the_model_and_a_bridge_that_only_shows():
    found = views(sim='true', foxglove='true', use_sim_time='true')
    assert list(found)[2:] == ['model_state_publisher', 'foxglove_bridge']
    bridge = found['foxglove_bridge']
    assert (bridge.package, bridge.executable) == ('foxglove_bridge', 'foxglove_bridge')
    assert bridge.parameters == {
        'use_sim_time': True, 'address': '127.0.0.1',
        'capabilities': ['connectionGraph', 'assets'],
    }  # fmt: skip
    assert list(views(rviz='true', foxglove='true'))[1:] == ['foxglove_bridge', 'rviz2']


def test_rerun_shows_what_the_policy_node_sees():
    found = views(rerun='true', image_transport='compressed', wrist_topic='/cam/image/compressed')
    assert list(found) == ['rerun_viewer']
    viewer = found['rerun_viewer']
    assert viewer.parameters == {'robot': 'alicia_d', 'image_transport': 'compressed'}
    assert ('wrist/image/compressed', '/cam/image/compressed') in viewer.remappings
    assert views(sim='true', rerun='true')['rerun_viewer'].namespace == 'sim'


def test_topics_that_the_user_names_reach_model_and_rviz():
    found = views(rviz='true', joint_states_topic='/arm/joints', wrist_topic='/cam/image_raw')
    assert ('joint_states', '/arm/joints') in found['model_state_publisher'].remappings
    assert ('wrist/image', '/cam/image_raw') in found['rviz2'].remappings


def test_simulated_time_is_that_of_the_policy_node():
    found = views(sim='true', rviz='true', use_sim_time='true')
    assert found['rviz2'].parameters == {'use_sim_time': True}
    assert found['model_state_publisher'].parameters['use_sim_time'] is True
    assert 'use_sim_time' not in views(rviz='true')['model_state_publisher'].parameters


def test_model_of_the_driver_is_shown_if_asked_or_if_there_is_no_other():
    for found in (
        views(rviz='true', robot_state_publisher='false'),
        views(rviz='true', robot='generic_jtc'),
    ):
        assert list(found) == ['rviz2']
        assert found['rviz2'].remappings[-1] == (
            'vla_adapter/robot_description', 'robot_description',
        )  # fmt: skip


def test_frames_with_a_prefix_stay_on_the_common_topic(tmp_path, posed):
    path = tmp_path / 'p.yaml'
    path.write_text('/left/vla_adapter: {ros__parameters: {frame_prefix: left/}}')
    found = views(rviz='true', robot=posed, params_file=str(path), namespace='left')
    frame = options(found['ceiling_frame'])
    assert frame['--frame-id'] == 'left/base_link'
    assert frame['--child-frame-id'] == 'left/ceiling_optical_frame'
    assert found['ceiling_frame'].remappings == ()
    assert found['model_state_publisher'].parameters['frame_prefix'] == 'left/'
    settings = yaml.safe_load(Path(found['rviz2'].arguments[1]).read_text())
    manager = settings['Visualization Manager']
    assert manager['Global Options']['Fixed Frame'] == 'left/base_link'
    assert {d['TF Prefix'] for d in manager['Displays'] if 'TF Prefix' in d} == {'left'}


def test_joints_of_the_model_have_the_drivers_names(tmp_path):
    path = tmp_path / 'renamed.yaml'
    text = contract_path('alicia_d').read_text()
    path.write_text(
        text.replace('{name: Joint1,', '{name: Joint1, driver_name: pan,')
        .replace('  name: Gripper\n', '  name: Gripper\n  driver_name: finger\n')
    )  # fmt: skip
    description = views(rviz='true', robot=str(path))['model_state_publisher'].parameters
    root = ElementTree.fromstring(description['robot_description'])
    names = {joint.get('name') for joint in root.iter('joint')}
    assert {'pan', 'finger', 'Joint2'} <= names and not {'Joint1', 'Gripper'} & names
    assert [mimic.get('joint') for mimic in root.iter('mimic')] == ['finger']


def test_a_urdf_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / 'broken.yaml'
    path.write_text(contract_path('alicia_d').read_text().replace('alicia_d.urdf', 'broken.urdf'))
    (tmp_path / 'broken.urdf').write_text('<robot>')
    with pytest.raises(VLAAdapterError, match=r'URDF .*broken\.urdf is not XML'):
        views(rviz='true', robot=str(path))


def test_what_is_not_installed_is_left_out_and_named(monkeypatch):
    def prefix(package):
        if package == 'rviz2':
            raise view.PackageNotFoundError(package)
        return '/opt'

    monkeypatch.setattr(view, 'get_package_prefix', prefix)
    present, missing = installed(views(rviz='true', sim='true').values())
    assert [process.name for process in present] == [
        'third_person_frame', 'wrist_frame', 'model_state_publisher',
    ]  # fmt: skip
    assert missing == 'not installed, so not started: rviz2 (for rviz2)'
    assert installed([]) == ([], '')


def displays(settings) -> list[dict]:
    return settings['Visualization Manager']['Displays']


def test_images_of_rviz_are_those_of_the_robots_cameras(posed):
    shipped = yaml.safe_load(FILE.read_text())
    alicia = resolve_contract('alicia_d')
    assert rviz_settings(shipped, alicia, 'base_link', '') == shipped
    found = rviz_settings(shipped, resolve_contract(posed), 'base', '')
    images = [d for d in displays(found) if d['Class'].endswith('/Image')]
    assert [(d['Name'], d['Topic']['Value']) for d in images] == [
        ('ceiling', 'ceiling/image'), ('hand', 'hand/image'),
    ]  # fmt: skip
    assert len(displays(found)) == len(displays(shipped))
    assert found['Visualization Manager']['Global Options']['Fixed Frame'] == 'base'


def test_topics_of_rviz_are_relative_and_can_be_matched():
    for display in displays(yaml.safe_load(FILE.read_text())):
        topic = display.get('Topic') or display.get('Description Topic')
        assert display['Enabled'] and display['Value']
        if topic:
            assert not topic['Value'].startswith('/')
            # Some cameras are best effort: a reliable display would stay black.
            best_effort = display['Class'].endswith('/Image')
            assert (topic['Reliability Policy'] == 'Best Effort') == best_effort
            # A description is sent once, before RViz is there.
            latched = 'Description Topic' in display
            assert (topic['Durability Policy'] == 'Transient Local') == latched


def test_every_moving_link_of_the_urdf_has_a_shape():
    root = ElementTree.parse(contract_path('alicia_d').parent / 'alicia_d.urdf').getroot()
    moving = {j.find('child').get('link') for j in root.iter('joint') if j.get('type') != 'fixed'}
    shaped = {link.get('name') for link in root.iter('link') if link.find('visual') is not None}
    assert moving <= shaped and 'base_link' in shaped


def test_fingers_of_the_urdf_are_those_of_the_simulated_scene():
    mujoco = pytest.importorskip('mujoco')
    from vla_adapter_ros.simulation.scene import SCENE_FILE

    model = mujoco.MjModel.from_xml_path(str(SCENE_FILE))
    root = ElementTree.parse(contract_path('alicia_d').parent / 'alicia_d.urdf').getroot()
    for name in ('left_finger', 'right_finger'):
        body = model.body(name)
        ids = range(int(body.geomadr[0]), int(body.geomadr[0]) + int(body.geomnum[0]))
        link = next(link for link in root.iter('link') if link.get('name') == name)
        shapes = [
            (visual.find('origin').get('xyz'), visual.find('geometry/box').get('size'))
            for visual in link.iter('visual')
        ]
        numbers = [[np.fromstring(text, sep=' ') for text in shape] for shape in shapes]
        for (place, size), geom in zip(numbers, ids, strict=True):
            np.testing.assert_allclose(place, model.geom_pos[geom])
            np.testing.assert_allclose(0.5 * size, model.geom_size[geom])
