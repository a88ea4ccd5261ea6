# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The robot contract: what is refused and how, what may differ, and gripper units both ways."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import vla_adapter_ros
from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.robot.contract import (
    RobotContract,
    contract_path,
    load_contract,
    resolve_contract,
)

SMALL = {'width': 320, 'height': 240, 'rotate': 0}
GRIPPER = {'kind': 'gripper_command', 'action': 'gripper_controller/gripper_cmd'}
NAMES = sorted(p.stem for p in contract_path('alicia_d').parent.glob('*.yaml'))


@pytest.fixture
def data():
    return copy.deepcopy(yaml.safe_load(contract_path('alicia_d').read_text()))


@pytest.mark.parametrize('name', NAMES)
def test_every_contract_that_ships_loads_and_survives_a_round_trip(name):
    contract = resolve_contract(name)
    assert RobotContract.from_dict(contract.to_dict()) == contract
    assert contract.differences(RobotContract.from_dict(contract.to_dict())) == []
    assert len(contract.lower) == len(contract.max_velocity) == contract.action_dim


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda d: d.pop('joints'), "contract: key 'joints' is missing"),
        (lambda d: d.update(jionts=[]), "unknown key 'jionts'"),
        (lambda d: d.update(step_period=0), 'step_period: got 0, expected a finite number in (0,'),
        (lambda d: d.update(step_period=True), 'step_period: got True, expected a number'),
        (lambda d: d.update(action_space='torque'), "got 'torque', expected one of"),
        (lambda d: d.update(contract_version=99), 'this release reads 1'),
        (lambda d: d['joints'][2].update(lower=5.0), 'contract.joints[2].upper: got 3.14159'),
        (lambda d: d['joints'][0].update(upper=math.nan), 'contract.joints[0].upper: got nan'),
        (lambda d: d['joints'][1].update(name='Joint1'), 'expected unique names'),
        (lambda d: d['gripper'].update(closed_position=0.0), 'other than open_position'),
        (lambda d: d['cameras']['wrist'].update(rotate=45), 'expected 0, 90, 180 or 270'),
        (lambda d: d['cameras']['wrist'].update(encoding='16UC1'), "got '16UC1', expected one of"),
        (lambda d: d['cameras']['wrist'].update(crop=[0, 0, 640]), 'a list of 4 finite numbers'),
        (lambda d: d['cameras']['wrist'].update(crop=[9, 0, 640, 480]), 'within 640×480'),
        (lambda d: d['cameras']['wrist'].update(crop=[-1, 0, 64, 64]), 'within 640×480'),
        (lambda d: d['cameras']['wrist'].update(crop=[0, 0, 64.5, 64]), 'in integer pixels'),
        (lambda d: d['cameras']['wrist'].update(crop=[0, 0, 8, 64]), 'at least 16'),
        (lambda d: d['cameras'].clear(), 'expected at least one camera'),
        (lambda d: d['front_end'].update(kind='can_bus'), "got 'can_bus'"),
        (lambda d: d['gripper'].update(grip_beyond_contact=-0.1), 'an open fraction in [0, 1]'),
        (lambda d: d['front_end'].update(send_speeds=1), 'send_speeds: got 1, expected true or'),
        (lambda d: d['front_end'].update(gripper=GRIPPER), 'without gripper_topic only'),
        (
            lambda d: d['front_end'].update(gripper={**GRIPPER, 'kind': 'grasp'}),
            "front_end.gripper.kind: got 'grasp', expected one of",
        ),
        (
            lambda d: d['front_end'].update(gripper={**GRIPPER, 'max_effort': -1}),
            "expected 0 (the driver's own limit) or more",
        ),
        (lambda d: d['front_end'].pop('gripper_topic'), 'expected a topic'),
        (lambda d: d['front_end'].update(arm_topic='my arm/go'), "got 'my arm/go', expected a"),
        (lambda d: d['front_end'].update(gripper_topic='/2nd/go'), "got '/2nd/go', expected a"),
        (lambda d: d['front_end'].update(arm_topic='/arm/'), "got '/arm/', expected a ROS name"),
        (lambda d: d['workspace'].update(upper=[-1, 1, 1]), 'expected values above lower'),
        (lambda d: (d.pop('kinematics'), d.update(action_space='ee_delta')), 'needs the key'),
    ],
)
def test_mistakes_are_refused_by_key_value_and_what_is_allowed(data, change, said):
    change(data)
    with pytest.raises(ContractError) as error:
        RobotContract.from_dict(data)
    assert said in str(error.value)
    assert '\n' not in str(error.value)


def test_missing_file_and_broken_yaml_are_one_line(tmp_path):
    with pytest.raises(ContractError, match='No such file'):
        load_contract(tmp_path / 'none.yaml')
    path = tmp_path / 'broken.yaml'
    path.write_text('joints: [1,\nname: {')
    with pytest.raises(ContractError, match='not valid YAML at line'):
        load_contract(path)


