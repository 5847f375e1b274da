"""Attribution by gradients: where the logarithm of the answer's probability would move if a token's embedding did.

The gradient of a token's embedding is that of the row of the position table that it alone uses: the backward pass of
training gives it, with the same bits on the engine and on the reference.

Legend: `n` tokens, `E` embedding width.
"""

from __future__ import annotations

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.choose import create_learner
from minidistil.backends.learning import TASKS, Chances, LossWeights, Targets
from minidistil.backends.reference import Reference
from minidistil.study.answers import Following
from minidistil.study.parts import Attribution, LeftOut
from minidistil.study.sums import total
from minidistil.study.tracing import weights_of

# Numbers that the weights may be: learning keeps four times as many in memory.
_LARGEST = 150_000_000


@default_mode()
def gradient_x_input(following: Following) -> Attribution | LeftOut:
    """Multiply each token's word embedding with the gradient of the answer's first number, in its logarithm.

    Not the sum of its embeddings: a LayerNorm follows, to which a longer row is the same, so that would give nothing.

    Returns:
        The sums over the width, or why there are none.
    """
    model, found = following.model, following.trace
    task = model.heads[0] if model.heads else ""
    if task not in TASKS:
        return LeftOut("attribution", "by gradients: there is a backward pass for masked words and classes only")
    if model.precision != "float32":
        reason = f'by gradients: there is no backward pass through {model.precision}; precision="float32" has one'
        return LeftOut("attribution", reason)
    if following.first is None:
        return LeftOut("attribution", "by gradients: the scores are no probabilities of which one class holds")
    if model.num_parameters() > _LARGEST:
        return LeftOut(
            "attribution", f"by gradients: a model of more than {_LARGEST:,} parameters takes too much memory"
        )
    exact = isinstance(model._backend, Reference)
    threads = None if exact else getattr(model._backend, "threads", None)
    try:
        learner = create_learner(
            "exact" if exact else "engine", model.config, weights_of(model), task, Chances(), threads
        )
    except ValueError as error:
        return LeftOut("attribution", f"by gradients: {error}")
    row = np.array([following.answer.focus or 0])
    targets = Targets(row, np.array([following.first], np.int32), None, None, LossWeights(hard=1.0))
    learner.accumulate(found.batch, targets, 1, 0)
    slopes = learner.parameters.gradient("embeddings.position_embeddings.weight")[found.batch.position_ids]  # [n, E]
    values = total(-slopes.astype(np.float64) * found["embeddings.word"])
    sentence = (
        f"The gradient of log p({following.answer.labels[0]!r}) by each token's word embedding, times this. It says "
        "what a small change would do, not what the token's absence does; where the model is sure, it is near zero."
    )
    tokens = tuple(range(found.batch.tokens))
    return Attribution("gradient x input", sentence, tokens, values.astype(np.float32))
