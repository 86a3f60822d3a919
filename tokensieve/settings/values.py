"""The values that settings allow, for settings that have a fixed list of them."""

from __future__ import annotations

CHECKS = (
    "columns",
    "empty",
    "unlabelled",
    "overlong",
    "control",
    "encoding",
    "classes",
    "class_size",
    "rare_class",
    "lookalike",
    "duplicate",
    "conflict",
    "leak",
    "unknown_label",
    "vanished_label",
    "truncated",
    "markup",
    "quoted",
    "ids",
)

FORMAT_NAMES = ("csv", "tsv", "jsonl", "parquet", "arrow")

# ONNX variants, the most exact first.
VARIANTS = ("fp32", "fused", "fp16", "blocks", "mixed", "uint8", "int8")

# MLflow refuses names that contain / or :, and names that are paths, such as "..".
NAME = (
    r"[^\W_][\w .-]*",
    "letters, digits, spaces and . _ -, starting with a letter or digit",
)

# Tokenizers refuse lone surrogates.
PROMPT = (r"[^\ud800-\udfff]+", 'auto, none, or a text such as "query: "')
