# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""From validated parameters to a running worker and a control loop."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from vla_adapter_ros.control.gate import CommandGate
from vla_adapter_ros.control.loop import ControlLoop, LoopOutputs
from vla_adapter_ros.control.observation_inputs import Inputs, InputSettings
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.control.worker import InferenceWorker
from vla_adapter_ros.errors import CheckpointError, VLAAdapterError
from vla_adapter_ros.inference.chunk import ChunkPolicy
from vla_adapter_ros.inference.simple_policies import (
    HoldPolicy,
    RandomMotionPolicy,
    shipped_checkpoint,
)
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.nodes.common.node_main import stop_requested
from vla_adapter_ros.nodes.policy.enable_gate import EnableGate
from vla_adapter_ros.nodes.policy.policy_parameters import (
    PolicyNodeParameters,
    check_policy,
    check_times,
)
from vla_adapter_ros.robot.contract import (
    DRIVER_SPEED_FRACTION,
    RobotContract,
    contract_path,
    load_contract,
)
from vla_adapter_ros.robot.kinematics import Kinematics

if TYPE_CHECKING:
    from vla_adapter_ros.simulation.expert.chunks import ExpertChunks

Subscribe = Callable[[type, str, Callable[[object], None]], None]


class PolicySetup:
    """The objects that live from configure to cleanup.

    Args:
        node: for logging, and for a look at the graph before motion is enabled.
        parameters: validated.
        outputs: where the loop's results go.
        wake: called from the worker's thread when a result is there.
    """

    def __init__(
        self,
        node: Node,
        parameters: PolicyNodeParameters,
        outputs: LoopOutputs,
        wake: Callable[[], None],
    ) -> None:
        check_policy(parameters.policy)
        check_times(parameters)
        self.parameters = parameters
        self._contract_file = contract_path(parameters.robot)
        self.contract = load_contract(self._contract_file)
        if parameters.driver_speed_deg_s:
            fastest = DRIVER_SPEED_FRACTION * math.radians(parameters.driver_speed_deg_s)
            self.contract = self.contract.slowed(fastest)
        self.policy_name = ''
        self.kinematics: Kinematics | None = None
        self._node = node
        self._log = node.get_logger()
        self._gate: EnableGate | None = None
        self._outputs = outputs
        self._wake = wake
        self._expert: ExpertChunks | None = None
        self._worker: InferenceWorker | None = None

    def make_loop(self) -> ControlLoop:
        """Load the policy (this may take minutes) and return the loop.

        Raises:
            VLAAdapterError: the checkpoint, device or contract cannot be used; says why.
        """
        self._worker = InferenceWorker(self._make_policy, self._wake)
        policy = self._worker.start(stop_requested)
        self._check_contract(policy)
        parameters = self.parameters
        self.kinematics = kinematics = self._load_kinematics()
        safety = SafetyFilter(self.contract, kinematics=kinematics)
        scheduler = ChunkScheduler(
            self.contract,
            execute_steps=parameters.execute_steps,
            blend_steps=parameters.blend_steps,
            flush_on_instruction_change=parameters.flush_on_instruction_change,
            max_chunk_age=parameters.max_chunk_age,
            kinematics=kinematics,
            safety=safety,
        )
        settings = InputSettings(
            parameters.max_image_age, parameters.max_joint_state_age, parameters.max_skew
        )
        inputs = Inputs(self.contract, settings)
        self._gate = EnableGate(
            self._node, self.contract, inputs, parameters.image_transport
        )
        return ControlLoop(
            self.contract,
            self._worker,
            CommandGate(self.contract, scheduler, safety, self._outputs),
            inputs,
            self._outputs,
            parameters.watchdog_timeout,
            self._gate.problem,
        )

    def release(self, timeout: float) -> None:
        """End the worker; a model that hangs is left behind, its results go nowhere."""
        if self._worker is not None and not self._worker.stop(timeout):
            self._log.error(f'the model did not return within {timeout:g} s; leaving it behind')
        self._worker = None
        if self._gate is not None:
            self._gate.close()
            self._gate = None

    def subscribe_extras(self, subscribe: Subscribe) -> None:
        """Subscribe to what only the expert needs: where the objects are."""
        if self._expert is not None:
            self._expert.forget()
            subscribe(MarkerArray, 'objects', self._on_objects)

    def _on_objects(self, message: object) -> None:
        from vla_adapter_ros.nodes.simulation.scene_markers import poses_from_markers

        self._expert.see(poses_from_markers(message))

    def _make_policy(self) -> ChunkPolicy:
        kind = self.parameters.policy
        if kind == 'hold':
            self.policy_name = 'hold (stands still)'
            return HoldPolicy(self.contract)
        if kind == 'random':
            seed = self.parameters.seed
            self.policy_name = f'random movements, seed {seed}: moves without purpose'
            return RandomMotionPolicy(self.contract, seed)
        if kind == 'expert':
            return self._make_expert()
        if ':' in kind:
            self.policy_name = kind
            return _make_own(kind, self.contract)
        policy = self._make_model(kind)
        if self.parameters.warm_up:
            policy.warm_up()
        return policy

    def _make_expert(self) -> ChunkPolicy:
        from vla_adapter_ros.simulation.expert.chunks import ExpertChunks

        self._expert = ExpertChunks(self.contract)
        self.policy_name = 'scripted expert (simulation)'
        return self._expert

    def _make_model(self, kind: str) -> ChunkPolicy:
        from vla_adapter_ros.inference.engine import EngineSettings
        from vla_adapter_ros.inference.policy import Policy

        p = self.parameters
        directory = p.checkpoint or shipped_checkpoint()
        if kind == 'random_network' or (not p.checkpoint and directory is None):
            self.policy_name = f'random weights, seed {p.seed}: moves without purpose'
            settings = EngineSettings(p.device, p.dtype, p.compile, p.threads)
            return Policy.random(self.contract, p.seed, settings=settings)
        self.policy_name = str(directory)
        return Policy.from_pretrained(
            directory,
            device=p.device,
            dtype=p.dtype,
            compile=p.compile,
            threads=p.threads,
            statistics_key=p.statistics_key or None,
        )

    def _check_contract(self, policy: ChunkPolicy) -> None:
        trained_for: RobotContract | None = getattr(policy, 'contract', self.contract)
        if trained_for is None:
            if policy.pipeline.proprio.size != self.contract.action_dim:
                raise CheckpointError(
                    f'{self.policy_name} has no robot contract and takes '
                    f'{policy.pipeline.proprio.size} proprioception values; robot '
                    f'{self.contract.name} gives {self.contract.action_dim}'
                )
            self._log.warning(
                f'{self.policy_name} has no robot contract: nobody can check that it fits '
                f'robot {self.contract.name}'
            )
            return
        if differences := self.contract.differences(trained_for):
            raise CheckpointError(
                f'robot {self.contract.name} is not what {self.policy_name} was trained for: '
                + '; '.join(differences)
            )

    def _load_kinematics(self) -> Kinematics | None:
        if self.contract.kinematics is None:
            return None
        try:
            return Kinematics.of(self.contract, self._contract_file.parent)
        except VLAAdapterError as error:
            if self.contract.action_space == 'ee_delta':
                raise
            self._log.warning(f'the workspace box is not checked: {error}')
            return None


def _make_own(path: str, contract: RobotContract) -> ChunkPolicy:
    """Return an instance of the user's class `package.module:Class`."""
    module, _, name = path.partition(':')
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise VLAAdapterError(f'parameter policy: {path!r} cannot be imported: {error}') from None
    return make(contract)
