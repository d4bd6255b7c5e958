"""Whatever here loads ONNX Runtime turns its telemetry off before: programs, and the examples on pages and cards."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.helpers.places import ROOT

OFF = re.compile(r"ORT_DISABLE_TELEMETRY|\bonnxruntime\(\)")  # the variable, or the function that sets it
LOADS = {
    ".py": re.compile(r"^[ \t]*(?:import [^\n]*\bonnxruntime\b|from onnxruntime\b)", re.MULTILINE),
    ".js": re.compile(r"(?:import|require)\b[^\n]*[\"']onnxruntime-node[\"']"),
    ".cpp": re.compile(r"^ *Ort::Env ", re.MULTILINE),
}
FOLDERS = ("pipeline", "plugins", "exported/hosts", "exported/mnist-d8", "exported/photos", "docs")
LEFT_OUT = {"node_modules", "bound_session.py"}  # the latter is given a session that is open


def snippets() -> Iterator[tuple[str, str, str]]:
    """The place, the kind and the text of each program, and of each block of Python on a page."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (*LOADS, ".md")]
    for path in [*ROOT.glob("*.md"), *found]:
        if LEFT_OUT & set(path.parts):
            continue
        place, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        if path.suffix != ".md":
            yield place, path.suffix, text
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if path.suffix == ".md" else ():
            yield place, ".py", block


def test_every_program_and_example_turns_telemetry_off_first() -> None:
    loading = [
        (place, bool(OFF.search(text, 0, first.start())))
        for place, kind, text in snippets()
        if (first := LOADS[kind].search(text))
    ]
    assert {"README.md", "pipeline/aepipe/bundle/card.py", "pipeline/aepipe/runtime/providers.py"} <= {
        place for place, _ in loading
    }
    assert [place for place, off in loading if not off] == []
