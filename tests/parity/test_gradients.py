"""Gradients of every parameter against PyTorch's autograd of transformers' models, with all three losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.backends.learning import TASKS, Chances, LossWeights, Task
from minidistil.backends.reference.learning.model import ReferenceLearner
from minidistil.weights.families import FAMILIES, Family
from tests.learning import small

pytestmark = pytest.mark.parity

ALL = LossWeights(hard=0.3, soft=0.2, temperature=2.0, cosine=0.1)
HARD = LossWeights(hard=0.3)  # then the last layer is computed at the rows that the head reads
SIZES = {"vocab_size": 211, "max_position_embeddings": 260, "n_heads": 4, "dim": 64, "hidden_dim": 200}
LENGTHS = (17, 1, 230, 40)  # more than 192 tokens: sums of several blocks
TOLERANCE = 2e-5  # of the largest of each parameter's gradient
MANY = {"id2label": {str(i): str(i) for i in range(13)}}
CASES: dict[str, tuple[str, Task, dict, LossWeights]] = {
    **{f"{family} {task}": (family, task, {}, ALL) for family in small.FAMILIES for task in TASKS},
    **{f"bert with {name}": ("Bert", "masked_lm", {"hidden_act": name}, ALL) for name in ("relu", "gelu_new", "silu")},
    "bert untied": ("Bert", "masked_lm", {"tie_word_embeddings": False}, ALL),
    "distilbert with many labels": ("DistilBert", "token_classification", MANY, ALL),
    **{f"{family}, labels alone": (family, "masked_lm", {}, HARD) for family in ("DistilBert", "Bert", "Roberta")},
    "sentences, labels alone": ("Bert", "sequence_classification", {}, HARD),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_autograd(torch_reference: Any, case: str, tmp_path: Path) -> None:
    family, task, changes, weights = CASES[case]
    values = small.config(family, task, sizes=SIZES, **changes)
    config, model = small.model(tmp_path, values, seed=4)
    learner = ReferenceLearner(config, model, task, Chances())
    batch = small.batch(values, LENGTHS)
    # Not the padding token: PyTorch's look-up gives its row no gradient. Ours is never given one.
    ids = np.where(batch.input_ids == values["pad_token_id"], 5, batch.input_ids)
    batch = replace(batch, input_ids=ids)
    targets = small.targets(batch, task, learner.parameters.outputs, config.dim, weights)
    losses = learner.accumulate(batch, targets, 1, 0)

    cuts = batch.offsets[1:-1]
    types = [None] * batch.sentences if batch.token_type_ids is None else np.split(batch.token_type_ids, cuts)
    sentences = list(zip(np.split(ids, cuts), types, strict=True))
    names = ("rows", "labels", "teacher_logits", "teacher_hidden")
    asked = {name: getattr(targets, name) for name in names} | weights._asdict()
    want, said = torch_reference.gradients(values, 4, sentences, asked)

    np.testing.assert_allclose((losses.hard, losses.soft, losses.cosine), said, rtol=1e-5)
    stored = {name: _stored(FAMILIES[config.model_type], name, want) for name in learner.parameters}
    assert len(set(stored.values())) == len(stored)
    for other in set(want) - set(stored.values()):  # the second names of what is tied
        assert any(np.array_equal(want[other], want[one]) for one in stored.values()), f"{other} is not trained"
    for name, theirs in stored.items():
        scale = np.abs(want[theirs]).max()
        if name.endswith("k_lin.bias"):  # of which nothing depends but roundings, in PyTorch as well
            scale = np.abs(learner.parameters.gradient(name.replace("bias", "weight"))).max()
        assert scale > 1e-5, f"{name}: no gradient to compare with"
        apart = np.abs(learner.parameters.gradient(name) - want[theirs]).max()
        assert apart <= TOLERANCE * scale, f"{name}: {apart / scale:.1e} of the largest"


def _stored(family: Family, name: str, there: dict[str, np.ndarray]) -> str:
    """The name that transformers has for a parameter."""
    module, _, kind = name.rpartition(".")
    number = next((part for part in module.split(".") if part.isdigit()), "")
    stored = family.modules[module.replace(f".{number}.", ".{i}.") if number else module].replace("{i}", number)
    named = [f"{stored}.{kind}", f"{family.prefix}{stored}.{kind}", *family.aliases.get(name, ())]
    return next((one for one in named if one in there), named[0])
