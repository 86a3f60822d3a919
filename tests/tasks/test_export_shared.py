"""Projects whose models share layers, exported together, against each model alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tasks.export_shared import export_shared
from tokensieve.data.examples import Examples
from tokensieve.errors import InputError
from tokensieve.inference.manifest import Manifest
from tokensieve.inference.shared_predictor import SharedPredictor
from tokensieve.model.batches import tokenize
from tokensieve.model.classifier import Classifier
from tokensieve.model.encoder import encoder_layers, load_tokenizer
from tokensieve.project import Layout
from tokensieve.settings import render

LENGTH = 32
QUESTIONS = [
    "I lost my card",
    "where is my refund?",
    "i",
    "track my parcel, please",
    "I lost my card",
    "card " * 60,
]


def write(path: Path, tree: Any) -> None:
    path.write_text(json.dumps(tree), encoding="utf-8")


@pytest.fixture
def project(
    tiny_classifier: Callable[..., Classifier],
    tiny_family: Callable[[str], Path],
    tiny_texts: tuple[list[str], list[str]],
    tmp_path: Path,
) -> Callable[..., Layout]:
    """Makes an exported project whose classifier differs from the base from layer `cut` up, and in
    its head.
    """

    def make(
        name: str, cut: int, labels: int = 5, variant: str = "fused", family: str = "bert", **facts: Any
    ) -> Layout:
        layout = Layout(tmp_path / name)
        for folder in (layout.split, layout.evaluation, layout.onnx):
            folder.mkdir(parents=True)
        layout.params.write_text(render(), encoding="utf-8")
        base = tiny_classifier(family)
        classifier = Classifier(
            base.encoder, "last" if family == "qwen2" else "mean", list("abcdefgh")[:labels]
        ).eval()
        torch.manual_seed(sum(map(ord, name)))
        torch.nn.init.normal_(classifier.head.weight)
        for layer in encoder_layers(classifier.encoder)[cut:]:
            for parameter in layer.parameters():
                parameter.data.mul_(1 + 0.1 * torch.randn(parameter.shape))
        tokenizer = load_tokenizer(tiny_family(family))
        classifier.save(layout.model, tokenizer, {"max_length": LENGTH, "base": "tiny"} | facts)
        texts = tiny_texts[0][::3]
        for part in ("train", "validation"):
            Examples.of(texts, ["a"] * len(texts)).save(layout.split / f"{part}.jsonl")
        save_file(
            {"validation": torch.from_numpy(answers(layout, texts))}, layout.evaluation / "logits.safetensors"
        )
        for file in ("model.onnx", "tokenizer.json"):
            (layout.onnx / file).write_bytes(b"{}")
        Manifest(
            tuple(classifier.labels), 1.5, 0.5, LENGTH, f"hash of {name}", "tiny", {}, variant=variant
        ).save(layout.onnx)
        return layout

    return make


def answers(layout: Layout, texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    """The logits of torch, one text at a time."""
    classifier, tokenizer = Classifier.load(layout.model), load_tokenizer(layout.model)
    with torch.inference_mode():
        ids = [torch.tensor([one]) for one in tokenize(tokenizer, texts, LENGTH)]
        return torch.cat([classifier(one, torch.ones_like(one)) for one in ids]).numpy()


def test_shared_export_predicts_like_each_model_alone(project: Callable[..., Layout], tmp_path: Path) -> None:
    layouts = [project("cards", 2), project("parcels", 3, labels=3), project("money", 4, labels=8)]
    found = export_shared([layouts[0].root, layouts[1].model, layouts[2].root], tmp_path / "shared")
    assert found == {"layers": 2, "variant": "fused", "tasks": {"cards": 1.0, "parcels": 1.0, "money": 1.0}}
    shared = SharedPredictor.load(tmp_path / "shared", threads=1)
    logits = shared.logits(QUESTIONS)
    for layout in layouts:
        expected = answers(layout, QUESTIONS)
        assert expected.std() > 0.1
        np.testing.assert_allclose(logits[layout.root.name], expected, atol=1e-4)
    predicted = shared.predict_by_task(QUESTIONS, top=2)
    assert [answer.label for answer in predicted["money"]] == [
        "abcdefgh"[i] for i in logits["money"].argmax(1)
    ]  # type: ignore[union-attr]
    assert [answer.truncated for answer in predicted["cards"]] == [False] * 5 + [True]
    assert shared.tasks["parcels"].data_hash == "hash of parcels"
    assert shared.tasks["parcels"].parity["largest_difference"] < 1e-4
    names = {path.name for path in (tmp_path / "shared").iterdir()}
    assert names == {
        "shared.json",
        "phrases.json",
        "prefix.onnx",
        "tokenizer.json",
        "cards.onnx",
        "parcels.onnx",
        "money.onnx",
    }


def test_a_shared_folder_that_this_processor_computes_otherwise_is_named(
    project: Callable[..., Layout],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    export_shared([project(name, 1).root for name in ("cards", "parcels")], tmp_path / "shared")
    tree = json.loads((tmp_path / "shared" / "shared.json").read_text(encoding="utf-8"))
    for task in tree["tasks"].values():
        task["int8_bits"] = 8
    write(tmp_path / "shared" / "shared.json", tree)
    monkeypatch.setattr("tokensieve.processor.saturates_int8", lambda: True)
    SharedPredictor.load(tmp_path / "shared", threads=1)
    assert f"{tmp_path / 'shared'}: this processor has no VNNI" in caplog.text


def test_variants_that_a_family_does_not_have_are_left_out(
    project: Callable[..., Layout], tmp_path: Path
) -> None:
    """So few texts prove nothing, so the next more exact variant is tried, down to fp32."""
    layouts = [project(name, 1, variant="int8", family="modernbert") for name in ("cards", "parcels")]
    assert export_shared([layout.root for layout in layouts], tmp_path / "shared")["variant"] == "fp32"


@pytest.mark.parametrize("family", ["modernbert", "qwen2", "mpnet"])
def test_other_families_share_too(project: Callable[..., Layout], tmp_path: Path, family: str) -> None:
    layouts = [
        project("cards", 1, variant="fp32", family=family),
        project("parcels", 2, variant="fp32", family=family),
    ]
    assert export_shared([layout.root for layout in layouts], tmp_path / "shared")["layers"] == 1
    logits = SharedPredictor.load(tmp_path / "shared", threads=1).logits(QUESTIONS)
    for layout in layouts:
        np.testing.assert_allclose(logits[layout.root.name], answers(layout, QUESTIONS), atol=1e-4)


def test_models_with_different_heads_only_share_all_layers(
    project: Callable[..., Layout], tmp_path: Path
) -> None:
    layouts = [project("cards", 4), project("parcels", 4)]
    assert export_shared([layout.root for layout in layouts], tmp_path / "shared")["layers"] == 4
    logits = SharedPredictor.load(tmp_path / "shared", threads=1).logits(QUESTIONS)
    np.testing.assert_allclose(logits["cards"], answers(layouts[0], QUESTIONS), atol=1e-4)


def test_where_int8_is_too_far_from_torch_a_more_exact_variant_takes_its_place(
    project: Callable[..., Layout], tmp_path: Path
) -> None:
    layouts = [project("cards", 2, variant="int8"), project("parcels", 2, variant="int8")]
    path = layouts[0].params
    path.write_text(
        path.read_text(encoding="utf-8").replace("agreement: 0.995", "agreement: 0.9"), encoding="utf-8"
    )
    texts = Examples.load(layouts[1].split / "validation.jsonl").texts
    found = export_shared([layout.root for layout in layouts], tmp_path / "shared")
    manifests = SharedPredictor.load(tmp_path / "shared", threads=1).tasks
    assert {manifest.variant for manifest in manifests.values()} == {found["variant"]}
    assert all(share >= 0.9 for share in found["tasks"].values())
    # Torch is made to say the opposite: no variant agrees, and the plain graph is what is left.
    save_file(
        {"validation": -torch.from_numpy(answers(layouts[1], texts))},
        layouts[1].evaluation / "logits.safetensors",
    )
    assert export_shared([layout.root for layout in layouts], tmp_path / "again")["variant"] == "fp32"


@pytest.mark.parametrize(
    ("cut", "facts", "words"),
    [
        (
            0,
            {},
            r"parcels and cards share no layers: their encoder\.layer\.0\..* differs; "
            r"train both with schedule\.frozen_layers above 0",
        ),
        (2, {"max_length": 16}, r"share no layers: they read 16 and 32 tokens \(base\.max_length\)"),
        (
            2,
            {"truncation": "head_tail"},
            r"share no layers: of long texts they read head_tail and head \(base\.truncation\)",
        ),
        (
            2,
            {"family": "distilbert"},
            r"share no layers: their .* is .*; train both from the same base\.model",
        ),
    ],
)
def test_what_differs_is_named(
    project: Callable[..., Layout], tmp_path: Path, cut: int, facts: dict[str, Any], words: str
) -> None:
    layouts = [project("cards", 2), project("parcels", cut, **facts)]
    with pytest.raises(InputError, match=words):
        export_shared([layout.root for layout in layouts], tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_embeddings_and_tokenizers_must_be_the_same(project: Callable[..., Layout], tmp_path: Path) -> None:
    cards, parcels = project("cards", 2), project("parcels", 2)
    classifier = Classifier.load(parcels.model)
    classifier.encoder.get_input_embeddings().weight.data[7] += 1
    classifier.save(parcels.model, load_tokenizer(parcels.model), {"max_length": LENGTH, "base": "tiny"})
    with pytest.raises(
        InputError, match=r"their embeddings\.word_embeddings\.weight differs; it must not be trained"
    ):
        export_shared([cards.root, parcels.root], tmp_path / "shared")
    tokenizer = parcels.model / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(InputError, match=r"their tokenizers differ \(base\.prompt, vocabulary\.new_tokens\)"):
        export_shared([cards.root, parcels.root], tmp_path / "shared")


def test_sources_are_two_projects_of_different_names(project: Callable[..., Layout], tmp_path: Path) -> None:
    cards = project("cards", 2)
    with pytest.raises(InputError, match=r"one model \(cards\) shares nothing; give two or more"):
        export_shared([cards.root], tmp_path / "shared")
    with pytest.raises(InputError, match=r"are both named 'cards'"):
        export_shared([cards.root, cards.model], tmp_path / "shared")
    with pytest.raises(InputError, match=r"nowhere is not an exported project"):
        export_shared([cards.root, tmp_path / "nowhere"], tmp_path / "shared")
    with pytest.raises(InputError, match=r"exists; use a new folder"):
        export_shared([cards.root, project("parcels", 2).root], cards.root)


def test_a_broken_shared_folder_is_refused(project: Callable[..., Layout], tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    export_shared([project("cards", 2).root, project("parcels", 2).root], folder)
    tree = json.loads((folder / "shared.json").read_text(encoding="utf-8"))
    for change, words in [
        ({"format": 9}, "has format '9', this version reads 1, 2"),
        ({"tasks": {}}, "lacks its files or its tasks"),
        ({"tasks": {"cards": tree["tasks"]["cards"] | {"threshold": 2}}}, "threshold is '2'; it must be"),
        (
            {"tasks": {"cards": tree["tasks"]["cards"] | {"labels": ["a", "b"]}}},
            r"cards\.onnx has 5 classes, its task 2 labels",
        ),
    ]:
        write(folder / "shared.json", tree | change)
        with pytest.raises(InputError, match=words):
            SharedPredictor.load(folder, threads=1)
    write(folder / "shared.json", tree)
    (folder / "cards.onnx").write_bytes(b"cut off")
    with pytest.raises(InputError, match=r"cards\.onnx is not the file that shared\.json lists"):
        SharedPredictor.load(folder, threads=1)
    (folder / "shared.json").unlink()
    with pytest.raises(InputError, match=r"has no shared\.json"):
        SharedPredictor.load(folder, threads=1)


def test_a_multilabel_task_gives_lists_of_labels(project: Callable[..., Layout], tmp_path: Path) -> None:
    cards, parcels = project("cards", 2), project("parcels", 2)
    replace(Manifest.load(parcels.onnx), thresholds=(0.5,) * 5).save(parcels.onnx)
    export_shared([cards.root, parcels.root], tmp_path / "shared")
    predicted = SharedPredictor.load(tmp_path / "shared", threads=1).predict_by_task(QUESTIONS[:2])
    assert [answer.multi_label for answer in predicted["cards"] + predicted["parcels"]] == [False] * 2 + [
        True
    ] * 2
