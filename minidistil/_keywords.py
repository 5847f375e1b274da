"""Keywords of other libraries: the values that change nothing here, and what to do in place of the others.

Code written for transformers and sentence-transformers passes them everywhere, mostly with values that ask for what is
done here anyway. One that is honoured is an `Option` of weights/options.py, whose `spelled_out` takes the others out of
a call by the tables below. A keyword that stands in none of them is unknown, which is an error.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypedDict

from minidistil._options import is_one_of
from minidistil._warn import warn_caller


class Neutral(NamedTuple):
    """What is made of a keyword that nothing here listens to.

    Attributes:
        values: what asks for the same as is done anyway: accepted. None for any value; the value None always is.
        instead: why another value is refused, and what to do.
        noted: further values that are accepted, with a warning.
        note: which says this.
    """

    values: tuple[Any, ...] | None = ()
    instead: str = ""
    noted: tuple[Any, ...] = ()
    note: str = ""


class SameAs(NamedTuple):
    """Another library's name for an option."""

    name: str


class Chooses(NamedTuple):
    """A keyword of which some values are those of an option, where the function has it.

    Attributes:
        name: of the option.
        values: that are handed on to it.
        otherwise: what is made of the others, and of all where there is no such option.
    """

    name: str
    values: tuple[str, ...]
    otherwise: Neutral


ANY = Neutral(None)
CPU = 'minidistil computes on the CPU only: leave it out, or pass "cpu"'
_FLOAT32 = "minidistil computes in float32"
_INT8 = 'minidistil has an int8 of its own: leave it out, and pass precision="int8"'
_TRAINING = "nothing is trained here"

_dtype = Annotated[
    Any,
    Chooses(
        "precision",
        ("bfloat16",),
        Neutral(
            ("auto", "float32", "float"),
            f'{_FLOAT32}: leave it out, or pass "auto", "float32" or "bfloat16"; precision="int8" is another option',
            ("float16", "half", "bfloat16", "float64", "double"),
            f"{_FLOAT32}, so that is what comes out",
        ),
    ),
]
_any = Annotated[Any, ANY]
_loss = Annotated[Any, Neutral((), f"{_TRAINING}: leave it out, and make a loss of the logits yourself")]
_encoder = Annotated[Any, Neutral((), "the models here are encoders, which read one text at a time: leave it out")]
_text = Annotated[Any, Neutral((), "the models here read text only: leave it out")]
_pool = Annotated[
    Any, Neutral((), "the engine has threads of its own, so no pool of processes is needed: leave it out (threads=)")
]


class HubKeywords(TypedDict, total=False):
    """Of whatever fetches files in transformers."""

    force_download: _any
    resume_download: _any
    mirror: _any
    code_revision: _any
    proxies: Annotated[Any, Neutral((), "set HTTPS_PROXY, which the hub's client reads")]
    use_auth_token: Annotated[str | bool | None, SameAs("token")]
    cache_folder: Annotated[Any, SameAs("cache_dir")]


