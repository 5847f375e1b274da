"""What a checkpoint is good for: the tasks of the heads that it has."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from minidistil.weights import CheckpointError

if TYPE_CHECKING:
    from minidistil.weights import Checkpoint

_FOR = {
    "masked_lm": ('pipeline("fill-mask")',),
    "sequence_classification": ('pipeline("text-classification")',),
    "question_answering": ('pipeline("question-answering")',),
    "token_classification": ('pipeline("token-classification")',),
    "multiple_choice": ("AutoModelForMultipleChoice",),
    "discriminator": ("ElectraForPreTraining",),
}
_SENTENCES = "sentence embeddings, load(...).encode"
_PAIRS = "scores of pairs, CrossEncoder(...)"
_ENTAILMENT = 'pipeline("zero-shot-classification")'


def refuse_without_head(checkpoint: Checkpoint, head: str, wanted: str) -> None:
    """Refuse a checkpoint that does not have a task's head, or has another task's under the same names.

    Args:
        checkpoint: an opened one.
        head: of `minidistil.weights.read_model.HEADS`.
        wanted: what it was asked for, in words.

    Raises:
        CheckpointError: it has no such head; the message says what it is good for.
    """
    from minidistil.weights.read_model import heads_of

    try:
        heads = heads_of(checkpoint)
    except CheckpointError:
        return  # loading it says this, and everything else that is wrong
    if head not in heads:
        raise CheckpointError(
            checkpoint.folder, f"this is no model for {wanted}; it is one for {good_for(heads, _labels(checkpoint))}"
        )


def good_for(heads: Collection[str], labels: Collection[str] = ()) -> str:
    """Return what a model with these heads, and labels, is good for, in words of Python."""
    uses = [use for head in heads for use in _FOR.get(head, ())]
    if "sequence_classification" in heads:
        if any(label.lower().startswith("entail") for label in labels):
            uses.append(_ENTAILMENT)
        if len(labels) == 1:
            uses.append(_PAIRS)
    return ", ".join([*uses, _SENTENCES][: max(1, len(uses))])


def _labels(checkpoint: Checkpoint) -> list[str]:
    from minidistil.weights.config_values import labels

    return list(labels(checkpoint.config, []).values())