def test_how_the_gripper_is_driven_is_no_difference_to_a_policy(data):
    plain = RobotContract.from_dict(data)
    data['front_end'].update(gripper=GRIPPER, gripper_topic='')
    data['gripper'].update(grip_beyond_contact=0.1)
    contract = RobotContract.from_dict(data)
    assert contract.front_end.gripper.status_topic == f'{GRIPPER["action"]}/_action/status'
    assert contract.front_end.topics == (plain.front_end.arm_topic,)
    assert contract.differences(plain) == []
    assert RobotContract.from_dict(contract.to_dict()) == contract


@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        (
            'alicia_d_sim',
            {
                'action_space': 'joint_delta',
                'simulated': True,
                'supervision': {
                    'lag': 0.6, 'soft_tracking_error': 0.2, 'hard_tracking_error': 0.6,
                    'blocked_after': 2.0,
                },
                'cameras': {
                    'third_person': {**SMALL, 'mount': 'fixed'},
                    'wrist': {**SMALL, 'mount': 'wrist'},
                },
            },
        ),
        (
            'alicia_d_standalone',
            {
                'front_end': {
                    'kind': 'joint_commands',
                    'arm_topic': 'joint_commands',
                    'gripper_topic': '',
                    'gripper_open_command': 1000.0,
                    'gripper_closed_command': 0.0,
                    'rate': 50.0,
                },
            },
        ),
    ],
)
def test_shipped_variants_differ_from_alicia_d_in_these_keys_only(name, changes):
    expected = {**resolve_contract('alicia_d').to_dict(), 'name': name, **changes}
    found = resolve_contract(name).to_dict()
    for camera in found['cameras'].values():
        camera.pop('pose', None)  # test_camera_pose.py
    assert found == expected


def test_the_shipped_checkpoint_holds_the_contract_of_its_robot():
    folder = Path(vla_adapter_ros.__file__).parent / 'checkpoints' / 'tiny_sim'
    stored = json.loads((folder / 'vla_adapter.json').read_text())['robot']
    assert RobotContract.from_dict(stored).differences(resolve_contract('alicia_d_sim')) == []


def test_extends_merges_mappings_replaces_values_and_null_removes(tmp_path):
    (tmp_path / 'left.yaml').write_text(
        'extends: alicia_d\nname: left\nworkspace: null\n'
        'cameras: {wrist: null, third_person: {width: 1280}, gripper: {width: 64, height: 48}}\n'
    )
    (tmp_path / 'slow.yaml').write_text('extends: left\nname: slow\nstep_period: 0.2\n')
    slow, base = load_contract(tmp_path / 'slow.yaml'), resolve_contract('alicia_d')
    assert (slow.name, slow.step_period, slow.workspace) == ('slow', 0.2, None)
    assert slow.joints == base.joints and slow.front_end == base.front_end
    assert list(slow.cameras) == ['third_person', 'gripper']
    assert slow.cameras['third_person'] == replace(base.cameras['third_person'], width=1280)
    assert 'extends' not in slow.to_dict()
    assert RobotContract.from_dict(slow.to_dict()) == slow


@pytest.mark.parametrize(
    ('files', 'error'),
    [
        ({'a': 'extends: panda'}, "a.yaml.extends: got 'panda', but robot 'panda' is unknown"),
        ({'a': 'extends: ./b.yaml'}, "a.yaml.extends: got './b.yaml', but .*b.yaml does not exis"),
        ({'a': 'extends: [b]'}, 'a.yaml.extends: got .*, expected the name or file of another'),
        ({'a': 'extends: a'}, "a.yaml.extends: got 'a', which extends a.yaml itself"),
        (
            {'a': 'extends: b', 'b': 'extends: ./a.yaml'},
            "b.yaml.extends: got './a.yaml', which extends b.yaml itself",
        ),
        ({'a': 'extends: alicia_d\njionts: 1'}, r"a.yaml \(extends alicia_d.yaml\): unknown key"),
        (
            {'a': 'extends: alicia_d\ncameras: {wrist: {rotate: 45}}'},
            r'a.yaml \(extends alicia_d.yaml\).cameras.wrist.rotate: got 45, expected 0, 90',
        ),
        ({'a': 'extends: b', 'b': '[1]'}, 'expected a mapping'),
    ],
)
def test_mistakes_around_extends_name_file_and_key(tmp_path, files, error):
    for name, text in files.items():
        (tmp_path / f'{name}.yaml').write_text(text)
    with pytest.raises(ContractError, match=error) as caught:
        load_contract(tmp_path / 'a.yaml')
    assert '\n' not in str(caught.value)


def test_unknown_robot_lists_the_known_ones():
    with pytest.raises(ContractError, match='known robots: alicia_d'):
        contract_path('panda')


