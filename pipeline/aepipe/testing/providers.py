"""Checks of providers: they give the same numbers as ONNX Runtime on the CPU, and errors that a user understands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from aepipe._types import Array
from aepipe.doctor import PROBE
from aepipe.errors import AepipeError, ProviderUnavailable, one_line
from aepipe.runtime.providers import OnnxRuntime

from .report import Finding, NotApplicable, Subject, Unbuilt, require, trying

TOLERANCE = 1e-4  # |a - b| <= tolerance * max(1, |b|)


@contextmanager
def graph_file(content: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(content)
        yield path


def small_network() -> bytes:
    """A graph from image [N, 1, 8, 8] to latent [N, 4]: convolution, ReLU, linear layer; opset 18, IR 10."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"kernel": (3, 1, 3, 3), "bias": (3,), "matrix": (192, 4), "offset": (4,)}
    drawn = {name: 0.2 * rng.standard_normal(shape, dtype=np.float32) for name, shape in weights.items()}
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("Flatten", ["positive"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "offset"], ["latent"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    latent = helper.make_tensor_value_info("latent", TensorProto.FLOAT, ["batch", 4])
    tensors = [numpy_helper.from_array(value, name) for name, value in drawn.items()]
    graph = helper.make_graph(nodes, "small", [image], [latent], tensors)
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


@contextmanager
def opened(subject: Subject, content: bytes, **options: Any) -> Iterator[Any]:
    """A session, which is closed at the end; raises NotApplicable if the provider is not available or does not open."""
    with graph_file(content) as path:
        try:
            session = subject.make().open(path, **{"threads": 1, **options})
        except ProviderUnavailable as error:
            raise NotApplicable(f"not available here: {error.message}") from error
        except (NotApplicable, Finding):
            raise
        except Exception as error:
            raise Unbuilt("it does not open: see opens") from error
        try:
            yield session
        finally:
            with suppress(Exception):
                session.close()


def opens(subject: Subject) -> None:
    """open(path, threads=, batch=) takes a path or a string, or raises ProviderUnavailable and nothing else."""
    provider = subject.make()
    change = "open(path, *, threads=None, batch=None); where the provider cannot run, raise ProviderUnavailable(message, hint)"
    with graph_file(PROBE) as path:
        for place, options in (
            (path, {}),
            (str(path), {"threads": 1, "batch": None}),
            (path, {"threads": None, "batch": 1}),
        ):
            try:
                session = provider.open(place, **options)
            except ProviderUnavailable as error:
                require(
                    error.message and error.hint, "ProviderUnavailable says too little", "give a cause and a way out"
                )
            except Exception as error:
                call = ", ".join([f"{type(place).__name__}", *(f"{key}={value}" for key, value in options.items())])
                raise Finding(f"open({call}) raises {one_line(error)}", change) from error
            else:
                with suppress(Exception):  # the check `closes` reports it
                    session.close()


def computes_what_onnxruntime_computes(subject: Subject) -> None:
    """Results equal those of ONNX Runtime on the CPU within 1e-4, for batches of 1, of 5, and of 1 again."""
    image = np.random.default_rng(1).random((5, 1, 8, 8), dtype=np.float32)
    network = small_network()
    with graph_file(network) as path:
        reference = OnnxRuntime("CPUExecutionProvider", {}).open(path, threads=1)
        expected = reference.run({"image": image})["latent"]
        reference.close()
    with opened(subject, PROBE) as session:
        _compare(_run(session, "x", image[:1, 0, 0, 0]), "y", image[:1, 0, 0, 0])
    with opened(subject, network) as session:
        for rows in (slice(0, 1), slice(0, 5), slice(2, 3)):
            _compare(_run(session, "image", image[rows]), "latent", expected[rows])


def _run(session: Any, name: str, values: Array) -> Any:
    given = values.copy()
    with trying(f"run at batch {len(values)}", "the batch is dynamic: any size may come after any other"):
        results = session.run({name: given})
    require(np.array_equal(given, values), "run changes its inputs", "copy what must be changed")
    return results


def _compare(results: Any, name: str, expected: Array) -> None:
    named = isinstance(results, dict) and list(results) == [name]
    require(named, f"run gives {list(results)!r:.80}", f"return a dict from output name to array, here {{{name!r}: …}}")
    got = results[name]
    same = isinstance(got, np.ndarray) and got.shape == expected.shape and got.dtype == np.float32
    what = f"{type(got).__name__} {getattr(got, 'dtype', '')} {list(np.shape(got))}"
    require(same, f"run gives {what} for {name!r}", f"return a float32 array {list(expected.shape)}")
    worst = float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max())
    require(
        worst <= TOLERANCE,
        f"{name!r} at batch {len(expected)} differs from ONNX Runtime on the CPU by {worst:.2g}, the tolerance is {TOLERANCE:.0e}",
        "compute in float32 by default, without TF32 or bf16; make faster formats an option",
    )


def gives_results_that_stay(subject: Subject) -> None:
    """A run does not overwrite an earlier result, because pipelines keep several results."""
    values = np.array([1.5], np.float32)
    with opened(subject, PROBE) as session:
        first = session.run({"x": values})["y"]
        session.run({"x": values + 5})
        require(
            np.array_equal(first, values),
            "a second run changes the first run's result",
            "return a copy of internal buffers",
        )


def has_a_name(subject: Subject) -> None:
    """The session says in one word what it runs on."""
    with opened(subject, PROBE) as session:
        name = getattr(session, "name", None)
        require(
            isinstance(name, str) and name.strip(),
            f"the session's name is {name!r}",
            "set `name` to what it runs on: 'cpu'",
        )


def closes(subject: Subject) -> None:
    """close() frees the session, and another can be opened after it."""
    for _ in range(2):
        with (
            opened(subject, PROBE) as session,
            trying("close()", "give the session a close() that frees what it holds"),
        ):
            session.close()


def refuses_bad_files(subject: Subject) -> None:
    """open raises AepipeError for a file that is missing or is no graph."""
    change = "catch the runtime's own errors in open and raise AepipeError(message, hint)"
    with graph_file(b"no graph") as path:
        for what, place in (("a missing file", path.with_name("missing.onnx")), ("a file that is no graph", path)):
            try:
                subject.make().open(place, threads=1)
            except AepipeError:
                continue
            except (NotApplicable, Finding):
                raise
            except Exception as error:
                raise Finding(f"{what} raises {one_line(error)}", change) from error
            raise Finding(f"{what} is opened without an error", change)


CHECKS: list[Callable[[Subject], None]] = [
    opens,
    computes_what_onnxruntime_computes,
    gives_results_that_stay,
    has_a_name,
    closes,
    refuses_bad_files,
]
