"""What the tests of the library share: a small data set, and tiny models of every family with
random weights.

Nothing is fetched.
"""

from __future__ import annotations

import csv
import logging
import os
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tokensieve.model.classifier import Classifier

# Before any import of huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Before any import of numpy. The processes of pytest-xdist share the cores, and threads of BLAS
# that wait for each other hold them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

FAMILIES = ("bert", "mpnet", "roberta", "distilbert", "modernbert", "qwen2", "llama")

TEXTS = {
    "address": """
        I moved, change my address please
        my delivery address is wrong
        How do I update the address?
        new address for my next order
        send it to another address
        the street in my address is wrong
        please change the delivery address
        can I change the address of an order
        we moved to a new street
        Is my new address saved?
        update my street and house number
        deliver to my new house""",
    "card_lost": """
        I lost my card
        my card is gone, block it
        someone stole my card!
        please block the lost card
        I cannot find my card
        Card lost, what now?
        block my card now, it was stolen
        the card was stolen on the train
        lost the card, send a new card
        how do I block a card
        my wallet and card are gone
        where do I report a lost card""",
    "refund": """
        I want a refund
        where is my refund?
        give me my money back
        when are refunds paid
        refund the broken order please
        Can I get money back for this?
        no refund after two weeks
        the refund is too small
        I returned it, where is the money
        how long do refunds take
        refund my last order
        pay me back for the broken cup""",
    "topup": """
        my topup failed
        how do I top up
        topups are not working
        The top up did not arrive
        top up with my card
        is there a fee for topups?
        cancel the topup
        topup limit for a day
        I want to top up my account
        why was the topup refused
        the money of my topup is missing
        automatic topup, please""",
    "track": """
        where is my order?
        track my parcel
        The parcel is late
        when will my parcel arrive
        tracking shows no parcel
        my order has not arrived
        how do I track an order
        parcel number is not found
        Is the order on its way?
        the tracking page is empty
        order still not here after two weeks
        where is the parcel now""",
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Torch, where a test imports it, computes on one thread: what a test before it has set does
    not last.
    """
    torch = sys.modules.get("torch")
    if torch:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Restore our logger. The command line gives it a handler on the standard error of its test."""
    log = logging.getLogger("tokensieve")
    before = (log.handlers, log.propagate, log.level)
    yield
    log.handlers, log.propagate, log.level = before


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each of FAMILIES in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def tiny_texts() -> tuple[list[str], list[str]]:
    """Sixty texts and their labels, five classes of twelve."""
    pairs = [(line.strip(), label) for label, lines in TEXTS.items() for line in lines.strip().splitlines()]
    return [text for text, _ in pairs], [label for _, label in pairs]


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `prefect.db` of tables without rows, to be copied into the homes of tests.

    Making the tables takes five CPU seconds.
    """
    home = tmp_path_factory.mktemp("prefect")
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    others = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    subprocess.run(command, env=others | {"PREFECT_HOME": str(home)}, check=True, capture_output=True)
    return home / "prefect.db"


@pytest.fixture
def data_file(tmp_path: Path, tiny_texts: tuple[list[str], list[str]]) -> Path:
    """The tiny texts as a CSV file."""
    path = tmp_path / "texts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(*tiny_texts, strict=True)])
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_family: Callable[[str], Path]) -> Path:
    """The folder of a BERT of four layers, 32 wide, whose WordPiece vocabulary splits "topup" and
    "refund".
    """
    return tiny_family("bert")


@pytest.fixture(scope="session")
def tiny_family(
    tmp_path_factory: pytest.TempPathFactory, tiny_texts: tuple[list[str], list[str]]
) -> Callable[[str], Path]:
    """Makes the folder of a tiny model of one of FAMILIES, once a session; tests that change it
    copy it.
    """
    root = tmp_path_factory.mktemp("families")

    def folder_of(family: str) -> Path:
        folder = root / family
        if not folder.exists():
            _write(family, folder, tiny_texts[0])
        return folder

    return folder_of


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served folder of three labels that reads twelve tokens: the mean of word vectors, times a
    matrix.

    Made without torch.
    """
    import numpy as np
    import onnx
    import tokenizers
    from onnx import TensorProto, helper, numpy_helper

    from tokensieve.inference.manifest import Manifest

    folder = tmp_path_factory.mktemp("served") / "onnx"
    folder.mkdir()
    words = {
        word: place for place, word in enumerate(["[UNK]", "my", "card", "is", "lost", "send", "money", "to"])
    }
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    draw = np.random.default_rng(1)
    arrays = {"words": draw.normal(size=(len(words), 8)), "weights": draw.normal(size=(8, 3)) * 3}
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["states"]),
        helper.make_node("ReduceMean", ["states"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        folder / "model.onnx",
    )
    Manifest(("card_lost", "transfer", "other"), 1.0, 0.5, 12, "hash", "tiny", {"texts": 4}).save(folder)
    return folder


@pytest.fixture
def moved_old_project(tmp_path: Path) -> Path:
    """The project folder in tests/fixtures/old_project.tar.xz.

    Its registry has the absolute paths of the folder it was made in.
    """
    with tarfile.open(Path(__file__).parent / "fixtures" / "old_project.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "shop"


@pytest.fixture
def old_project(moved_old_project: Path) -> Path:
    """The same project with a registry that has the paths of this folder."""
    columns = (
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("model_versions", "source"),
        ("model_versions", "storage_location"),
    )
    with closing(sqlite3.connect(moved_old_project / "mlflow.db")) as database, database:
        for table, column in columns:
            change = f"UPDATE {table} SET {column} = replace({column}, '/tmp/eval-old/shop', ?)"
            database.execute(change, [str(moved_old_project)])
    return moved_old_project


@pytest.fixture
def tiny_classifier(tiny_family: Callable[[str], Path]) -> Callable[..., Classifier]:
    """Makes an untrained classifier of TEXTS' labels on a tiny model, in evaluation mode."""

    def make(family: str = "bert", pooling: str = "mean", seed: int = 0) -> Classifier:
        import torch

        from tokensieve.model.classifier import Classifier
        from tokensieve.model.encoder import load_encoder

        encoder = load_encoder(tiny_family(family))
        # Making a family seeds torch as well.
        torch.manual_seed(seed)
        return Classifier(encoder, pooling, list(TEXTS)).eval()

    return make


def _write(family: str, folder: Path, texts: list[str]) -> None:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    tokenizer = (
        _word_pieces(family, texts) if family in ("bert", "mpnet", "distilbert") else _byte_pairs(texts)
    )
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    own = {
        "bert": {"max_position_embeddings": 64},
        "mpnet": {"max_position_embeddings": 66, "pad_token_id": 1},
        "roberta": {"max_position_embeddings": 66, "type_vocab_size": 1},
        "distilbert": {"max_position_embeddings": 64, "hidden_dim": 64},
        # Local attention over 8 tokens in two layers of three, as the family is.
        "modernbert": {"max_position_embeddings": 64, "local_attention": 8, "global_attn_every_n_layers": 3},
        "qwen2": {"max_position_embeddings": 64, "num_key_value_heads": 1},
        "llama": {"max_position_embeddings": 64, "num_key_value_heads": 1},
    }[family]
    own |= (
        {}
        if family in ("bert", "mpnet", "distilbert")
        else {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    )
    own |= {"cls_token_id": 0, "sep_token_id": 2} if family == "modernbert" else {}
    torch.manual_seed(len(family))
    kind = AutoModelForCausalLM if family in ("qwen2", "llama") else AutoModel
    model = kind.from_config(AutoConfig.for_model(family, **sizes, **own))
    with torch.no_grad():
        # The usual start makes all texts nearly equal at this width: a wrong position or mask would
        # not show, nor would learning.
        for name, parameter in model.named_parameters():
            norm = "norm" in name.lower() and name.endswith("weight")
            parameter.normal_(
                1.0 if norm else 0.0, 1.0 if parameter is model.get_input_embeddings().weight else 0.15
            )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _word_pieces(family: str, texts: list[str]):  # type: ignore[no-untyped-def]
    from transformers import BertTokenizerFast, MPNetTokenizerFast

    words = Counter(
        word for text in texts for word in "".join(c if c.isalnum() else " " for c in text.lower()).split()
    )
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    kept = sorted(
        word for word, count in words.items() if count > 1 and not word.startswith(("topup", "refund"))
    )
    special = (
        ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
        if family == "mpnet"
        else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    )
    pieces = [
        *special,
        *letters,
        *(f"##{letter}" for letter in letters),
        *"?!.,'",
        "##und",
        "##up",
        "##ing",
        "ref",
        *kept,
    ]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    return (MPNetTokenizerFast if family == "mpnet" else BertTokenizerFast)(
        vocab=vocabulary, model_max_length=64
    )


def _byte_pairs(texts: list[str]):  # type: ignore[no-untyped-def]
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    }
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
