"""The classifier: an encoder, a pooling and a linear head.

A forward pass can end at a layer, and continue from there. This needs no code per model family. To
end a pass, a hook stores the states that enter a layer and raises an exception. To continue from
states, the layers below return these states instead of computing. The code of the model family
makes attention masks and positions as usual.
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

# Layers that return a tuple instead of a tensor.
LAYERS_RETURNING_TUPLES = ("MPNetLayer",)


class Classifier(nn.Module):
    """A network from token ids to logits, float32 [batch, classes].

    Token ids and attention mask are int64 [batch, length].
    """

    def __init__(self, encoder: PreTrainedModel, pooling: str, labels: list[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.labels = labels
        self.head = nn.Linear(encoder.config.hidden_size, len(labels))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.pool(self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return one vector per text, [batch, width], from hidden states [batch, length, width]."""
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            # No Python numbers of texts or tokens, because the exported graph must accept any.
            last = mask.cumsum(1).argmax(1)
            return states.gather(1, last.view(-1, 1, 1).expand(-1, -1, states.shape[2])).squeeze(1)
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)

    @torch.no_grad()
    def init_head_bias_from_priors(self, targets: Tensor) -> None:
        """Set the head's bias to the log odds of each label in `targets`.

        The source is Lin et al. 2017 (arXiv 1708.02002, section 3.3). `targets` are float32 [texts,
        classes] of 0 and 1. With a bias of 0, the first steps push all labels down. These gradients
        stay in Adam's second moments, and rare labels are hardly learned.
        """
        having = targets.sum(0) + 0.5
        self.head.bias.copy_((having / (len(targets) + 1 - having)).log())

    def hidden_states_at(self, ids: Tensor, mask: Tensor, cut: int) -> Tensor:
        """Return the hidden states [batch, length, width] that enter layer `cut`.

        If `cut` is the number of layers, they are the output of the last layer.
        """
        return self._entering(cut, input_ids=ids, attention_mask=mask)

    def forward_layers(self, states: Tensor, mask: Tensor, start: int, cut: int) -> Tensor:
        """Return the states that enter layer `cut` from those that enter a lower layer, `start`.

        Both are [batch, length, width].
        """
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
        """Return the hidden states after the last layer from those that enter layer `cut`.

        They are those after the final norm if the model has one.

        Raises:
            ValueError: If `cut` is 0.
        """
        if cut == 0:
            raise ValueError("a cut at layer 0 has no prefix; call the classifier on token ids")
        with _inject_states(self.encoder, states, cut):
            return self.encoder(inputs_embeds=states, attention_mask=mask).last_hidden_state

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerFast, facts: dict[str, object]) -> None:
        """Write a Hugging Face model folder, with the head in a file of its own.

        `classifier.json` has the labels, the pooling and `facts`.
        """
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
        """Return an untrained classifier, in evaluation mode.

        Args:
            folder: The folder of the base model.
            tokenizer: The folder of the extended tokenizer. Its new tokens get embedding rows.
            pooling: mean, cls, last or auto.
            labels: The names of the classes, in the order of the logits.
            seed: The seed of the head's weights.

        Raises:
            InputError: If the base model declares a pooling that is not supported.
        """
        encoder = load_encoder(folder)
        add_embedding_rows(encoder, tokenizer)
        torch.manual_seed(seed)
        return cls(encoder, choose_pooling(folder, pooling), labels).eval()

    @classmethod
    def load(cls, folder: Path, attention: str | None = None) -> Classifier:
        """Return the classifier that `save` wrote, in evaluation mode.

        `attention` is the attention implementation of transformers; None is its default.
        """
        tree = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
        classifier = cls(load_encoder(folder, attention), tree["pooling"], tree["labels"])
        classifier.head.load_state_dict(load_file(folder / "head.safetensors"))
        return classifier.eval()


class _Caught(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    pass


def _catch(caught: list[Tensor], args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
    caught.append(args[0] if args else kwargs["hidden_states"])
    raise _Caught


def _states(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def _inject_states(encoder: PreTrainedModel, states: Tensor, cut: int) -> Iterator[None]:
    """Replace the embeddings and the first `cut` layers in the block: they return `states`.

    Only `forward` is replaced, on the instances, so hooks and submodules stay as they are.
    """
    layers = encoder_layers(encoder)
    output = (states,) if type(layers[0]).__name__ in LAYERS_RETURNING_TUPLES else states
    handed = dict.fromkeys(layers[:cut], output)
    # The norm and the dropout of the embeddings must not be applied again. Decoders have no such
    # module.
    if isinstance(embeddings := getattr(encoder, "embeddings", None), nn.Module):
        handed[embeddings] = states
    for module, result in handed.items():
        module.forward = lambda *_, result=result, **__: result
    try:
        yield
    finally:
        for module in handed:
            del module.forward
