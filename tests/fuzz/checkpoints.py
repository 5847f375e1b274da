"""The folders that cases start from: models of a few kilobytes, in all forms, with their tokenizers."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minidistil.weights import open_checkpoint, read_model
from minidistil.weights.writing import write_quantized
from tests.fuzz import byte_text, json_text
from tests.pipelines.tokenizers import write_bytes_tokenizer, write_pieces_tokenizer
from tests.sentences import folders
from tests.synthetic import MOBILEBERT_SMALL, tensors, write_tensors
from tests.synthetic_tokenizer import write_tokenizer
from tests.weights import quantized as narrow
from tests.weights.files import BERT, DISTILBERT, bfloat16, old_torch_bytes, safetensors_bytes, torch_bytes
from tests.zoo.vocabularies import sentencepiece_model

Files = dict[str, bytes]
"""A checkpoint: content by path in its folder."""

TEXTS = ["The city of light, and wine!", "naïve café — 北京 \U0001f355", "x" * 60, "a", "king of the night"]
_LEARNT = [*TEXTS, *(f"word {i} of the letter number {i * i}" for i in range(40))]
_LARGE = 200_000  # bytes of JSON that are not worth another look at each of their values
_LABELS = {"id2label": {"0": "NO", "1": "YES", "2": "x"}}
_ROBERTA = {**BERT, "model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 13}
_MOBILE = {
    **MOBILEBERT_SMALL, "vocab_size": 23, "max_position_embeddings": 11, "hidden_size": 16, "embedding_size": 6,
    "intra_bottleneck_size": 8, "intermediate_size": 12, "num_attention_heads": 2, "num_hidden_layers": 2,
    "num_feedforward_networks": 2,
}  # fmt: skip
_ALBERT = {**BERT, "model_type": "albert", "embedding_size": 6, "num_hidden_groups": 1, "inner_group_num": 1}
_SECOND = {"vocab_size": 300, "max_position_embeddings": 40}  # of those that texts are given to

CONFIGS: dict[str, dict] = {
    "distilbert": DISTILBERT,
    "classifier": {**DISTILBERT, "architectures": ["DistilBertForSequenceClassification"], **_LABELS},
    "questions": {**DISTILBERT, "architectures": ["DistilBertForQuestionAnswering"]},
    "bert": BERT,
    "entities": {**BERT, "architectures": ["BertForTokenClassification"], **_LABELS},
    "choices": {**BERT, "architectures": ["BertForMultipleChoice"]},
    "roberta": {**_ROBERTA, "architectures": ["RobertaForMaskedLM"]},
    "albert": {**_ALBERT, "architectures": ["AlbertForMaskedLM"]},
    "electra": {**BERT, "model_type": "electra", "embedding_size": 6, "architectures": ["ElectraForPreTraining"]},
    "mobilebert": _MOBILE,
}
TEXT_CONFIGS: dict[str, dict] = {
    "wordpiece": {**BERT, **_SECOND, "architectures": ["BertForMaskedLM"]},
    "vocabulary": {**DISTILBERT, **_SECOND},
    "bytes": {**_ROBERTA, **_SECOND, "architectures": ["RobertaForMaskedLM"]},
    "pieces": {**_ALBERT, **_SECOND, "architectures": ["AlbertForMaskedLM"]},
    "classifier": {**DISTILBERT, **_SECOND, "architectures": ["DistilBertForSequenceClassification"], **_LABELS},
    "questions": {**BERT, **_SECOND, "architectures": ["BertForQuestionAnswering"]},
    "entities": {**BERT, **_SECOND, "architectures": ["BertForTokenClassification"], **_LABELS},
    "entailment": {
        **DISTILBERT, **_SECOND, "architectures": ["DistilBertForSequenceClassification"],
        "id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"},
    },
}  # fmt: skip


def models() -> dict[str, tuple[dict, dict[str, np.ndarray]]]:
    """config.json and tensors of every family, without a tokenizer."""
    return {name: (config, tensors(config)) for name, config in CONFIGS.items()}


def stored_as(arrays: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Tensors in another precision, as files hold them."""
    if dtype == "BF16":
        return {name: bfloat16(x) for name, x in arrays.items()}
    return {
        name: x.astype({"F16": np.float16, "F32": np.float32, "F64": np.float64}[dtype]) for name, x in arrays.items()
    }


