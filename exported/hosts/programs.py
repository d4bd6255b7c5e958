"""Installs or builds the host programs, if their tools are here, and calls them, for the tests and compare.py.

Headers for C++ are searched on the compiler's path, which includes CPATH; Chromium is searched on PATH.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUICK = [
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--prefer-offline",
    "--fetch-retries=0",
    "--fetch-timeout=20000",
]


class Unavailable(Exception):
    """The tools of a host are not here; the message says which."""


class Failed(Exception):
    """A host has refused a task; the message is the host's own."""


class Host:
    """A program that is started for every task."""

    def __init__(self, command: list[str], versions: str):
        self.command, self.versions = command, versions

    def run(self, bundle: Path, task: str, source: Path, target: Path) -> None:
        command = [*self.command, str(bundle), task, str(source), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(done.stderr)

    def check(self, bundle: Path, target: Path) -> str:
        """What it says of each stage of the bundle's test vectors; raises Failed with that where one differs too much."""
        done = subprocess.run([*self.command, str(bundle), "--check"], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(done.stdout + done.stderr)
        return done.stdout

    def close(self) -> None:
        """End what was started. Here that is nothing."""


class Page(Host):
    """A page in a Chromium that stays open from task to task."""

    def __init__(self, command: list[str], versions: str):
        super().__init__(command, versions)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, bundle: Path, task: str, source: Path, target: Path) -> None:
        assert self.process.stdin and self.process.stdout
        print(json.dumps([str(bundle), task, str(source), str(target)]), file=self.process.stdin, flush=True)
        said = self.process.stdout.readline()
        failed = json.loads(said) if said else "the browser has ended"
        if failed:
            raise Failed(failed)

    def check(self, bundle: Path, target: Path) -> str:
        self.run(bundle, "check", target, target)
        return target.read_text(encoding="utf-8")

    def close(self) -> None:
        self.process.communicate(timeout=30)  # the process ends when its input ends


def python(folder: Path) -> Host:
    return _python("python", "onnxruntime")


def openvino(folder: Path) -> Host:
    return _python("openvino", "openvino")


def _python(name: str, module: str) -> Host:
    command = [sys.executable, str(HERE / name / "host.py")]
    # The version is asked for in another process, because two runtimes in one process have disturbed each other's times.
    silent = "os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1'); sys.modules['openvino_telemetry'] = None"
    asked = f"import os, sys; {silent}; import {module} as m; print(m.__version__)"
    version = _tool([sys.executable, "-c", asked], HERE, f"Python has no {module}").strip()
    return Host(command, f"Python {sys.version.split()[0]}, {module} {version.partition('-')[0]}")


def node(folder: Path) -> Host:
    home, program, package = _installed("node", "onnxruntime-node", folder)
    version = _tool([program, "--version"], folder, "node does not start").strip()
    return Host([program, str(home / "host.js")], f"Node {version}, {package}")


def web(folder: Path) -> Host:
    found = [path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if path]
    if not found:
        raise Unavailable("there is no Chromium")
    home, program, package = _installed("web", "onnxruntime-web", folder)
    version = re.search(r"\d+", _tool([found[0], "--version"], folder, "Chromium does not start"))
    return Page([program, str(home / "drive.js"), found[0]], f"Chromium {version and version[0]}, {package}")


def _installed(name: str, package: str, folder: Path) -> tuple[Path, str, str]:
    """The folder of a host with its npm packages (its own, or a copy in `folder`), Node's program, and package and version."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if not program or not npm:
        raise Unavailable("there is no node, or no npm")
    home = HERE / name
    if not (home / "node_modules" / package).is_dir():
        home = shutil.copytree(home, folder / name, ignore=shutil.ignore_patterns("node_modules"))
        _tool([npm, "install", *QUICK], home, f"{package} cannot be installed")
    installed = json.loads((home / "node_modules" / package / "package.json").read_text())
    return home, program, f"{package} {installed['version']}"


def cpp(folder: Path) -> Host:
    """Compile the host into `folder`, with the library that Python's onnxruntime contains."""
    compiler = shutil.which("g++")
    if not compiler:
        raise Unavailable("there is no g++")
    include = ["-idirafter", "/usr/include/onnxruntime", "-idirafter", "/usr/local/include/onnxruntime"]
    probe = folder / "probe.cpp"
    probe.write_text("#include <png.h>\n")
    _tool([compiler, "-E", str(probe)], folder, "g++ finds no headers of libpng")
    probe.write_text("#include <onnxruntime_c_api.h>\nORT_API_VERSION\n")
    seen = _tool([compiler, *include, "-E", "-P", str(probe)], folder, "g++ finds no headers of ONNX Runtime")
    spec = importlib.util.find_spec("onnxruntime")
    found = sorted(Path(spec.origin).parent.glob("capi/libonnxruntime.so.*")) if spec and spec.origin else []
    if not found:
        raise Unavailable("Python's onnxruntime has no libonnxruntime.so")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(found[-1])
    flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", *include]
    link = [f"-L{folder}", "-lonnxruntime", "-lpng", f"-Wl,-rpath,{folder}"]
    _tool([compiler, *flags, str(HERE / "cpp/host.cpp"), "-o", str(folder / "host"), *link], folder, "")
    version = _tool([compiler, "-dumpfullversion"], folder, "g++ does not start").strip()
    library = found[-1].name.removeprefix("libonnxruntime.so.")
    return Host([str(folder / "host")], f"g++ {version}, ONNX Runtime {library}, headers 1.{seen.split()[-1]}")


HOSTS: dict[str, Callable[[Path], Host]] = {
    "python": python,
    "openvino": openvino,
    "node": node,
    "web": web,
    "cpp": cpp,
}


def _tool(command: list[str], folder: Path, otherwise: str) -> str:
    """What a tool prints. If it fails, raises Unavailable(otherwise), or RuntimeError if `otherwise` is empty."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} takes too long") from None
    if done.returncode and otherwise:
        raise Unavailable(otherwise)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
