"""The tests, and programs that measure and write what the tests keep."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before any of them imports ONNX Runtime; children inherit it
