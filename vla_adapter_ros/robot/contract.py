# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The robot contract: everything that must agree between robot, dataset and checkpoint.

One YAML file describes the robot (`config/robots/*.yaml`); a variant extends it. It is validated
on load, travels inside recordings, datasets and checkpoints as a plain dict without `extends`, and
is compared before anything moves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vla_adapter_ros.errors import ContractError
from vla_adapter_ros.plain_yaml import parse_yaml
from vla_adapter_ros.robot.camera_spec import GREY_ENCODINGS, CameraSpec, parse_camera
from vla_adapter_ros.robot.gripper_action import GripperActionSpec, parse_gripper_action
from vla_adapter_ros.robot.home import parse_home
from vla_adapter_ros.robot.joint_spec import GripperSpec, JointSpec, parse_gripper, parse_joint
from vla_adapter_ros.robot.sections import Section
from vla_adapter_ros.robot.supervision import Supervision, parse_supervision

CONTRACT_VERSION = 1
ACTION_SPACES = ('joint_position', 'joint_delta', 'ee_delta')
FRONT_ENDS = ('joint_trajectory', 'joint_commands')
# Keys of the deployment: differences in them do not change what a policy sees or does.
DEPLOYMENT_KEYS = (
    'front_end', 'workspace', 'kinematics', 'name', 'home', 'supervision', 'simulated'
)  # fmt: skip
# Limits may be tightened on the robot without invalidating a checkpoint.
LIMIT_KEYS = ('lower', 'upper', 'max_velocity', 'max_acceleration', 'grip_beyond_contact')
# Motion is planned for this fraction of a driver's speed, so that the arm can catch up.
DRIVER_SPEED_FRACTION = 0.9


@dataclass(frozen=True)
class FrontEndSpec:
    """How commands reach the driver.

    Attributes:
        kind: `joint_trajectory` (ros2_control controllers) or `joint_commands` (standalone
            Alicia-D driver node, streamed `sensor_msgs/JointState`).
        arm_topic: topic of the arm commands; relative ones are in the namespace of the node.
        gripper_topic: topic of the gripper trajectories (`joint_trajectory` without `gripper`).
        gripper_open_command: gripper command value when open.
        gripper_closed_command: gripper command value when closed.
        rate: streaming rate [Hz] (`joint_commands` only).
        send_speeds: whether streamed commands carry joint speeds, as the Alicia-D's driver needs
            them (`joint_commands` only).
        gripper: the action that moves the gripper; None: trajectories or the stream do.
    """

    kind: str
    arm_topic: str
    gripper_topic: str
    gripper_open_command: float
    gripper_closed_command: float
    rate: float
    send_speeds: bool = True
    gripper: GripperActionSpec | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics on which commands are published."""
        return tuple(topic for topic in (self.arm_topic, self.gripper_topic) if topic)

    @property
    def stream_period(self) -> float:
        """Time from one streamed command to the next [s]; 0 if trajectories are sent."""
        return 1.0 / self.rate if self.kind == 'joint_commands' else 0.0

    @property
    def recorded_gripper_topic(self) -> str:
        """The topic of trajectories that says what the gripper was commanded, or ''."""
        return self.gripper.goals_topic if self.gripper else self.gripper_topic

    def gripper_command(self, fraction: np.ndarray) -> np.ndarray:
        """Return the driver's gripper commands for open fractions."""
        span = self.gripper_open_command - self.gripper_closed_command
        return self.gripper_closed_command + fraction * span

    def gripper_fraction(self, command: float) -> float:
        """Return the open fraction of one of the driver's gripper commands."""
        span = self.gripper_open_command - self.gripper_closed_command
        return (command - self.gripper_closed_command) / span


@dataclass(frozen=True)
class KinematicsSpec:
    """The robot's URDF and the chain used.

    Attributes:
        urdf: path, relative to the contract file.
        base, tip: frames at the ends of the chain.
        urdf_text: content of the file when the contract was loaded, so that recordings, datasets
            and checkpoints can be used where the file is not; '' if it could not be read.
    """

    urdf: str
    base: str
    tip: str
    urdf_text: str = ''


