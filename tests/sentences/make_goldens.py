"""Record what sentence-transformers computes: python -m tests.sentences.make_goldens

Run it in an environment of its own with torch 2.13.0 (first), sentence-transformers 6 and pytest's needs; the pinned
configuration of tests/goldens is set here. It writes goldens.json beside this file.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.update({"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"})

import numpy as np
import sentence_transformers
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.util import quantize_embeddings

from tests.sentences.folders import (
    HANDS_ON_ALL_LAYERS,
    MODELS,
    RERANKERS,
    write_encoder,
    write_model,
    write_reranker,
)
from tests.sentences.goldens import DOCUMENTS, PATH, PROMPTS, QUERY, TEXTS, pack

torch.backends.mkldnn.enabled = False
torch.set_num_threads(1)


def main() -> None:
    """Record everything anew."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder = write_encoder(folder / "encoder")
        found: dict[str, Any] = {
            "versions": {"torch": torch.__version__, "sentence-transformers": sentence_transformers.__version__},
            "models": {name: _embed(folder / str(i), encoder, name) for i, name in enumerate(MODELS)},
            **_options(write_model(folder / "options", encoder, *MODELS["mean"])),
            "rerankers": {
                name: _rerank(write_reranker(folder / f"reranker {i}", name)) for i, name in enumerate(RERANKERS)
            },
        }
    PATH.write_text(json.dumps(found, indent=1))


def _embed(folder: Path, encoder: Path, name: str) -> dict[str, Any]:
    return pack(
        _load(write_model(folder, encoder, *MODELS[name], all_layers=name in HANDS_ON_ALL_LAYERS)).encode(TEXTS)
    )


def _load(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def _options(folder: Path) -> dict[str, Any]:
    model = _load(folder)
    whole = model.encode(TEXTS)
    ranges = np.stack([whole[:4].min(axis=0), whole[:4].max(axis=0)])  # the other texts lie outside here and there
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PROMPTS))
    prompted = _load(folder)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "include_prompt": False}))
    return {
        "token_embeddings": [pack(x.numpy()) for x in model.encode(TEXTS[:3], output_value="token_embeddings")],
        "cut, then normalized": pack(model.encode(TEXTS, truncate_dim=10, normalize_embeddings=True)),
        "precisions": {p: pack(quantize_embeddings(whole, p, ranges)) for p in ("int8", "uint8", "binary", "ubinary")},
        "prompts": {
            "encode": pack(prompted.encode(TEXTS)),
            "encode_query": pack(prompted.encode_query(TEXTS)),
            "encode_document": pack(prompted.encode_document(TEXTS)),
            "prompt_name": pack(prompted.encode(TEXTS, prompt_name="night")),
            "not pooled": pack(_load(folder).encode(TEXTS, prompt_name="night")),
        },
        "similarity": {name: _similarity(model, whole, name) for name in ("cosine", "dot", "euclidean", "manhattan")},
    }


def _similarity(model: SentenceTransformer, whole: np.ndarray, name: str) -> dict[str, Any]:
    model.similarity_fn_name = name
    scaled = whole * np.arange(1, len(whole) + 1, dtype=np.float32)[:, None]
    return {
        "all": pack(model.similarity(scaled[:3], scaled).numpy()),
        "pairwise": pack(model.similarity_pairwise(scaled[:3], scaled[3:6]).numpy()),
    }


def _rerank(folder: Path) -> dict[str, Any]:
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, document) for document in DOCUMENTS]
    found = {"predict": pack(model.predict(pairs)), "softmax": pack(model.predict(pairs, apply_softmax=True))}
    if model.num_labels == 1:
        found["rank"] = [row["corpus_id"] for row in model.rank(QUERY, DOCUMENTS)]
    return found


if __name__ == "__main__":
    main()
