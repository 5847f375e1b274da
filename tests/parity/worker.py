"""A process that answers from PyTorch in the pinned configuration: python -m tests.parity.worker

The pins are read when torch is loaded, so the tests, whose process may have loaded it otherwise, ask this one. Requests
and answers are pickles on standard input and output, from parent to child and back: no one else can write there.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any, BinaryIO

import numpy as np

from tests.goldens.torch_reference import (  # first: it sets the pins
    TorchReference,
    activation,
    attention,
    gelu,
    layer_norm,
    linear,
    torch,
    transformers,
    words,
)

from tests.goldens.load import checkpoint_tensors  # isort: skip
from tests.goldens.torch_heads import head_stages  # isort: skip
from tests.parity.torch_gradients import gradients  # isort: skip
from tests.parity.torch_learning import adamw, cosine, cross_entropy  # isort: skip
from tests.parity.torch_training import training  # isort: skip
from tests.synthetic import tensors  # isort: skip

_models: dict[str, TorchReference] = {}
_pipelines: dict[str, Any] = {}


def versions() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}"


def alone(
    name: str, ids: np.ndarray, types: np.ndarray | None, bias: np.ndarray | None, threads: int
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Hidden states and logits of one sentence under a checkpoint of the goldens."""
    if name not in _models:
        _models[name] = TorchReference(*checkpoint_tensors(name))
    torch.set_num_threads(threads)
    try:
        return _models[name].alone(ids, types, bias)
    finally:
        torch.set_num_threads(1)


def pipeline_answers(task: str, folder: str, options: dict, calls: list[tuple[tuple, dict]]) -> list:
    """What a pipeline of transformers over a checkpoint answers to each call; a faulty one gets its error's text."""
    key = f"{task} {folder} {options}"
    if key not in _pipelines:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        pipe = transformers.pipeline(task, model=folder, tokenizer=tokenizer, **options)
        if pipe.model.config.model_type == "distilbert":  # as its own tokenizer class has it
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
        elif pipe.model.config.model_type == "albert":  # as before transformers 5, which forgets that ALBERT has types
            tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
        _pad_to_sixteen(pipe.model)
        _pipelines[key] = pipe
    answers = []
    for positional, named in calls:
        try:
            answers.append(_plain(_pipelines[key](*positional, **named)))
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


def _pad_to_sixteen(model: Any) -> None:
    """Have a model compute a sentence as the pins ask: padded to a multiple of 16, and cut again."""
    forward = model.forward

    def padded(input_ids: Any, **inputs: Any) -> Any:
        length = input_ids.shape[1]
        inputs = {"input_ids": input_ids, **inputs}
        inputs = {name: torch.nn.functional.pad(value, (0, -length % 16)) for name, value in inputs.items()}
        shape = inputs["input_ids"].shape
        inputs |= words(model, inputs.pop("input_ids"), inputs["attention_mask"])
        output = forward(**inputs)
        for name, value in output.items():
            if value.shape[1:2] == shape[1:2] and value.shape[1] != length and value.ndim > 1:
                output[name] = value[:, :length]
        return output

    model.forward = padded


def _plain(value: Any) -> Any:
    """The same in Python's own numbers and lists."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def alone_of(
    values: dict, seed: int, ids: np.ndarray, types: np.ndarray | None
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The same under the synthetic weights of any configuration."""
    return TorchReference(values, tensors(values, seed)).alone(ids, types)


_ANSWERS = {
    f.__name__: f
    for f in (
        *(versions, alone, alone_of, head_stages, gradients, training, pipeline_answers),
        *(linear, layer_norm, gelu, activation, attention, adamw, cosine, cross_entropy),
    )
}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            answer = True, _ANSWERS[name](*arguments)
        except Exception:
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not come between the frames
    serve(sys.stdin.buffer, frames)
