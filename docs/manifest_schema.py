"""Writes the JSON Schemas of a bundle's manifest.json, made of the dataclasses that read and write it: docs/manifest.schema.json
of format 2, docs/manifest-1.schema.json of format 1.

python docs/manifest_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from aepipe.bundle.manifest import FormatOne, Manifest
from aepipe.files.records import schema

HERE = Path(__file__).parent
FILES = {1: HERE / "manifest-1.schema.json", 2: HERE / "manifest.schema.json"}


def text(version: int) -> str:
    made = schema(Manifest)
    if version == 1:
        first, whole = schema(FormatOne)["$defs"], made["$defs"]
        for name in ("Data", "Latent", "Raw"):
            del whole[name]
        whole["Image"] = first["Image"]
        manifest = whole["Manifest"]
        for name in ("data", "classes"):
            del manifest["properties"][name]
        manifest["properties"] |= first["FormatOne"]["properties"]
        manifest["required"] = [{"data": "image"}.get(each, each) for each in manifest["required"]]
    return json.dumps({"title": f"manifest.json of an aepipe bundle, format {version}", **made}, indent=2) + "\n"


if __name__ == "__main__":
    for version, file in FILES.items():
        file.write_text(text(version), encoding="utf-8")
