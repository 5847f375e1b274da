"""Records what transformers 4 answered to questions: its later versions have no question-answering pipeline.

    python -m venv v4 && v4/bin/pip install "torch==2.13.0" && v4/bin/pip install "transformers>=4.50,<5"
    v4/bin/python -m tests.pipelines.record_answers FOLDER_OF_MINILM

Writes answers.json beside itself. The configuration is the pinned one (tests/goldens/torch_reference.py), but for the
padding of inputs to a multiple of 16, which that pipeline does not do.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ["ATEN_CPU_CAPABILITY"] = "avx2"
os.environ["MKL_CBWR"] = "AVX2"

import torch
import transformers

from tests.pipelines.checkpoints import write
from tests.pipelines.questions import cases

OUT = Path(__file__).with_name("answers.json")


def main(minilm: Path) -> None:
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    pipes = {}
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        for name, question, context, options in cases():
            if name not in pipes:
                path = write(Path(folder), name, minilm)
                tokenizer = transformers.AutoTokenizer.from_pretrained(path)
                if name == "questions":  # DistilBERT takes no token types
                    tokenizer.model_input_names = ["input_ids", "attention_mask"]
                pipes[name] = transformers.pipeline("question-answering", model=str(path), tokenizer=tokenizer)
                if getattr(pipes[name].model.config, "trigram_input", False):
                    _hide_padding(pipes[name].model)
            answers.append(pipes[name](question=question, context=context, **options))
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}, tests/pipelines/record_answers.py"
    lines = ",\n".join("  " + json.dumps(answer, ensure_ascii=False) for answer in answers)
    text = f'{{\n "made_by": {json.dumps(made_by)},\n "answers": [\n{lines}\n ]\n}}\n'
    OUT.write_text(text, encoding="utf-8")
    sys.stderr.write(f"{len(answers)} answers in {OUT}\n")


def _hide_padding(model: Any) -> None:
    """Have MobileBERT, which reads a token's neighbours, find nothing where padding stands behind a window."""
    forward = model.forward

    def hidden(input_ids: Any, attention_mask: Any, **inputs: Any) -> Any:
        words = model.get_input_embeddings()(input_ids) * attention_mask[..., None]
        return forward(inputs_embeds=words, attention_mask=attention_mask, **inputs)

    model.forward = hidden


if __name__ == "__main__":
    main(Path(sys.argv[1]))
