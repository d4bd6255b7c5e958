"""Opens an ONNX graph on a provider. It runs there or not at all, and ONNX Runtime's own messages are silenced."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aepipe import plugins
from aepipe.errors import AepipeError, BadInput, ProviderUnavailable, closest
from aepipe.plugins.specs import Spec, parse_spec
from aepipe.process import limited_cores, never_freed, renew_after_fork
from aepipe.progress import say

from .bound_session import BoundSession, can_be_bound
from .opening import open_graph, still_open

DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime")
QUIET = 4  # ONNX Runtime logs fatal errors only, because our own messages say the rest more clearly
NVIDIA = ("cuda", "tensorrt", "nvtensorrtrtx")
DRIVERS = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")


class Session(Protocol):
    """A loaded graph; `name` says what it runs on. Several threads may call `run` at once."""

    name: str

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    def close(self) -> None: ...


class Provider(Protocol):
    """What a provider factory returns; `open` raises ProviderUnavailable if the provider cannot run here.

    `open` may also take `content: bytes | None`, the graph itself: then it reads no file, and the path only serves messages. To
    one that does not, a path is given at which nobody else writes.
    """

    def open(self, path: str | Path, *, threads: int | None = None, batch: int | None = None) -> Session: ...


def onnxruntime() -> Any:
    """Import ONNX Runtime and silence it; raises AepipeError that names both distributions if it cannot be imported.

    It sends nothing to its makers and writes no device id into the home folder, unless the user has set ORT_DISABLE_TELEMETRY.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read when the module is loaded
    try:
        import onnxruntime as ort

        ort.set_default_logger_severity(QUIET)  # the loader of the providers ignores a session's setting
        return ort
    except (ImportError, AttributeError, OSError) as error:
        names = installed_runtimes()
        message = f"ONNX Runtime cannot be imported ({error}); installed: {', '.join(names) or 'neither distribution'}"
        raise AepipeError(message, runtime_fix()) from error


def installed_runtimes() -> list[str]:
    """The installed distributions of ONNX Runtime with their versions; if both are installed, they overwrite each other."""
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
    """One execution provider of ONNX Runtime, which never falls back to another one silently."""

    def __init__(self, execution_provider: str, options: Mapping[str, str]):
        self.execution_provider, self.options = execution_provider, dict(options)
        self.name = short_name(execution_provider)

    def open(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        batch: int | None = None,
        content: bytes | None = None,
    ) -> Session:
        """Load the graph `content`, which messages call `path`; without it the file at `path`. Without `threads` there is one for
        each core, as far as the process is not limited to fewer."""
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
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot find, as our message does
                ort.preload_dlls()
        settings = ort.SessionOptions()
        settings.log_severity_level = QUIET
        settings.intra_op_num_threads = threads or limited_cores() or 0
        # Threads may spin (wait without sleeping) within a call, so that no operator has to wake them. They must not spin between
        # calls, because reading and writing need the cores then.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            providers = [(self.execution_provider, self.options)]
            graph = str(path) if content is None else content
            session = ort.InferenceSession(graph, settings, providers=providers, enable_fallback=0)
            active = session.get_providers()
        except Exception as error:  # ONNX Runtime's errors have no common base class
            if self.name == "cpu":
                message = f"ONNX Runtime cannot load {path}: {brief(error)}"
                raise AepipeError(message, "export the bundle again") from error
            raise self._unavailable(self._missing_library() or _cause(error)) from error
        if active[0] != self.execution_provider:  # ONNX Runtime skips a provider whose library does not load
            raise self._unavailable(self._missing_library() or "its library does not load")
        if self.name == "cuda" and batch and can_be_bound(session):
            return BoundSession(
                session, self.name, batch, device="cuda", device_id=int(self.options.get("device_id", 0))
            )
        return OnnxSession(session, self.name)

    def _missing_library(self) -> str:
        """Name the library that the system's loader misses when it loads the provider's own one; "" if it misses none."""
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
    """A session of ONNX Runtime, which several threads may use at once. A call that is under way when it is closed still ends."""

    def __init__(self, session: Any, name: str):
        self._session, self.name = session, name
        renew_after_fork(self)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        session = still_open(self._session)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def close(self) -> None:
        self._session = None

    def after_fork(self) -> None:
        never_freed(self._session)
        self._session = None


class FirstAvailable:
    """Opens graphs on the first of several providers that really starts.

    It says in one line, once in a process, which one that is, where this could surprise: not where it is the last one because
    the machine has no NVIDIA driver.
    """

    def __init__(self, providers: list[Any]):
        self.providers = providers
        self.chosen: Any = None
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        self._choosing = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FirstAvailable, (self.providers,)

    def open(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        batch: int | None = None,
        content: bytes | None = None,
    ) -> Session:
        def start(provider: Any) -> Session:
            if content is None:
                return provider.open(path, threads=threads, batch=batch)
            return open_graph(provider, Path(path), content, threads=threads, batch=batch)

        with self._choosing:
            if self.chosen is None:
                return self._first(start)
        return start(self.chosen)

    def _first(self, start: Callable[[Any], Session]) -> Session:
        *better, last = self.providers
        reasons = []
        for provider in better:
            try:
                session = start(provider)
            except ProviderUnavailable as error:
                if getattr(provider, "name", "") not in NVIDIA or _loads(*DRIVERS):
                    reasons.append(error.message)
                continue
            return self._choose(provider, session, reasons)
        session = start(last)
        if not reasons:
            self.chosen = last
            return session
        return self._choose(last, session, reasons)

    def _choose(self, provider: Any, session: Session, reasons: list[str]) -> Session:
        self.chosen = provider
        _say_once("; ".join([f"provider auto: {session.name}", *reasons]))
        return session


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        say(text)


def provider(what: str | Provider) -> Provider:
    """A provider by spec string: one that a plugin registers, or any other that the installed ONNX Runtime has. A provider that
    is one already stays as it is.

    A name may be written as ONNX Runtime writes it, CUDAExecutionProvider, and in capital letters; gpu means cuda.
    """
    if not isinstance(what, str):
        if callable(getattr(what, "open", None)):
            return what
        raise BadInput(f"{what!r} is no provider", "give its name as text, such as cpu, or an object with open()")
    name, colon, options = what.strip().partition(":")
    usual = short_name(name)
    if usual == "gpu" and usual not in plugins.registry().components("provider"):
        usual = "cuda"
    spec = parse_spec(f"{usual}{colon}{options}")
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
    """Map the short name to the full name of every provider that the installed ONNX Runtime was built with."""
    return {short_name(name): name for name in onnxruntime().get_available_providers()}


def short_name(execution_provider: str) -> str:
    """The name that users type: cuda for CUDAExecutionProvider."""
    return execution_provider.lower().removesuffix("executionprovider")


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
    """The part of ONNX Runtime's message that helps a user."""
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
