# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Evaluated episodes on the real nodes: `sim_arm` in this process, the policy node in its own.

Everything between them is real: DDS, the executable with its parameters, lifecycle, services. The
simulated arm lives here so that the referee sees the true scene after every physics step, as it
does in process.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import Trigger

from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.evaluation.rollout import EpisodeJob, EpisodeResult, Referee
from vla_adapter_ros.evaluation.simulate import EvaluationSettings
from vla_adapter_ros.nodes.bringup.bringup import (
    Bringup,
    BringupError,
    parameter_file,
    ros_arguments,
)
from vla_adapter_ros.nodes.bringup.launch_model import NodeProcess
from vla_adapter_ros.nodes.bringup.nodes_to_start import nodes_to_start
from vla_adapter_ros.nodes.common.dds_profile import use_shipped_profile
from vla_adapter_ros.nodes.common.lifecycle_client import wait_until_connected
from vla_adapter_ros.nodes.common.policy_client import PolicyClient, PolicyReport
from vla_adapter_ros.nodes.simulation.episode_film import EpisodeFilm
from vla_adapter_ros.nodes.simulation.sim_arm_node import SimArmNode

_POLL_PERIOD_S = 0.05
# Other nodes have announced themselves within this [s].
_DISCOVERY_S = 1.0
# A service of a living node answers within this, and its inputs arrive [s].
_ANSWER_TIMEOUT_S = 20.0
# Commands that were sent before the policy was deactivated have arrived within this [s].
_LAST_COMMANDS_S = 0.1
# Simulated time that has not moved for this long never will [s]; beyond `_PATIENT_WATCHDOG`.
_STALL_TIMEOUT_S = 90.0
# Two ticks of /clock [s]: less cannot be measured on it.
_MIN_LATENCY_S = 0.02
# Of joint states and images in simulated time [Hz]: most of what a judgement costs are messages
# that no inference uses. In real time they are those of the sim_arm node, 100 and 30.
_RATES = {'state_rate': 50.0, 'camera_rate': 20.0}
# In simulated time a slow machine is not the policy's fault [s].
_PATIENT_WATCHDOG = 60.0


