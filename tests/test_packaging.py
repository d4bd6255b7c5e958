"""What is published: the source archive holds what it should and nothing else, and the README's links work on a package index."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.places import FLOW, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\(([^)]+)\)", README)
OURS = re.compile(
    r"https://(?:github\.com/aepipe/aepipe/(blob|tree)|raw\.githubusercontent\.com/aepipe/aepipe)/main/(.+)"
)

FILES = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt", "lowest.txt", "Makefile"}
BY_HATCHLING = {"pyproject.toml", "PKG-INFO", ".gitignore"}
FOLDERS = (
    "pipeline/aepipe/",
    "plugins/aepipe_builtins/",
    "docs/",
    "tests/",
    "exported/hosts/",
    "exported/mnist-d8/",
    "exported/photos/",
)
SINGLE = {"plugins/README.md", "exported/README.md"}


def test_links_of_the_readme_are_absolute_and_lead_to_files() -> None:
    if not FLOW.is_dir():
        pytest.skip("this copy lacks the distributions that the README links to")
    found = [OURS.fullmatch(link.partition("#")[0]) for link in LINKS]
    assert LINKS and all(link.startswith("https://") for link in LINKS)
    for link, ours in zip(LINKS, found, strict=True):
        if ours:
            target = ROOT / ours[2]
            assert target.is_dir() if ours[1] == "tree" else target.is_file(), link


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tarfile.TarFile]:
    """The source archive, built as it would be published."""
    out = tmp_path_factory.mktemp("archive")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", out, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        yield opened


def names(archive: tarfile.TarFile) -> set[str]:
    """Its files, without the folder that holds them all."""
    return {Path(*Path(member.name).parts[1:]).as_posix() for member in archive if member.isfile()}


@pytest.mark.slow
def test_the_source_archive_holds_what_it_should(archive: tarfile.TarFile) -> None:
    found = names(archive)
    tops = {name.partition("/")[0] for name in found}
    assert tops == FILES | BY_HATCHLING | {folder.partition("/")[0] for folder in FOLDERS}
    others = {name for name in found if not name.startswith(FOLDERS)}
    assert others == FILES | BY_HATCHLING | SINGLE
    assert not [name for name in found if "__pycache__" in name or "node_modules" in name]
    for folder in FOLDERS:
        assert any(name.startswith(folder) for name in found), folder
    code = [path.relative_to(ROOT).as_posix() for path in (ROOT / "pipeline").rglob("*.py")]
    assert found >= {
        *code,
        "pipeline/aepipe/py.typed",
        "exported/mnist-d8/manifest.json",
        "exported/photos/manifest.json",
    }


@pytest.mark.slow
def test_the_index_gets_the_readme_and_the_urls(archive: tarfile.TarFile) -> None:
    (path,) = [name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/PKG-INFO")]
    file = archive.extractfile(path)
    assert file
    head, _, description = file.read().decode().partition("\n\n")
    assert description.strip() == README.strip()
    assert set(re.findall(r"^Project-URL: (\w+), https://", head, re.MULTILINE)) == {
        *("Homepage", "Documentation", "Source", "Issues", "Changelog")
    }
