# Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
"""Offscreen images of the scene: on a GPU or a CPU (llvmpipe), with or without a display."""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import sys
import weakref
from contextlib import suppress
from types import ModuleType
from typing import Any

import mujoco
import numpy as np

from vla_adapter_ros.errors import VLAAdapterError

_LIBRARIES = {'egl': ('libEGL.so.1',), 'osmesa': ('libOSMesa.so.8', 'libOSMesa.so.6'), 'glfw': ()}


class RenderingError(VLAAdapterError):
    """No image can be rendered here; the message names the packages and variables."""


def choose_gl() -> tuple[str, ...]:
    """Return the GL backends to try, in order.

    `MUJOCO_GL` (egl, osmesa, glfw) is obeyed if set. Otherwise EGL (nothing to install on most
    machines, needs no display), then OSMesa, then GLFW where there is a display.

    Raises:
        RenderingError: `MUJOCO_GL` has another value.
    """
    wanted = os.environ.get('MUJOCO_GL', '').lower().strip()
    if wanted:
        if wanted not in _LIBRARIES:
            raise RenderingError(f'MUJOCO_GL={wanted}: expected one of {", ".join(_LIBRARIES)}')
        return (wanted,)
    backends = [name for name in ('egl', 'osmesa') if _has_library(name)]
    if os.environ.get('DISPLAY'):
        backends.append('glfw')
    return tuple(backends)


def _has_library(backend: str) -> bool:
    for name in _LIBRARIES[backend]:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def _load_backend(name: str) -> ModuleType:
    """Import mujoco's GL module `name`; PyOpenGL must not be bound to another platform."""
    if os.environ.get('PYOPENGL_PLATFORM', name) != name:
        del os.environ['PYOPENGL_PLATFORM']
        for module in [m for m in sys.modules if m == 'OpenGL' or m.startswith('OpenGL.')]:
            del sys.modules[module]
    return importlib.import_module(f'mujoco.{name}')


def create_context(model: mujoco.MjModel) -> tuple[Any, mujoco.MjrContext]:
    """Return a current GL context of mujoco, and the model's resources on it.

    Raises:
        RenderingError: no backend works; the message lists each reason.
    """
    reasons = []
    for name in choose_gl():
        try:
            frame = model.vis.global_
            context = _load_backend(name).GLContext(frame.offwidth, frame.offheight)
            context.make_current()
            return context, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as error:  # GL bindings raise many kinds: ImportError, GLError, …
            reasons.append(f'{name}: {str(error).splitlines()[0] if str(error) else error!r}')
    tried = '; '.join(reasons) or 'no EGL or OSMesa library found'
    raise RenderingError(
        f'no OpenGL for offscreen images ({tried}): install libegl1 and libgl1-mesa-dri '
        '(or libosmesa6), or set MUJOCO_GL to egl, osmesa or glfw'
    )


class OffscreenRenderer:
    """One GL context and one scene, reused for every camera and image size.

    A GL context belongs to the thread that made it: render and close in that thread.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._context, self._gpu = create_context(model)
        self._scene = mujoco.MjvScene(model, maxgeom=500)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gpu)
        self._free = weakref.finalize(self, _free, self._context, self._gpu)
        # weakref's own hook may run after the hook of mujoco that ends EGL, and freeing a context
        # then fails. This one is registered after mujoco's, so it runs before.
        self._free.atexit = False
        atexit.register(self._free)
        self._buffers: dict[tuple[int, int], np.ndarray] = {}

    def render(
        self,
        data: mujoco.MjData,
        camera: str,
        height: int,
        width: int,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the (height, width, 3) uint8 RGB image of a camera, C-contiguous.

        `out` receives the image if given (same shape); otherwise a new array is returned.

        Raises:
            RenderingError: unknown camera, image larger than the frame buffer, or closed.
        """
        if self._context is None:
            raise RenderingError('the renderer is closed')
        frame = self._model.vis.global_
        if not (1 <= height <= frame.offheight and 1 <= width <= frame.offwidth):
            raise RenderingError(
                f'image size {width}x{height}: expected up to {frame.offwidth}x{frame.offheight}'
            )
        self._camera.fixedcamid = mujoco.mj_name2id(
            self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera
        )
        if self._camera.fixedcamid < 0:
            raise RenderingError(f'camera {camera!r} is unknown')
        if (height, width) not in self._buffers:
            self._buffers[height, width] = np.empty((height, width, 3), np.uint8)
        buffer = self._buffers[height, width]
        self._context.make_current()
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera,
            mujoco.mjtCatBit.mjCAT_ALL, self._scene,
        )  # fmt: skip
        mujoco.mjr_render(viewport, self._scene, self._gpu)
        mujoco.mjr_readPixels(buffer, None, viewport, self._gpu)
        image = np.empty_like(buffer) if out is None else out
        image[...] = buffer[::-1]  # OpenGL's first row is the lowest
        return image

    def close(self) -> None:
        """Free the GL context; calling it again does nothing."""
        self._free()
        atexit.unregister(self._free)
        self._context = None


def _free(context: Any, gpu: mujoco.MjrContext) -> None:
    # A program that did not close us may end in another thread than the one that rendered. The
    # context is not that thread's to use then, but still its to destroy.
    with suppress(Exception):
        context.make_current()
        gpu.free()
    try:
        context.free()
    except Exception:
        # Its destructor would try again and print a traceback nobody can act on.
        context._context = None
