"""Faults of providers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.testing.planted import fault


class Sound:
    """ONNX Runtime on the CPU, with a session that can be changed."""

    def open(self, path, *, threads=None, batch=None):
        from aepipe.runtime.providers import OnnxRuntime

        return self.session(OnnxRuntime("CPUExecutionProvider", {}).open(path, threads=threads))

    def session(self, inner):
        return inner


class Session:
    name = "planted"

    def __init__(self, inner):
        self.inner = inner

    def run(self, inputs):
        return self.inner.run(inputs)

    def close(self):
        self.inner.close()


@fault("provider", "opens", "threads=None, batch=None")
def does_not_take_batch():
    "An open without batch=."

    class Fault(Sound):
        def open(self, path, *, threads=None):
            return super().open(path, threads=threads)

    return Fault()


@fault("provider", "opens", "raise ProviderUnavailable(message, hint)", "refuses_bad_files")
def fails_in_its_own_way():
    "ImportError where its library is missing."

    class Fault(Sound):
        def open(self, path, *, threads=None, batch=None):
            raise ImportError("libfast.so is missing")

    return Fault()


@fault("provider", "computes_what_onnxruntime_computes", "compute in float32 by default")
def computes_in_half_precision():
    "Rounds to float16."

    class Half(Session):
        def run(self, inputs):
            return {name: value.astype(np.float16).astype(np.float32) for name, value in super().run(inputs).items()}

    class Fault(Sound):
        session = staticmethod(Half)

    return Fault()


@fault("provider", "computes_what_onnxruntime_computes", "the batch is dynamic")
def keeps_the_first_batch_size():
    "Refuses another batch size than that of the first run."

    class Fixed(Session):
        size = None

        def run(self, inputs):
            size = len(next(iter(inputs.values())))
            self.size = self.size or size
            if size != self.size:
                raise RuntimeError(f"compiled for {self.size}")
            return super().run(inputs)

    class Fault(Sound):
        session = staticmethod(Fixed)

    return Fault()


@fault("provider", "computes_what_onnxruntime_computes", "a dict from output name to array", "gives_results_that_stay")
def gives_a_list():
    "Results without names."

    class Listing(Session):
        def run(self, inputs):
            return list(super().run(inputs).values())

    class Fault(Sound):
        session = staticmethod(Listing)

    return Fault()


@fault("provider", "gives_results_that_stay", "return a copy of internal buffers")
def gives_its_buffer():
    "Every result in the same memory."

    class Buffered(Session):
        buffer = np.zeros(100, np.float32)

        def run(self, inputs):
            found = super().run(inputs)
            for name, value in found.items():
                self.buffer[: value.size] = value.ravel()
                found[name] = self.buffer[: value.size].reshape(value.shape)
            return found

    class Fault(Sound):
        session = staticmethod(Buffered)

    return Fault()


@fault("provider", "has_a_name", "set `name`")
def has_no_name():
    "A session without a name."

    class Nameless(Session):
        name = None

    class Fault(Sound):
        session = staticmethod(Nameless)

    return Fault()


@fault("provider", "closes", "give the session a close()")
def cannot_be_closed():
    "A session without close."

    class Open(Session):
        close = None

    class Fault(Sound):
        session = staticmethod(Open)

    return Fault()


@fault("provider", "refuses_bad_files", "catch the runtime's own errors")
def shows_its_own_errors():
    "FileNotFoundError for a missing file."

    class Fault(Sound):
        def open(self, path, *, threads=None, batch=None):
            with Path(path).open("rb"):
                return super().open(path, threads=threads)

    return Fault()
