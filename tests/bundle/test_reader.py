"""Reading a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import aepipe
import numpy as np
import pytest
from aepipe.bundle.reader import Bundle
from aepipe.errors import BadInput

from tests.helpers.bundles import manifest_of


def test_a_manifest_without_io_is_read_as_float(kept_bundle: Path, tmp_path):
    old = Path(shutil.copytree(kept_bundle, tmp_path / "old"))
    manifest = manifest_of(old)
    for graph in manifest["graphs"]:
        del graph["io"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    codes = np.zeros((2, 8), np.float32)
    np.testing.assert_array_equal(aepipe.load(old, "cpu").decode(codes), aepipe.load(kept_bundle, "cpu").decode(codes))
    with pytest.raises(BadInput, match="no encoder graph for uint8"):
        Bundle(old).graph("encoder", io="uint8")