class EvaluationRig:
    """Starts the nodes, runs episodes one by one, stops the nodes; a context manager.

    Args:
        settings: of the evaluation.
        policy: parameters of the policy node that choose the policy.

    Attributes:
        film: of the last episode, if its job asked for one.
    """

    def __init__(self, settings: EvaluationSettings, policy: Mapping[str, Any]) -> None:
        self._settings = settings
        self._processes = nodes_to_start({
            'sim': 'true', 'robot': settings.robot, 'enable': 'false',
            'use_sim_time': str(settings.sim_time_rate > 0.0),
        })
        self._policy_parameters = {**policy, **_policy_parameters(settings)}
        self._stack = contextlib.ExitStack()
        self._time_seen = (0.0, 0.0)
        self.film: list[np.ndarray] = []

    def __enter__(self) -> EvaluationRig:
        """Start everything and configure the policy.

        Raises:
            VLAAdapterError: a node cannot start, the policy cannot load, or another arm is there.
        """
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the nodes: the policy first."""
        self._stack.close()

    def _start(self) -> None:
        use_shipped_profile(sim=True)
        arm, policy = self._processes
        self._stack.callback(rclpy.try_shutdown)
        self._sim = self._start_sim(arm)
        self._client = PolicyClient()
        self._executor = SingleThreadedExecutor()
        self._stack.callback(self._executor.shutdown)
        self._executor.add_node(self._sim)
        self._executor.add_node(self._client)
        self._logs = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        policy = replace(policy, parameters={**policy.parameters, **self._policy_parameters})
        self._bringup = Bringup([policy], self._logs, lambda line: None)
        self.wait_for(_DISCOVERY_S)
        self._check_alone(policies=0)
        self._stack.enter_context(self._bringup)
        try:
            self._bringup.activate()
        except BringupError as error:
            raise BringupError(self._last_error(policy) or str(error)) from None
        lost = self._bringup.first_ended
        if why := wait_until_connected(self._client.get_state, self._executor, lambda _: lost()):
            raise BringupError(why)
        self._check_alone(policies=1)
        self.call(self._client.deactivate(), 'deactivate')

    def _start_sim(self, process: NodeProcess) -> SimArmNode:
        parameters = dict(process.parameters)
        if self._settings.sim_time_rate > 0.0:
            parameters['real_time_factor'] = self._settings.sim_time_rate
            parameters.update(_RATES)
        with parameter_file(parameters) as file:
            # For the client too, which is in the same namespace.
            arguments = ros_arguments(replace(process, log_level='error'), file)
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            sim = SimArmNode()
        self._stack.callback(sim.destroy_node)
        self._stack.callback(sim.close)
        return sim

    def _check_alone(self, policies: int) -> None:
        """Refuse to send commands where another arm, simulation or policy might be."""
        expected = {'joint_states': 1, 'vla_adapter/status': policies}
        others = [
            topic
            for topic, count in expected.items()
            if self._client.count_publishers(topic) > count
        ]
        if others:
            raise VLAAdapterError(
                f'someone else publishes {" and ".join(others)}: stop the other nodes, or set '
                'another ROS_DOMAIN_ID'
            )

    def _last_error(self, process: NodeProcess) -> str:
        """Return the last error in a node's log, without time and name."""
        lines = (self._logs / f'{process.name}.log').read_text(errors='replace').splitlines()
        head = f'[{process.logger}]: '
        errors = [line.partition(head)[2] for line in lines if '[ERROR]' in line]
        return next((line for line in reversed(errors) if line), lines[-1] if lines else '')

    # -- one episode ------------------------------------------------------------------------

    def run(
        self, job: EpisodeJob, before_motion: Callable[[], None] | None = None
    ) -> EpisodeResult:
        """Run one episode; the arm stands still at its end.

        Args:
            job: which episode.
            before_motion: called when the scene, the instruction and fresh inputs are there.

        Raises:
            VLAAdapterError: no such episode, or a node was lost or does not answer.
        """
        client = self._client
        # A stop of the last episode that is still under way would move the arm in this one.
        self.wait_for(_LAST_COMMANDS_S)
        referee = self._sim.arrange(
            lambda simulation: Referee(simulation, job, self._settings.options)
        )
        client.forget()
        self.call(client.set_instruction(referee.task.instruction), 'set_instruction')
        self.call(client.activate(), 'activate')
        self.call(client.clear_trip(), 'clear_trip')
        before = self._fresh_report()
        errors_before = self._error()
        if before_motion is not None:
            before_motion()
        self._enable()
        with self._sim.lock:
            referee.start()
        film = EpisodeFilm(tuple(self._sim.contract.cameras))
        self._sim.after_image = film.add if job.film else None
        self._sim.after_step = referee.look
        tripped = self._play(referee)
        self._sim.after_step = self._sim.after_image = None
        self._sim.wait_at = math.inf
        self.film = film.frames
        after = self._next_report()
        failure = '' if referee.success or self._error() == errors_before else self._error()[0]
        self.call(client.deactivate(), 'deactivate')
        chunks = after.chunks - before.chunks
        return referee.result(
            chunks=chunks,
            refused=chunks - (after.accepted - before.accepted),
            failure=tripped or failure,
            inference=float(np.nanmean(client.inference)) if client.inference else 0.0,
        )

    def _enable(self) -> None:
        """Ask until the node agrees: an input may be late at this very moment."""
        answers = []

        def agreed() -> bool:
            future = self._client.enable()
            self._wait(future.done, lambda: 'vla_adapter did not answer to enable')
            answers.append(future.result())
            if not answers[-1].success:
                # Someone whom we had not discovered when we looked, or who came later.
                self._check_alone(policies=1)
            return answers[-1].success

        self._wait(agreed, lambda: f'vla_adapter: {answers[-1].message}')

    def _play(self, referee: Referee) -> str:
        """Run until the episode is over or the node has tripped; returns the trip's reason."""
        self._time_seen = (self._sim.simulation.time, time.monotonic())
        status = None
        while not referee.over:
            self._spin()
            self._wait_for_policy()
            self._check_time_goes_on()
            status = self._client.status
            if status is not None and status.state == status.TRIPPED:
                with self._sim.lock:
                    referee.end()
                return status.reason
        return ''

    def _wait_for_policy(self) -> None:
        """Let simulated time go no further than the policy may be late.

        It runs in its own process: on a busy machine it would get less of this time than it needs.
        """
        acted, latency = self._client.heartbeat, self._settings.control.latency
        if acted is not None:
            self._sim.wait_at = acted + max(latency, _MIN_LATENCY_S)

    def _check_time_goes_on(self) -> None:
        now, steady = self._sim.simulation.time, time.monotonic()
        if now > self._time_seen[0]:
            self._time_seen = (now, steady)
        elif steady - self._time_seen[1] > _STALL_TIMEOUT_S:
            raise VLAAdapterError(
                f'sim_arm stands still at {now:.2f} s: cameras or policy do not answer'
            )

    def _error(self) -> tuple[str, Any]:
        status = self._client.status
        return (status.last_error, status.last_error_stamp) if status else ('', None)

    def _fresh_report(self) -> PolicyReport:
        """Return the first report in which every input of the policy is fresh."""
        client = self._client

        def missing() -> str:
            return f'the policy still has {client.report.waiting if client.report else "nothing"}'

        self._wait(lambda: client.report is not None and not client.report.waiting, missing)
        assert client.report is not None
        return client.report

    def _next_report(self) -> PolicyReport:
        seen = self._client.reports
        self._wait(lambda: self._client.reports > seen, lambda: '/diagnostics stopped')
        assert self._client.report is not None
        return self._client.report

    # -- waiting ----------------------------------------------------------------------------

    def _spin(self) -> None:
        self._executor.spin_once(timeout_sec=_POLL_PERIOD_S)
        if ended := self._bringup.first_ended():
            raise VLAAdapterError(f'node {ended} while the evaluation ran')

    def _wait(self, condition: Callable[[], bool], problem: Callable[[], str]) -> None:
        end = time.monotonic() + _ANSWER_TIMEOUT_S
        while not condition():
            self._spin()
            if time.monotonic() > end:
                raise VLAAdapterError(f'{problem()} after {_ANSWER_TIMEOUT_S:g} s')

    def call(self, future: Future, doing: str, node: str = 'vla_adapter') -> str:
        """Wait for the answer of a service and return its message, '' if it has none.

        Raises:
            VLAAdapterError: no answer in time, or it is no success.
        """
        self._wait(future.done, lambda: f'{node} did not answer to {doing}')
        answer = future.result()
        message = getattr(answer, 'message', '')
        if not answer.success:
            raise VLAAdapterError(f'{node}: {doing} failed: {message or self._error()[0]}')
        return message

    def wait_for(self, seconds: float) -> None:
        """Let the nodes run on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._spin()

    def trigger(self, name: str) -> Client:
        """Return a client of a service without arguments."""
        return self._client.create_client(Trigger, name)


def _policy_parameters(settings: EvaluationSettings) -> dict[str, Any]:
    control, model = settings.control, settings.model
    parameters = {
        'execute_steps': control.execute_steps,
        'blend_steps': control.blend_steps,
        'device': model.device,
        'dtype': model.dtype,
        'threads': model.threads,
        'diagnostics_period': 0.1,
    }
    if settings.sim_time_rate > 0.0:
        parameters['watchdog_timeout'] = parameters['max_chunk_age'] = _PATIENT_WATCHDOG
        # The loop's period is real time; in simulated time it shall stay 20 ms or less.
        parameters['control_rate'] = float(np.clip(50.0 * settings.sim_time_rate, 50.0, 500.0))
    return parameters
