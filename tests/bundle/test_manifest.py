"""The manifest: one vocabulary for reader, writer and the schema that other languages check by."""

from __future__ import annotations

import json
from importlib import metadata
from typing import get_args

import jsonschema
import pytest
from aepipe.bundle.manifest import ENDS, PRECISE, Graph, Manifest, Role, graph_file, tensor, upgraded
from aepipe.files.records import as_entries, as_record, read_json

from docs import manifest_schema
from tests.helpers.places import KEPT, MNIST, ROOT

SCHEMAS = {version: json.loads(file.read_text()) for version, file in manifest_schema.FILES.items()}
BUNDLES = [MNIST, *(kept / "bundle" for kept in KEPT)]


WRITTEN_WITH = next(
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("msgspec==")
)


@pytest.mark.skipif(
    f"msgspec=={metadata.version('msgspec')}" != WRITTEN_WITH, reason="another msgspec words it differently"
)
@pytest.mark.parametrize("version", SCHEMAS)
def test_the_schema_that_is_committed_is_that_of_the_code(version: int) -> None:
    assert manifest_schema.FILES[version].read_text(encoding="utf-8") == manifest_schema.text(version)
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[version])


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.parent.name)
def test_a_manifest_is_read_and_written_without_loss(bundle) -> None:
    entries = read_json(bundle / "manifest.json")
    jsonschema.validate(entries, SCHEMAS[entries["format"]])
    assert as_entries(as_record(Manifest, upgraded(entries)).entries()) == entries


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("latent",), 0), (("latent",), True), (("format",), 0), (("name",), "a\x1bb"), (("name",), "a\u202eb"),
        (("image", "shape"), [1, 28]), (("graphs", 0, "role"), 3), (("graphs", 0, "inputs"), []),
        (("graphs", 0, "inputs", "image", "shape"), [None]), (("densities",), "pca"),
    ],
)  # fmt: skip
def test_what_the_reader_refuses_the_schema_refuses(place, value) -> None:
    entries = read_json(MNIST / "manifest.json")
    *path, last = place
    inner = entries
    for key in path:
        inner = inner[key]
    inner[last] = value
    with pytest.raises(ValueError, match=str(place[0])):
        as_record(Manifest, upgraded(entries))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(entries, SCHEMAS[1])


def test_the_vocabulary_is_complete() -> None:
    assert set(get_args(Role)) == set(ENDS) and set(PRECISE) <= set(ENDS)
    files = [graph_file(role, "pca" if role in ("sample", "log_prob", "noise", "generate") else None) for role in ENDS]
    files += [graph_file(role, precision=precision) for role in PRECISE for precision in ("int8", "fp16")]
    files += [graph_file(role, io="uint8") for role in PRECISE]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("file", ["/etc/passwd", "../x.onnx", "a/../../x", "C:\\x", "a\\..\\x", "c:x"])
def test_no_file_leads_out_of_the_bundle(file: str) -> None:
    with pytest.raises(ValueError, match="leads out of the bundle"):
        Graph(role="decoder", file=file, inputs={"latent": tensor(2)}, outputs={"image": tensor(1, 2, 2)})
