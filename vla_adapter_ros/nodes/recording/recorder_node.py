# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""The recorder: demonstrations as bags, one episode each, started and ended by services.

    ros2 service call /recorder/start std_srvs/srv/Trigger
    ros2 service call /recorder/stop std_srvs/srv/Trigger        # keeps the episode
    ros2 service call /recorder/stop_success std_srvs/srv/Trigger   # and marks it; stop_failure
    ros2 service call /recorder/discard std_srvs/srv/Trigger     # drops it, or the last one kept

Whatever commands the arm (policy, expert, leader arm, drag teaching) is recorded the same way.
Messages are written as they come, undecoded. What a killed recorder left is recovered at the next
start.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vla_adapter_ros.data.bags.metadata import SUCCESS
from vla_adapter_ros.data.bags.recorder import (
    EpisodeRecorder,
    EpisodeReport,
    RecordedTopic,
    next_episode_name,
)
from vla_adapter_ros.data.bags.unfinished import recover_abandoned
from vla_adapter_ros.data.files import remove_folder
from vla_adapter_ros.errors import VLAAdapterError
from vla_adapter_ros.nodes.common.node_main import run_node
from vla_adapter_ros.nodes.common.parameters import declare_parameters, read_parameters
from vla_adapter_ros.nodes.recording.recorder_inputs import RecorderInputs, message_type
from vla_adapter_ros.nodes.recording.recorder_parameters import (
    CHUNK,
    IMAGE,
    LIVE_PARAMETERS,
    RecorderParameters,
    recorded_topics,
)
from vla_adapter_ros.robot.contract import resolve_contract

_NAME = 'recorder'
_NANOSECONDS = 1e9


def _profile(topic: RecordedTopic) -> QoSProfile:
    # Best effort matches every publisher of sensor data; commands must not be lost.
    reliability = ReliabilityPolicy.BEST_EFFORT if topic.required else ReliabilityPolicy.RELIABLE
    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1 if topic.latched else 50,
        reliability=reliability,
        durability=durability,
    )


