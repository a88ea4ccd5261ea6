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
from vla_adapter_ros.control.loop import ControlLoop
from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.control.operator_stop import OperatorStop
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
from vla_adapter_ros.nodes.policy.live_parameters import input_settings
from vla_adapter_ros.nodes.policy.policy_outputs import PolicyOutputs
from vla_adapter_ros.nodes.policy.policy_parameters import (
    PolicyNodeParameters,
    check_policy,
    check_server,
    check_times,
)
from vla_adapter_ros.preflight import driver_checks
from vla_adapter_ros.preflight.checks import FAIL
from vla_adapter_ros.robot.contract import (
    DRIVER_SPEED_FRACTION,
    RobotContract,
    contract_path,
    load_contract,
)
from vla_adapter_ros.robot.kinematics import Kinematics

if TYPE_CHECKING:
    from vla_adapter_ros.inference.policy import Policy
    from vla_adapter_ros.server.remote_policy import RemotePolicy
    from vla_adapter_ros.simulation.expert.chunks import ExpertChunks

# Part of the time of the watchdog that a policy server gets, so that its lateness is said first.
_SERVER_TIME_FRACTION = 0.9
Subscribe = Callable[[type, str, Callable[[object], None]], None]


class PolicySetup:
    """The objects that live from configure to cleanup.

    Args:
        node: for logging, and for a look at the graph before motion is enabled.
        parameters: validated.
        outputs: where the loop's results go.
        wake: called from the worker's thread when a result is there.
        on_commander: called with a sentence when another program begins to command the arm.
        operator: the stop switches.
    """

    def __init__(
        self,
        node: Node,
        parameters: PolicyNodeParameters,
        outputs: PolicyOutputs,
        wake: Callable[[], None],
        on_commander: Callable[[str], None],
        operator: OperatorStop,
    ) -> None:
        check_policy(parameters.policy)
        check_server(parameters)
        check_times(parameters)
        self.parameters = parameters
        self._contract_file = contract_path(parameters.robot)
        self.contract = load_contract(self._contract_file)
        if parameters.enable and not self.contract.simulated:
            raise VLAAdapterError(
                f'parameter enable: true is for simulated robots (contract key simulated: true), '
                f'and {self.contract.name} is not one: call ~/enable when everything is ready'
            )
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
        self._on_commander = on_commander
        self._operator = operator
        self._expert: ExpertChunks | None = None
        self._remote: RemotePolicy | None = None
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
        inputs = Inputs(self.contract, input_settings(parameters))
        self._gate = gate = EnableGate(
            self._node, self.contract, inputs, parameters.image_transport,
            self._outputs.endpoints, self._obstacle(), self._on_commander,
        )  # fmt: skip
        loop = ControlLoop(
            self.contract,
            self._worker,
            CommandGate(self.contract, scheduler, safety, self._outputs),
            inputs,
            self._outputs,
            parameters.watchdog_timeout,
            lambda now: gate.problem(now, dry_run=loop.dry_run),
            self._operator,
        )
        loop.dry_run = parameters.dry_run
        return loop

    def release(self, timeout: float) -> None:
        """End the worker; a model that hangs is left behind, its results go nowhere."""
        if self._remote is not None:
            self._remote.close()  # the worker may be waiting for an answer
            self._remote = None
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
        policy = self._make_remote() if self.parameters.policy_server else self._make_model(kind)
        if self.parameters.warm_up:
            policy.warm_up()
        return policy

    def _make_expert(self) -> ChunkPolicy:
        from vla_adapter_ros.simulation.expert.chunks import ExpertChunks

        self._expert = ExpertChunks(self.contract)
        self.policy_name = 'scripted expert (simulation)'
        return self._expert

    def _make_remote(self) -> RemotePolicy:
        from vla_adapter_ros.server.access import token_of_environment
        from vla_adapter_ros.server.remote_policy import RemotePolicy

        url, timeout = self.parameters.policy_server, self.parameters.watchdog_timeout
        self._remote = remote = RemotePolicy(
            url, token_of_environment(), _SERVER_TIME_FRACTION * timeout, stop_requested
        )
        self.policy_name = f'{remote.served.provenance.get("checkpoint", "policy")} at {url}'
        return remote

    def _make_model(self, kind: str) -> Policy:
        p = self.parameters
        directory = p.checkpoint or shipped_checkpoint()
        if directory is None and kind != 'random_network':
            raise CheckpointError(
                'parameter checkpoint is empty, and this installation has no checkpoint of its '
                'own: give a directory (policy:=random_network runs random weights)'
            )
        from vla_adapter_ros.inference.exported import open_policy
        from vla_adapter_ros.weights.released import checkpoint_name, model_folder

        if kind == 'random_network':
            from vla_adapter_ros.inference.engine import EngineSettings
            from vla_adapter_ros.inference.policy import Policy

            self.policy_name = f'random weights, seed {p.seed}: moves without purpose'
            settings = EngineSettings(p.device, p.dtype, p.compile, p.threads)
            return Policy.random(self.contract, p.seed, settings=settings)
        directory = model_folder(directory, say=self._announce_download)
        self.policy_name = checkpoint_name(directory)
        policy = open_policy(
            directory,
            device=p.device,
            dtype=p.dtype,
            compile=p.compile,
            threads=p.threads,
            statistics_key=p.statistics_key or None,
        )
        if because := policy.provenance.get('dtype_because'):
            self._log.info(f'dtype {because}')
        return policy

    def _announce_download(self, what: str) -> None:
        self._log.warning(
            f'{what}; configuring waits for it. To download beforehand: '
            f'python -m vla_adapter_ros.weights.fetch {self.parameters.checkpoint}'
        )

    def _check_contract(self, policy: ChunkPolicy) -> None:
        trained_for: RobotContract | None = getattr(policy, 'contract', self.contract)
        if trained_for is None:
            self._check_unknown(policy)
        elif differences := self.contract.differences(trained_for):
            raise CheckpointError(
                f'robot {self.contract.name} is not what {self.policy_name} was trained for: '
                + '; '.join(differences)
            )

    def _check_unknown(self, policy: ChunkPolicy) -> None:
        """Refuse a policy without a contract, unless told to run it and its sizes fit."""
        name, robot = self.policy_name, self.contract
        if not self.parameters.accept_policy_without_contract:
            raise CheckpointError(
                f'{name} has no robot contract: its actions may mean something else on '
                f'{robot.name} (end-effector offsets, another step period or gripper sign). Give '
                'it a contract when it is trained or converted, or set '
                'accept_policy_without_contract: true'
            )
        pairs = []
        if (form := _input_form(policy)) is not None:
            size, cameras = form
            pairs = [
                ('proprioception values', size, robot.action_dim),
                ('cameras', sorted(cameras), sorted(robot.cameras)),
            ]
        period = getattr(policy, 'step_period', robot.step_period)
        pairs.append(('step period [s]', period, robot.step_period))
        for what, theirs, ours in pairs:
            if theirs != ours:
                raise CheckpointError(
                    f'{name} has no robot contract, and its {what} ({theirs}) are not those of '
                    f'robot {robot.name} ({ours})'
                )
        self._log.warning(f'{name} has no robot contract: nobody can check its actions')

    def _load_kinematics(self) -> Kinematics | None:
        if self.contract.kinematics is None:
            return None
        try:
            return Kinematics.of(self.contract, self._contract_file.parent)
        except VLAAdapterError as error:
            if self.contract.action_space == 'ee_delta':
                raise
            self._log.warning(f'no kinematics: {error}')
            return None

    def _obstacle(self) -> str:
        """Return why motion must not be enabled at all, or ''."""
        workspace = driver_checks.check_workspace(self.contract, self._contract_file.parent)
        return workspace.detail if workspace.verdict == FAIL else ''

    def watch(self) -> str:
        """Return why motion that is enabled must trip, or ''; call about once a second."""
        return '' if self._gate is None else self._gate.watch()


def _input_form(policy: ChunkPolicy) -> tuple[int, tuple[str, ...]] | None:
    """Return how many values and which images a policy takes, or None if it does not say."""
    if (served := getattr(policy, 'served', None)) is not None:
        return served.state_size, served.processing.cameras
    if (pipeline := getattr(policy, 'pipeline', None)) is not None:
        return pipeline.proprio.size, pipeline.config.cameras
    return None


def _make_own(path: str, contract: RobotContract) -> ChunkPolicy:
    """Return an instance of the user's class `package.module:Class`."""
    module, _, name = path.partition(':')
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise VLAAdapterError(f'parameter policy: {path!r} cannot be imported: {error}') from None
    return make(contract)
