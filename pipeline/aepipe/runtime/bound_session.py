"""A session with fixed buffers on its device: a call allocates nothing there, and all calls have the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class BoundSession:
    """Runs a graph with one input and one output at one batch size, through ONNX Runtime's IOBinding.

    A smaller batch is padded with zeros, and its result is cut to size. So cuDNN searches its algorithms once instead of for
    every shape, and a CUDA graph can be replayed, which needs the same shapes at the same addresses. A larger batch runs
    without the buffers. The returned arrays are copies, which later calls do not change.
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

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = inputs[self._given]
        if not 0 < len(values) <= self.batch:
            return {self._made: self._session.run([self._made], dict(inputs))[0]}
        self._device_input.update_inplace(self._full(values))
        self._session.run_with_iobinding(self._binding)
        return {self._made: np.array(self._device_output.numpy()[: len(values)])}

    def _full(self, values: np.ndarray) -> np.ndarray:
        if len(values) == self.batch:
            return np.ascontiguousarray(values, np.float32)
        self._padded[: len(values)] = values
        return self._padded

    def close(self) -> None:
        self._binding = self._device_input = self._device_output = self._session = None


def can_be_bound(session: Any) -> bool:
    """Whether a graph has one float input and one float output, with constant sizes except for the batch."""
    tensors = [*session.get_inputs(), *session.get_outputs()]
    plain = all(each.type == "tensor(float)" and all(isinstance(n, int) for n in each.shape[1:]) for each in tensors)
    return plain and len(session.get_inputs()) == len(session.get_outputs()) == 1
