"""Distributions of strangers, made up for a test: a module and the folder of metadata that an installer would leave."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from textwrap import dedent

from tests.helpers.places import FLOW


def install(
    folder: Path,
    name: str,
    code: str | None,
    *,
    version: str = "1.0",
    module: str | None = None,
    entry: str | None = None,
) -> None:
    """Put a distribution into `folder`, which is to be on PYTHONPATH; without `code` only its metadata."""
    module = module or name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    if code is not None:
        (folder / f"{module}.py").write_text(dedent(code))
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(
        f"[console_scripts]\nx = x:main\n\n[aepipe]\n{entry or name.removeprefix('aepipe-')} = {module}\n"
    )


def install_real(folder: Path, sources: Path) -> None:
    """A plugin of this repository, FLOW for instance, from its sources."""
    install(folder, sources.name, None, version="0.1.0")
    module = sources.name.replace("-", "_")
    entries = tomllib.loads((sources / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        "aepipe"
    ]
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (folder / f"{module}-0.1.0.dist-info" / "entry_points.txt").write_text(f"[aepipe]\n{lines}")
    (folder / module).symlink_to(sources / module)


def install_flow(folder: Path) -> None:
    install_real(folder, FLOW)


def with_path(*folders: Path, **more: str) -> dict[str, str]:
    """The environment of a process that has these folders on its path; no plugin is left out.

    One thread, because networks this small only wait for a second one.
    """
    environment = {key: value for key, value in os.environ.items() if key != "AEPIPE_LOAD_PLUGINS"}
    return {**environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, folders)), **more}
