"""One ONNX graph on one provider: strict about where it runs, quiet about how."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aepipe import plugins
from aepipe.errors import AepipeError, BadInput, ProviderUnavailable, closest
from aepipe.plugins.specs import Spec, parse_spec
from aepipe.progress import say

from .bound_session import BoundSession, can_be_bound

DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime")
QUIET = 4  # fatal errors only: what else ONNX Runtime logs says less than our one sentence
NVIDIA = ("cuda", "tensorrt", "nvtensorrtrtx")
DRIVERS = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")


class Session(Protocol):
    """A loaded graph; `name` says what it runs on."""

    name: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    def close(self) -> None: ...


class Provider(Protocol):
    """What a provider factory returns; `open` raises ProviderUnavailable when it cannot run here."""

    def open(self, path: str | Path, *, threads: int | None = None, batch: int | None = None) -> Session: ...


def onnxruntime() -> Any:
    """Import ONNX Runtime, quiet; raises AepipeError that names both distributions when it cannot be imported."""
    try:
        import onnxruntime as ort

        ort.set_default_logger_severity(QUIET)  # a session's own severity does not reach the providers' loader
        return ort
    except (ImportError, AttributeError, OSError) as error:
        names = installed_runtimes()
        message = f"ONNX Runtime cannot be imported ({error}); installed: {', '.join(names) or 'neither distribution'}"
        raise AepipeError(message, runtime_fix()) from error


def installed_runtimes() -> list[str]:
    """Which distributions of ONNX Runtime are installed, with versions; two overwrite one another."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def runtime_fix() -> str:
    install = "pip install onnxruntime-gpu (Linux x86-64, Windows) or onnxruntime (elsewhere)"
    if not installed_runtimes():
        return install
    return f"keep one of the two distributions: pip uninstall -y onnxruntime onnxruntime-gpu, then {install}"


class OnnxRuntime:
    """One execution provider of ONNX Runtime, and nothing beside it: no silent fall-back."""

    def __init__(self, execution_provider: str, options: Mapping[str, str]):
        self.execution_provider, self.options = execution_provider, dict(options)
        self.name = short_name(execution_provider)

    def open(self, path: str | Path, *, threads: int | None = None, batch: int | None = None) -> Session:
        ort = onnxruntime()
        if self.execution_provider not in ort.get_available_providers():
            known = ", ".join(sorted(onnxruntime_providers()))
            raise ProviderUnavailable(
                f"the installed ONNX Runtime {ort.__version__} has no provider {self.name!r}, it has: {known}",
                "replace it: pip uninstall -y onnxruntime, then pip install 'aepipe[cuda]'"
                if self.name == "cuda"
                else "use --provider cpu",
            )
        if self.name in NVIDIA:
            if not _loads(*DRIVERS):
                raise self._unavailable("no NVIDIA driver (libcuda does not load)")
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot find; _missing_library finds out
                ort.preload_dlls()
        settings = ort.SessionOptions()
        settings.log_severity_level = QUIET
        settings.intra_op_num_threads = threads or 0
        # Threads spin within a call, which saves waking them for every operator, and never between calls, where they would take
        # the cores from reading and writing.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            providers = [(self.execution_provider, self.options)]
            session = ort.InferenceSession(str(path), settings, providers=providers, enable_fallback=0)
            active = session.get_providers()
        except Exception as error:  # ONNX Runtime's own errors derive from nothing common
            if self.name == "cpu":
                message = f"ONNX Runtime cannot load {path}: {brief(error)}"
                raise AepipeError(message, "export the bundle again") from error
            raise self._unavailable(self._missing_library() or _cause(error)) from error
        if active[0] != self.execution_provider:  # what ONNX Runtime does where the provider's library does not load
            raise self._unavailable(self._missing_library() or "its library does not load")
        if self.name == "cuda" and batch and can_be_bound(session):
            return BoundSession(
                session, self.name, batch, device="cuda", device_id=int(self.options.get("device_id", 0))
            )
        return OnnxSession(session, self.name)

    def _missing_library(self) -> str:
        """What the system's loader says of the provider's own library; "" if it finds all that it needs."""
        import ctypes

        folder = Path(onnxruntime().__file__).parent / "capi"
        for library in folder.glob(f"*onnxruntime_providers_{self.name}.*"):
            try:
                ctypes.CDLL(str(library))
            except OSError as error:
                found = re.match(r"(\S+): cannot open shared object file", str(error))
                if found:
                    return f"the library {found[1]} is missing"
        return ""

    def _unavailable(self, cause: str) -> ProviderUnavailable:
        return ProviderUnavailable(f"{self.name} did not start: {cause}", _fix(self.name, cause))


