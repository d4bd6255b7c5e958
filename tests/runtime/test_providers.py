"""Providers: a name is a promise, `auto` says what it took, and ONNX Runtime's own noise stays out."""

from __future__ import annotations

import os
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import AepipeError, BadInput, ProviderUnavailable
from aepipe.runtime import providers
from aepipe.runtime.model import Model

from tests.helpers.commands import python
from tests.helpers.strangers import install, with_path

HAS_DRIVER = providers._loads(*providers.DRIVERS)
KNOWN = providers.onnxruntime_providers()
without_driver = pytest.mark.skipif(HAS_DRIVER or "cuda" not in KNOWN, reason="is about a machine without a GPU")
NO_DRIVER = "no NVIDIA driver (libcuda does not load)"
PLUGIN = """
from aepipe import hookimpl

@hookimpl
def register_providers(register):
    register(loud, name="tensorrt")

def loud(*, gain: int = 1):
    "Everything as many times as large."
    from aepipe.runtime import OnnxRuntime

    class Loud:
        def open(self, path, *, threads=None, batch=None):
            inner = OnnxRuntime("CPUExecutionProvider", {}).open(path, threads=threads, batch=batch)

            class Session:
                name = "loud"
                close = inner.close

                def run(self, inputs):
                    return {key: gain * value for key, value in inner.run(inputs).items()}

            return Session()

    return Loud()
"""


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
@without_driver
def test_a_named_provider_never_falls_back(name: str, cli, kept_bundle: Path, tmp_path: Path) -> None:
    """In a process of its own, because noise may also come from below Python, and at the process's end."""
    if name not in KNOWN:
        pytest.skip(f"this ONNX Runtime is built without {name}")
    done = cli("infer", "reconstruct", kept_bundle, "digits", "-o", tmp_path / "out.png", "--provider", name)
    assert done.returncode == 4 and done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == f"error: {name} did not start: {NO_DRIVER}"
    assert hint == "hint: install NVIDIA's driver (nvidia-smi shows whether it works), or use --provider cpu"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["reconstruct", "denoise", "interpolate", "sample", "encode", "score"])
