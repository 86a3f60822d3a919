from __future__ import annotations

from pathlib import Path

import pytest

from tokensieve.data.raw_data import read_examples
from tokensieve.errors import InputError


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False")])
def test_columns_of_0_and_1_are_refused_with_what_to_do(yes: str, no: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.csv"
    path.write_text(f"text,urgent,billing\nmy bill,{no},{yes}\nnow!,{yes},{no}\nnothing,{no},{no}\n")
    with pytest.raises(InputError) as raised:
        read_examples(path)
    assert "has no column 'label', but columns of 0 and 1: 'urgent', 'billing'. " in str(raised.value)
    assert "--set data.label_separator='|'" in str(raised.value)


def test_the_remedy_of_the_message_gives_several_labels(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "topics.csv"
    path.write_text("text,urgent,billing\nmy bill,1,1\nnow!,1,0\nnothing,0,0\n")
    table, names = pd.read_csv(path), ["urgent", "billing"]
    table["label"] = table[names].apply(lambda row: "|".join(row.index[row == 1]), axis=1)
    table.to_csv(path, index=False)
    assert read_examples(path, separator="|").labels == [("billing", "urgent"), ("urgent",), ()]


@pytest.mark.parametrize(
    "content",
    [
        "text,urgent,topic\na,0,x\nb,1,y\n",  # one column of 0 and 1 only
        "text,a,b\nx,0,0\ny,0,0\n",  # no 1
        "text,a,b\nx,0,2\ny,1,1\n",
        "text,a,b\n",
        "",
    ],
)
def test_other_tables_get_the_usual_message(content: str, tmp_path: Path) -> None:
    path = tmp_path / "topics.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=r"no column 'label'|is empty"):
        read_examples(path)


def test_a_label_column_may_have_0_and_1_beside_another_such_column(tmp_path: Path) -> None:
    path = tmp_path / "topics.csv"
    path.write_text("text,urgent,label\na,0,0\nb,1,1\n")
    assert read_examples(path).labels == [("0",), ("1",)]