class LoadingKeywords(HubKeywords, total=False):
    """Of from_pretrained in transformers, for models."""

    pretrained_model_name_or_path: Annotated[Any, SameAs("name_or_path")]
    dtype: _dtype
    torch_dtype: _dtype
    device_map: Annotated[Any, Neutral(("cpu", "auto", "balanced", "balanced_low_0", "sequential", -1), CPU)]
    attn_implementation: _any
    low_cpu_mem_usage: _any
    use_safetensors: _any
    weights_only: _any
    max_memory: _any
    offload_folder: _any
    offload_buffers: _any
    offload_state_dict: _any
    use_cache: _any
    gradient_checkpointing: _any
    torchscript: Annotated[bool | None, Neutral((False,), "no code is made of a model: leave it out")]
    load_in_8bit: Annotated[bool | None, Neutral((False,), _INT8)]
    load_in_4bit: Annotated[bool | None, Neutral((False,), _INT8)]
    quantization_config: Annotated[Any, Neutral((), _INT8)]
    ignore_mismatched_sizes: Annotated[
        bool | None, Neutral((False,), f"{_TRAINING}, so no head is made up where the checkpoint's does not fit")
    ]
    output_loading_info: Annotated[
        bool | None, Neutral((False,), "what a checkpoint lacks is an error that lists it: leave it out")
    ]
    from_tf: Annotated[bool | None, Neutral((False,), "save the model from PyTorch first")]
    from_flax: Annotated[bool | None, Neutral((False,), "save the model from PyTorch first")]
    gguf_file: Annotated[Any, Neutral((), "weights are read from safetensors and pytorch_model.bin")]
    state_dict: Annotated[Any, Neutral((), "weights are read from the checkpoint's files: save them there first")]
    key_mapping: Annotated[Any, Neutral((), "save the checkpoint under transformers' names first")]
    hidden_dropout_prob: _any
    attention_probs_dropout_prob: _any
    dropout: _any
    attention_dropout: _any
    classifier_dropout: _any
    seq_classif_dropout: _any
    qa_dropout: _any


class ConfigKeywords(HubKeywords, total=False):
    """Of AutoConfig.from_pretrained, beside those that it shares with models."""

    pretrained_model_name_or_path: Annotated[Any, SameAs("name_or_path")]
    dtype: _dtype
    torch_dtype: _dtype
    attn_implementation: _any
    use_cache: _any
    hidden_dropout_prob: _any
    attention_probs_dropout_prob: _any
    dropout: _any
    attention_dropout: _any
    classifier_dropout: _any
    return_unused_kwargs: Annotated[
        bool | None, Neutral((False,), "an unknown keyword is an error here, so none is left over: leave it out")
    ]


class SavingKeywords(TypedDict, total=False):
    """Of save_pretrained in transformers, and of save in sentence-transformers."""

    is_main_process: Annotated[bool | None, Neutral((True,), "a process that is not to write need not call it")]
    safe_serialization: Annotated[bool | None, Neutral((True,), "weights are written as safetensors: leave it out")]
    state_dict: Annotated[Any, Neutral((), "what is written is a copy of the checkpoint: leave it out")]
    push_to_hub: Annotated[bool | None, Neutral((False,), "save, then run `hf upload`")]
    max_shard_size: _any
    variant: Annotated[Any, Neutral((), "plain names are written: leave it out")]
    save_peft_format: _any
    legacy_format: _any
    filename_prefix: Annotated[Any, Neutral((), "plain names are written: leave it out")]
    model_name: _any
    create_model_card: _any
    train_datasets: _any


class TokenizerKeywords(HubKeywords, total=False):
    """Of AutoTokenizer.from_pretrained."""

    pretrained_model_name_or_path: Annotated[Any, SameAs("name_or_path")]
    use_fast: _any
    legacy: _any
    from_slow: _any
    config: _any
    max_len: Annotated[int | None, SameAs("model_max_length")]
    additional_special_tokens: Annotated[list[str] | None, SameAs("extra_special_tokens")]
    tokenizer_type: Annotated[Any, Neutral((), "the checkpoint's files say what its tokenizer is: leave it out")]
    tokenizer_file: Annotated[Any, Neutral((), "put the file into a folder as tokenizer.json, and pass the folder")]
    vocab_file: Annotated[Any, Neutral((), "put the file into a folder as vocab.txt, and pass the folder")]


class TokenizeKeywords(TypedDict, total=False):
    """Of a tokenizer's call."""

    verbose: _any
    split_special_tokens: Annotated[
        bool | None, Neutral((False,), "special tokens in a text are always whole ones: leave it out")
    ]
    text_target: Annotated[Any, Neutral((), "the models here write no text: leave it out")]
    text_pair_target: Annotated[Any, Neutral((), "the models here write no text: leave it out")]


