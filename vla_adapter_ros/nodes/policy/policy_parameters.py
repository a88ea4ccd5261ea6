# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The parameters of the policy node; `config/alicia.yaml` is their annotated form."""

from __future__ import annotations

from dataclasses import dataclass

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.inference.chunk import PRECISIONS
from vla_adapter_ros.nodes.common.parameters import FRAME_PREFIX, parameter
from vla_adapter_ros.robot.camera_spec import IMAGE_TRANSPORTS

# Take effect while the node runs; the others at the next `configure`.
LIVE_PARAMETERS = (
    'dry_run', 'speed_scale', 'execute_steps', 'instruction',
    'max_image_age', 'max_joint_state_age', 'max_skew', 'max_chunk_age',
)  # fmt: skip

POLICIES = ('checkpoint', 'expert', 'random', 'random_network', 'hold')


def check_policy(value: str) -> None:
    """Refuse a policy that is neither known nor a class. Raises VLAAdapterError."""
    if value not in POLICIES and ':' not in value:
        raise VLAAdapterError(
            f'parameter policy: got {value!r}, expected one of: {", ".join(POLICIES)}, '
            'or package.module:Class'
        )


def check_server(parameters: PolicyNodeParameters) -> None:
    """Refuse a policy server beside another policy. Raises VLAAdapterError."""
    if not parameters.policy_server:
        return
    for name, default in (('checkpoint', ''), ('policy', 'checkpoint'), ('statistics_key', '')):
        if (value := getattr(parameters, name)) != default:
            raise VLAAdapterError(
                f'parameters policy_server: {parameters.policy_server} and {name}: {value}: '
                'expected one of them; the server has its own checkpoint'
            )


def check_times(parameters: PolicyNodeParameters) -> None:
    """Refuse to wait for chunks that would be rejected. Raises VLAAdapterError."""
    oldest, timeout = parameters.max_chunk_age, parameters.watchdog_timeout
    if oldest < timeout:
        raise VLAAdapterError(
            f'parameter max_chunk_age: got {oldest:g} s, expected at least watchdog_timeout '
            f'({timeout:g} s): chunks of a slow inference would be rejected'
        )


@dataclass(frozen=True)
class PolicyNodeParameters:
    """Parameters of `vla_adapter`; LIVE_PARAMETERS may change while it runs."""

    robot: str = parameter(
        'alicia_d', 'Robot contract: the name of one that ships, or the path of a YAML file.'
    )
    checkpoint: str = parameter(
        '', 'Checkpoint directory, or org/name@revision on the Hugging Face Hub; empty: the one '
        'that ships with the package.',
    )
    policy_server: str = parameter(
        '', 'Policy server that computes the chunks instead, ws://HOST:PORT or wss://HOST:PORT; '
        'with checkpoint empty. The network runs there: device, dtype and the like are its own.',
    )  # fmt: skip
    policy: str = parameter(
        'checkpoint',
        'What computes the chunks: checkpoint, expert (simulation), random (small movements), '
        'random_network (random weights), hold, or a class of your own as `package.module:Class`; '
        'it is called with the robot contract.',
    )
    device: str = parameter('auto', 'auto, cpu, cuda, cuda:0, …')
    dtype: str = parameter(
        'auto',
        'Precision of the model.',
        choices=PRECISIONS,
    )
    compile: bool = parameter(False, 'Compile the blocks (GPU): minutes, at the first start.')
    warm_up: bool = parameter(True, 'Run one inference while configuring.')
    threads: int = parameter(0, 'CPU threads of the model; 0: all cores but one.', low=0, high=256)
    seed: int = parameter(0, 'Seed of random policies.', low=0, high=2**31 - 1)
    statistics_key: str = parameter(
        '', 'Which statistics of the checkpoint to use; needed if it holds several.'
    )
    accept_policy_without_contract: bool = parameter(
        False, 'Run a checkpoint that does not say what robot it was trained for: '
        'nobody can check its actions.',
    )  # fmt: skip
    instruction: str = parameter('', 'Instruction at activation; empty: wait for the service.')
    enable: bool = parameter(
        False, 'Enable motion at activation; only for contracts marked simulated: true.'
    )
    dry_run: bool = parameter(
        False, 'Compute and show everything, send nothing to the arm; it may stand still or be a '
        'played recording.',
    )
    speed_scale: float = parameter(
        1.0, 'Fraction of the velocity limits that motion may use.', low=0.01, high=1.0
    )
    execute_steps: int = parameter(
        8, 'Steps of a chunk to execute before the next chunk takes over.', low=1, high=64
    )
    blend_steps: int = parameter(
        0, 'Steps over which the old and the new chunk are blended; 0: none.', low=0, high=64
    )
    driver_speed_deg_s: float = parameter(
        0.0, 'Speed of the arm that the driver was started with [deg/s]; motion is planned a '
        'little slower. 0: as fast as the contract allows.', low=0.0, high=440.0,
    )
    flush_on_instruction_change: bool = parameter(
        False, 'Hold immediately on a new instruction instead of finishing the running chunk.'
    )
    control_rate: float = parameter(50.0, 'Rate of the control loop [Hz].', low=5.0, high=500.0)
    image_transport: str = parameter(
        'raw', 'raw: <camera>/image; compressed: <camera>/image/compressed. As in the recordings.',
        choices=IMAGE_TRANSPORTS,
    )  # fmt: skip
    max_image_age: float = parameter(
        0.2, 'Oldest image that may be used [s].', low=0.01, high=60.0
    )
    max_joint_state_age: float = parameter(
        0.2, 'Oldest joint state that may be used [s].', low=0.01, high=60.0
    )
    max_skew: float = parameter(
        0.1, 'Largest difference between the stamps of one observation [s].', low=0.001, high=60.0
    )
    watchdog_timeout: float = parameter(
        1.0, 'Hold when an inference takes longer than this [s].', low=0.05, high=600.0
    )
    max_chunk_age: float = parameter(
        2.0, 'Oldest observation whose chunk is used [s]; at least watchdog_timeout.',
        low=0.05, high=600.0,
    )  # fmt: skip
    deadman_timeout: float = parameter(
        0.0, 'Motion needs `true` on ~/deadman, not older than this [s]; 0: no dead-man switch.',
        low=0.0, high=10.0,
    )
    diagnostics_period: float = parameter(1.0, 'Period of /diagnostics [s].', low=0.1, high=60.0)
    frame_prefix: str = parameter('', FRAME_PREFIX)
