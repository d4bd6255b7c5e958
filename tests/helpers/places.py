"""Where things lie in this repository."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
BROWSER = TESTS / "browser"
HOSTS = ROOT / "exported" / "hosts"
MNIST = ROOT / "exported" / "mnist-d8"
PHOTOS = ROOT / "exported" / "photos"
FLOW = ROOT / "plugins" / "aepipe-flow"
MATCHING = ROOT / "plugins" / "aepipe-matching"
SCIENCE = ROOT / "plugins" / "aepipe-science"
OPENVINO = ROOT / "plugins" / "aepipe-openvino"
LOGGERS = ROOT / "plugins" / "aepipe-loggers"
SIGNALS = ROOT / "plugins" / "aepipe-signals"
KEPT = sorted(FIXTURES.glob("format-*"))  # bundles that were written earlier
DATA = Path(os.environ.get("AEPIPE_DATA", "no-data")).resolve()  # data sets that are at hand
