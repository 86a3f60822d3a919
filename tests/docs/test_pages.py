"""README and pages: length, links, and blocks that run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from sybil.document import Document
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser

from tests.docs.conftest import CLASSES
from tests.docs.pages import PAGES, ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_readme_has_at_most_700_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 700


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(_prose(page)):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert not broken


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them, and those that are
    generated.
    """
    text = _prose(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    if "<!-- generated: settings -->" in text:
        from tokensieve.settings import sections

        headings += list(sections())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Blocks:
    """Run the blocks of a page in the folder `folder`, one after the other, as a reader would."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.ran = 0
        self._background: list[subprocess.Popen[bytes]] = []

    def console(self, example: Example) -> str | None:
        """Run each line after `$ `.

        It must succeed, and print something if the page shows something.
        """
        commands = re.split(r"^\$ ", str(example.parsed), flags=re.MULTILINE)[1:]
        for entry in commands:
            command, _, shown = entry.partition("\n")
            self.ran += 1
            if command.endswith("&"):
                self._start(command.removesuffix("&"))
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                return f"{command}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
            if shown.strip() and (fault := _differs(shown, done.stdout)):
                return f"{command}\nprints\n{done.stdout}\n{fault}"
        return None

    def python(self, example: Example) -> str | None:
        """Run a block of Python in a process of its own."""
        self.ran += 1
        done = subprocess.run(
            [sys.executable, "-c", str(example.parsed)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return f"{example.parsed}\n{done.stderr}" if done.returncode != 0 else None

    def _start(self, command: str) -> None:
        """Start a server and wait until it answers."""
        self._background.append(
            subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment)
        )
        wait = "curl --silent --retry 60 --retry-delay 1 --retry-connrefused localhost:8000/health"
        subprocess.run(["bash", "-c", wait], check=True, capture_output=True, env=self.environment)

    def stop(self) -> None:
        """End what was started in the background."""
        for process in self._background:
            process.terminate()
            process.wait(30)


def _differs(shown: str, printed: str) -> str:
    """Return the first shown line that has no like in what was printed.

    Labels, numbers and `...` may differ.
    """

    def like(line: str) -> str:
        for label in CLASSES:
            line = line.replace(label, "LABEL")
        return re.sub(r"\s+", " ", re.sub(r"[\d.,]+", "0", line)).strip()

    lines = [like(line) for line in printed.splitlines()]
    for line in shown.strip().splitlines():
        wanted = like(line.split("...")[0])
        if wanted and not any(found.startswith(wanted) for found in lines):
            return f"no line like {line!r}"
    return ""


@pytest.mark.system
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/how-to/python.md"])
@pytest.mark.usefixtures("sample", "quick_project")
def test_the_blocks_of_a_page_run(
    page: str, newcomer: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On a part of the sample data, with settings for a quick run."""
    blocks = Blocks(tmp_path, newcomer)
    parsers = [CodeBlockParser("console", blocks.console), CodeBlockParser("python", blocks.python)]
    document = Document.parse(str(ROOT / page), *parsers)
    # All pages serve on port 8000, and each process of pytest-xdist may run one.
    with FileLock(tmp_path_factory.getbasetemp().parent / "port-8000.lock"):
        try:
            for example in document.examples():
                example.evaluate()
        finally:
            blocks.stop()
    assert blocks.ran >= 2
