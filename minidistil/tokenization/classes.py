"""What the name of a tokenizer's class says, as tables: special tokens, inputs, and how a text becomes pieces.

transformers builds a tokenizer by its class, and takes from tokenizer.json the vocabulary and little else: normalizer,
pre-tokenizer, decoder and template are the class's, with the settings of tokenizer_config.json. Of a class that has no
rules here, tokenizer.json says everything. Source: transformers 5.24, models/*/tokenization_*.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

Pieces = list[tuple[str, float]]


@dataclass(frozen=True)
class Wanted:
    """What a class's pipeline is made with.

    Attributes:
        settings: value by name, the class's own where no file says another.
        roles: special token by role.
        charsmap: the compiled table by which SentencePiece normalizes characters, where there is one.
        template: what tokenizer.json puts around a text, where it does.
    """

    settings: Mapping[str, Any]
    roles: Mapping[str, str]
    charsmap: bytes | None = None
    template: Any = None


@dataclass(frozen=True)
class TokenizerClass:
    """The rules of one class.

    Attributes:
        model: what cuts words into pieces: "WordPiece", "BPE" or "Unigram"; "" where tokenizer.json says everything.
        roles: special token by role, where no file says another.
        token_types: whether models that go with it take token_type_ids.
        settings: value by name, where no file says another.
        files: of a vocabulary without a tokenizer.json.
        pieces: makes the vocabulary of a SentencePiece model's, which begins with other special tokens.
        pipeline: gives a backend its normalizer, pre-tokenizer and decoder.
        template: gives a backend, when all tokens are in it, what puts special tokens around a text.
        more_special_tokens: special tokens without a role, where no file says others.
        strips_mask: whether the mask takes the space before it, where no file says otherwise.
        guessed: whether roles are those of the tokens that the vocabulary has.
    """

    model: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    token_types: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    pieces: Callable[[Pieces, Mapping[str, str]], Pieces] | None = None
    pipeline: Callable[[Backend, Wanted], None] | None = None
    template: Callable[[Backend, Wanted], None] | None = None
    more_special_tokens: tuple[str, ...] = ()
    strips_mask: bool = False
    guessed: bool = False


def class_of(name: str | None, model_type: str | None) -> TokenizerClass | None:
    """The rules of a tokenizer.

    Args:
        name: its class, as tokenizer_config.json or config.json have it; None where neither does.
        model_type: of config.json; None where there is none.

    Returns:
        None for a class that reads texts by Python code of its own.
    """
    if name is None:
        return OF_MODELS.get(model_type or "", UNNAMED)
    name = name.removesuffix("Fast")
    if name in IN_PYTHON:
        return None
    return CLASSES.get(name, AS_IT_IS)


def _word_pieces(backend: Backend, wanted: Wanted) -> None:
    from tokenizers import decoders, normalizers, pre_tokenizers

    model = backend.model
    model.unk_token = wanted.roles["unk_token"]
    model.continuing_subword_prefix, model.max_input_chars_per_word = "##", 100
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=wanted.settings["tokenize_chinese_chars"],
        strip_accents=wanted.settings["strip_accents"],
        lowercase=wanted.settings["do_lower_case"],
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=True)


def _bytes(backend: Backend, wanted: Wanted) -> None:
    from tokenizers import decoders, pre_tokenizers

    model = backend.model
    model.dropout, model.unk_token, model.fuse_unk = None, None, False
    model.byte_fallback, model.ignore_merges = False, False
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=wanted.settings["add_prefix_space"])
    backend.decoder = decoders.ByteLevel()


def _sentence_pieces(backend: Backend, wanted: Wanted) -> None:
    from tokenizers import decoders, normalizers, pre_tokenizers

    if wanted.charsmap is not None:
        backend.normalizer = normalizers.Precompiled(wanted.charsmap)
    scheme = "always" if wanted.settings["add_prefix_space"] else "never"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme)]
    )
    backend.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)


def _albert_pieces(backend: Backend, wanted: Wanted) -> None:
    from tokenizers import normalizers

    _sentence_pieces(backend, wanted)
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not wanted.settings["keep_accents"]:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if wanted.settings["do_lower_case"]:
        steps.append(normalizers.Lowercase())
    if wanted.charsmap is not None:
        steps.append(normalizers.Precompiled(wanted.charsmap))
    backend.normalizer = normalizers.Sequence(steps)


def _put_around(backend: Backend, single: str, pair: str, tokens: tuple[str, str]) -> None:
    """A template, with the two special tokens for the names that stand in it."""
    from tokenizers import processors

    pieces = [[piece.format(first=tokens[0], last=tokens[1]) for piece in text.split()] for text in (single, pair)]
    ids = [_with_id(backend, token) for token in dict.fromkeys(tokens)]
    backend.post_processor = processors.TemplateProcessing(single=pieces[0], pair=pieces[1], special_tokens=ids)


def _with_id(backend: Backend, token: str) -> tuple[str, int]:
    index = backend.token_to_id(token)
    if index is None:  # all that have a role were added: a file says that the tokenizer lacks this one
        raise ValueError(f"every text needs {token!r}, which is neither in the vocabulary nor declared")
    return token, index


def _typed_template(backend: Backend, wanted: Wanted) -> None:
    tokens = wanted.roles["cls_token"], wanted.roles["sep_token"]
    _put_around(backend, "{first}:0 $A:0 {last}:0", "{first}:0 $A:0 {last}:0 $B:1 {last}:1", tokens)


def _albert_template(backend: Backend, wanted: Wanted) -> None:
    if wanted.template is None:
        _typed_template(backend, wanted)
    else:
        backend.post_processor = wanted.template


def _double_template(backend: Backend, wanted: Wanted) -> None:
    tokens = wanted.roles["bos_token"], wanted.roles["eos_token"]
    _put_around(backend, "{first} $A {last}", "{first} $A {last} {last} $B {last}", tokens)


def _roberta_template(backend: Backend, wanted: Wanted) -> None:
    from tokenizers import processors

    sep, cls = (_with_id(backend, wanted.roles[role]) for role in ("sep_token", "cls_token"))
    spaces = {name: wanted.settings[name] for name in ("trim_offsets", "add_prefix_space")}
    backend.post_processor = processors.RobertaProcessing(sep, cls, **spaces)


def _xlm_roberta_vocabulary(pieces: Pieces, roles: Mapping[str, str]) -> Pieces:
    first = [(roles[role], 0.0) for role in ("bos_token", "pad_token", "eos_token", "unk_token")]
    return [*first, *pieces[3:], (roles["mask_token"], 0.0)]


def _camembert_vocabulary(pieces: Pieces, roles: Mapping[str, str]) -> Pieces:
    pad, unk = (roles["pad_token"], 0.0), (roles["unk_token"], 0.0)
    first = [("<s>NOTUSED", 0.0), pad, ("</s>NOTUSED", 0.0), unk, ("<unk>NOTUSED", -100.0)]
    return [*first, *pieces[1:], (roles["mask_token"], 0.0)]


_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
BERT = TokenizerClass(
    model="WordPiece",
    roles=_BERT_TOKENS,
    token_types=True,
    settings={"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None},
    files=("vocab.txt",),
    pipeline=_word_pieces,
    template=_typed_template,
)
DISTILBERT = replace(BERT, token_types=False)
ROBERTA = TokenizerClass(
    model="BPE",
    roles=_ROBERTA_TOKENS,
    settings={"add_prefix_space": False, "trim_offsets": True},
    files=("vocab.json", "merges.txt"),
    pipeline=_bytes,
    template=_roberta_template,
)
XLM_ROBERTA = TokenizerClass(
    model="Unigram",
    roles=_ROBERTA_TOKENS,
    settings={"add_prefix_space": True},
    files=("sentencepiece.bpe.model",),
    pieces=_xlm_roberta_vocabulary,
    pipeline=_sentence_pieces,
    template=_double_template,
)
CAMEMBERT = replace(
    XLM_ROBERTA,
    pieces=_camembert_vocabulary,
    more_special_tokens=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    strips_mask=True,
)
ALBERT = TokenizerClass(
    model="Unigram",
    roles={**_BERT_TOKENS, "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>"},
    token_types=True,  # of a pair, as ALBERT was trained; transformers 5 leaves them out
    settings={"do_lower_case": True, "keep_accents": False, "add_prefix_space": True},
    files=("spiece.model",),
    pieces=lambda pieces, roles: pieces,
    pipeline=_albert_pieces,
    template=_albert_template,
)
AS_IT_IS = TokenizerClass()
UNNAMED = replace(AS_IT_IS, roles=_BERT_TOKENS, token_types=True, guessed=True)

_AS_BERT = (
    "Bert", "Electra", "MobileBert", "SqueezeBert", "Lxmert", "ConvBert", "DPRQuestionEncoder", "DPRContextEncoder",
)  # fmt: skip
CLASSES = {
    **{f"{name}Tokenizer": BERT for name in _AS_BERT},
    "DistilBertTokenizer": DISTILBERT,
    **{f"{name}Tokenizer": ROBERTA for name in ("Roberta", "Bart", "Longformer")},
    "XLMRobertaTokenizer": XLM_ROBERTA,
    "CamembertTokenizer": CAMEMBERT,
    "AlbertTokenizer": ALBERT,
}
"""Rules by the name of the class, without "Fast" at its end."""

OF_MODELS = {
    **dict.fromkeys(("bert", "electra", "mobilebert"), BERT),
    "distilbert": DISTILBERT,
    "roberta": ROBERTA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": CAMEMBERT,
    "albert": ALBERT,
}
"""Rules by the model_type, where no file names a class."""

IN_PYTHON = tuple(
    f"{name}Tokenizer"
    for name in (
        "Bartpho", "BertGeneration", "BertJapanese", "Bertweet", "BioGpt", "BlenderbotSmall", "ByT5", "Canine", "Cpm",
        "CpmAnt", "CTRL", "Esm", "Flaubert", "FSMT", "GPTNeoXJapanese", "GPTSw3", "M2M100", "Marian", "MyT5", "PLBart",
        "Perceiver", "Phobert", "ProphetNet", "RoCBert", "Tapas", "XLM",
    )
)  # fmt: skip
"""Classes of transformers that read texts by Python code of their own, whatever files are there."""