class RecorderNode(Node):
    """Node `recorder`; docs/data.md lists its topics and services."""

    def __init__(self) -> None:
        super().__init__(_NAME, automatically_declare_parameters_from_overrides=True)
        declare_parameters(self, RecorderParameters, LIVE_PARAMETERS)
        self._settings = read_parameters(self, RecorderParameters)
        self._contract = resolve_contract(self._settings.robot)
        self._recorder: EpisodeRecorder | None = None
        self._started = 0
        self._last: EpisodeReport | None = None
        self._instruction = ''
        self._use_folder()
        self._topics = [self._resolved(topic) for topic in self._wanted_topics()]
        self._inputs = RecorderInputs(self._contract, self._topics, self._publishing)
        for topic in self._topics:
            self._subscribe(topic)
        for name, action in (
            ('start', self._start), ('stop', self._stop), ('discard', self._discard),
            ('stop_success', partial(self._stop, True)),
            ('stop_failure', partial(self._stop, False)),
        ):  # fmt: skip
            self.create_service(Trigger, f'~/{name}', partial(self._serve, name, action))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(self._settings.diagnostics_period, self._on_timer)
        self.get_logger().info(f'ready; episodes go to {self._folder}')

    def _use_folder(self) -> None:
        """Record to the folder of the parameters from now on."""
        self._folder = Path(self._settings.folder).expanduser().resolve()
        # In the background: a long recording takes longer than anybody waits for a node.
        threading.Thread(
            target=self._recover, args=(self._folder,), name='recovery', daemon=True
        ).start()

    def _recover(self, folder: Path) -> None:
        try:
            for recovery in recover_abandoned(folder):
                self.get_logger().warning(str(recovery))
        except Exception as error:
            self.get_logger().error(f'recovery in {folder} failed: {error!r}')

    def _wanted_topics(self) -> list[RecordedTopic]:
        definition = chunk_definition()
        if definition is None and self._settings.action_chunk_topic:
            self.get_logger().warning('ActionChunk.msg was not found; chunks are not recorded')
        return recorded_topics(self._settings, self._contract, definition)

    def _resolved(self, topic: RecordedTopic) -> RecordedTopic:
        # The bag has the names that other nodes use, after remapping and namespace.
        return replace(topic, name=self.resolve_topic_name(topic.name))

    def _subscribe(self, topic: RecordedTopic) -> None:
        kind, callback = message_type(topic.kind), partial(self._on_message, topic)
        self.create_subscription(kind, topic.name, callback, _profile(topic), raw=True)

    def _publishing(self, topic: str) -> list[str]:
        return sorted({info.node_name for info in self.get_publishers_info_by_topic(topic)})

    def _now(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_message(self, topic: RecordedTopic, data: bytes) -> None:
        now = self._now()
        if topic.required:
            self._inputs.receive(topic.name, now, data)
        if topic.role == 'instruction':
            self._instruction = deserialize_message(data, String).data.strip()
        if self._recorder is not None:
            self._recorder.write(topic.name, now, data)

    # Services ----------------------------------------------------------------------------------

    def _serve(
        self,
        name: str,
        action: Callable[[], str],
        request: Trigger.Request,
        response: Trigger.Response,
    ) -> Trigger.Response:
        try:
            response.message = action()
            response.success = True
            self.get_logger().info(f'{name}: {response.message}')
        except (VLAAdapterError, OSError) as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(f'{name}: {error}')
        return response

    def _start(self) -> str:
        if self._recorder is not None:
            raise VLAAdapterError(f'{self._recorder.path.name} is being recorded already')
        before, self._settings = self._settings, read_parameters(self, RecorderParameters)
        if self._settings.folder != before.folder:
            self._use_folder()
        now = self._now()
        if problem := self._inputs.problem(now, self._settings.fresh_within):
            raise VLAAdapterError(problem)
        fixed = self._settings.instruction.strip()
        instruction = fixed or self._instruction
        if not instruction:
            topic = self._settings.instruction_topic
            also = f', or say it on {topic}' if topic else ''
            raise VLAAdapterError(f'no instruction: set the parameter instruction{also}')
        # A text of our own must not be contradicted by one on the topic.
        topics = [t for t in self._topics if not (fixed and t.role == 'instruction')]
        name = next_episode_name(self._folder)
        encoded = {t.name for t in topics if t.kind == IMAGE and self._settings.images == 'jpeg'}
        self._recorder = EpisodeRecorder(
            self._folder, name, topics, self._contract, instruction,
            {'operator': self._settings.operator}, encode=encoded,
        )  # fmt: skip
        self._started = now
        return f'recording {name}: {instruction}'

    def _stop(self, success: bool | None = None) -> str:
        recorder = self._taken()
        mark = {} if success is None else {SUCCESS: json.dumps(success)}
        self._last = recorder.finish(mark)
        for problem in self._last.problems:
            self.get_logger().warning(f'{self._last.name}: {problem}')
        marked = {True: 'success', False: 'failure', None: 'not marked'}[success]
        return '\n'.join([*self._last.lines(), f'  {marked}'])

    def _discard(self) -> str:
        if self._recorder is not None:
            recorder = self._taken()
            recorder.discard()
            return f'{recorder.path.name} was not kept'
        if self._last is None:
            raise VLAAdapterError('nothing to discard: no episode since the recorder started')
        path, self._last = self._last.path, None
        remove_folder(path)
        return f'{path.name} was removed'

    def _taken(self) -> EpisodeRecorder:
        if self._recorder is None:
            raise VLAAdapterError('no episode is being recorded')
        recorder, self._recorder = self._recorder, None
        return recorder

    # Watching ----------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._end_if_needed()
        name = self.get_fully_qualified_name().lstrip('/')
        status = DiagnosticStatus(name=name, hardware_id=self._contract.name)
        recorder = self._recorder
        if recorder is None:
            status.message = 'idle'
        else:
            status.message = f'recording {recorder.path.name}'
            status.values = [
                KeyValue(key=name, value=f'{count} messages')
                for name, count in recorder.counts().items()
            ]
        lost = {} if recorder is None else recorder.losses()
        if lost:
            status.level = DiagnosticStatus.WARN
            status.message += '; lost: ' + ', '.join(f'{n} of {t}' for t, n in lost.items())
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _end_if_needed(self) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        limit = self._settings.max_duration
        too_long = limit > 0 and (self._now() - self._started) / _NANOSECONDS > limit
        if not recorder.failure and not too_long:
            return
        reason = recorder.failure or f'longer than {limit:g} s'
        self.get_logger().error(f'{recorder.path.name} is ended: {reason}')
        self._serve('stop', self._stop, Trigger.Request(), Trigger.Response())

    def close(self) -> None:
        """Keep the episode that is being recorded."""
        if self._recorder is not None:
            self._serve('stop', self._stop, Trigger.Request(), Trigger.Response())


def chunk_definition() -> str | None:
    """Return the text of ActionChunk.msg, installed or in the checkout; None if not built."""
    package, _, name = CHUNK.partition('/msg/')
    try:
        import_module(f'{package}.msg')
    except ImportError:
        return None
    places: list[Any] = [Path(__file__).resolve().parents[2]]
    try:
        from ament_index_python.packages import get_package_share_directory

        places.append(Path(get_package_share_directory(package)))
    except (ImportError, LookupError):
        pass
    for place in places:
        file = place / 'msg' / f'{name}.msg'
        if file.is_file():
            return file.read_text()
    return None


def main(args: Sequence[str] | None = None) -> None:
    """Run the recorder."""
    sys.exit(run_node('recorder', __doc__, RecorderParameters, RecorderNode, args))


if __name__ == '__main__':
    main()