@dataclass(frozen=True)
class RobotContract:
    """A validated robot contract; see `config/robots/alicia_d.yaml` for the annotated form.

    Vectors in contract order are (J + 1,): arm joints [rad], then the gripper's open fraction.
    """

    name: str
    step_period: float
    action_space: str
    joints: tuple[JointSpec, ...]
    gripper: GripperSpec
    cameras: Mapping[str, CameraSpec]
    front_end: FrontEndSpec
    kinematics: KinematicsSpec | None
    workspace: tuple[tuple[float, ...], tuple[float, ...]] | None
    contract_version: int = CONTRACT_VERSION
    # Where `~/home` moves: by joint name [rad], and the gripper's open fraction if it shall move.
    home: Mapping[str, float] | None = None
    supervision: Supervision = field(default_factory=Supervision)
    # Nobody can be hurt: the policy node may enable motion by itself.
    simulated: bool = False

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Arm joint names, without the gripper."""
        return tuple(joint.name for joint in self.joints)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a state or action vector: arm joints, then the gripper."""
        return (*self.joint_names, self.gripper.name)

    @cached_property
    def driver_joint_names(self) -> tuple[str, ...]:
        """Arm joint names of the driver, without the gripper."""
        return tuple(joint.driver_name or joint.name for joint in self.joints)

    @cached_property
    def driver_names(self) -> tuple[str, ...]:
        """Names of joint states and commands: arm joints, then the gripper."""
        gripper = self.gripper.driver_name or self.gripper.name
        return (*self.driver_joint_names, gripper)

    @property
    def action_dim(self) -> int:
        """Length of a state or action vector in joint space."""
        return len(self.joints) + 1

    @cached_property
    def lower(self) -> np.ndarray:
        """(J + 1,) lower limits."""
        return np.array([*(j.lower for j in self.joints), 0.0])

    @cached_property
    def upper(self) -> np.ndarray:
        """(J + 1,) upper limits."""
        return np.array([*(j.upper for j in self.joints), 1.0])

    @cached_property
    def max_velocity(self) -> np.ndarray:
        """(J + 1,) velocity limits per second."""
        return np.array([*(j.max_velocity for j in self.joints), self.gripper.max_velocity])

    @cached_property
    def max_acceleration(self) -> np.ndarray:
        """(J + 1,) acceleration limits per second squared."""
        joints = (j.max_acceleration for j in self.joints)
        return np.array([*joints, self.gripper.max_acceleration])

    def home_from(self, state: np.ndarray) -> np.ndarray | None:
        """Return the home pose (J + 1,) of an arm at `state` (J + 1,); None if there is none."""
        if self.home is None:
            return None
        here = zip(self.names, state.tolist(), strict=True)
        return np.array([self.home.get(name, value) for name, value in here])

    def distance_outside_workspace(self, points: np.ndarray) -> np.ndarray:
        """Return how far [m] points (N, 3) in the base frame lie outside the workspace, (N,)."""
        if self.workspace is None:
            return np.zeros(len(points))
        return np.linalg.norm(points - np.clip(points, *np.array(self.workspace)), axis=1)

    def slowed(self, max_velocity: float) -> RobotContract:
        """Return the contract with arm joints limited to `max_velocity` [rad/s]."""
        joints = (
            replace(joint, max_velocity=min(joint.max_velocity, max_velocity))
            for joint in self.joints
        )
        return replace(self, joints=tuple(joints))

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain YAML/JSON data; `from_dict` reads it back."""
        data = asdict(self)
        data['joints'] = [_without_defaults(joint) for joint in self.joints]
        data['cameras'] = {name: camera.to_dict() for name, camera in self.cameras.items()}
        if self.workspace is None:
            del data['workspace']
        else:
            data['workspace'] = {
                'lower': list(self.workspace[0]),
                'upper': list(self.workspace[1]),
            }
        if self.kinematics is not None:
            data['kinematics'] = _without_defaults(self.kinematics)
        for key in ('kinematics', 'home', 'simulated'):
            if not data[key]:
                del data[key]
        data['gripper'] = _without_defaults(self.gripper)
        data['front_end'] = _without_defaults(self.front_end)
        data['supervision'] = _without_defaults(self.supervision)
        if not data['supervision']:
            del data['supervision']
        return data

    @staticmethod
    def from_dict(data: Any, source: str = 'contract') -> RobotContract:
        """Validate plain data. Raises ContractError naming key, value and allowed values."""
        return _parse_contract(Section(data, source))

    def differences(self, other: RobotContract) -> list[str]:
        """Return the differences that matter to a policy, one line each.

        Deployment (topics, front end, workspace) may differ, and so may limits: the safety filter
        enforces them on the robot.
        """
        found: list[str] = []
        _compare(_policy_view(self), _policy_view(other), '', found)
        return found


def _without_defaults(
    section: JointSpec | GripperSpec | FrontEndSpec | KinematicsSpec | Supervision,
) -> dict[str, Any]:
    """Return plain data; newer keys with default values are omitted, as in older contracts."""
    data = asdict(section)
    return {f.name: data[f.name] for f in fields(section) if data[f.name] != f.default}


def _policy_view(contract: RobotContract) -> dict[str, Any]:
    data = contract.to_dict()
    for key in DEPLOYMENT_KEYS:
        data.pop(key, None)
    data['joints'] = [joint['name'] for joint in data['joints']]
    runtime = (*LIMIT_KEYS, 'driver_name')
    data['gripper'] = {k: v for k, v in data['gripper'].items() if k not in runtime}
    for camera in data['cameras'].values():
        # Decoded, all colour encodings are the same; grey is another image.
        camera['encoding'] = 'grey' if camera.get('encoding') in GREY_ENCODINGS else 'colour'
        camera.setdefault('crop', 'full image')
        camera.pop('pose', None)
    return data


def _compare(mine: Any, other: Any, place: str, found: list[str]) -> None:
    if isinstance(mine, Mapping) and isinstance(other, Mapping):
        for key in sorted({*mine, *other}):
            where = f'{place}.{key}' if place else str(key)
            _compare(mine.get(key, '(absent)'), other.get(key, '(absent)'), where, found)
    elif mine != other:
        found.append(f'{place}: {mine!r} here, {other!r} there')


def _parse_front_end(section: Section) -> FrontEndSpec:
    kind = section.text('kind', choices=FRONT_ENDS)
    front_end = FrontEndSpec(
        kind=kind,
        arm_topic=section.ros_name('arm_topic'),
        gripper_topic=section.ros_name('gripper_topic', ''),
        gripper_open_command=section.number('gripper_open_command'),
        gripper_closed_command=section.number('gripper_closed_command'),
        rate=section.number('rate', 50.0, above=0.0, at_most=1000.0),
        send_speeds=section.flag('send_speeds', True),
        gripper=parse_gripper_action(section.section('gripper', None)),
    )
    if kind == 'joint_trajectory' and not (front_end.gripper_topic or front_end.gripper):
        raise section.fail(
            'gripper_topic',
            'expected a topic for front end joint_trajectory, or the section gripper (an action)',
        )
    if front_end.gripper and (front_end.gripper_topic or kind != 'joint_trajectory'):
        raise section.fail(
            'gripper', 'expected with kind joint_trajectory and without gripper_topic only'
        )
    if front_end.gripper_open_command == front_end.gripper_closed_command:
        raise section.fail('gripper_closed_command', 'expected another value than when open')
    section.finish()
    return front_end


def _parse_kinematics(section: Section | None) -> KinematicsSpec | None:
    if section is None:
        return None
    kinematics = KinematicsSpec(
        urdf=section.text('urdf'),
        base=section.text('base'),
        tip=section.text('tip'),
        urdf_text=section.text('urdf_text', ''),
    )
    section.finish()
    return kinematics


def _parse_workspace(
    section: Section | None,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if section is None:
        return None
    lower = section.numbers('lower', length=3)
    upper = section.numbers('upper', length=3)
    if not all(low < high for low, high in zip(lower, upper, strict=True)):
        raise section.fail('upper', f'expected values above lower {list(lower)}')
    section.finish()
    return lower, upper


def _parse_contract(section: Section) -> RobotContract:
    version = section.integer('contract_version', low=0, high=10_000)
    if version != CONTRACT_VERSION:
        raise section.fail('contract_version', f'this release reads {CONTRACT_VERSION}')
    cameras_section = section.required_section('cameras')
    joints = tuple(parse_joint(joint) for joint in section.sections('joints'))
    gripper = parse_gripper(section.required_section('gripper'))
    names = [*(joint.name for joint in joints), gripper.name]
    if len(set(names)) != len(names):
        raise section.fail('joints', f'expected unique names, got {names}')
    contract = RobotContract(
        name=section.text('name'),
        step_period=section.number('step_period', above=0.0, at_most=5.0),
        action_space=section.text('action_space', choices=ACTION_SPACES),
        joints=joints,
        gripper=gripper,
        cameras={name: parse_camera(camera) for name, camera in cameras_section.items()},
        front_end=_parse_front_end(section.required_section('front_end')),
        kinematics=_parse_kinematics(section.section('kinematics', None)),
        workspace=_parse_workspace(section.section('workspace', None)),
        home=parse_home(
            section, {joint.name: (joint.lower, joint.upper) for joint in joints}, gripper.name
        ),
        supervision=parse_supervision(section.section('supervision', None)),
        simulated=section.flag('simulated', False),
    )
    section.finish()
    if not contract.cameras:
        raise section.fail('cameras', 'expected at least one camera')
    if len(set(contract.driver_names)) != len(contract.driver_names):
        names = list(contract.driver_names)
        raise section.fail('joints', f'expected unique driver names, got {names}')
    if contract.action_space == 'ee_delta' and contract.kinematics is None:
        raise section.fail('action_space', 'ee_delta needs the key kinematics')
    return contract


def load_contract(path: str | Path) -> RobotContract:
    """Read and validate a contract YAML file, merged with the contract that it extends.

    Raises:
        ContractError: the file is missing, is not YAML, or a value is not allowed.
    """
    path = Path(path)
    data, files = _read_resolved(path, ())
    bases = f' (extends {", ".join(files[1:])})' if len(files) > 1 else ''
    contract = RobotContract.from_dict(data, source=f'{files[0]}{bases}')
    return _with_urdf(contract, path.parent)


def _with_urdf(contract: RobotContract, folder: Path) -> RobotContract:
    """Return the contract with the text of its URDF, if the file is there."""
    path = urdf_path(contract, folder)
    if contract.kinematics is None or path is None:
        return contract
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError):
        # Said by what needs it; all else works without.
        return contract
    return replace(contract, kinematics=replace(contract.kinematics, urdf_text=text))


def urdf_path(contract: RobotContract, folder: Path | None) -> Path | None:
    """Return the file of a contract's URDF, or None if it names none.

    It lies beside the contract file, or is one that ships: a contract in a user's folder that
    extends a shipped one keeps its URDF.

    Args:
        contract: of a robot.
        folder: of the contract file; None: it came out of a recording, dataset or checkpoint.
    """
    if contract.kinematics is None:
        return None
    name = contract.kinematics.urdf
    places = [folder or Path(), *(place / 'robots' for place in config_folders())]
    first, *shipped = (place / name for place in places)
    candidates = shipped if folder is None else [first, *shipped]
    # Unlike that of Path, it takes a name that is too long for a missing file.
    return next(filter(os.path.isfile, candidates), first)


def _read_resolved(path: Path, extending: tuple[Path, ...]) -> tuple[Any, list[str]]:
    """Return a file's data without `extends`, and the names of the files it was merged from."""
    data = _read_yaml(path)
    if not isinstance(data, Mapping) or 'extends' not in data:
        return data, [path.name]
    name = data['extends']
    place = f'{path.name}.extends: got {name!r}'
    if not isinstance(name, str) or not name:
        raise ContractError(f'{place}, expected the name or file of another contract')
    base = _base_path(path, name, place)
    chain = (*extending, path.resolve())
    if base.resolve() in chain:
        raise ContractError(f'{place}, which extends {path.name} itself')
    base_data, files = _read_resolved(base, chain)
    if not isinstance(base_data, Mapping):
        raise ContractError(f'contract {base}: expected a mapping, got {base_data!r}')
    own = {key: value for key, value in data.items() if key != 'extends'}
    return _merged(base_data, own), [path.name, *files]