@without_driver
def test_no_task_writes_or_says_more(task: str, call, kept_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / {"encode": "codes.npy", "score": "scores.csv"}.get(task, "out.png")
    out.write_text("precious")
    given = [] if task == "sample" else ["digits"]
    outcome = call("infer", task, kept_bundle, *given, "-o", out, "--provider", "cuda:device_id=1,tf32=true")
    assert outcome.code == 4 and outcome.out == "" and len(outcome.err.splitlines()) == 2
    assert out.read_text() == "precious" and len(list(tmp_path.iterdir())) == 1


@without_driver
def test_the_missing_library_is_named(monkeypatch, kept_bundle: Path, capfd) -> None:
    """With the look for a driver out of the way, ONNX Runtime's real failure is met; libcuda at least is missing."""
    monkeypatch.setattr(providers, "_loads", lambda *libraries: True)
    with pytest.raises(ProviderUnavailable, match=r"cuda did not start: the library lib\S+ is missing") as caught:
        aepipe.load(kept_bundle, "cuda").session("decoder")
    assert caught.value.hint == "pip install 'aepipe[cuda]', or use provider='cpu'"
    if "tensorrt" in KNOWN:
        with pytest.raises(ProviderUnavailable, match=r"tensorrt did not start: the library lib\S+ is missing"):
            aepipe.load(kept_bundle, "tensorrt").session("decoder")
    assert capfd.readouterr() == ("", ""), "what ONNX Runtime prints in Python and below is kept out"


def test_a_build_without_the_provider(kept_bundle: Path) -> None:
    provider = providers.OnnxRuntime("RocketExecutionProvider", {})
    with pytest.raises(ProviderUnavailable, match=r"has no provider 'rocket', it has: .*cpu"):
        provider.open(kept_bundle / "decoder.onnx")


def test_auto_on_a_machine_without_a_gpu_says_nothing(kept_bundle: Path, capsys) -> None:
    with aepipe.load(kept_bundle, "auto") as model:
        model.reconstruct(np.zeros((2, 28, 28), np.uint8))
        taken = model.session("encoder").name
    said = capsys.readouterr()
    assert said.out == "" and (HAS_DRIVER or (taken, said.err) == ("cpu", ""))


def test_auto_says_once_in_a_process_what_surprises(kept_bundle: Path, capsys, monkeypatch) -> None:
    """A driver is there, and CUDA does not start."""

    class Broken:
        name = "cuda"

        def open(self, path, *, threads=None, batch=None):
            raise ProviderUnavailable("cuda did not start: it is broken", "repair it")

    monkeypatch.setattr(providers, "_loads", lambda *libraries: True)
    monkeypatch.setattr(providers, "_said", set())
    for _ in range(2):
        chosen = providers.FirstAvailable([Broken(), providers.provider("cpu")])
        with Model(Bundle(kept_bundle), chosen) as model:
            model.reconstruct(np.zeros((2, 28, 28), np.uint8))
    assert capsys.readouterr().err == "provider auto: cpu; cuda did not start: it is broken\n"


@pytest.mark.parametrize("spec", ["CPU", "Cpu", "CPUExecutionProvider", "cpuexecutionprovider", " cpu"])
def test_other_ways_to_write_a_provider(spec: str, kept_bundle: Path) -> None:
    assert aepipe.load(kept_bundle, spec).session("encoder").name == "cpu"


@pytest.mark.parametrize("spec", ["gpu", "GPU", "CUDA", "CUDAExecutionProvider", "Gpu:device_id=1"])
def test_gpu_means_cuda(spec: str) -> None:
    found = providers.provider(spec)
    assert found.name == "cuda" and found.options["device_id"] == ("1" if "=" in spec else "0")


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("cudaa", "unknown provider 'cudaa'", "did you mean 'cuda'? known: auto, cpu, cuda"),
        ("cuda:device_id=x", "provider 'cuda': device_id=x: a whole number is needed", "device_id is int"),
        ("cuda:tf32=maybe", "provider 'cuda': tf32=maybe: true or false is needed", "tf32 is bool"),
        ("cuda:device=1", "provider 'cuda' has no option 'device'", "did you mean 'device_id'?"),
        ("cpu:threads=2", "provider 'cpu' has no option 'threads'", "there are none"),
        ("c p u", "'c p u' is not a valid spec", "write NAME"),
    ],
)
def test_misspelt_providers(spec: str, message: str, hint: str, call, kept_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        aepipe.load(kept_bundle, spec)
    assert caught.value.message == message and caught.value.hint.startswith(hint)
    outcome = call("infer", "sample", kept_bundle, "-o", tmp_path / "x.png", "--provider", spec)
    assert outcome.code == 2 and outcome.err.splitlines()[0] == f"error: {message}"
    assert call("benchmark", kept_bundle, "--provider", spec).code == 2


def test_a_plugin_wins_over_onnx_runtimes_own_name(kept_bundle: Path, tmp_path: Path) -> None:
    install(tmp_path, "aepipe-loud", PLUGIN)
    code = """
import sys, numpy as np, aepipe
z = np.ones((3, 8), np.float32)
mine, cpu = (aepipe.load(sys.argv[1], name) for name in ("tensorrt:gain=3", "cpu"))
assert mine.session("decoder").name == "loud"
np.testing.assert_allclose(mine.decode(z), 3 * cpu.decode(z))
"""
    done = python(code, kept_bundle, env=with_path(tmp_path))
    assert done.returncode == 0, done.stderr


def test_onnx_runtime_missing(kept_bundle: Path) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None
from aepipe.cli import run
sys.exit(run(["infer", "sample", sys.argv[1], "-o", "never.png"]))
"""
    done = python(code, kept_bundle)
    error, hint = done.stderr.splitlines()
    assert done.returncode == 1 and error.startswith("error: ONNX Runtime cannot be imported")
    assert "pip install onnxruntime-gpu (Linux x86-64, Windows) or onnxruntime (elsewhere)" in hint


def test_a_graph_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "decoder.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(AepipeError, match="ONNX Runtime cannot load") as caught:
        providers.provider("cpu").open(tmp_path / "decoder.onnx")
    assert caught.value.exit_code == 1 and caught.value.hint


def test_one_line_of_onnx_runtimes_errors() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid\n dimensions")
    assert providers.brief(error) == "Got invalid dimensions"
    assert providers.brief(RuntimeError("/src/onnx/a_b.cc:729 void f() Please install")) == "void f() Please install"
    assert len(providers.brief(RuntimeError("x" * 1000))) == 200


def test_a_starting_session_swallows_nobodys_output(kept_bundle: Path) -> None:
    """Another thread writes to stderr, by descriptor and by Python, while sessions start: every line arrives."""
    code = """
import os, sys, threading
import aepipe
stop, lines = threading.Event(), 0

def chat():
    global lines
    while not stop.is_set():
        os.write(2, b"line\\n")
        print("line", file=sys.stderr, flush=True)
        lines += 2

thread = threading.Thread(target=chat)
thread.start()
for name in ("cpu", "cuda", "cpu"):
    try:
        aepipe.load(sys.argv[1], name).session("decoder")
    except aepipe.ProviderUnavailable:
        pass
stop.set(); thread.join()
print(lines)
"""
    done = python(code, kept_bundle)
    assert done.returncode == 0 and int(done.stdout) > 0
    assert done.stderr.count("line\n") == int(done.stdout)


HOME = """
import os, sys, numpy as np, aepipe
aepipe.load(sys.argv[1], "cpu").encode(np.zeros((2, 28, 28), np.uint8))
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""


@pytest.mark.parametrize("chosen", [None, "0"])
def test_nothing_is_written_to_the_home_folder(chosen: str | None, kept_bundle: Path, tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    env |= {"HOME": str(tmp_path), **({} if chosen is None else {"ORT_DISABLE_TELEMETRY": chosen})}
    done = python(HOME, kept_bundle, env=env)
    assert done.stdout == f"{chosen or 1}\n", "what the user has set stays"
    assert chosen is not None or not list(tmp_path.rglob("*"))
