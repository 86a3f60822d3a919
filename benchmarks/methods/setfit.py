"""SetFit (Tunstall et al. 2022), with its own library.

The encoder is trained on pairs of texts, and then a linear head on its vectors. Everything that is
not in the options has the library's default: cosine loss, AdamW, 10% warm-up and linear decay, and
logistic regression. With these options it is the recipe of the authors' script for the paper
(huggingface/setfit, scripts/setfit/run_fewshot.py): 20 iterations, batches of 16, one epoch. The
script's option --lr (0.001) does not reach the encoder, which is trained at the default of 2e-5.
"""

from __future__ import annotations

import math
import os
import tempfile
from importlib.metadata import version
from typing import Any

import datasets
import setfit as library
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from setfit import SetFitModel, Trainer, TrainingArguments
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from transformers import ProgressCallback

from benchmarks.methods.linear import decisions, weights
from benchmarks.training.method_api import Job, Outcome
from tokensieve.model.encoder import quiet_transformers


def setfit(job: Job) -> Outcome:
    """Train one pass over pairs of texts.

    Each text is in `num_iterations` pairs with texts of its class, and in as many with texts of
    other classes. Without this limit the library makes all pairs: 403,200 for 64 classes of 10
    texts. For multi-label data, texts that share a label are similar. Validation texts are not
    used, because a single pass has no early stopping.
    """
    library.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    train = job.sample.train
    targets = job.sample.targets(train).numpy()
    model = _model(job, multilabel=targets.ndim == 2)
    with job.clock.phase("train"), tempfile.TemporaryDirectory() as scratch:
        trainer = _trainer(
            job, model, Dataset.from_dict({"text": train.texts, "label": targets.tolist()}), scratch
        )
        trainer.train()
    state, head = trainer.st_trainer.state, model.model_head
    trained = sum(parameter.numel() for parameter in model.model_body.parameters()) + weights(head)
    history: list[dict[str, Any]] = [{"epoch": 1, "train_loss": state.log_history[-1]["train_loss"]}]
    notes = {"setfit": version("setfit"), "pairs": _pairs(job)}
    return Outcome(
        lambda texts: decisions(head, model.encode(list(texts))), trained, history, state.global_step, notes
    )


def _model(job: Job, multilabel: bool) -> SetFitModel:
    """Return the model that `SetFitModel.from_pretrained` makes, but read only safetensors.

    No pickled head is read.
    """
    with job.clock.phase("load"), quiet_transformers():
        body = SentenceTransformer(
            str(job.folder), device=job.device, local_files_only=True, model_kwargs={"use_safetensors": True}
        )
    if multilabel:
        return SetFitModel(body, OneVsRestClassifier(LogisticRegression()), "one-vs-rest")
    return SetFitModel(body, LogisticRegression())


def _trainer(job: Job, model: SetFitModel, training: Dataset, scratch: str) -> Trainer:
    # The library uses a GPU if there is one, and only this variable prevents it.
    os.environ["ACCELERATE_USE_CPU"] = str(job.device == "cpu")
    batch = job.options["batch"]
    arguments = TrainingArguments(
        scratch,
        batch_size=batch,
        # As many steps as the pairs need. If this is set, the library keeps no unused pairs in
        # memory.
        max_steps=math.ceil(_pairs(job) / batch),
        num_iterations=job.options["num_iterations"],
        body_learning_rate=job.options["learning_rate"],
        seed=job.seed,
        show_progress_bar=False,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
    )
    trainer = Trainer(model, arguments, training)
    trainer.remove_callback(ProgressCallback)
    trainer.st_trainer.args.dataloader_pin_memory = job.device == "cuda"
    return trainer


def _pairs(job: Job) -> int:
    return 2 * int(job.options["num_iterations"]) * len(job.sample.train)