def _base_path(path: Path, name: str, place: str) -> Path:
    """Return the file that `extends: name` means: beside the contract, or one that ships."""
    is_path = _is_path(name)
    base = path.parent / (name if is_path else f'{name}.yaml')
    if base.is_file():
        return base
    if is_path:
        raise ContractError(f'{place}, but {base} does not exist')
    try:
        return contract_path(name)
    except ContractError as error:
        raise ContractError(f'{place}, but {error}') from None


def _merged(base: Any, own: Any) -> Any:
    """Return `own` over `base`: mappings merge, other values replace, None removes a key."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    result = {**base, **{key: _merged(base.get(key), value) for key, value in own.items()}}
    return {key: value for key, value in result.items() if own.get(key, value) is not None}


def _read_yaml(path: Path) -> Any:
    try:
        return parse_yaml(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ContractError(f'contract {path}: cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, 'problem_mark', None)
        where = f' at line {place.line + 1}' if place else ''
        raise ContractError(f'contract {path}: not valid YAML{where}') from error


def config_folders() -> list[Path]:
    """Return the config/ folders: inside the installed module, or beside it (checkout)."""
    package = Path(__file__).resolve().parent.parent
    candidates = [package / 'config', package.parent / 'config']
    return [folder for folder in candidates if folder.is_dir()]


def contract_path(name_or_path: str) -> Path:
    """Return the file of a contract: the name of one that ships, or the path of a YAML file.

    Raises:
        ContractError: no such name; the message lists the ones that ship.
    """
    if _is_path(name_or_path):
        return Path(name_or_path)
    shipped = {
        path.stem: path
        for folder in reversed(config_folders())
        for path in sorted((folder / 'robots').glob('*.yaml'))
    }
    if name_or_path not in shipped:
        known = ', '.join(sorted(shipped))
        raise ContractError(f'robot {name_or_path!r} is unknown; known robots: {known}')
    return shipped[name_or_path]


def _is_path(name: str) -> bool:
    return '/' in name or name.endswith(('.yaml', '.yml'))


def resolve_contract(name_or_path: str) -> RobotContract:
    """Load a contract by the name of one that ships, or by the path of a YAML file."""
    return load_contract(contract_path(name_or_path))