class CallKeywords(TypedDict, total=False):
    """Of a model's call in transformers."""

    labels: _loss
    start_positions: _loss
    end_positions: _loss
    next_sentence_label: _loss
    head_mask: Annotated[Any, Neutral((), "every attention head counts: leave it out")]
    use_cache: _any
    past_key_values: _encoder
    encoder_hidden_states: _encoder
    encoder_attention_mask: _encoder


class SentenceKeywords(TypedDict, total=False):
    """Of SentenceTransformer and CrossEncoder, when they are made."""

    name_or_path: Annotated[Any, SameAs("model_name_or_path")]
    model_name: Annotated[Any, SameAs("model_name_or_path")]
    tokenizer_kwargs: Annotated[Mapping[str, Any] | None, SameAs("processor_kwargs")]
    tokenizer_args: Annotated[Mapping[str, Any] | None, SameAs("processor_kwargs")]
    model_args: Annotated[Mapping[str, Any] | None, SameAs("model_kwargs")]
    automodel_args: Annotated[Mapping[str, Any] | None, SameAs("model_kwargs")]
    config_args: Annotated[Mapping[str, Any] | None, SameAs("config_kwargs")]
    modules: Annotated[Any, Neutral((), "modules are those of a folder's modules.json: save them there first")]
    model_card_data: _any
    keep_in_fp32_modules: _any


class RerankerKeywords(SentenceKeywords, total=False):
    """Of CrossEncoder alone."""

    default_activation_function: Annotated[Any, SameAs("activation_fn")]


class EncodeKeywords(TypedDict, total=False):
    """Of SentenceTransformer.encode and its kin."""

    inputs: Annotated[Any, SameAs("sentences")]
    pool: _pool
    chunk_size: _any
    processing_kwargs: Annotated[Any, Neutral((), "set model.max_seq_length, or truncation= of this call")]


class PredictKeywords(EncodeKeywords, total=False):
    """Of CrossEncoder.predict."""

    default_activation_function: Annotated[Any, SameAs("activation_fn")]
    activation_fct: Annotated[Any, SameAs("activation_fn")]
    num_workers: _any


class PipelineKeywords(LoadingKeywords, total=False):
    """Of pipelines, when they are made and when they are called."""

    use_fast: _any
    framework: _any
    num_workers: _any
    modelcard: _any
    model_card: _any
    args_parser: _any
    feature_extractor: _text
    image_processor: _text
    video_processor: _text
    processor: _text
    binary_output: Annotated[bool | None, Neutral((False,), "answers are Python objects: json.dumps or pickle them")]
    pipeline_class: Annotated[Any, Neutral((), "make the class itself: FillMaskPipeline(model, tokenizer)")]


def take_out(called: str, name: str, value: Any, rule: Neutral) -> None:
    """Do with a keyword of another library what its rule says: nothing, mostly.

    Args:
        called: the function that got it.
        name: of the keyword.
        value: what it got.
        rule: its line of a table.

    Raises:
        ValueError: the value asks for something that is not done here; the message says what to do.
    """
    if value is None or rule.values is None or _each(value, rule.values):
        return
    if _each(value, (*rule.values, *rule.noted)):
        warn_caller(UserWarning(f"{called}({name}={_shown(value)}): {rule.note}"))
        return
    raise ValueError(f"{called}({name}={_shown(value)}): {rule.instead}")


def chosen(value: Any, rule: Chooses) -> str | None:
    """The value that a keyword gives to an option, where it is one that is handed on; else None."""
    plain = _plain(value)
    return plain if is_one_of(plain, rule.values) else None


def _each(value: Any, accepted: tuple[Any, ...]) -> bool:
    """Whether a value, or every one in a table or a list of them, is accepted."""
    if isinstance(value, Mapping):
        return all(_each(one, accepted) for one in value.values())
    if isinstance(value, (list, tuple)):
        return all(_each(one, accepted) for one in value)
    return is_one_of(_plain(value), accepted)


def _plain(value: Any) -> Any:
    """A value as the tables write it: PyTorch's and NumPy's types and devices by their names."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    name = value.__name__ if isinstance(value, type) else str(value)
    return name.removeprefix("torch.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
