"""The settings of what comes in: the pretrained encoder, and the data."""

from __future__ import annotations

from dataclasses import dataclass

from tokensieve.cleaning import HTML, NONE
from tokensieve.errors import InputError, excerpt
from tokensieve.settings.declaration import Section, setting
from tokensieve.settings.values import FORMAT_NAMES, PROMPT
from tokensieve.text_rule import TextRule
from tokensieve.truncation import HEAD, HEAD_TAIL


@dataclass(frozen=True)
class Base(Section):
    """The pretrained encoder."""

    model: str = setting(
        "sentence-transformers/all-MiniLM-L6-v2",
        "Hugging Face model id, or folder; a relative one starts at the project folder",
    )
    pooling: str = setting(
        "auto", "auto follows the model's own configuration", among=("auto", "mean", "cls", "last")
    )
    max_length: int = setting(128, "maximum tokens per text; longer texts are truncated", low=4, high=8192)
    truncation: str = setting(
        HEAD,
        "kept part of a longer text: its beginning, or its beginning and end in equal shares",
        among=(HEAD, HEAD_TAIL),
    )
    prompt: str = setting(
        "auto",
        "text that is put in front of every text; auto is the model's own default prompt",
        pattern=PROMPT,
    )


@dataclass(frozen=True)
class Data(Section):
    """How the raw data are read, and the random seed."""

    text_column: str | tuple[str, ...] = setting(
        "text", "column with the text, or a list of columns, for example [subject, body]"
    )
    label_column: str = setting("label", "column with the label")
    clean: str = setting(
        NONE,
        "what is stripped from the texts, here and by the model: html strips HTML tags and entities",
        among=(NONE, HTML),
    )
    id_column: str | None = setting(None, "column that identifies a row, for messages and tables")
    format: str = setting(
        "auto",
        "format of data from a URL; auto detects it from the name, the query or the content type",
        among=("auto", *FORMAT_NAMES),
    )
    encoding: str = setting(
        "auto",
        "encoding of text files, for example cp1252; auto is that of the byte order mark, or UTF-8",
    )
    label_separator: str | None = setting(
        None, 'set it, for example to "|", if a text can have several labels or none'
    )
    unlabelled: str = setting(
        "refuse",
        "rows without a label: refuse stops the run, drop removes and counts them",
        among=("refuse", "drop"),
    )
    normalize_labels: bool = setting(
        False, "merge labels that differ only in case, blanks, hyphens, invisible characters or Unicode form"
    )
    rare: str = setting(
        "keep",
        "classes with few training texts: keep warns, drop removes them, merge makes one class other of them",
        among=("keep", "drop", "merge"),
    )
    rare_below: int = setting(8, "a class with fewer training texts than this is rare", low=1)
    shots: int | None = setting(None, "few-shot: use this many examples per class; null uses all", low=1)
    seed: int = setting(
        0, "seeds the split, the head, random masks and the batch order", low=0, high=2**31 - 1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_column in self.text_columns:
            raise InputError(
                f"data.text_column and data.label_column are both {excerpt(self.label_column)}; "
                "use two different columns"
            )
        if self.id_column in self.text_columns:
            raise InputError(
                f"data.text_column and data.id_column are both {excerpt(self.id_column)}; "
                "use two different columns"
            )
        try:
            "".encode(self.codec or "utf-8")
        except LookupError:
            raise InputError(
                f"data.encoding is {excerpt(self.encoding)}; allowed: auto, or an encoding that Python "
                "knows, such as utf-8, cp1252, latin-1, utf-16, gb18030, shift_jis"
            ) from None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns with the text, at least one."""
        return (self.text_column,) if isinstance(self.text_column, str) else self.text_column

    @property
    def text_rule(self) -> TextRule:
        """How a row becomes a text."""
        return TextRule(() if isinstance(self.text_column, str) else self.text_column, self.clean)

    @property
    def codec(self) -> str | None:
        """The encoding of text files. None: their byte order mark, or else UTF-8."""
        return None if self.encoding == "auto" else self.encoding
