"""Keywords that code written for other libraries passes: each in a row, with a value and what becomes of it.

OLD: as if nobody had said it. A text: refused by a ValueError that says so. A warning: accepted, and it says so. A
function: honoured, and this holds of the result.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
import pytest
from safetensors.numpy import load_file

import minidistil
from minidistil import _keywords
from minidistil.sentences import cross_encoder, sentence_transformer
from minidistil.weights.config import Config
from tests.pipelines.checkpoints import write_small
from tests.synthetic_tokenizer import write_tokenizer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migration.md"
TEXTS = ["the city of light", "wine is great , people play music"]
IDS = [[2, 17, 33, 3]]
MASKED = ["input_ids", "attention_mask"]
OLD = object()
FLOAT32 = UserWarning("float32")
CPU = "computes on the CPU only"


class Call(NamedTuple):
    """A function that takes keywords, what is compared of its results, and the table of what it lets pass."""

    run: Callable[..., Any]
    shown: Callable[[Any], Any]
    keywords: type | None


def _load(at: Any, name: str, **options: Any) -> Any:
    return minidistil.AutoModelForSequenceClassification.from_pretrained(at(name), threads=1, **options)


CALLS = {
    "model": Call(
        lambda at, **options: _load(at, "sentiment", **options),
        lambda model: (model.config.id2label, model(IDS).to_tuple()),
        _keywords.LoadingKeywords,
    ),
    "encoder": Call(
        lambda at, **options: minidistil.AutoModel.from_pretrained(at("bert"), threads=1, **options),
        lambda model: model(IDS).to_tuple(),
        _keywords.LoadingKeywords,
    ),
    "config": Call(
        lambda at, **options: minidistil.AutoConfig.from_pretrained(at("sentiment"), **options),
        lambda config: config,
        _keywords.ConfigKeywords,
    ),
    "tokenizer": Call(
        lambda at, **options: minidistil.AutoTokenizer.from_pretrained(at("words"), **options),
        lambda tokenizer: (
            tokenizer(["The Ci\u0301ty, of light"])["input_ids"],
            tokenizer.special_tokens,
            tokenizer.model_max_length,
            tokenizer.padding_side,
            tokenizer.model_input_names,
        ),
        _keywords.TokenizerKeywords,
    ),
    "tokenize": Call(
        lambda at, **options: minidistil.AutoTokenizer.from_pretrained(at("words"))(TEXTS, **options),
        dict,
        _keywords.TokenizeKeywords,
    ),
    "SentenceTransformer": Call(
        lambda at, **options: minidistil.SentenceTransformer(at("sentences"), **{"threads": 1, **options}),
        lambda model: (model.encode(TEXTS), model.max_seq_length, model.prompts),
        sentence_transformer._Options,
    ),
    "encode": Call(
        lambda at, **options: minidistil.SentenceTransformer(at("sentences"), threads=1).encode(TEXTS, **options),
        lambda embeddings: embeddings,
        _keywords.EncodeKeywords,
    ),
    "CrossEncoder": Call(
        lambda at, **options: minidistil.CrossEncoder(at("reranker"), **{"threads": 1, **options}),
        lambda model: (model.predict([TEXTS]), model.max_length, model.prompts),
        cross_encoder._Options,
    ),
    "predict": Call(
        lambda at, **options: minidistil.CrossEncoder(at("reranker"), threads=1).predict([TEXTS], **options),
        lambda scores: scores,
        _keywords.PredictKeywords,
    ),
    "pipeline": Call(
        lambda at, **options: minidistil.pipeline("sentiment-analysis", at("sentiment"), **{"threads": 1, **options}),
        lambda pipe: pipe(TEXTS),
        _keywords.PipelineKeywords,
    ),
    "pipe": Call(
        lambda at, **options: minidistil.pipeline("ner", at("entities"), threads=1)(TEXTS, **options),
        lambda answers: answers,
        _keywords.PipelineKeywords,
    ),
    "TextClassificationPipeline": Call(
        lambda at, **options: minidistil.TextClassificationPipeline(_load(at, "sentiment"), **options),
        lambda pipe: pipe(TEXTS),
        _keywords.PipelineKeywords,
    ),
    "call": Call(
        lambda at, **options: _load(at, "sentiment")(IDS, **options),
        lambda output: output if isinstance(output, tuple) else output.to_tuple(),
        _keywords.CallKeywords,
    ),
}

HUB: list[tuple[str, Any, Any]] = [
    ("force_download", True, OLD),
    ("resume_download", True, OLD),
    ("mirror", "x", OLD),
    ("code_revision", "main", OLD),
    ("proxies", {"https": "x"}, "set HTTPS_PROXY"),
    ("proxies", {}, OLD),
    ("use_auth_token", "x", OLD),
    ("use_auth_token", None, OLD),
    ("cache_folder", "x", OLD),
    ("revision", "main", OLD),
    ("local_files_only", True, OLD),
    ("trust_remote_code", True, OLD),
    ("trust_remote_code", False, OLD),
]
NUMBERS: list[tuple[str, Any, Any]] = [
    (name, value, outcome)
    for name in ("dtype", "torch_dtype")
    for value, outcome in (
        ("auto", OLD),
        ("float32", OLD),
        (np.float32, OLD),
        (None, OLD),
        ("torch.float32", OLD),
        ("float16", FLOAT32),
        (np.dtype(np.float16), FLOAT32),
        ("int8", 'precision="int8" is another option'),
    )
]
# Of what has a precision: half of the bytes is what somebody wants who says so.
NARROW: list[tuple[str, Any, Any]] = [
    (name, value, lambda model: getattr(model, "model", model).precision == "bfloat16")
    for name in ("dtype", "torch_dtype")
    for value in ("bfloat16", "torch.bfloat16")
]
DROPOUTS: list[tuple[str, Any, Any]] = [
    (name, 0.0, OLD)
    for name in (
        "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "classifier_dropout",
    )
]  # fmt: skip
LOADING: list[tuple[str, Any, Any]] = [
    *HUB,
    *NUMBERS,
    *NARROW,
    ("precision", None, OLD),
    ("precision", "float32", OLD),
    ("precision", "int8", lambda model: getattr(model, "model", model).precision == "int8"),
    ("precision", "int4", "precision must be one of float32, bfloat16, int8, got 'int4'"),
    *DROPOUTS,
    ("seq_classif_dropout", 0.2, OLD),
    ("qa_dropout", 0.1, OLD),
    ("device_map", "cpu", OLD),
    ("device_map", "auto", OLD),
    ("device_map", {"": "cpu"}, OLD),
    ("device_map", "cuda", CPU),
    ("device_map", {"": 0}, CPU),
    ("attn_implementation", "eager", OLD),
    ("attn_implementation", "sdpa", OLD),
    ("low_cpu_mem_usage", True, OLD),
    ("use_safetensors", True, OLD),
    ("weights_only", True, OLD),
    ("max_memory", {"cpu": "8GB"}, OLD),
    ("offload_folder", "x", OLD),
    ("offload_buffers", False, OLD),
    ("offload_state_dict", False, OLD),
    ("use_cache", False, OLD),
    ("gradient_checkpointing", False, OLD),
    ("torchscript", False, OLD),
    ("load_in_8bit", False, OLD),
    ("load_in_8bit", True, 'pass precision="int8"'),
    ("load_in_4bit", True, 'pass precision="int8"'),
    ("quantization_config", None, OLD),
    ("quantization_config", object(), 'pass precision="int8"'),
    ("ignore_mismatched_sizes", False, OLD),
    ("ignore_mismatched_sizes", True, "no head is made up"),
    ("output_loading_info", False, OLD),
    ("output_loading_info", True, "leave it out"),
    ("from_tf", False, OLD),
    ("from_tf", True, "save the model from PyTorch"),
    ("from_flax", True, "save the model from PyTorch"),
    ("gguf_file", "x.gguf", "safetensors"),
    ("state_dict", {"a": 1}, "save them there first"),
    ("variant", None, OLD),
    ("variant", "fp16", r"none of model\.fp16\.safetensors"),
    ("variant", "../x", "variant must be the word in the name of weight files"),
    ("key_mapping", {"a": "b"}, "transformers' names"),
]
DONE_ELSEWHERE = ("revision", "local_files_only")
SENTENCES: list[tuple[str, Any, Any]] = [
    *[(name, None, OLD) for name in ("name_or_path", "model_name", "pretrained_model_name_or_path", "tokenizer_args")],
    ("modules", None, OLD),
    ("modules", [1], "modules.json"),
    ("model_card_data", object(), OLD),
    ("keep_in_fp32_modules", ["0"], OLD),
    ("device", "cpu", OLD),
    ("device", None, OLD),
    ("device", "cuda:0", CPU),
    ("backend", "torch", OLD),
    ("backend", None, OLD),
    ("backend", "onnx", "leave it out"),
    ("backend", "openvino", "leave it out"),
    ("backend", "jax", "backend must be one of"),
    ("threads", None, OLD),
    ("model_kwargs", {}, OLD),
    ("model_kwargs", None, OLD),
    ("model_kwargs", {"attn_implementation": "sdpa", "torch_dtype": "auto", "device_map": "auto"}, OLD),
    ("model_kwargs", {"device_map": "cuda"}, "model_kwargs.device_map='cuda'.: minidistil computes on the CPU only"),
    ("model_args", {"device_map": "cuda"}, CPU),
    ("automodel_args", {"device_map": "cuda"}, CPU),
    ("processor_kwargs", {"use_fast": True, "padding_side": "left"}, OLD),
    ("processor_kwargs", {"model_max_length": 7}, lambda model: model.max_seq_length == 7),
    (
        "tokenizer_kwargs",
        {"model_max_length": 7},
        lambda model: len(model.tokenize([" wine" * 9])["input_ids"][0]) == 7,
    ),
    ("processor_kwargs", {"padding_side": "up"}, "padding_side = 'up'"),
    ("config_kwargs", {"use_cache": False}, OLD),
    ("model_kwargs", {"torch_dtype": "bfloat16"}, lambda model: model.precision == "bfloat16"),
    ("config_args", {"dtype": "int8"}, 'precision="int8" is another option'),
    ("subfolder", "", OLD),
    ("trust_remote_code", True, OLD),
]
ROWS: dict[str, list[tuple[str, Any, Any]]] = {
    "model": [
        *LOADING,
        ("subfolder", "", OLD),
        ("subfolder", "below", lambda model: model.folder.name == "below"),
        ("subfolder", "../sentiment", "name of a folder within"),
        ("num_labels", 2, OLD),
        ("num_labels", 3, "num_labels"),
        ("id2label", {0: "bad", 1: "good"}, lambda model: list(model.config.label2id) == ["bad", "good"]),
        ("label2id", {"NEGATIVE": 0, "POSITIVE": 1}, OLD),
        ("problem_type", "regression", lambda model: model.config.problem_type == "regression"),
        ("problem_type", "clustering", "known are regression"),
        ("output_hidden_states", True, lambda model: len(model(IDS).hidden_states) == 3),
        ("output_attentions", True, lambda model: len(model(IDS).attentions) == 2),
        ("output_attentions", "yes", "expected true or false"),
        ("return_dict", False, lambda model: type(model(IDS)) is tuple),
        ("config", None, OLD),
        ("backend", None, OLD),
        ("add_pooling_layer", None, OLD),
        ("pretrained_model_name_or_path", None, OLD),
    ],
    "encoder": [
        ("add_pooling_layer", True, OLD),
        ("add_pooling_layer", False, lambda model: model(IDS).pooler_output is None),
    ],
    "config": [
        *HUB,
        *NUMBERS,
        *DROPOUTS,
        ("dtype", "bfloat16", FLOAT32),
        ("pretrained_model_name_or_path", None, OLD),
        ("attn_implementation", "eager", OLD),
        ("use_cache", False, OLD),
        ("return_unused_kwargs", False, OLD),
        ("return_unused_kwargs", True, "none is left over"),
        ("num_labels", 3, lambda config: list(config.id2label.values()) == ["LABEL_0", "LABEL_1", "LABEL_2"]),
        ("output_hidden_states", True, lambda config: config.output_hidden_states and config.to_dict()),
        ("subfolder", "below", OLD),
    ],
    "tokenizer": [
        *HUB,
        ("use_fast", True, OLD),
        ("use_fast", False, OLD),
        ("legacy", False, OLD),
        ("from_slow", True, OLD),
        ("config", object(), OLD),
        ("tokenizer_type", "bert", "the checkpoint's files say"),
        ("tokenizer_file", "x.json", "as tokenizer.json"),
        ("vocab_file", "x.txt", "as vocab.txt"),
        ("subfolder", "below", OLD),
        ("pretrained_model_name_or_path", None, OLD),
        ("do_lower_case", None, OLD),
        ("do_lower_case", True, OLD),
        ("do_lower_case", False, lambda t: t("The city").input_ids[1] == t.unk_token_id),
        ("do_lower_case", "no", "do_lower_case = 'no', expected true or false"),
        ("strip_accents", False, lambda t: t("ci\u0301ty").input_ids[1] == t.unk_token_id),
        ("tokenize_chinese_chars", False, lambda t: len(t.tokenize("\u4e2d\u6587")) == 1),
        ("add_prefix_space", True, OLD),
        ("model_max_length", 7, lambda t: len(t(TEXTS[1], truncation=True).input_ids) == t.model_max_length == 7),
        ("model_max_length", -1, "model_max_length = -1"),
        ("max_len", 7, lambda t: t.model_max_length == 7),
        ("padding_side", "left", lambda t: t(TEXTS, padding=True).attention_mask[0][0] == 0),
        ("padding_side", "middle", "padding_side = 'middle', expected one of right, left"),
        ("truncation_side", "left", lambda t: t(TEXTS[0], truncation=True, max_length=3)[0].tokens[1] == "light"),
        ("clean_up_tokenization_spaces", True, lambda t: t.decode(t("wine , wine").input_ids[1:-1]) == "wine, wine"),
        ("model_input_names", MASKED, lambda t: list(t("wine")) == MASKED),
        ("additional_special_tokens", ["<a>"], lambda t: t.all_special_tokens[-1] == t.tokenize("wine<a>")[1] == "<a>"),
        ("extra_special_tokens", ["<a>"], lambda t: t.all_special_tokens[-1] == t.tokenize("wine<a>")[1] == "<a>"),
        ("pad_token", "[MASK]", lambda t: t.pad_token_id == t.mask_token_id),
        ("eos_token", "wine", lambda t: t.eos_token_id == t.convert_tokens_to_ids("wine")),
        *[(f"{role}_token", None, OLD) for role in ("bos", "unk", "sep", "cls", "mask")],
    ],
    "tokenize": [
        ("verbose", False, OLD),
        ("split_special_tokens", False, OLD),
        ("split_special_tokens", True, "always whole ones"),
        ("text_target", None, OLD),
        ("text_target", "a", "write no text"),
        ("text_pair_target", None, OLD),
        ("truncation", None, OLD),
        ("padding_side", None, OLD),
        ("return_tensors", "pt", "torch.from_numpy"),
    ],
    "call": [
        ("labels", None, OLD),
        ("labels", [0], "nothing is trained here"),
        ("start_positions", [0], "nothing is trained here"),
        ("end_positions", [0], "nothing is trained here"),
        ("next_sentence_label", None, OLD),
        ("head_mask", None, OLD),
        ("head_mask", [[1.0]], "every attention head counts"),
        ("use_cache", False, OLD),
        ("past_key_values", None, OLD),
        ("past_key_values", [1], "encoders"),
        ("encoder_hidden_states", None, OLD),
        ("encoder_attention_mask", [1], "encoders"),
        ("output_hidden_states", None, OLD),
        ("return_dict", None, OLD),
    ],
}
ROWS["SentenceTransformer"] = [
    *[row for row in LOADING if row[0] not in DONE_ELSEWHERE],
    *SENTENCES,
    ("prompts", {"query": "wine "}, lambda model: _equal(model.encode_query("city"), model.encode("wine city"))),
    ("default_prompt_name", "query", lambda model: model.default_prompt_name == "query"),
    ("default_prompt_name", "none", "no prompt is named 'none'"),
    ("similarity_fn_name", "dot", lambda model: model.similarity_fn_name == "dot"),
    ("similarity_fn_name", minidistil.SimilarityFunction.DOT_PRODUCT, lambda model: model.similarity_fn_name == "dot"),
    ("truncate_dim", 5, lambda model: model.encode("wine").shape == (5,)),
    ("config_kwargs", {"output_hidden_states": True}, OLD),
    ("model_kwargs", {"add_pooling_layer": False}, OLD),
]
ROWS["CrossEncoder"] = [
    *[row for row in LOADING if row[0] not in DONE_ELSEWHERE],
    *SENTENCES,
    ("prompts", {"ask": "wine "}, lambda model: "ask" in model.prompts),
    ("default_prompt_name", "none", "no prompt is named 'none'"),
    ("num_labels", 1, OLD),
    ("num_labels", 2, "num_labels"),
    (
        "activation_fn",
        "linear",
        lambda model: model.predict([TEXTS])[0] == model.predict([TEXTS], activation_fn="linear"),
    ),
    ("default_activation_function", None, OLD),
    ("default_activation_function", "relu", lambda model: model.predict([TEXTS])[0] >= 0),
    ("max_length", 3, lambda model: model.max_length == 3),
]
ROWS["encode"] = [
    ("inputs", None, OLD),
    ("pool", None, OLD),
    ("pool", {"input": 1}, "the engine has threads of its own"),
    ("chunk_size", 100, OLD),
    ("chunk_size", None, OLD),
    ("processing_kwargs", None, OLD),
    ("processing_kwargs", {"text": {"max_length": 3}}, "model.max_seq_length"),
    ("precision", None, OLD),
    ("precision", "float32", OLD),
    ("precision", "float16", lambda embeddings: embeddings.dtype == np.float16),
    ("precision", "bfloat16", "precision must be one of"),
    ("batch_size", None, OLD),
    ("batch_size", 1, OLD),
    ("show_progress_bar", None, OLD),
    ("device", "cpu", OLD),
    ("device", ["cpu", "cpu"], OLD),
    ("device", "cuda", CPU),
    ("device", ["cpu", "cuda:1"], CPU),
    ("convert_to_numpy", True, OLD),
    ("convert_to_tensor", False, OLD),
    ("convert_to_tensor", True, "torch.from_numpy"),
    ("prompt", None, OLD),
    ("normalize_embeddings", False, OLD),
]
PIPELINES: list[tuple[str, Any, Any]] = [
    ("use_fast", True, OLD),
    ("use_fast", False, OLD),
    ("framework", "pt", OLD),
    ("num_workers", 4, OLD),
    ("modelcard", object(), OLD),
    ("model_card", object(), OLD),
    ("args_parser", object(), OLD),
    ("feature_extractor", None, OLD),
    ("feature_extractor", "x", "read text only"),
    ("image_processor", "x", "read text only"),
    ("video_processor", None, OLD),
    ("processor", object(), "read text only"),
    ("binary_output", False, OLD),
    ("binary_output", True, "answers are Python objects"),
    ("pipeline_class", object, "make the class itself"),
    ("torch_dtype", "auto", OLD),
    ("dtype", np.float16, FLOAT32),
    ("device_map", "auto", OLD),
    ("device_map", "cuda", CPU),
    ("batch_size", 2, OLD),
    ("padding", True, OLD),
]
ROWS["pipe"] = [*PIPELINES, ("dtype", "bfloat16", FLOAT32)]
ROWS["TextClassificationPipeline"] = [
    *PIPELINES,
    ("dtype", "bfloat16", FLOAT32),
    ("device", -1, OLD),
    ("device", "cpu", OLD),
    ("device", 0, CPU),
    ("tokenizer", None, OLD),
    ("top_k", None, lambda pipe: len(pipe(TEXTS)[0]) == 2),
]
ROWS["pipeline"] = [
    *LOADING,
    *PIPELINES,
    ("pretrained_model_name_or_path", None, OLD),
    ("device", -1, OLD),
    ("device", "cpu", OLD),
    ("device", 0, CPU),
    ("device", "cuda:1", CPU),
    ("backend", None, OLD),
    ("model_kwargs", {}, OLD),
    ("model_kwargs", {"attn_implementation": "eager", "low_cpu_mem_usage": True}, OLD),
    ("model_kwargs", {"id2label": {0: "a", 1: "b"}}, lambda pipe: pipe(TEXTS)[0]["label"] in "ab"),
    ("model_kwargs", {"load_in_8bit": True}, "model_kwargs.load_in_8bit=True.: minidistil has an int8 of its own"),
    ("model_kwargs", {"dtype": "bfloat16"}, lambda pipe: pipe.model.precision == "bfloat16"),
    ("config", None, OLD),
    ("id2label", {0: "a", 1: "b"}, lambda pipe: pipe(TEXTS)[0]["label"] in "ab"),
    ("subfolder", "below", OLD),
    ("tokenizer", None, OLD),
    ("top_k", None, lambda pipe: len(pipe(TEXTS)[0]) == 2),
]
ROWS["predict"] = [
    *[row for row in ROWS["encode"] if row[0] not in ("precision", "normalize_embeddings")],
    ("num_workers", 2, OLD),
    ("activation_fct", None, OLD),
    ("activation_fct", "linear", lambda scores: scores.shape == (1,)),
    ("default_activation_function", "linear", lambda scores: scores.shape == (1,)),
    ("apply_softmax", None, OLD),
]
CASES = [(call, *row) for call, rows in ROWS.items() for row in rows]


@pytest.fixture(scope="module")
def at(
    tmp_path_factory: pytest.TempPathFactory, bert_small: Path, sentence_small: Path, reranker_small: Path
) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("keywords")
    (folder / "words").mkdir()
    made = {"bert": bert_small, "words": write_tokenizer(folder / "words", 1200, token_types=True)}
    made |= {"sentences": sentence_small, "reranker": reranker_small}
    shutil.copytree(made["words"], made["words"] / "below")

    def find(name: str) -> Path:
        if name not in made:
            made[name] = write_small(folder, name)
            shutil.copytree(made[name], made[name] / "below")
        return made[name]

    return find


@pytest.fixture(scope="module")
def usual(at: Any) -> Callable[[str], Any]:
    """What a call gives where nobody says anything."""
    found: dict[str, Any] = {}

    def of(call: str) -> Any:
        if call not in found:
            found[call] = CALLS[call].shown(CALLS[call].run(at))
        return found[call]

    return of


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_equal(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize(("call", "keyword", "value", "outcome"), CASES, ids=[f"{c}-{k}-{v}" for c, k, v, _ in CASES])
def test_row(call: str, keyword: str, value: Any, outcome: Any, at: Any, usual: Callable[[str], Any]) -> None:
    run, shown, _ = CALLS[call]
    if isinstance(outcome, str):
        with pytest.raises(ValueError, match=outcome) as caught:
            run(at, **{keyword: value})
        assert not re.search(r"\b_[A-Z]", str(caught.value)), "a private class is named"
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = run(at, **{keyword: value})
    if outcome is OLD or isinstance(outcome, Warning):
        assert _equal(shown(result), usual(call))
    else:
        assert outcome(result)
    wanted = [str(outcome)] if isinstance(outcome, Warning) else []
    assert len(said) == len(wanted)
    for warning, text in zip(said, wanted, strict=True):
        assert warning.filename == __file__
        assert f"{keyword}=" in str(warning.message)
        assert text in str(warning.message)


@pytest.mark.parametrize("call", CALLS)
def test_every_keyword_has_a_row_and_stands_on_the_page(call: str) -> None:
    tables = {other.keywords for other in CALLS.values()}
    table = CALLS[call].keywords
    assert table in tables
    rows = {keyword for other, rows in ROWS.items() if CALLS[other].keywords is table for keyword, _, _ in rows}
    hints = get_type_hints(table, globalns={}, include_extras=True)
    rules = {name: get_args(hint)[1] for name, hint in hints.items()}
    kinds = (_keywords.Neutral, _keywords.SameAs, _keywords.Chooses)
    foreign = {name for name, rule in rules.items() if isinstance(rule, kinds)}
    assert foreign - rows == set()
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in hints if f"`{name}" not in page] == []


def test_names_of_one_option_are_given_once(at: Any) -> None:
    assert minidistil.AutoConfig.from_pretrained(pretrained_model_name_or_path=at("bert")).dim == 128
    with pytest.raises(TypeError, match="got use_auth_token and token, two names of one option"):
        minidistil.AutoConfig.from_pretrained(at("bert"), use_auth_token="a", token="b")
    with pytest.raises(TypeError, match=r"^AutoModel.from_pretrained\(\) missing a required argument: 'name_or_path'"):
        minidistil.AutoModel.from_pretrained()
    with pytest.raises(TypeError, match=r"^BertModel.from_pretrained\(\) has no option 'trust_code'; it has revision"):
        minidistil.BertModel.from_pretrained(at("bert"), trust_code=True)
    with pytest.raises(TypeError, match=r"^BertModel\(\) has no option 'imput_ids'"):
        minidistil.BertModel.from_pretrained(at("bert"), backend="blas")(imput_ids=IDS)


def test_code_of_a_checkpoint_is_never_run(at: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(at("sentiment"), tmp_path / "own")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "auto_map": {"AutoModel": "own.Model"}}))
    (folder / "own.py").write_text("raise SystemExit('code was run')")
    load = minidistil.AutoModelForSequenceClassification.from_pretrained
    with pytest.raises(minidistil.CheckpointError, match="minidistil runs none; leave trust_remote_code out"):
        load(folder, trust_remote_code=True)
    assert load(folder, backend="blas").config.raw["auto_map"]


def test_a_configuration_in_the_place_of_the_checkpoints(at: Any) -> None:
    config = minidistil.AutoConfig.from_pretrained(at("sentiment"), output_attentions=True, id2label={0: "a", 1: "b"})
    for given in (config, config.to_dict()):
        model = _load(at, "sentiment", config=given)
        assert len(model(IDS).attentions) == 2
        assert model.config.id2label == {0: "a", 1: "b"}
    assert _load(at, "sentiment", config=at("sentiment")).config.to_dict() == _load(at, "sentiment").config.to_dict()
    with pytest.raises(
        TypeError, match="config must be a configuration of minidistil's, a dictionary or a path, got int"
    ):
        _load(at, "sentiment", config=3)
    with pytest.raises(minidistil.CheckpointError, match="n_layers"):
        _load(at, "sentiment", config={**config.to_dict(), "n_layers": 5})
    with pytest.raises(ValueError, match="num_labels is 3, and id2label has 2 labels"):
        Config.from_pretrained(at("sentiment"), num_labels=3, id2label={0: "a", 1: "b"})


def test_what_config_json_says_of_outputs(at: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(at("sentiment"), tmp_path / "outputs")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**raw, "output_hidden_states": True, "return_dict": False}))
    model = minidistil.AutoModelForSequenceClassification.from_pretrained(folder, backend="blas")
    assert [type(model(IDS)), len(model(IDS)), len(model(IDS, output_hidden_states=False))] == [tuple, 2, 1]
    assert len(model(IDS, return_dict=True).hidden_states) == 3
    assert not model.config.use_return_dict


def test_the_engine_is_the_engine_or_an_error(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from minidistil.backends import engine

    def refuse(*args: object, **options: object) -> None:
        raise engine.EngineUnavailable("no fused multiply-add")

    monkeypatch.setattr(engine, "Engine", refuse)
    with pytest.raises(RuntimeError, match=r'cannot run here \(no fused multiply-add\); backend="exact" has the same'):
        _load(at, "sentiment", backend="engine")
    with pytest.warns(RuntimeWarning, match="using NumPy instead"):
        _load(at, "sentiment")


@pytest.mark.parity
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output_hidden_states": True, "output_attentions": True},
        {"return_dict": False, "output_attentions": True},
        {"num_labels": 2, "problem_type": "regression"},
        {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}},
    ],
)
def test_as_transformers_does(options: dict[str, Any], at: Any) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    torch = pytest.importorskip("torch")
    name = "AutoModelForSequenceClassification"
    config = transformers.AutoConfig.from_pretrained(at("sentiment"), **options)
    theirs = getattr(transformers, name).from_config(config, attn_implementation="eager").eval()
    stored = load_file(at("sentiment") / "model.safetensors")  # loading by them leaves threads
    theirs.load_state_dict({key: torch.from_numpy(x) for key, x in stored.items()})
    ours = getattr(minidistil, name).from_pretrained(at("sentiment"), attn_implementation="eager", **options)
    for key in ("id2label", "label2id", "num_labels", "problem_type", "output_hidden_states", "output_attentions"):
        assert getattr(ours.config, key) == getattr(theirs.config, key), key
    for call in ({}, {"output_hidden_states": False}, {"return_dict": True}):
        with torch.no_grad():
            want = theirs(torch.tensor(IDS), **call)
        got = ours(IDS, **call)
        assert isinstance(got, tuple) == isinstance(want, tuple)
        for one, other in zip(
            *((list(o.items()) if hasattr(o, "items") else list(o)) for o in (got, want)), strict=True
        ):
            np.testing.assert_allclose(_flat(one), _flat(other), rtol=1e-3, atol=1e-4)


def _flat(value: Any) -> np.ndarray:
    """All numbers of an output, or of a part of it, one after another; of a named part, its own."""
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        value = value[1]
    return np.concatenate([np.ravel(part) for part in (value if isinstance(value, tuple) else (value,))])


def test_both_names_of_the_first_argument(at: Any) -> None:
    model, reranker = minidistil.SentenceTransformer(at("sentences")), minidistil.CrossEncoder(at("reranker"))
    want = model.encode(TEXTS)
    for method in (model.encode, model.encode_query, model.encode_document):
        for name in ("inputs", "sentences"):
            assert _equal(method(**{name: TEXTS}), want)
        with pytest.raises(TypeError, match="two names of one option"):
            method(inputs=TEXTS, sentences=TEXTS)
    for name in ("inputs", "sentences"):
        assert _equal(reranker.predict(**{name: [TEXTS]}), reranker.predict([TEXTS]))
    assert _equal(minidistil.SentenceTransformer(model_name_or_path=at("sentences")).encode(TEXTS), want)
    for name in ("model_name_or_path", "name_or_path", "model_name", "pretrained_model_name_or_path"):
        assert minidistil.CrossEncoder(**{name: at("reranker")}).num_labels == 1


def test_a_space_before_a_text(tmp_path: Path) -> None:
    vocabulary = {
        token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "\u0120", "\u0120a"])
    }
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n\u0120 a\n", encoding="utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    load = minidistil.RobertaTokenizer.from_pretrained
    assert [load(tmp_path, add_prefix_space=given).tokenize("a") for given in (None, False, True)] == [
        ["a"],
        ["a"],
        ["\u0120a"],
    ]


def test_a_pipeline_without_a_task(at: Any, tmp_path: Path) -> None:
    kinds = {
        "sentiment": minidistil.TextClassificationPipeline,
        "entities": minidistil.TokenClassificationPipeline,
        "questions": minidistil.QuestionAnsweringPipeline,
        "words-electra": minidistil.FillMaskPipeline,
        "bert": minidistil.FeatureExtractionPipeline,
    }
    for name, kind in kinds.items():
        made = minidistil.pipeline(model=at(name), backend="blas")
        assert type(made) is kind
        assert type(minidistil.pipeline(model=made.model)) is kind
    zero_shot = minidistil.pipeline("zero-shot-classification", at("entailment"), backend="blas")
    assert type(zero_shot) is minidistil.ZeroShotClassificationPipeline
    choice = shutil.copytree(at("bert"), tmp_path / "choice")
    raw = json.loads((choice / "config.json").read_text())
    (choice / "config.json").write_text(json.dumps({**raw, "architectures": ["BertForMultipleChoice"]}))
    with pytest.raises(ValueError, match="BertForMultipleChoice is a model for none of the tasks; name one: f"):
        minidistil.pipeline(model=choice)
    with pytest.raises(ValueError, match=r"^pipeline\(\) needs model="):
        minidistil.pipeline()
    with pytest.raises(TypeError, match="text-classification has no option wide; it has top_k"):
        minidistil.pipeline(model=at("sentiment"), wide=True)
    for inputs in (Frame(), [Frame()]):
        with pytest.raises(TypeError, match=r"inputs must be text, got a Frame|text 0 must be"):
            minidistil.pipeline(model=at("sentiment"))(inputs)


def test_a_tokenizer_of_its_own(at: Any) -> None:
    pipe = minidistil.pipeline("ner", at("entities"), (at("words"), {"model_max_length": 9, "use_fast": True}))
    assert pipe.tokenizer.model_max_length == 9
    fill = minidistil.FillMaskPipeline(minidistil.load(at("words-electra"), backend="blas"))
    assert fill.tokenizer is fill.model.tokenizer
    with pytest.raises(TypeError, match="tokenizer must be a path or a minidistil Tokenizer, got int"):
        minidistil.pipeline("ner", at("entities"), 3)


def test_tables_of_options_that_are_none(at: Any) -> None:
    with pytest.raises(TypeError, match="model_kwargs must be a dictionary, got int"):
        minidistil.SentenceTransformer(at("sentences"), model_kwargs=3)
    with pytest.raises(TypeError, match=r"^processor_kwargs has no option 'wide'; it has revision"):
        minidistil.SentenceTransformer(at("sentences"), processor_kwargs={"wide": True})


@pytest.mark.parametrize("name", ["bert-base-uncased", "distilbert-base-multilingual-cased", "distilroberta-base"])
def test_the_first_checkpoints_have_no_organization(name: str, tmp_path: Path) -> None:
    with pytest.raises(minidistil.CheckpointError, match=f"^{name}: is not in the Hugging Face cache"):
        minidistil.SentenceTransformer(name, cache_folder=tmp_path, local_files_only=True)
    with pytest.raises(minidistil.CheckpointError, match=r"^sentence-transformers/all-x: is not in the"):
        minidistil.SentenceTransformer("all-x", cache_folder=tmp_path, local_files_only=True)


class Frame:
    """As pandas' and other libraries' tables are: iterating gives the names of the columns."""

    columns = ("text", "label")

    def __iter__(self) -> Any:
        return iter(self.columns)


def test_tables_are_refused(at: Any) -> None:
    model, reranker = minidistil.SentenceTransformer(at("sentences")), minidistil.CrossEncoder(at("reranker"))
    calls = {
        "sentences": (model.encode, reranker.predict, lambda t: minidistil.encode_to_file(model, t, "never.npy")),
        "documents": (lambda frame: reranker.rank("a", frame),),
    }
    for name, several in calls.items():
        for call in several:
            with pytest.raises(TypeError, match=rf"^{name} must be text, got a Frame: pass one of its columns"):
                call(Frame())
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    frame = pandas.DataFrame({"text": TEXTS, "label": [0, 1]})
    with pytest.raises(TypeError, match="got a DataFrame"):
        model.encode(frame)
    assert _equal(model.encode(frame["text"]), model.encode(TEXTS))
