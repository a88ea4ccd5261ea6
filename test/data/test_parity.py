# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Training and robot see the same: one bag through the dataset and through the node's inputs.

(a) bag → convert → training cache → what `training` gives the network;
(b) the same bag's messages, as ROS delivers them → the node's `Inputs` → the policy's pipeline.
"""

from __future__ import annotations

import numpy as np
import pytest

from support.bag_samples import CAMERAS, BagSpec, time_of, write_bag
from support.data_samples import contract
from vla_adapter_ros.control.clock import Arrival
from vla_adapter_ros.control.observation_inputs import Inputs
from vla_adapter_ros.data.bags.conversion import convert_bags
from vla_adapter_ros.data.bags.file import BagFile
from vla_adapter_ros.data.sources import open_source
from vla_adapter_ros.data.training.dataset import open_dataset
from vla_adapter_ros.processing.images import OWN_IMAGES, ImageConfig
from vla_adapter_ros.processing.pipeline import InputPipeline, ProcessingConfig
from vla_adapter_ros.processing.tokenizer import Tokenizer

WIDTH, HEIGHT = 96, 72
SECOND = BagSpec(duration=1.0)
FRAMES = 10
DELIVERY = 1_000_000  # the sample bags' messages arrive 1 ms after their stamp


def received(bag, topic, data):
    """The message as a subscription gets it: rclpy's own where ROS is, else as in the bag."""
    try:
        from rclpy.serialization import deserialize_message
        from sensor_msgs import msg
    except ImportError:
        return bag.decode(topic, data)
    return deserialize_message(data, getattr(msg, bag.types[topic].rpartition('/')[2]))


def node_inputs(path, robot, pipeline, times):
    """What the node would give the network at each time [ns]."""
    inputs = Inputs(robot)
    with BagFile(path) as bag:
        topics = [t for t in bag.types if t.endswith(('/image', '/compressed', 'joint_states'))]
        events = sorted(
            ((m.time, topic, m.data) for topic in topics for m in bag.messages(topic)),
            key=lambda event: event[0],
        )
        found = []
        place = 0
        for tick in times:
            while place < len(events) and events[place][0] <= tick + DELIVERY:
                time, topic, data = events[place]
                message = received(bag, topic, data)
                stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
                now = time * 1e-9
                arrival = Arrival.of(stamp, now, now)
                if topic == '/joint_states':
                    inputs.receive_joint_state(message.name, message.position, arrival, None)
                else:
                    inputs.receive_image(topic.split('/')[1], message, arrival)
                place += 1
            assert inputs.skip((tick + DELIVERY) * 1e-9) is None
            observation = inputs.snapshot('pick up the cube').observe()
            found.append(pipeline(observation))
    return found


def training_inputs(dataset, pipeline):
    """What training gives the network, without augmentation."""
    batch = dataset.batch(range(len(dataset)))
    pixels = [pipeline.model_pixels(list(views)) for views in batch.images]
    proprio = pipeline.proprio.normalise(batch.proprioception).astype(np.float32)
    return pixels, [pipeline.prompt_ids(text) for text in batch.instructions], proprio


def both(tmp_path, storage, spec, image_size=None, rotate=0, images=OWN_IMAGES, **camera):
    robot = contract(WIDTH, HEIGHT, rotate, **camera)
    spec = spec.but(contract=robot)
    bag = write_bag(tmp_path / 'bag', spec, size=(WIDTH, HEIGHT))
    convert_bags([bag], tmp_path / 'set', storage=storage, image_size=image_size)
    dataset = open_dataset(tmp_path / 'set', images=images)
    config = ProcessingConfig(
        images=images,
        cameras=CAMERAS,
        rotations=dict.fromkeys(CAMERAS, rotate),
        prompt_format='plain',
    )
    tokenizer = Tokenizer.from_texts(['pick up the cube'])
    pipeline = InputPipeline(config, tokenizer, dataset.statistics())
    # The clock of the conversion starts with the last stream's first stamp.
    times = [time_of(0.002) + round(k * 1e8) for k in range(len(dataset))]
    node = node_inputs(bag, robot, pipeline, times)
    return training_inputs(dataset, pipeline), node


def assert_bit_equal(training, node):
    pixels, prompts, proprio = training
    assert len(node) == len(pixels) == FRAMES
    for k, expected in enumerate(node):
        np.testing.assert_array_equal(pixels[k], expected.pixel_values)
        np.testing.assert_array_equal(prompts[k], expected.input_ids)
        # States are stored in float32; the node has the driver's float64.
        np.testing.assert_allclose(proprio[k], expected.proprio, atol=2e-6)


# Stored as recorded or resized by the conversion, each turned and not; with a crop below.
@pytest.mark.parametrize(('image_size', 'rotate'), [(None, 0), (None, 90), (224, 180)])
def test_model_inputs_are_bit_equal_for_lossless_storage(tmp_path, image_size, rotate):
    training, node = both(tmp_path, 'image', SECOND, image_size, rotate)
    assert_bit_equal(training, node)
    assert np.abs(node[3].pixel_values - node[9].pixel_values).max() > 0.3


@pytest.mark.parametrize('image_size', [None, 224])
def test_the_crop_of_the_contract_is_made_once_before_turning(tmp_path, image_size):
    crop = [18, 6, 60, 48]
    training, node = both(tmp_path, 'image', SECOND, image_size, 90, crop=crop)
    assert_bit_equal(training, node)
    if image_size is None:
        stored = next(open_source(tmp_path / 'set').images(0, 'wrist', [3]))
        assert stored.shape == (60, 48, 3)
    complete, _ = both(tmp_path / 'complete', 'image', SECOND, image_size, 90)
    assert np.abs(complete[0][3] - training[0][3]).max() > 0.3


def test_jpeg_messages_are_decoded_equally(tmp_path):
    assert_bit_equal(*both(tmp_path, 'image', SECOND.but(compressed=True)))


def test_official_preprocessing_is_applied_once(tmp_path):
    assert_bit_equal(*both(tmp_path, 'image', SECOND, images=ImageConfig()))


# The codec does not know whether the conversion has resized: that is compared above.
def test_video_differs_by_the_codec_alone(tmp_path):
    (pixels, _, _), node = both(tmp_path, 'video', SECOND, 224)
    # One level of 255 is 0.017 in normalised units.
    error = [np.abs(pixels[k] - expected.pixel_values) / 0.0175 for k, expected in enumerate(node)]
    assert np.mean(error) < 2.0
    # A wrong frame differs by four levels of red at least.
    for k in range(FRAMES - 1):
        neighbour = np.abs(pixels[k] - node[k + 1].pixel_values) / 0.0175
        assert error[k].mean() < 0.5 * neighbour.mean()