def single(dtype: str = "F32", torch: bool = False, old: bool = False) -> dict[str, Files]:
    """Every family with one weight file; `old` as torch wrote it before 1.6."""
    write, name = (torch_bytes, "pytorch_model.bin") if torch else (safetensors_bytes, "model.safetensors")
    if old:
        write, name = old_torch_bytes, "pytorch_model.bin"
    return {
        f"{family} {dtype}": {"config.json": json.dumps(config).encode(), name: write(stored_as(arrays, dtype))}
        for family, (config, arrays) in models().items()
    }


def sharded(torch: bool = False) -> dict[str, Files]:
    """Some families in three files with an index."""
    found = {}
    write, stem, ending = (
        (torch_bytes, "pytorch_model", "bin") if torch else (safetensors_bytes, "model", "safetensors")
    )
    for family in ("distilbert", "bert", "albert"):
        config, arrays = models()[family]
        files = {"config.json": json.dumps(config).encode()}
        weight_map = {}
        for i in range(3):
            part = {name: x for j, (name, x) in enumerate(arrays.items()) if j % 3 == i}
            shard = f"{stem}-0000{i + 1}-of-00003.{ending}"
            files[shard] = write(part)
            weight_map.update(dict.fromkeys(part, shard))
        index = {"metadata": {"total_size": sum(x.nbytes for x in arrays.values())}, "weight_map": weight_map}
        files[f"{stem}.{ending}.index.json"] = json.dumps(index).encode()
        found[f"{family} in shards of {ending}"] = files
    return found


def quantized(folder: Path) -> dict[str, Files]:
    """Every family in int8: some smoothed, some with columns in float32; `folder` is to write them in."""
    found = {}
    for family, (config, arrays) in models().items():
        whole = read_model(open_checkpoint(write_tensors(folder / family, config, arrays)))
        made = narrow.in_int8(whole)
        if config["model_type"] != "mobilebert":
            found[f"{family} smoothed"] = read(write_quantized(folder / f"{family}-s", config, narrow.smoothed(made)))
        found[f"{family} int8"] = read(write_quantized(folder / f"{family}-8", config, made))
        found[f"{family} kept"] = read(write_quantized(folder / f"{family}-k", config, narrow.keeping(made)))
    return found


def with_tokenizers(folder: Path) -> dict[str, Files]:
    """Models that read texts, with every kind of tokenizer; `folder` is to write them in."""
    found = {name: read(write_text_model(folder / name, name)) for name in TEXT_CONFIGS}
    named = [name for name, files in found.items() if "tokenizer.json" in files]
    for name in named:  # by its class, a tokenizer takes little of tokenizer.json
        config = {**json.loads(found[name]["tokenizer_config.json"]), "tokenizer_class": "PreTrainedTokenizerFast"}
        found[f"{name} as they are"] = {**found[name], "tokenizer_config.json": json.dumps(config).encode()}
    pairs, pieces = (json.loads(found[name]["tokenizer.json"])["model"] for name in ("bytes", "pieces"))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in pairs["merges"]]
    kinds = {"<unk>": 2, "<pad>": 3, "[CLS]": 3, "[SEP]": 3, "[MASK]": 4}
    older = {
        "bytes": {"vocab.json": json.dumps(pairs["vocab"]).encode(), "merges.txt": "\n".join(merges).encode()},
        "pieces": {"spiece.model": sentencepiece_model((t, s, kinds.get(t, 1)) for t, s in pieces["vocab"])},
    }
    for name, files in older.items():
        others = {file: content for file, content in found[name].items() if file != "tokenizer.json"}
        found[f"{name} in older files"] = {**others, **files, "added_tokens.json": b'{"<new>": 300, "word": 301}'}
    return found


