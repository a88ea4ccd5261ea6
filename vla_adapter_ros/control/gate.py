# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The gate through which every command to an arm leaves: of a policy, of a person, of a stop.

It owns the motion, knows where the arm is measured, and is the only one that hands commands to
the driver. What leaves starts where the arm is, within what it may lag behind, and keeps the
limits of the contract:

* Motion goes on only while the measured arm is within the positions that were commanded over the
  last `lag` seconds, and `soft_tracking_error` beyond. An arm that is left farther behind makes
  the command wait close to it; one that does not come closer, or is beyond
  `hard_tracking_error`, is a fault.
* A stop brakes along the commanded path, which the driver follows anyway. But if the arm is not
  where it was commanded to be (blocked, pushed, restarted), the stop is at the measured pose: the
  old command would throw it back, or push on.
* If the arm is at rest, a stop sends nothing: a driver that was restarted meanwhile must not be
  moved to an old target.
* Without joint states, or with values that cannot be, nobody knows where the arm is. A driver
  that lives still follows the commanded path, so the brake is along that path; after it nothing
  is sent, not even by a front end that is streamed.
* Joint states that repeat bit by bit may be old ones. A stop brakes along the commanded path
  first, and then goes gently from the command to them.

Not thread-safe: one control loop owns it. `now` is the motion clock (clock.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.front_ends import Command, FrontEnd, make_front_end
from vla_adapter_ros.control.grip_limit import resumed_opening
from vla_adapter_ros.control.safety import SafetyFilter
from vla_adapter_ros.control.tracking import FAULT, WAIT, ArmWatch
from vla_adapter_ros.inference.chunk import ActionChunk
from vla_adapter_ros.motion.plan import MotionPlan
from vla_adapter_ros.motion.scheduler import ChunkScheduler
from vla_adapter_ros.robot.action_space import MotionError
from vla_adapter_ros.robot.contract import RobotContract

# Difference allowed between the start of a plan and where it must start [rad].
_START_TOLERANCE_RAD = 5e-3
# A measured jump is believed if the joint states agree with it for this long [s].
_CONFIRM_S = 0.3
# A command of a stream may leave this fraction of its period early.
_EARLY = 0.25
# A driver may repeat its last values for this long [s]; Alicia-D's refresh at 20 Hz.
_REPEATED_S = 0.12


class Driver(Protocol):
    """Takes what the gate lets through."""

    def send(self, command: Command) -> None:
        """Send one command to the driver of the arm."""
        ...

    def plan(self, plan: MotionPlan) -> None:
        """Show the plan that was just sent."""
        ...


class CommandGate:
    """Moves and stops an arm.

    Args:
        contract: limits and bounds.
        scheduler: turns chunks into motion; nobody else changes it.
        safety: checks what leaves; its trips latch.
        driver: takes the commands; nobody else sends it any.
        sleep: waits for so long [s], while the end of a stop is streamed.
    """

    def __init__(
        self,
        contract: RobotContract,
        scheduler: ChunkScheduler,
        safety: SafetyFilter,
        driver: Driver,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self.contract = contract
        self.scheduler = scheduler
        self.safety = safety
        self.engaged = False
        self.refusal = ''
        self._driver = driver
        # The scheduler's motion was only shown, not sent.
        self._rehearsed = False
        self._front_end: FrontEnd = make_front_end(contract)
        self._bounds = contract.supervision
        self._watch = ArmWatch(contract)
        self._measured = self._watch.measured
        self._gripper_seen: float | None = None
        self._blind = False
        # Whether the arm was not where it was commanded to be: no stop may be along that path.
        self.astray = False
        self._confirm_until = -math.inf
        # The last joint state was a jump, which may be false.
        self._false_pose = False
        self._stop_unsent = False
        self._pause = ''
        self._next_stream = 0.0
        self._stream_until = -math.inf

    # -- where the arm is -------------------------------------------------------------------

    def observe(self, state: np.ndarray, arrival: Arrival) -> None:
        """Take a joint state (J + 1,) that is plausible."""
        self._notice_pause(arrival.now)
        self._measured.observe(state, arrival.made)
        if self.engaged and not self._blind:
            self._gripper_seen = float(state[-1])
            self._record(arrival.now)
            commanded = float(self.scheduler.commanded(arrival.now)[0][-1])
            self._front_end.observe(float(state[-1]), commanded, arrival.now)
        stopping = self._stop_unsent or arrival.now <= self._stream_until
        if (self.engaged or stopping) and not self._blind:
            self._watch.compare()
            if not self.engaged and self._watch.strayed:
                # The rest of a stop that is streamed would lead back to the old path.
                self._stream_until = -math.inf
        # Measured where the command is, a jump was false; elsewhere, it may be false for a while.
        if self._stop_unsent and (arrival.now >= self._confirm_until or not self._watch.strayed):
            self._send_stop(arrival.now)

    def lose(self, now: float, confirm: bool = False) -> None:
        """Take a joint state that cannot be: where the arm is is not known.

        Args:
            now: time [s].
            confirm: it may be true if those that follow agree (a measured jump): a stop waits
                for that before it is sent.
        """
        self._measured.forget()
        self._false_pose = confirm
        if confirm and not self.engaged:
            self._stream_until = -math.inf
        if not self._stop_unsent:
            self._confirm_until = now + _CONFIRM_S if confirm else -math.inf

    def miss(self, now: float) -> None:
        """Brake: joint states are missing. Nothing is streamed after the brake until `engage`."""
        self._blind = True
        self.brake(now)

    def moved(self, now: float) -> str:
        """Return which joint was moved while joint states were missing, or ''."""
        if not self._measured.known:
            return ''
        moved = self._watch.moved(self.scheduler.commanded(now)[0])
        if not moved:
            return ''
        self._blind, self.astray = False, True
        return f'{moved} while joint states were missing'

    # -- motion -----------------------------------------------------------------------------

    @property
    def waiting(self) -> str:
        """Why the command waits for the arm; '' if it does not."""
        return self._watch.waiting

    def expected(self, now: float) -> np.ndarray | None:
        """Return the command (J + 1,) that the arm should follow now; None if it should not."""
        if not self.engaged or self.waiting:
            return None
        return self.scheduler.commanded(now)[0]

    def stopping(self, now: float) -> bool:
        """Return whether a stop is still being executed; until it is over, do not `engage`."""
        moving = self.scheduler.moving(now) and not self._rehearsed
        return not self.engaged and (self._stop_unsent or moving)

    def engage(self, measured: np.ndarray, now: float, held_since: bool = True) -> None:
        """Command the arm from where it is held or measured (J + 1,); nothing moves yet.

        A joint keeps the target at which it is held if it is close to it.

        Args:
            measured: joint state.
            now: time [s].
            held_since: false after joint states were missing: a driver that was restarted
                meanwhile holds the measured pose.
        """
        position = np.array(measured, dtype=float)
        if self.scheduler.started and not self._rehearsed:
            held = self.scheduler.commanded(now)[0]
            tolerance = self._bounds.held_tolerance if held_since else 0.0
            near = np.abs(held - position)[:-1] <= tolerance
            position[:-1][near] = held[:-1][near]
            position[-1] = self._gripper_to_hold(float(held[-1]), float(measured[-1]))
        self._front_end.restart(float(measured[-1]))
        self._rehearsed = False
        self.scheduler.reset(position, now)
        self._watch.restart(position[:-1], now)
        self._watch.waiting = ''
        self._stop_unsent = self._blind = self.astray = self._false_pose = False
        self._next_stream = now
        self.engaged = True

    def follow(self, chunk: ActionChunk, now: float, observed: np.ndarray) -> MotionPlan | None:
        """Make a chunk the motion of the arm.

        Args:
            chunk: its observation stamp is on the motion clock.
            now: time [s].
            observed: (J + 1,) joint state of the chunk's observation.

        Returns:
            The plan that was sent, or None; `refusal` then says why, and a fault of the policy
            has tripped `safety`.
        """
        self.refusal = self._not_ready()
        if self.refusal:
            return None
        plan = self.scheduler.accept(chunk, now, observed)
        if plan is None:
            self.refusal = self.scheduler.last_refusal
            return None
        return plan if self._send(plan, now) else None

    def travel(self, goal: np.ndarray, now: float, velocity_scale: float) -> MotionPlan | None:
        """Go straight to a pose, in joint space, and stay there.

        Args:
            goal: (J + 1,) in contract order, within limits.
            now: time [s].
            velocity_scale: fraction of the arm's velocity limits to use.

        Returns:
            The plan that was sent, or None; `refusal` then says why.
        """
        self.refusal = self._not_ready()
        if self.refusal:
            return None
        try:
            plan = self.scheduler.travel(goal, now, velocity_scale)
        except MotionError as error:
            self.refusal = str(error)
            return None
        return plan if self._send(plan, now) else None

    def rehearse(
        self, chunk: ActionChunk, now: float, observed: np.ndarray, measured: np.ndarray
    ) -> MotionPlan | None:
        """Show the plan that a chunk would be, from where the arm is; send nothing.

        Args:
            chunk: its observation stamp is on the motion clock.
            now: time [s].
            observed: (J + 1,) joint state of the chunk's observation.
            measured: (J + 1,) joint state now, where the plan starts.

        Returns:
            The plan, or None; `refusal` then says why.
        """
        if not self.quiet(now):
            self.refusal = 'the arm is still stopping'
            return None
        self._rehearsed = True
        self.scheduler.reset(measured, now)
        plan = self.scheduler.accept(chunk, now, observed)
        if plan is None:
            self.refusal = self.scheduler.last_refusal
        else:
            self._driver.plan(plan)
        return plan

    def quiet(self, now: float) -> bool:
        """Return whether nothing more is sent until `engage`."""
        return not (self.engaged or self._stop_unsent or now <= self._stream_until)

    def brake(self, now: float) -> None:
        """Stop and stay engaged: a fault that may pass. Repeated calls change nothing."""
        if self.engaged and self.scheduler.moving(now) and not self._braking:
            self._send_stop(now)

    def stop(self, now: float) -> None:
        """Stop; nothing more is sent after that until `engage`."""
        if not self.engaged:
            return
        self._notice_pause(now)
        self._record(now)
        self.engaged = False
        # A command that waits would go on pushing.
        self.astray = self.astray or bool(self._watch.waiting)
        self._watch.waiting = ''
        self._stream_until = -math.inf
        # A stream that falls silent leaves the arm at its last target. After a jump that is the
        # only place where it may be: neither the command nor the measured pose can be trusted.
        silent = self._false_pose and self._front_end.rate > 0.0
        self._stop_unsent = not silent
        if not silent and (now >= self._confirm_until or self._measured.known):
            # A brake that is being streamed goes on to its end.
            self._stream_until = self.scheduler.plan.end if self._braking else -math.inf
            self._send_stop(now)
        # A gripper with a speed of its own may move when the plan has come to rest.
        for command in self._front_end.stop(now):
            self._driver.send(command)

    def tick(self, now: float) -> str:
        """Watch the arm and stream; call in every control cycle.

        Returns:
            Why motion must trip, or ''. The caller trips `safety` and calls `stop`.
        """
        if self._stop_unsent and now >= self._confirm_until:
            self._send_stop(now)
        if self._going(now):
            self._record(now)
        if self.engaged and (fault := self._fault(now)):
            self.astray = True
            return fault
        self.stream(now)
        if self._going(now):
            for command in self._front_end.due(now):
                self._driver.send(command)
        return ''

    def pause(self, now: float) -> str:
        """Notice that a streamed front end paused; returns one line, or ''.

        Call at the begin of every control cycle.
        """
        self._notice_pause(now)
        line, self._pause = self._pause, ''
        return line

    def set_instruction(self, instruction: str, now: float) -> None:
        """Take the instruction of the next chunk; may stop the motion for the old one."""
        if not self.scheduler.started:
            return
        plan = self.scheduler.set_instruction(instruction, now)
        if plan is not None and self.engaged:
            self._send(plan, now)

    def stream(self, now: float) -> None:
        """Send the next command of a streamed front end, if it is due."""
        # A cycle that is a little early must not wait for the next: that command would be twice
        # as far away.
        if not self._front_end.rate or now < self._next_stream - _EARLY / self._front_end.rate:
            return
        if self._going(now):
            self._driver.send(self._front_end.stream(self.scheduler, now))
        self._next_stream = max(self._next_stream + 1.0 / self._front_end.rate, now)

    def finish(self, now: float) -> None:
        """Send the rest of a stop that is being streamed: nobody will call `tick` any more."""
        if self._stop_unsent:
            self._send_stop(now)
        while self._front_end.rate and now <= self._stream_until:
            self._sleep(1.0 / self._front_end.rate)
            now += 1.0 / self._front_end.rate
            self.scheduler.update(now)
            self._driver.send(self._front_end.stream(self.scheduler, now))
        self._stream_until = -math.inf

    # -- inside -----------------------------------------------------------------------------

    def _notice_pause(self, now: float) -> None:
        """Take back what was not streamed, before anything is compared with it."""
        if self.scheduler.started and (line := self.scheduler.update(now)):
            self._pause = line if self.engaged else ''
            self._next_stream = now
            # The arm stands at its last target; while it is engaged, that goes on being streamed.
            self._stream_until = -math.inf

    def _going(self, now: float) -> bool:
        """Whether commands leave in every cycle: motion is enabled and seen, or being stopped."""
        return (self.engaged and not self._blind) or now <= self._stream_until

    @property
    def _braking(self) -> bool:
        return self.scheduler.plan.kind == 'hold'

    def _record(self, now: float) -> None:
        self._watch.commanded.record(self.scheduler.commanded(now)[0][:-1], now)

    def _not_ready(self) -> str:
        if not self.engaged:
            return 'motion is not enabled'
        if self._blind or not self._measured.known:
            return 'joint states are missing'
        return self.waiting or self._watch.strayed

    def _fault(self, now: float) -> str:
        """Watch how the arm follows; returns why motion must trip, or ''."""
        if self._blind:
            return ''
        commanded, moving = self.scheduler.commanded(now)[0], self.scheduler.moving(now)
        verdict, why = self._watch.judge(commanded, moving, now)
        if verdict == WAIT:
            self._send_stop(now, reach=self._watch.reach)
        return why if verdict == FAULT else ''

    def _gripper_to_hold(self, held: float, measured: float) -> float:
        beyond = self.contract.gripper.grip_beyond_contact
        return resumed_opening(held, measured, self._gripper_seen, beyond)

    def _send_stop(self, now: float, reach: float = 0.0) -> None:
        """Send the plan that stops the arm, if there is anything to stop."""
        known, moving = self._measured.known, self.scheduler.moving(now)
        elsewhere = known and not self._blind and (self.astray or self._watch.strayed)
        # Values that repeat bit by bit may be old ones: brake along the commanded path first.
        first = elsewhere and moving and self._doubtful
        # What is engaged is watched on; a stop goes on here, once that brake is over.
        self._stop_unsent = first and not self.engaged
        if elsewhere and not first:
            self._send_near(now, reach)
        elif moving and not self._braking:
            if self._check(plan := self.scheduler.hold(now), now):
                self._transmit(plan)
            elif self._measured.known:
                self._send_near(now, 0.0)

    @property
    def _doubtful(self) -> bool:
        return self._measured.known and self._measured.unchanged > _REPEATED_S

    def _send_near(self, now: float, reach: float) -> None:
        """Rest at the measured pose, or up to `reach` [rad] from it towards the command."""
        state, velocity = self._measured.state, self._measured.velocity
        doubtful = self._doubtful and not self.scheduler.moving(now)
        plan = self.scheduler.hold_near(state[:-1], velocity, now, reach, doubtful)
        good = self._check(plan, now)
        self._watch.restart(state[:-1] if doubtful else plan.arm.positions[0], now)
        if good:
            self._transmit(plan)

    def _send(self, plan: MotionPlan, now: float) -> bool:
        if self._check(plan, now):
            self._transmit(plan)
            return True
        self._send_near(now, 0.0)
        return False

    def _check(self, plan: MotionPlan, now: float) -> bool:
        """Check a plan; one that must not leave trips."""
        fault = self.safety.check_plan(plan) or self._start_fault(plan, now)
        if fault:
            self.refusal = fault
            self.safety.trip(f'a {plan.kind} plan must not leave: {fault}')
        return not fault

    def _start_fault(self, plan: MotionPlan, now: float) -> str:
        """Return which joint starts neither on the commanded path nor at the arm, or ''."""
        start = plan.sample(now)[0][:-1]
        last, when = self._watch.commanded.latest
        travel = self.contract.max_velocity[:-1] * (now - when) + _START_TOLERANCE_RAD
        away = np.abs(start - last)
        bad = away > travel
        if self._measured.known:
            bad &= np.abs(start - self._measured.state[:-1]) > _START_TOLERANCE_RAD
        if not bad.any():
            return ''
        joint = int(np.where(bad, away, 0.0).argmax())
        name = self.contract.joint_names[joint]
        return f'{name} would start {away[joint]:.2f} rad from its command'

    def _transmit(self, plan: MotionPlan) -> None:
        for command in self._front_end.on_plan(plan):
            self._driver.send(command)
        # A streamed front end gets a stop step by step (`stream`), then silence.
        self._stream_until = plan.start + float(plan.arm.times[-1])
        self._driver.plan(plan)
