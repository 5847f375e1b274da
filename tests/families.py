"""Small configurations that vary what changes the arithmetic, one thing at a time; for the engine and for PyTorch."""

from __future__ import annotations

import numpy as np

from minidistil.weights import ACTIVATIONS
from tests import synthetic

_DISTILBERT = {**synthetic.DISTILBERT_SMALL, "vocab_size": 300}
_BERT = {**synthetic.BERT_SMALL, "vocab_size": 300, "architectures": ["BertForMaskedLM"]}
_ROBERTA = {**synthetic.ROBERTA_SMALL, "vocab_size": 300}
_ALBERT = {**synthetic.ALBERT_SMALL, "vocab_size": 300}
_ELECTRA = {**synthetic.ELECTRA_SMALL, "vocab_size": 300}
_MOBILEBERT = {**synthetic.MOBILEBERT_SMALL, "vocab_size": 300}
_ODD = {"hidden_size": 76, "num_attention_heads": 2, "intermediate_size": 93}  # heads of 38: nothing fills a vector

# Name -> config.json.
VARIATIONS: dict[str, dict] = {
    **{f"activation {name}": {**_DISTILBERT, "activation": name} for name in ACTIVATIONS},
    **{f"bert with {name}": {**_BERT, "hidden_act": name} for name in ("relu", "silu")},  # of the vocabulary head, too
    "roberta with relu": {**_ROBERTA, "hidden_act": "relu"},  # but GELU in the vocabulary head
    "electra with relu": {**_ELECTRA, "hidden_act": "relu"},
    "albert with gelu": {**_ALBERT, "hidden_act": "gelu"},
    "xlm-roberta": {**_ROBERTA, "model_type": "xlm-roberta", "architectures": ["XLMRobertaForMaskedLM"]},
    "camembert": {**_ROBERTA, "model_type": "camembert", "architectures": ["CamembertForMaskedLM"]},
    **{
        f"{values['model_type']} untied": {**values, "tie_word_embeddings": False}
        for values in (_DISTILBERT, _BERT, _ROBERTA, _ALBERT, _ELECTRA, _MOBILEBERT)
    },
    **{
        f"{values['model_type']} of odd sizes": {**values, **_ODD}
        for values in (_BERT, _ROBERTA, {**_ALBERT, "embedding_size": 21}, {**_ELECTRA, "embedding_size": 19})
    },
    "bert with eps 1e-5": {**_BERT, "layer_norm_eps": 1e-5},
    "roberta with eps 1e-12": {**_ROBERTA, "layer_norm_eps": 1e-12},
    "roberta with padding 0": {**_ROBERTA, "pad_token_id": 0},
    "bert with three token types": {**_BERT, "type_vocab_size": 3},
    "albert of two groups": {**_ALBERT, "num_hidden_layers": 5, "num_hidden_groups": 2},
    "albert of groups of two": {**_ALBERT, "num_hidden_layers": 2, "num_hidden_groups": 2, "inner_group_num": 2},
    "albert as wide inside": {**_ALBERT, "embedding_size": 128},
    "electra without a projection": {**_ELECTRA, "embedding_size": 128},
    "electra with wide embeddings": {**_ELECTRA, "embedding_size": 200},
    "electra with embeddings wider than all": {**_ELECTRA, "embedding_size": 450},
    "mobilebert": _MOBILEBERT,
    "mobilebert of odd sizes": {**_MOBILEBERT, **_ODD, "embedding_size": 21, "intra_bottleneck_size": 38},
    "mobilebert with layer norms": {**_MOBILEBERT, "normalization_type": "layer_norm"},
    "mobilebert with eps 1e-3": {**_MOBILEBERT, "normalization_type": "layer_norm", "layer_norm_eps": 1e-3},
    "mobilebert without bottlenecks": {**_MOBILEBERT, "use_bottleneck": False},
    "mobilebert without bottlenecks, with layer norms": {
        **_MOBILEBERT, "use_bottleneck": False, "normalization_type": "layer_norm"
    },
    "mobilebert that attends in the bottleneck": {**_MOBILEBERT, "use_bottleneck_attention": True},
    "mobilebert with queries of the wide stream": {
        **_MOBILEBERT, "key_query_shared_bottleneck": False, "intra_bottleneck_size": 128
    },
    "mobilebert without trigrams": {**_MOBILEBERT, "trigram_input": False},
    "mobilebert without trigrams or a projection": {**_MOBILEBERT, "trigram_input": False, "embedding_size": 128},
    "mobilebert with one feed-forward": {**_MOBILEBERT, "num_feedforward_networks": 1},
    "mobilebert with wide embeddings": {**_MOBILEBERT, "embedding_size": 120},
    "mobilebert with a wide stream": {**_MOBILEBERT, "hidden_size": 208},  # sums of two blocks
    "mobilebert with gelu": {**_MOBILEBERT, "hidden_act": "gelu"},  # of the vocabulary head, too
    "mobilebert with three token types": {**_MOBILEBERT, "type_vocab_size": 3},
}  # fmt: skip

SHAPES = {"mobilebert as published, but three layers": {**synthetic.MOBILEBERT_BASE, "num_hidden_layers": 3}}
"""More, as wide as models that people use; too much for the quick tests."""


def sentence(values: dict, length: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Token ids, padding's among them, and token types where there are any: int [length] each."""
    generator = np.random.default_rng(length)
    ids = generator.integers(0, values["vocab_size"], length)
    ids[length // 2 :: 7] = values["pad_token_id"]
    kinds = values.get("type_vocab_size", 0)
    return ids, np.sort(generator.integers(0, kinds, length)) if kinds > 1 else None
