"""Models used from several threads, in forked and in spawned processes, and after they were pickled."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import aepipe
import numpy as np
import onnxruntime as ort
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import AepipeError
from aepipe.runtime import FirstAvailable, OnnxRuntime
from aepipe.runtime.bound_session import BoundSession
from aepipe.runtime.model import Model

from tests.helpers.commands import python

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
IMAGES = np.random.default_rng(0).random((5, 28, 28), np.float32)


class Bound:
    """Buffers as on CUDA, on the CPU; it counts what it opens."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def open(self, path, *, threads=None, batch=None):
        self.opened.append(Path(path).name)
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return BoundSession(session, "bound", batch or 64, device="cpu")


@pytest.mark.parametrize("kind", [Bound, lambda: OnnxRuntime("CPUExecutionProvider", {})], ids=["bound", "plain"])
def test_threads_share_a_model(kind, digits_bundle: Path) -> None:
    rng = np.random.default_rng(1)
    given = [rng.random((1 + k % 9, 1, 28, 28), np.float32) for k in range(40)]
    model = Model(Bundle(digits_bundle), kind(), batch_size=8)
    expected = [model.encode(each) for each in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for made, right in zip(pool.map(model.encode, given), expected, strict=True):
                np.testing.assert_array_equal(made, right)
            made = list(pool.map(lambda k: model.sample(3, seed=k % 2), range(16)))
            assert all(np.array_equal(each, made[k % 2]) for k, each in enumerate(made))


def test_threads_open_each_graph_once(digits_bundle: Path) -> None:
    provider = Bound()
    model = Model(Bundle(digits_bundle), provider)
    ready = threading.Barrier(8)

    def first(_: int) -> None:
        ready.wait()
        model.reconstruct(IMAGES)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(first, range(8)))
    assert sorted(provider.opened) == ["decoder.onnx", "encoder.onnx"]


def test_closing_while_others_compute(digits_bundle: Path) -> None:
    model = aepipe.load(digits_bundle, "cpu")
    expected = model.encode(IMAGES)

    def compute(_: int) -> bool:
        try:
            return np.array_equal(model.encode(IMAGES), expected)
        except AepipeError as error:
            return "closed" in error.message

    with ThreadPoolExecutor(4) as pool:
        results = pool.map(compute, range(100))
        for _ in range(20):
            model.close()
    assert all(results)


FORKING = """
import gc, os, sys, numpy as np, aepipe
from aepipe.images.data import open_images
from PIL import Image
images = np.zeros((2, 28, 28), np.uint8)
os.mkdir("pictures")
for k in range(8):
    noise = np.random.default_rng(k).integers(0, 256, (90, 90), np.uint8)
    Image.fromarray(noise).save(f"pictures/{k}.png")
pictures = open_images("pictures", shape=(1, 90, 90)).read
model = aepipe.load(sys.argv[1], "cpu", threads=4)
raw = model.session("decoder")
expected, before = model.encode(images), pictures(np.arange(8))
for use in ("close", "compute", "leave", "delete", "raw", "pictures"):
    pid = os.fork()
    if pid == 0:
        if use == "close":
            model.close()
        elif use == "compute":
            assert np.array_equal(model.encode(images), expected)
            model.close()
        elif use == "delete":
            del model, raw
            gc.collect()
        elif use == "raw":
            raw.close()
        elif use == "pictures":
            assert np.array_equal(pictures(np.arange(8)), before)
        sys.exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, (use, code)
assert np.array_equal(model.encode(images), expected)
"""


@forks
def test_a_forked_child_opens_its_own(digits_bundle: Path, tmp_path: Path) -> None:
    done = python(FORKING, digits_bundle, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr


@forks
def test_a_fork_while_threads_compute(digits_bundle: Path) -> None:
    """The child must not wait for a lock that a thread of its parent held."""
    code = """
import os, signal, sys, threading, numpy as np, aepipe
images = np.zeros((2, 28, 28), np.uint8)
models = [aepipe.load(sys.argv[1], name) for name in ("cpu", "auto")]
for model in models: model.encode(images)  # a child forked within an import could never end that import
stop = threading.Event()

def compute(model):
    while not stop.is_set():
        model.encode(images)

threads = [threading.Thread(target=compute, args=[model]) for model in models for _ in range(2)]
for each in threads: each.start()
codes = []
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        for model in models:
            model.encode(images)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
stop.set()
for each in threads: each.join()
sys.exit(any(codes) and str(codes))
"""
    done = python(code, digits_bundle, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_session_after_close_says_so(digits_bundle: Path) -> None:
    for provider in (Bound(), OnnxRuntime("CPUExecutionProvider", {})):
        session = provider.open(digits_bundle / "encoder.onnx")
        session.close()
        with pytest.raises(AepipeError, match="was closed"):
            session.run({"image": np.zeros((1, 1, 28, 28), np.float32)})


@pytest.mark.parametrize("provider", ["cpu", "auto", "object"])
def test_a_model_is_pickled_at_any_time(provider: str, digits_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(digits_bundle.parent)
    wanted = OnnxRuntime("CPUExecutionProvider", {}) if provider == "object" else provider
    model = Model(Bundle(digits_bundle.name), wanted, threads=1, batch_size=7)
    monkeypatch.chdir(tmp_path)
    for again in (pickle.loads, copy.deepcopy):
        other = again(pickle.dumps(model) if again is pickle.loads else model)
        np.testing.assert_array_equal(other.encode(IMAGES), model.encode(IMAGES))
        assert (other.threads, other.batch_size, other.precision) == (1, 7, "fp32")
    model.close()
    assert pickle.loads(pickle.dumps(model)).encode(IMAGES).shape == (5, 4)


def test_a_provider_of_several_is_pickled() -> None:
    several = FirstAvailable([OnnxRuntime("CUDAExecutionProvider", {}), OnnxRuntime("CPUExecutionProvider", {})])
    assert [each.name for each in pickle.loads(pickle.dumps(several)).providers] == ["cuda", "cpu"]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes_of_a_pool(method: str, digits_bundle: Path) -> None:
    model = aepipe.load(digits_bundle, "cpu")
    expected = model.encode(IMAGES)
    gc.collect()
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        for made in pool.map(model.encode, [IMAGES] * 3):
            np.testing.assert_array_equal(made, expected)


def test_a_later_chdir_does_no_harm(digits_bundle: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(digits_bundle.parent)
    model = aepipe.load(digits_bundle.name, "cpu")
    monkeypatch.chdir(tmp_path)
    assert model.sample(1).shape == (1, 1, 28, 28)
