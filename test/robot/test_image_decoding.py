# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
from array import array

import cv2
import numpy as np
import pytest

from vla_adapter_ros.errors import ObservationError
from vla_adapter_ros.robot.camera_spec import BYTES_PER_PIXEL
from vla_adapter_ros.robot.image_decoding import decode_compressed, decode_image, is_grey_file

WIDTH, HEIGHT = 12, 8
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PACKED = [encoding for encoding in BYTES_PER_PIXEL if not encoding.startswith('bayer')]


def encoded(encoding):
    """(bytes of one packed image, the RGB it stands for)."""
    alpha = RNG.integers(0, 256, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    if encoding == 'rgb8':
        return PIXELS, PIXELS
    if encoding == 'bgr8':
        return PIXELS[..., ::-1], PIXELS
    if encoding == 'rgba8':
        return np.concatenate((PIXELS, alpha), axis=2), PIXELS
    if encoding == 'bgra8':
        return np.concatenate((PIXELS[..., ::-1], alpha), axis=2), PIXELS
    if encoding in ('mono8', '8UC1'):
        return PIXELS[..., :1], np.repeat(PIXELS[..., :1], 3, axis=2)
    packed = RNG.integers(0, 256, (HEIGHT, WIDTH, 2), dtype=np.uint8)
    yuy2 = encoding in ('yuyv', 'yuv422_yuy2')
    code = cv2.COLOR_YUV2RGB_YUY2 if yuy2 else cv2.COLOR_YUV2RGB_UYVY
    return packed, cv2.cvtColor(packed, code)


def decoded(encoding, packed, padding=0):
    rows = np.ascontiguousarray(packed).reshape(HEIGHT, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    data = array('B', rows.tobytes())
    return decode_image(encoding, HEIGHT, WIDTH, rows.shape[1], data)


@pytest.mark.parametrize('encoding', PACKED)
@pytest.mark.parametrize('padding', [0, 5])
def test_each_encoding_gives_contiguous_rgb_with_or_without_padding(encoding, padding):
    packed, expected = encoded(encoding)
    pixels = decoded(encoding, packed, padding)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, expected)


def test_red_is_red_in_yuyv_and_uyvy():
    # BT.601: red is Y 82, U 90, V 240.
    yuyv = np.tile(np.array([82, 90, 82, 240], np.uint8), HEIGHT * WIDTH // 2)
    uyvy = np.tile(np.array([90, 82, 240, 82], np.uint8), HEIGHT * WIDTH // 2)
    for encoding, data in (('yuv422_yuy2', yuyv), ('yuv422', uyvy)):
        pixel = decode_image(encoding, HEIGHT, WIDTH, 2 * WIDTH, data.tobytes())[3, 3]
        assert pixel[0] > 250 and pixel[1:].max() < 5


def test_packed_rgb_is_not_copied_and_all_else_once():
    data = array('B', PIXELS.tobytes())
    pixels = decode_image('rgb8', HEIGHT, WIDTH, 3 * WIDTH, data)
    assert np.shares_memory(pixels, np.frombuffer(data, np.uint8))
    other = decode_image('bgr8', HEIGHT, WIDTH, 3 * WIDTH, data)
    assert not np.shares_memory(other, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('padding', [0, 5])
def test_each_bayer_pattern_gives_the_colours_that_it_names(pattern, padding):
    # The pattern names the filters of the first two rows' first two pixels.
    colour = {'r': 200, 'g': 90, 'b': 30}
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (HEIGHT // 2, WIDTH // 2))
    pixels = decoded(f'bayer_{pattern}8', mosaic, padding)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.flags.c_contiguous
    assert (pixels[2:-2, 2:-2] == [200, 90, 30]).all()


@pytest.mark.parametrize(('encoding', 'chroma'), [('nv12', (90, 240)), ('nv21', (240, 90))])
@pytest.mark.parametrize('padding', [0, 4])
def test_red_is_red_in_planar_yuv(encoding, chroma, padding):
    brightness = np.full((HEIGHT, WIDTH), 82, np.uint8)
    colour = np.tile(np.array(chroma, np.uint8), (HEIGHT // 2, WIDTH // 2))
    rows = np.pad(np.vstack((brightness, colour)), ((0, 0), (0, padding)))
    pixels = decode_image(encoding, HEIGHT, WIDTH, rows.shape[1], array('B', rows.tobytes()))
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.flags.c_contiguous
    assert pixels[..., 0].min() > 250 and pixels[..., 1:].max() < 5


@pytest.mark.parametrize(
    ('encoding', 'height', 'width', 'step', 'size', 'message'),
    [
        ('16UC1', 8, 12, 24, 192, 'more than 8 bits'),
        ('mono16', 8, 12, 24, 192, 'more than 8 bits'),
        ('32FC1', 8, 12, 48, 384, 'more than 8 bits'),
        ('bayer_rggb16', 8, 12, 24, 192, 'more than 8 bits'),
        ('rgb16', 8, 12, 72, 576, 'more than 8 bits'),
        ('8UC3', 8, 12, 36, 288, 'whether red or blue comes first'),
        ('h264', 8, 12, 36, 288, "encoding 'h264': expected one of rgb8"),
        ('nv12', 8, 12, 12, 96, '1.5 × step × height = 144'),
        ('nv12', 7, 12, 12, 126, 'even height'),
        ('nv21', 8, 11, 12, 144, 'even width'),
        ('', 8, 12, 36, 288, "encoding ''"),
        ('rgb8', 0, 12, 36, 0, '12×0 pixels'),
        ('rgb8', 8, 0, 0, 0, '0×8 pixels'),
        ('rgb8', 8, 12, 35, 280, 'step 35: expected at least 36'),
        ('rgb8', 8, 12, 36, 287, '287 bytes: expected step × height = 288'),
        ('rgb8', 8, 12, 36, 0, '0 bytes'),
        ('rgb8', 100_000, 12, 36, 288, '12×100000 pixels'),
        ('yuyv', 8, 11, 22, 176, 'even width'),
    ],
)
def test_bad_image_is_refused_in_one_line(encoding, height, width, step, size, message):
    with pytest.raises(ObservationError) as error:
        decode_image(encoding, height, width, step, bytes(size))
    assert message in str(error.value) and '\n' not in str(error.value)


def smooth_image():
    y, x = np.mgrid[0:48, 0:64]
    return np.stack((x * 3, y * 4, (x + y) * 2), axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize('buffer', [bytes, lambda b: array('B', b), bytearray])
def test_png_is_exact_from_any_buffer(buffer):
    ok, file = cv2.imencode('.png', smooth_image()[..., ::-1])
    assert ok
    pixels = decode_compressed('bgr8; png compressed bgr8', buffer(file.tobytes()))
    assert np.array_equal(pixels, smooth_image())


def test_jpeg_is_rgb_and_close_to_opencv():
    ok, file = cv2.imencode('.jpg', smooth_image()[..., ::-1])
    assert ok
    pixels = decode_compressed('jpeg', file.tobytes())
    assert pixels.shape == (48, 64, 3) and pixels.flags.c_contiguous
    reference = cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(pixels.astype(int) - reference).max() <= 1
    assert np.abs(pixels.astype(int) - smooth_image()).mean() < 6.0


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_grey_files_become_rgb(extension):
    grey = smooth_image()[..., 0]
    ok, file = cv2.imencode(extension, grey)
    assert ok
    pixels = decode_compressed('mono8', file.tobytes())
    assert pixels.shape == (48, 64, 3)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize(
    ('format_text', 'content', 'message'),
    [
        ('jpeg', b'', '0 bytes'),
        ('jpeg', b'not an image', 'expected JPEG or PNG'),
        ('jpeg', b'\xff\xd8\xff\xe0broken', 'damaged JPEG'),
        ('png', b'\x89PNG\r\n\x1a\nbroken', 'damaged PNG'),
        ('h264', b'\x00\x00\x00\x01\x67', "format 'h264': expected JPEG or PNG"),
        ('16UC1; compressedDepth png', b'', 'depth is refused'),
        ('png', cv2.imencode('.png', np.zeros((4, 4), np.uint16))[1].tobytes(), 'uint16'),
    ],
)
def test_bad_compressed_image_is_refused_in_one_line(format_text, content, message):
    with pytest.raises(ObservationError) as error:
        decode_compressed(format_text, content)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_truncated_jpeg_is_refused_not_half_grey():
    ok, file = cv2.imencode('.jpg', RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert ok
    with pytest.raises(ObservationError, match='damaged JPEG'):
        decode_compressed('jpeg', file.tobytes()[: len(file) // 2])


def noisy_jpeg(*options):
    noise = RNG.integers(0, 40, (48, 64, 3), dtype=np.uint8)
    ok, file = cv2.imencode('.jpg', cv2.add(smooth_image() // 2, noise), list(options))
    assert ok
    return file.tobytes()


@pytest.mark.parametrize('extra', [b'\x00' * 8, b'\x5a' * 16, b'\x00' * 300])
def test_jpeg_with_extra_bytes_behind_whole_pixels_is_accepted(extra):
    whole = noisy_jpeg()
    pixels = decode_compressed('jpeg', whole[:-2] + extra + whole[-2:])
    assert np.array_equal(pixels, decode_compressed('jpeg', whole))


def test_jpeg_with_extra_bytes_before_its_restart_markers_is_accepted():
    whole = noisy_jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    assert b'\xff\xd0' in whole
    padded = whole.replace(b'\xff\xd0', b'\x00' * 5 + b'\xff\xd0')
    assert np.array_equal(decode_compressed('jpeg', padded), decode_compressed('jpeg', whole))


@pytest.mark.parametrize('lost', [(0.3, 0.6), (0.5, 1.0)])
def test_jpeg_that_lost_a_piece_is_refused(lost):
    whole = noisy_jpeg()
    begin = whole.rindex(b'\xff\xda') + 14
    first, last = (begin + int(share * (len(whole) - 2 - begin)) for share in lost)
    with pytest.raises(ObservationError, match='damaged JPEG'):
        decode_compressed('jpeg', whole[:first] + whole[last:])


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_a_file_without_colour_is_known_by_its_header(extension):
    for image, grey in ((smooth_image(), False), (smooth_image()[..., 0], True)):
        assert is_grey_file(cv2.imencode(extension, image)[1].tobytes()) is grey
    assert not is_grey_file(b'\xff\xd8\xff broken')


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_a_file_that_claims_to_be_huge_is_refused_before_memory_is_reserved(extension):
    data = bytearray(cv2.imencode(extension, np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    place = data.index(b'IHDR') + 4 if extension == '.png' else data.index(b'\xff\xc0') + 5
    width = 4 if extension == '.png' else 2
    data[place : place + 2 * width] = (60_000).to_bytes(width, 'big') * 2
    with pytest.raises(ObservationError, match='compressed image of 60000×60000 pixels: expected'):
        decode_compressed('', bytes(data))
