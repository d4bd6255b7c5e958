"""Providers: a name is a promise, `auto` says what it took, and ONNX Runtime's own noise stays out."""

from __future__ import annotations

from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.errors import AepipeError, BadInput, ProviderUnavailable
from aepipe.runtime import providers

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
def test_a_named_provider_never_falls_back(name: str, cli, digits_bundle: Path, tmp_path: Path) -> None:
    """In a process of its own, because noise may also come from below Python, and at the process's end."""
    if name not in KNOWN:
        pytest.skip(f"this ONNX Runtime is built without {name}")
    done = cli("infer", "reconstruct", digits_bundle, "digits", "-o", tmp_path / "out.png", "--provider", name)
    assert done.returncode == 4 and done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error == f"error: {name} did not start: {NO_DRIVER}"
    assert hint == "hint: install NVIDIA's driver (nvidia-smi shows whether it works), or use --provider cpu"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", ["reconstruct", "denoise", "interpolate", "sample", "encode", "score"])
@without_driver
def test_no_task_writes_or_says_more(task: str, call, digits_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / {"encode": "codes.npy", "score": "scores.csv"}.get(task, "out.png")
    out.write_text("precious")
    given = [] if task == "sample" else ["digits"]
    outcome = call("infer", task, digits_bundle, *given, "-o", out, "--provider", "cuda:device_id=1,tf32=true")
    assert outcome.code == 4 and outcome.out == "" and len(outcome.err.splitlines()) == 2
    assert out.read_text() == "precious" and len(list(tmp_path.iterdir())) == 1


@without_driver
def test_the_missing_library_is_named(monkeypatch, digits_bundle: Path, capfd) -> None:
    """With the look for a driver out of the way, ONNX Runtime's real failure is met; libcuda at least is missing."""
    monkeypatch.setattr(providers, "_loads", lambda *libraries: True)
    with pytest.raises(ProviderUnavailable, match=r"cuda did not start: the library lib\S+ is missing") as caught:
        aepipe.load(digits_bundle, "cuda").session("decoder")
    assert caught.value.hint == "pip install 'aepipe[cuda]', or use provider='cpu'"
    if "tensorrt" in KNOWN:
        with pytest.raises(ProviderUnavailable, match=r"tensorrt did not start: the library lib\S+ is missing"):
            aepipe.load(digits_bundle, "tensorrt").session("decoder")
    assert capfd.readouterr() == ("", ""), "what ONNX Runtime prints in Python and below is kept out"


def test_a_build_without_the_provider(digits_bundle: Path) -> None:
    provider = providers.OnnxRuntime("RocketExecutionProvider", {})
    with pytest.raises(ProviderUnavailable, match=r"has no provider 'rocket', it has: .*cpu"):
        provider.open(digits_bundle / "decoder.onnx")


def test_auto_says_once_what_it_took(digits_bundle: Path, capsys) -> None:
    with aepipe.load(digits_bundle, "auto") as model:
        model.reconstruct(np.zeros((2, 28, 28), np.uint8))
        taken = model.session("encoder").name
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith(f"provider auto: {taken}")
    if not HAS_DRIVER and "cuda" in KNOWN:
        assert said.err == f"provider auto: cpu; cuda did not start: {NO_DRIVER}\n"


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("cudaa", "unknown provider 'cudaa'", "did you mean 'cuda'? known: auto, cpu, cuda"),
        ("cuda:device_id=x", "provider 'cuda': device_id=x: a whole number is needed", "device_id is int"),
        ("cuda:tf32=maybe", "provider 'cuda': tf32=maybe: true or false is needed", "tf32 is bool"),
        ("cuda:device=1", "provider 'cuda' has no option 'device'", "did you mean 'device_id'?"),
        ("cpu:threads=2", "provider 'cpu' has no option 'threads'", "there are none"),
        ("CPU", "'CPU' is not a valid spec", "write NAME"),
    ],
)
def test_misspelt_providers(spec: str, message: str, hint: str, call, digits_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        aepipe.load(digits_bundle, spec)
    assert caught.value.message == message and caught.value.hint.startswith(hint)
    outcome = call("infer", "sample", digits_bundle, "-o", tmp_path / "x.png", "--provider", spec)
    assert outcome.code == 2 and outcome.err.splitlines()[0] == f"error: {message}"
    assert call("benchmark", digits_bundle, "--provider", spec).code == 2


def test_a_plugin_wins_over_onnx_runtimes_own_name(digits_bundle: Path, tmp_path: Path) -> None:
    install(tmp_path, "aepipe-loud", PLUGIN)
    code = """
import sys, numpy as np, aepipe
z = np.ones((3, 4), np.float32)
mine, cpu = (aepipe.load(sys.argv[1], name) for name in ("tensorrt:gain=3", "cpu"))
assert mine.session("decoder").name == "loud"
np.testing.assert_allclose(mine.decode(z), 3 * cpu.decode(z))
"""
    done = python(code, digits_bundle, env=with_path(tmp_path))
    assert done.returncode == 0, done.stderr


def test_onnx_runtime_missing(digits_bundle: Path) -> None:
    code = """
import sys
sys.modules["onnxruntime"] = None
from aepipe.cli import run
sys.exit(run(["infer", "sample", sys.argv[1], "-o", "never.png"]))
"""
    done = python(code, digits_bundle)
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


def test_a_starting_session_swallows_nobodys_output(digits_bundle: Path) -> None:
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
    done = python(code, digits_bundle)
    assert done.returncode == 0 and int(done.stdout) > 0
    assert done.stderr.count("line\n") == int(done.stdout)