def test_deployment_and_limits_may_differ_meaning_may_not(data):
    contract = RobotContract.from_dict(data)
    data['front_end']['arm_topic'] = '/elsewhere'
    data['joints'][0]['max_velocity'] = 0.2
    data['workspace']['lower'][2] = 0.1
    assert contract.differences(RobotContract.from_dict(data)) == []
    data['action_space'] = 'joint_delta'
    data['cameras']['wrist']['rotate'] = 180
    data['gripper'].update(open_position=0.025, closed_position=0.0)
    differences = contract.differences(RobotContract.from_dict(data))
    assert "action_space: 'joint_position' here, 'joint_delta' there" in differences
    assert 'cameras.wrist.rotate: 0 here, 180 there' in differences
    assert len(differences) == 4


def test_names_of_the_driver_are_deployment_and_must_be_unique(data):
    contract = RobotContract.from_dict(data)
    assert contract.driver_names == contract.names
    assert 'driver_name' not in json.dumps(contract.to_dict())
    data['joints'][0]['driver_name'] = 'shoulder_pan_joint'
    data['gripper']['driver_name'] = 'finger_joint'
    renamed = RobotContract.from_dict(data)
    assert renamed.names == contract.names
    assert renamed.driver_names[0] == 'shoulder_pan_joint'
    assert renamed.driver_names[-1] == 'finger_joint'
    assert RobotContract.from_dict(renamed.to_dict()) == renamed
    assert contract.differences(renamed) == renamed.differences(contract) == []
    data['joints'][1]['driver_name'] = 'finger_joint'
    with pytest.raises(ContractError, match='unique driver names'):
        RobotContract.from_dict(data)


def test_a_contract_from_before_encoding_and_crop_is_the_default_one(data):
    # Exactly what older releases wrote into datasets and checkpoints, and can read.
    old = {'width': 640, 'height': 480, 'rotate': 0, 'mount': 'wrist'}
    contract = RobotContract.from_dict(data)
    assert contract.to_dict()['cameras']['wrist'] == old
    data['cameras']['wrist'].update(encoding='any', crop=None)
    spelled_out = RobotContract.from_dict(data)
    assert spelled_out == contract
    assert spelled_out.differences(contract) == contract.differences(spelled_out) == []


def test_crop_and_grey_are_another_view_other_colour_encodings_are_not(data):
    contract = RobotContract.from_dict(data)
    data['cameras']['wrist'].update(encoding='bgr8', crop=[80, 0, 480, 480])
    cropped = RobotContract.from_dict(data)
    assert cropped.cameras['wrist'].seen_size == (480, 480)
    assert RobotContract.from_dict(cropped.to_dict()) == cropped
    assert contract.differences(cropped) == [
        "cameras.wrist.crop: 'full image' here, [80, 0, 480, 480] there"
    ]
    data['cameras']['wrist'].update(encoding='mono8', crop=None)
    assert contract.differences(RobotContract.from_dict(data)) == [
        "cameras.wrist.encoding: 'colour' here, 'grey' there"
    ]


@pytest.mark.parametrize('spec', [(0.0, 0.025), (1000.0, 0.0), (-0.025, 0.0)])
def test_gripper_fraction_is_one_when_open_whatever_the_sign(data, spec):
    data['gripper'].update(open_position=spec[0], closed_position=spec[1])
    gripper = RobotContract.from_dict(data).gripper
    assert gripper.to_fraction(spec[0]) == pytest.approx(1.0)
    assert gripper.to_fraction(spec[1]) == pytest.approx(0.0)
    assert gripper.to_position(0.25) == pytest.approx(spec[1] + 0.25 * (spec[0] - spec[1]))
    assert gripper.to_position(7.0) == pytest.approx(spec[0])


def test_a_slowed_contract_keeps_slower_joints_and_fits_the_same_checkpoints(data):
    data['joints'][2]['max_velocity'] = 0.1
    contract = RobotContract.from_dict(data)
    slowed = contract.slowed(0.3)
    assert [joint.max_velocity for joint in slowed.joints] == [0.3, 0.3, 0.1, 0.3, 0.3, 0.3]
    assert slowed.gripper == contract.gripper and contract.differences(slowed) == []


@pytest.mark.parametrize(
    'text',
    [
        'a: &a {b: *a}',
        'a0: &a0 [x, x]\n' + '\n'.join(f'a{i}: &a{i} [{f"*a{i - 1}, " * 9}]' for i in range(1, 9)),
        'name: "\udcff"'.encode('utf-8', 'surrogateescape').decode('latin-1'),
        'date: 2026-13-41',
        '[' * 5000,
    ],
)  # fmt: skip
def test_yaml_that_libraries_stumble_over_is_refused(tmp_path, text):
    (tmp_path / 'x.yaml').write_bytes(text.encode('latin-1'))
    with pytest.raises(ContractError, match=r'x.yaml: not valid YAML'):
        load_contract(tmp_path / 'x.yaml')


def test_a_urdf_of_an_impossible_name_is_one_that_is_not_there(tmp_path):
    data = resolve_contract('alicia_d').to_dict()
    data['kinematics'] |= {'urdf': 'x' * 400, 'urdf_text': ''}
    (tmp_path / 'x.yaml').write_text(yaml.safe_dump(data))
    assert load_contract(tmp_path / 'x.yaml').kinematics.urdf_text == ''
