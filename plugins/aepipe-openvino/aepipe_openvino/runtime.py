"""Runs an ONNX graph on one device of OpenVINO: on the wanted device and in the wanted precision, or not at all."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from aepipe import AepipeError, ProviderUnavailable

PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}  # aepipe's names to OpenVINO's


class OpenVINO:
    """A provider for aepipe.

    Without a hint OpenVINO computes in bf16 wherever the processor can, and where it cannot compute in fp16 it uses bf16 instead.
    Here OpenVINO is always told the `precision`, and a precision that the device lacks is an error.
    """

    def __init__(self, device: str, precision: str):
        self.device, self.precision = device.upper(), precision

    def open(self, path: str | Path, *, threads: int | None = None, batch: int | None = None) -> OpenVINOSession:
        """Read and compile a graph.

        `threads` is the number of CPU threads, by default one for each core; `batch` is ignored, because a graph compiled for
        one batch size is no faster. Raises ProviderUnavailable if OpenVINO, the device or the precision is missing, and
        AepipeError for a file that is no graph.
        """
        core = _core()
        self._require(core)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[self.precision]}
        if self.device == "CPU":
            # Pinned threads of two processes may share one core while other cores are idle: each then has half the speed.
            settings["ENABLE_CPU_PINNING"] = False
            if threads:
                settings["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(str(path))
        except Exception as error:  # it may be a RuntimeError, or an error of one of OpenVINO's readers
            raise AepipeError(f"OpenVINO cannot read {path}: {_cause(error)}", "export the bundle again") from error
        names = [output.get_any_name() for output in model.outputs]  # after compiling they may have further names
        try:
            compiled = core.compile_model(model, self.device, settings)
        except Exception as error:
            message = f"OpenVINO cannot compile {path} for {self.device}: {_cause(error)}"
            raise ProviderUnavailable(message, "use --provider cpu") from error
        return OpenVINOSession(compiled, names)

    def _require(self, core: Any) -> None:
        """Raise ProviderUnavailable unless the device exists and can compute in the precision."""
        found = core.available_devices
        if not any(self.device in (name, name.partition(".")[0]) for name in found):
            raise ProviderUnavailable(
                f"OpenVINO finds no device {self.device!r} here, only: {', '.join(found) or 'none'}",
                f"use --provider openvino:device={found[0]}" if found else "use --provider cpu",
            )
        able = core.get_property(self.device, "OPTIMIZATION_CAPABILITIES")
        if self.precision.upper() not in able:
            known = [name for name in PRECISIONS if name.upper() in able]
            raise ProviderUnavailable(
                f"{self.device} ({core.get_property(self.device, 'FULL_DEVICE_NAME')}) does not compute in {self.precision}",
                f"use precision={' or precision='.join(known)}" if known else "use --provider cpu",
            )


class OpenVINOSession:
    """A graph compiled for a device; results are copies, which the caller may keep."""

    name = "openvino"

    def __init__(self, compiled: Any, names: list[str]):
        self._names = names
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()  # a request computes one batch at a time

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            with self._lock:
                if self._request is None:
                    raise AepipeError("this session was closed", "open it again")
                results = self._request.infer(dict(inputs))  # by default it copies inputs and results
        except RuntimeError as error:
            raise RuntimeError(_cause(error)) from error
        return dict(zip(self._names, results.values(), strict=True))

    def close(self) -> None:
        with self._lock:  # a call that is under way ends
            self._request = None


def _core() -> Any:
    """Make a core of OpenVINO, which takes a millisecond."""
    try:
        return _imported().Core()
    except (ImportError, OSError, RuntimeError) as error:
        message = f"OpenVINO cannot be imported ({' '.join(str(error).split())})"
        raise ProviderUnavailable(message, "pip install openvino") from error


def _imported() -> Any:
    """Import OpenVINO without the message that it would send to its makers."""
    telemetry = "openvino_telemetry"  # if this package is missing, OpenVINO sends nothing
    present = telemetry in sys.modules
    if not present:
        sys.modules[telemetry] = None  # type: ignore[assignment]  # Python's way to make an import fail
    try:
        import openvino
    finally:
        if not present:
            del sys.modules[telemetry]
    return openvino


def _cause(error: Exception) -> str:
    """The last line of OpenVINO's message, because the lines before it name OpenVINO's own source files."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return text if len(text) <= 200 else f"{text[:199]}…"
