"""The classifier: an encoder, a pooling and a linear head. It can be cut at a layer into a prefix and a suffix.

The cut needs no code for each model family: below it, layers are replaced in the forward pass of the family's own model,
which goes on to make masks and positions as it always does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tokensieve.model.encoder import (
    add_embedding_rows,
    choose_pooling,
    encoder_layers,
    load_encoder,
    quiet_transformers,
)

# Families whose layers return a tuple.
TUPLED = ("MPNetLayer",)


class Classifier(nn.Module):
    """Logits [batch, classes] from token ids [batch, length] int64 and attention mask [batch, length] int64."""

    def __init__(self, encoder: PreTrainedModel, pooling: str, labels: list[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.labels = labels
        self.head = nn.Linear(encoder.config.hidden_size, len(labels))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.pool(self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """One vector a text, [batch, width], from token states [batch, length, width]."""
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            # Without a Python number of texts or tokens: the exported graph must take any.
            last = mask.cumsum(1).argmax(1)
            return states.gather(1, last.view(-1, 1, 1).expand(-1, -1, states.shape[2])).squeeze(1)
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)

    @torch.no_grad()
    def init_head_bias_from_priors(self, targets: Tensor) -> None:
        """Let the head start from how frequent each label is in `targets`, float32 [texts, classes] of 0 and 1: its bias is the log
        odds of the label (Lin et al. 2017, arXiv 1708.02002, section 3.3).

        From even odds the first steps push all labels down, and Adam's second moments remember these gradients: rare labels are
        then hardly learned.
        """
        having = targets.sum(0) + 0.5
        self.head.bias.copy_((having / (len(targets) + 1 - having)).log())

    def hidden_states_at(self, ids: Tensor, mask: Tensor, cut: int) -> Tensor:
        """The states [batch, length, width] that enter layer `cut`; for `cut` the number of layers, those that leave the last."""
        return self._entering(cut, input_ids=ids, attention_mask=mask)

    def forward_layers(self, states: Tensor, mask: Tensor, start: int, cut: int) -> Tensor:
        """The states that enter layer `cut` from those that enter layer `start`, below it."""
        with _inject_states(self.encoder, states, start):
            return self._entering(cut, inputs_embeds=states, attention_mask=mask)

    def _entering(self, cut: int, **inputs: Tensor) -> Tensor:
        layers = encoder_layers(self.encoder)
        caught: list[Tensor] = []
        if cut < len(layers):
            hook = layers[cut].register_forward_pre_hook(
                lambda _, args, kwargs: _catch(caught, args, kwargs), with_kwargs=True
            )
        else:
            hook = layers[-1].register_forward_hook(lambda _, __, output: caught.append(_states(output)))
        try:
            self.encoder(**inputs)
        except _Caught:
            pass
        finally:
            hook.remove()
        return caught[0]

    def last_hidden_state_from(self, states: Tensor, mask: Tensor, cut: int) -> Tensor:
        """Token states after the last layer (and the final norm, if the family has one) from those that enter layer `cut`."""
        if cut == 0:
            raise ValueError("a cut at layer 0 has no prefix; call the classifier on token ids")
        with _inject_states(self.encoder, states, cut):
            return self.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerFast, facts: dict[str, object]) -> None:
        """Write a Hugging Face model folder, with the head and `classifier.json` beside."""
        with quiet_transformers():
            self.encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file(
            {"weight": self.head.weight.detach().contiguous(), "bias": self.head.bias.detach()},
            folder / "head.safetensors",
        )
        tree = {"labels": self.labels, "pooling": self.pooling} | facts
        (folder / "classifier.json").write_text(
            json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    @classmethod
    def new(cls, folder: Path, tokenizer: Path, pooling: str, labels: list[str], seed: int) -> Classifier:
        """An untrained classifier on the base model in `folder`, its vocabulary grown to that of the tokenizer folder."""
        encoder = load_encoder(folder)
        add_embedding_rows(encoder, tokenizer)
        torch.manual_seed(seed)
        return cls(encoder, choose_pooling(folder, pooling), labels).eval()

    @classmethod
    def load(cls, folder: Path, attention: str | None = None) -> Classifier:
        """What `save` wrote, in evaluation mode."""
        tree = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        classifier = cls(load_encoder(folder, attention), tree["pooling"], tree["labels"])
        classifier.head.load_state_dict(load_file(folder / "head.safetensors"))
        return classifier.eval()


class _Caught(Exception):  # noqa: N818 - it carries no error, it ends a forward pass early
    pass


def _catch(caught: list[Tensor], args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
    caught.append(args[0] if args else kwargs["hidden_states"])
    raise _Caught


def _states(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def _inject_states(encoder: PreTrainedModel, states: Tensor, cut: int) -> Iterator[None]:
    """Within it, the embeddings and the first `cut` layers hand on `states` instead of computing."""
    layers = encoder_layers(encoder)
    output = (states,) if type(layers[0]).__name__ in TUPLED else states
    handed = dict.fromkeys(layers[:cut], output)
    if isinstance(
        embeddings := getattr(encoder, "embeddings", None), nn.Module
    ):  # a norm and a dropout, where decoders have none
        handed[embeddings] = states
    for module, result in handed.items():
        module.forward = lambda *_, result=result, **__: result
    try:
        yield
    finally:
        for module in handed:
            del module.forward
