"""A session with fixed buffers on its device: a call allocates nothing there, and all calls have the same shape."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from aepipe.process import never_freed, renew_after_fork

from .opening import still_open


class BoundSession:
    """Runs a graph with one input and one output at one batch size, through ONNX Runtime's IOBinding.

    A smaller batch is padded with zeros, and its result is cut to size. So cuDNN searches its algorithms once instead of for
    every shape, and a CUDA graph can be replayed, which needs the same shapes at the same addresses. A larger batch runs
    without the buffers. The returned arrays are copies, which later calls do not change. Several threads may call `run`: the
    buffers serve one call after the other.
    """

    def __init__(self, session: Any, name: str, batch: int, *, device: str, device_id: int = 0):
        from onnxruntime import OrtValue

        self.name, self.batch, self._session = name, batch, session
        (given,), (made,) = session.get_inputs(), session.get_outputs()
        self._given, self._made = given.name, made.name
        self._shape = [batch, *given.shape[1:]]
        self._device_input, self._device_output = (
            OrtValue.ortvalue_from_shape_and_type([batch, *tensor.shape[1:]], np.float32, device, device_id)
            for tensor in (given, made)
        )
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(self._given, self._device_input)
        self._binding.bind_ortvalue_output(self._made, self._device_output)
        self._padded = np.zeros(self._shape, np.float32)
        self._lock = threading.Lock()
        renew_after_fork(self)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = inputs[self._given]
        with self._lock:
            session = still_open(self._session)
            if not 0 < len(values) <= self.batch:
                return {self._made: session.run([self._made], dict(inputs))[0]}
            self._device_input.update_inplace(self._full(values))
            session.run_with_iobinding(self._binding)
            return {self._made: np.array(self._device_output.numpy()[: len(values)])}

    def _full(self, values: np.ndarray) -> np.ndarray:
        if len(values) == self.batch:
            return np.ascontiguousarray(values, np.float32)
        self._padded[: len(values)] = values
        self._padded[len(values) :] = 0
        return self._padded

    def close(self) -> None:
        with self._lock:
            self._binding = self._device_input = self._device_output = self._session = None

    def after_fork(self) -> None:
        never_freed(self._binding, self._device_input, self._device_output, self._session)
        self._lock = threading.Lock()
        self.close()


def can_be_bound(session: Any) -> bool:
    """Whether a graph has one float input and one float output, with constant sizes except for the batch."""
    tensors = [*session.get_inputs(), *session.get_outputs()]
    plain = all(each.type == "tensor(float)" and all(isinstance(n, int) for n in each.shape[1:]) for each in tensors)
    return plain and len(session.get_inputs()) == len(session.get_outputs()) == 1
