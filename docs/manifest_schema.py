"""Writes docs/manifest.schema.json: the JSON Schema of a bundle's manifest.json, made of the dataclasses that read and write it.

python docs/manifest_schema.py
"""

from __future__ import annotations

import json
from pathlib import Path

from aepipe.bundle.manifest import Manifest
from aepipe.files.records import schema

FILE = Path(__file__).with_name("manifest.schema.json")


def text() -> str:
    made = schema(Manifest)
    return json.dumps({"title": "manifest.json of an aepipe bundle, format 1", **made}, indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