class OnnxSession:
    """A session of ONNX Runtime."""

    def __init__(self, session: Any, name: str):
        self._session, self.name = session, name

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))

    def close(self) -> None:
        self._session = None


class FirstAvailable:
    """The first of several providers that really starts, said once in one line."""

    def __init__(self, providers: list[Any]):
        self.providers = providers
        self.chosen: Any = None

    def open(self, path: str | Path, *, threads: int | None = None, batch: int | None = None) -> Session:
        if self.chosen is not None:
            return self.chosen.open(path, threads=threads, batch=batch)
        *better, last = self.providers
        reason = ""
        for provider in better:
            try:
                session = provider.open(path, threads=threads, batch=batch)
                return self._choose(provider, session, reason)
            except ProviderUnavailable as error:
                reason = f"; {error.message}"
        return self._choose(last, last.open(path, threads=threads, batch=batch), reason)

    def _choose(self, provider: Any, session: Session, reason: str) -> Session:
        self.chosen = provider
        say(f"provider auto: {session.name}{reason}")
        return session


def provider(what: str) -> Provider:
    """A provider by spec string: a plugin's, or any that the installed ONNX Runtime names."""
    spec = parse_spec(what)
    if spec.name in plugins.registry().components("provider"):
        return plugins.create("provider", spec)
    return _native(spec)


def _native(spec: Spec) -> OnnxRuntime:
    known = onnxruntime_providers()
    if spec.name not in known:
        raise BadInput(
            f"unknown provider {spec.name!r}", closest(spec.name, sorted({*plugins.names("provider"), *known}))
        )
    return OnnxRuntime(known[spec.name], spec.options)


def onnxruntime_providers() -> dict[str, str]:
    """Short name to name of every provider that ONNX Runtime knows of on some platform it was built for."""
    return {short_name(name): name for name in onnxruntime().get_available_providers()}


def short_name(execution_provider: str) -> str:
    """CUDAExecutionProvider is cuda."""
    return execution_provider.removesuffix("ExecutionProvider").lower()


def brief(error: BaseException) -> str:
    """ONNX Runtime's message in one line, without its own source files and codes."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(?:cc|h|cpp|cu):\d+ ", "", text)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _loads(*libraries: str) -> bool:
    """Whether one of these shared libraries can be loaded."""
    import ctypes

    for library in libraries:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False


def _cause(error: Exception) -> str:
    """The one part of ONNX Runtime's message that a person can use."""
    text = brief(error)
    for marker, cause in (
        ("no CUDA-capable device", "there is no CUDA device"),
        ("invalid device ordinal", "there is no CUDA device of that number"),
        ("driver version is insufficient", "the NVIDIA driver is too old for this version of CUDA"),
        ("libcudnn", "the library libcudnn is missing"),
        ("TensorRT libraries", "the libraries of TensorRT are missing"),
    ):
        if marker in text:
            return cause
    return text


def _fix(name: str, cause: str) -> str:
    if name not in NVIDIA:
        return "see what this provider needs in ONNX Runtime's documentation, or use --provider cpu"
    if "driver" in cause:
        return "install NVIDIA's driver (nvidia-smi shows whether it works), or use --provider cpu"
    if "device" in cause:
        return "nvidia-smi lists the devices; or use --provider cpu"
    if name != "cuda":
        return "install TensorRT and CUDA as ONNX Runtime's documentation says, or use --provider cpu"
    return "pip install 'aepipe[cuda]', or use --provider cpu"