def write_text_model(folder: Path, name: str) -> Path:
    """Write one of TEXT_CONFIGS with its tokenizer; returns the folder."""
    config = TEXT_CONFIGS[name]
    write_tensors(folder, config, tensors(config))
    if name == "bytes":
        return write_bytes_tokenizer(folder, _LEARNT, 300)
    if name == "pieces":
        return write_pieces_tokenizer(folder, "albert", _LEARNT, 300)
    write_tokenizer(folder, 300, token_types=config["model_type"] == "bert")
    (folder / ("tokenizer.json" if name == "vocabulary" else "vocab.txt")).unlink()
    return folder


def sentence_models(folder: Path) -> dict[str, Files]:
    """Sentence-transformers' folders, one per kind of module, and rerankers; `folder` is to write them in."""
    config = {**BERT, **_SECOND}
    encoder = write_tensors(folder / "encoder", config, tensors(config))
    write_tokenizer(encoder, 300, token_types=True)
    (encoder / "vocab.txt").unlink()
    (encoder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    general = {
        "__version__": {},
        "prompts": {"query": "q: "},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    (encoder / "config_sentence_transformers.json").write_text(json.dumps(general))
    mean = folders.pooling("mean", width=8)
    chains = {
        "dense": (mean, folders.dense(8, 5), folders.NORMALIZE),
        "modes": (folders.pooling("cls", "max", "weightedmean", width=8), folders.DROPOUT, folders.layer_norm(24)),
        "tokens": (folders.dense(8, 6, module_input_name="token_embeddings"), folders.pooling("lasttoken", width=6)),
        "layers": (folders.weighted_layers(8, 2, 1), mean),
    }
    found = {}
    for name, modules in chains.items():
        path = folders.write_model(folder / name, encoder, *modules, all_layers=name == "layers")
        found[name] = read(path)
    ranking = {
        **config, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"},
        "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0"},
    }  # fmt: skip
    write_tensors(folder / "reranker", ranking, tensors(ranking))
    write_tokenizer(folder / "reranker", 300, token_types=True)
    found["reranker"] = read(folder / "reranker")
    newer = dict(found["reranker"])
    newer["config.json"] = json.dumps({k: v for k, v in ranking.items() if k != "sentence_transformers"}).encode()
    newer["modules.json"] = json.dumps(
        [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    ).encode()
    newer["config_sentence_transformers.json"] = json.dumps(
        {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Sigmoid", "prompts": {}}
    ).encode()
    found["newer reranker"] = newer
    return found


def read(folder: Path) -> Files:
    """A folder's files."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(files: Files, folder: Path) -> None:
    """Make a folder hold these files and nothing else."""
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108
    for name, content in files.items():
        path = folder / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def make_odd(path: Path, rng: random.Random) -> str:
    """Put something that is no regular file in the place of one."""
    path.unlink()
    kind = rng.randrange(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind < 5:
        path.symlink_to(("/dev/zero", path, "nowhere")[kind - 2])
    kinds = ("a pipe", "a folder", "endless zeros", "a link to itself", "a link to nowhere", "gone")
    return f"{path.name} is {kinds[kind]}"


def mutate_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A JSON file changed in one place, by its meaning or by its bytes."""
    if rng.random() < 0.12 or len(content) > _LARGE:  # an earlier change made it large
        return byte_text.mutate(content, rng)
    try:
        tree = json_text.parse(content)
        told = json_text.mutate(tree, rng)
        return json_text.dump(tree), told
    except (ValueError, RecursionError):  # an earlier change did it
        return byte_text.mutate(content, rng)
