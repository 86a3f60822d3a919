"""The console in Debian's Chromium: what a person sees, with a mouse and without, and what axe
finds.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from tokenizers import Tokenizer

from tests.system.chromium import SCHEMES, TIMEOUT, WIDTHS, found_by_axe, overflow
from tests.system.conftest import BIN, Start, free_port
from tokensieve.data.raw_data import read_examples
from tokensieve.inference.manifest import TOKENIZER, Manifest
from tokensieve.inference.predictor import Predictor
from tokensieve.model.prompt import add_prompt

LABELS = ("<script>document.title='label'</script>", "مرحبا_بالعالم", "ship 🚢 & <b>more</b>")
HOSTILE = (
    "my card <script>document.title='text'</script><img src=x onerror=\"document.title='image'\"> is lost "
    "\u202ereversed\u202c مرحبا بالعالم 💔👩\u200d👧 &amp; {{7*7}} \u200f"
)

Open = Callable[..., Page]


@pytest.fixture
def model(served_folder: Path, tmp_path: Path) -> Path:
    """A model whose labels are HTML, right-to-left and emoji."""
    folder = Path(shutil.copytree(served_folder, tmp_path / "model"))
    replace(Manifest.load(folder), labels=LABELS, files={}).save(folder)
    return folder


@pytest.fixture
def open_page(browser: Browser, start: Start, model: Path) -> Iterator[Open]:
    """Start a server and open its page.

    At the end, no page may have had an error or a violation of the content security policy.
    """
    problems: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    def begin(*options: str, root: str = "", width: int = 1280, scheme: str = "light") -> Page:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        command = [str(BIN / "tokensieve"), "serve", "--model", str(model), "--port", str(port), *options]
        start("serve", *command, url=f"{address}/ready")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(f"{address}{root}/")
        return page

    yield begin
    for context in contexts:
        context.close()
    # Chromium reports each response with an error status.
    assert [problem for problem in problems if "the server responded with a status of" not in problem] == []


def predict(page: Page, text: str) -> None:
    """Predict a text and wait for its deciding words."""
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#words .shown")).to_be_visible()


def test_texts_and_labels_are_shown_as_they_are(open_page: Open, model: Path) -> None:
    page = open_page(width=360)
    for text in (HOSTILE, ("my card is lost 🚢 <i> مرحبا " * 1000)[:20_000]):
        predict(page, text)
        expect(page.locator("#words .shown")).to_have_text(text, use_inner_text=False)
        (prediction,) = Predictor.load(model).predict([text])
        shown = page.locator("#predictions .verdict strong bdi")
        assert shown.text_content() == prediction.label
        table = page.locator("#predictions tbody th").all_text_contents()
        assert table == [label for label, _ in prediction.top]
        assert overflow(page) == 0
    assert page.title() == "tokensieve console"
    assert page.locator("main script, main img, main i, main b").count() == 0
    page.get_by_label("Text", exact=True).fill("x" * 20_001)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("20,001 characters; the server reads at most 20,000")


def test_the_deciding_words_are_those_of_the_library(open_page: Open, model: Path) -> None:
    from tokensieve.inference.explain import explain
    from tokensieve.inference.prediction import SINGLE_TASK

    page = open_page()
    text = "my card is lost 💔 send money"
    predict(page, text)
    found = explain(Predictor.load(model), text)[SINGLE_TASK].ranked()
    rows = page.locator("#words tbody tr")
    assert rows.locator("th").all_text_contents() == [effect.text for effect in found]
    numbers = [cell.replace("−", "-") for cell in rows.locator("td:nth-of-type(2)").all_text_contents()]
    assert numbers == [f"{effect.effect:+.2f}" for effect in found]
    other = LABELS[1]
    with page.expect_response("**/explain") as answered:
        page.get_by_label("Words for the label").select_option(other)
    assert answered.value.json()["label"] == other


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(width: int, scheme: str, open_page: Open, tmp_path: Path) -> None:
    page = open_page("--feedback", str(tmp_path / "right.jsonl"), width=width, scheme=scheme)
    expect(page.locator("#served")).to_contain_text("Model ")
    assert found_by_axe(page) == []
    predict(page, HOSTILE)
    page.get_by_role("button", name="Wrong label?").click()
    page.get_by_label("Or one text per line").fill("my card\nsend money\n" + HOSTILE)
    page.get_by_role("button", name="Predict all").click()
    expect(page.locator("#summary")).to_contain_text("3 texts")
    assert found_by_axe(page) == []
    assert overflow(page) == 0


def test_a_correction_is_made_with_the_keyboard_alone(open_page: Open, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "right.jsonl"
    page = open_page("--feedback", str(path))
    expect(page.locator("#served")).to_contain_text("Model ")
    (prediction,) = Predictor.load(model).predict([HOSTILE])
    while page.evaluate("document.activeElement.id") != "text":
        page.keyboard.press("Tab")
    page.keyboard.insert_text(HOSTILE)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#words .shown")).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Right label")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    row = json.loads(path.read_text(encoding="utf-8"))
    right = next(label for label in LABELS if label != prediction.label)
    assert (row["text"], row["label"], row["predicted"]) == (HOSTILE, right, prediction.label)
    assert read_examples(path).labels == [(right,)]


def test_without_a_feedback_file_the_page_says_so(open_page: Open) -> None:
    page = open_page()
    predict(page, "my card")
    assert page.locator("#feedback").text_content() == "Corrections are off: this server stores no texts."


def test_a_file_is_predicted_and_downloaded(open_page: Open, model: Path, tmp_path: Path) -> None:
    texts = ['my card; is "lost"', "line one\nline two", "größe — card", "=1+1", HOSTILE] * 30
    rows = [[str(number), text, "old"] for number, text in enumerate(texts)]
    content = io.StringIO()
    csv.writer(content, delimiter=";").writerows([["id", "Message", "label"], *rows])
    path = tmp_path / "texts.csv"
    path.write_text(content.getvalue(), encoding="utf-8-sig")
    page = open_page()
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(path)
    expect(page.locator("#file-note")).to_have_text("texts.csv: 150 texts, UTF-8")
    expect(page.get_by_label("Column with the texts")).to_have_value("1")
    page.get_by_role("button", name="Predict all").click()
    expect(page.locator("#summary")).to_contain_text("150 texts, ")
    expect(page.locator("#progress")).to_have_text("150 of 150 texts")
    assert page.locator("#table tbody tr").count() == 150
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as CSV").click()
    saved = Path(downloading.value.path()).read_text(encoding="utf-8-sig")
    header, *found = csv.reader(io.StringIO(saved, newline=""))
    assert header == ["id", "Message", "label", "predicted_label", "probability", "uncertain", "truncated"]
    predictions = Predictor.load(model).predict(texts)
    for row, before, prediction in zip(found, rows, predictions, strict=True):
        # No cell is a formula for a spreadsheet.
        safe = ["'=1+1" if cell == "=1+1" else cell for cell in before]
        assert row[:4] == [*safe, prediction.label]
        assert float(row[4]) == pytest.approx(prediction.probability, abs=1e-6)
        assert row[5] == str(prediction.uncertain).lower()
    again = tmp_path / "again.csv"
    again.write_text(saved, encoding="utf-8")
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(again)
    page.get_by_label("Column with the texts").select_option("1")
    page.get_by_role("button", name="Predict all").click()
    expect(page.locator("#progress")).to_have_text("150 of 150 texts")
    expect(page.locator("#table tbody tr").nth(3).locator("button")).to_have_text("=1+1")


def test_other_files_and_encodings_are_read(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    files = {
        "windows.csv": ("text,n\ngröße,1\n".encode("cp1252"), "1 texts, Windows-1252", "größe"),
        "utf16.tsv": ("n\ttext\n1\tmy card\n".encode("utf-16"), "1 texts, UTF-16", "my card"),
        "lines.txt": (b"lost\r\n\r\nmy card\r\n", "2 texts, UTF-8", "lost"),
        "rows.jsonl": (b'{"n": 1}\n{"text": "send money", "n": [2]}\n', "2 texts, UTF-8", "send money"),
    }
    for name, (content, note, first) in files.items():
        (tmp_path / name).write_bytes(content)
        page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(tmp_path / name)
        expect(page.locator("#file-note")).to_have_text(f"{name}: {note}")
        page.get_by_role("button", name="Predict all").click()
        expect(page.locator("#summary")).to_contain_text(note.partition(",")[0])
        assert page.locator("#table tbody td:first-child bdi").first.text_content() == first
    (tmp_path / "wrong.jsonl").write_bytes(b"{\n")
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(tmp_path / "wrong.jsonl")
    expect(page.get_by_role("alert")).to_have_text("wrong.jsonl: line 1 is not a JSON object.")
    (tmp_path / "a.json").write_bytes(b'["my card"]')
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(tmp_path / "a.json")
    expect(page.get_by_role("alert")).to_contain_text(
        "a.json: the ending .json is not read here; allowed: .csv,"
    )
    (tmp_path / "numbers.jsonl").write_bytes(b'{"text": 5}')
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(tmp_path / "numbers.jsonl")
    page.get_by_role("button", name="Predict all").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "Row 1 has a value in the column of the texts that is not"
    )


def test_a_row_without_a_text_has_no_prediction(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text\n1,\n2,my card\n3, \u200b \n", encoding="utf-8")
    page = open_page()
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(tmp_path / "rows.csv")
    page.get_by_role("button", name="Predict all").click()  # at once: it waits for the file
    expect(page.locator("#summary")).to_contain_text("2 without a text, so without a label.")
    expect(page.locator("#table tbody tr").first).to_contain_text("(no text)")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download as CSV").click()
    saved = Path(downloading.value.path()).read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(saved, newline="")))
    assert [bool(row["label"]) for row in rows] == [False, True, False]
    assert [row["probability"] == "" for row in rows] == [True, False, True]


def test_the_page_asks_for_the_key_behind_a_prefix(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame", encoding="utf-8")
    options = ("--api-key-file", str(tmp_path / "key"), "--root-path", "/labels")
    page = open_page(*options, "--feedback", str(tmp_path / "right.jsonl"), root="/labels")
    expect(page.get_by_label("API key")).to_be_focused()
    assert found_by_axe(page) == []
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server refused this API key.")
    page.keyboard.type("sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#served")).to_contain_text("Model ")
    expect(page.get_by_label("API key")).to_be_hidden()
    predict(page, "my card")
    page.get_by_role("button", name="Wrong label?").click()
    page.get_by_label("Right label").select_option(index=1)
    page.get_by_role("button", name="Send the correction").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    assert len((tmp_path / "right.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_model_and_traffic_are_shown(open_page: Open, model: Path) -> None:
    page = open_page()
    manifest = Manifest.load(model)
    expect(page.locator("#model")).to_contain_text(manifest.data_hash)
    expect(page.locator("#model")).to_contain_text(manifest.base)
    assert not page.get_by_text(LABELS[1]).first.is_visible()
    page.locator("#model summary").click()
    assert page.locator("#model li").all_text_contents() == list(LABELS)
    expect(page.locator("#lines-hint")).to_be_empty()
    predict(page, "my card")
    predict(page, "send money")
    expect(page.locator("#traffic")).to_contain_text("Half answered within")
    expect(page.locator("#counts caption")).to_have_text("2 answers")
    label = Predictor.load(model).predict(["my card"])[0].label
    assert label in page.locator("#counts tbody th").all_text_contents()


def test_the_prompt_of_the_model_is_shown(open_page: Open, model: Path) -> None:
    manifest, tokenizer = Manifest.load(model), Tokenizer.from_file(str(model / TOKENIZER))
    add_prompt(tokenizer, "my card ? ")
    tokenizer.save(str(model / TOKENIZER))
    replace(manifest, files={}).save(model)
    expect(open_page().locator("#model")).to_contain_text('Prompt"my card ? "')


def test_a_model_of_several_columns_has_a_field_for_each(
    open_page: Open, model: Path, tmp_path: Path
) -> None:
    replace(Manifest.load(model), text_columns=("subject", "the body"), files={}).save(model)
    path = tmp_path / "right.jsonl"
    page = open_page("--feedback", str(path), width=360)
    expect(page.locator("#lines-hint")).to_have_text(
        "Each line is read as the body, without subject. For texts with all columns, choose a file."
    )
    page.get_by_label("subject").fill("my card")
    page.get_by_label("the body").fill("is lost")
    page.get_by_role("button", name="Predict", exact=True).click()
    shown = page.locator("#words .shown")
    expect(shown).to_have_text("my card\nis lost", use_inner_text=False)
    (prediction,) = Predictor.load(model).predict([{"subject": "my card", "the body": "is lost"}])
    assert page.locator("#predictions .verdict strong bdi").text_content() == prediction.label
    page.get_by_role("button", name="Wrong label?").click()
    right = next(label for label in LABELS if label != prediction.label)
    page.get_by_label("Right label").select_option(right)
    page.get_by_role("button", name="Send the correction").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you")
    assert json.loads(path.read_text())["columns"] == {"subject": "my card", "the body": "is lost"}
    table = tmp_path / "mails.csv"
    table.write_text("id,the body,subject\n1,where is it,my card\n2,send money,\n")
    page.get_by_label("CSV, TSV, JSONL or text file").set_input_files(table)
    expect(page.locator("#file-note")).to_contain_text("2 texts, UTF-8, columns subject, the body")
    page.get_by_role("button", name="Predict all").click()
    expect(page.locator("#summary")).to_contain_text("2 texts")
    page.get_by_role("button", name="my card where is it").click()
    expect(page.get_by_label("the body")).to_have_value("where is it")
    expect(shown).to_have_text("my card\nwhere is it", use_inner_text=False)
    assert found_by_axe(page) == []
    assert overflow(page) == 0
