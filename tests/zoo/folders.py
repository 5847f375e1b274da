"""The zoo: folders as they lie on disk in the wild, by name, each with what its tokenizer answers or why it is refused.

A row's answers are transformers', in recorded.json (record.py writes it, test_against_transformers.py holds it to the
version that is installed). Where ours differ on purpose, the row names what, and docs/migration.md says why.
"""

from __future__ import annotations

from typing import Any

from tests.zoo.row import Files, Row
from tests.zoo.vocabularies import (
    BYTE_PAIR_FILES,
    BYTE_PAIRS,
    MERGES_TXT,
    WORD_PIECES,
    added,
    byte_pairs_json,
    lines,
    sentencepiece_model,
    spm,
    template,
    unigram_json,
    word_piece_json,
)


def _bert(config: Any = None, lower: bool = True, **changes: Any) -> Files:
    """vocab.txt, tokenizer.json, and tokenizer_config.json where there is one."""
    return {"vocab.txt": VOCAB, "tokenizer.json": word_piece_json(lower, **changes), **_said(config)}


def _roberta(config: Any = None, **changes: Any) -> Files:
    return {**BYTE_PAIR_FILES, "tokenizer.json": byte_pairs_json(**changes), **_said(config)}


def _pieces(family: str, config: Any = None, **changes: Any) -> Files:
    return {_SPM_NAMES[family]: spm(family), "tokenizer.json": unigram_json(family, **changes), **_said(config)}


def _said(config: Any) -> Files:
    return {} if config is None else {"tokenizer_config.json": config}


def _txt(config: Any = None, **files: Any) -> Files:
    """vocab.txt without a tokenizer.json; other files by their names without the ending .json."""
    return {"vocab.txt": VOCAB, **_said(config), **{f"{name}.json": content for name, content in files.items()}}


VOCAB = lines(WORD_PIECES)
_SPM_NAMES = {
    "xlm-roberta": "sentencepiece.bpe.model",
    "camembert": "sentencepiece.bpe.model",
    "albert": "spiece.model",
}
_LAST = len(WORD_PIECES)
_BERT_ROLES = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
_ROBERTA_ROLES = {
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
    "pad_token": "<pad>",
}  # fmt: skip
_MASK = {"content": "<mask>", "lstrip": True, "normalized": True, "rstrip": False, "single_word": False}
_BY_ID = {str(BYTE_PAIRS[token]): added(token) for token in ("<s>", "<pad>", "</s>", "<unk>")}
_BY_ID[str(BYTE_PAIRS["<mask>"])] = added("<mask>", lstrip=True)
_PADDING = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0}
_PADDING |= {"pad_type_id": 0, "pad_token": "[PAD]"}
_TRUNCATION = {"max_length": 16, "strategy": "LongestFirst", "stride": 0, "direction": "Left"}
_OWN_STEPS = {
    "type": "Sequence",
    "normalizers": [{"type": "Replace", "pattern": {"String": "paris"}, "content": "city"}],
}
_IDS = {token: i for i, token in enumerate(WORD_PIECES)}

_TYPES = ("model_input_names",)  # ALBERT's and DistilBERT's: docs/migration.md

ROWS: dict[str, Row] = {
    # As the hub has the first checkpoints of each family: a tokenizer_config.json of one line, or none.
    "bert-base-uncased": Row("bert", _bert({"do_lower_case": True, "model_max_length": 512})),
    "bert-base-cased": Row("bert", _bert({"do_lower_case": False, "model_max_length": 512}, lower=False)),
    "bert-base-multilingual-cased": Row("bert", _bert({"do_lower_case": False}, lower=False)),
    "bert, nothing said": Row("bert", _bert()),
    "bert cased, nothing said": Row("bert", _bert(lower=False)),  # by its class it makes small letters
    "distilbert-base-uncased": Row(
        "distilbert", _bert({"do_lower_case": True, "model_max_length": 512}), differs=_TYPES
    ),
    "distilbert-base-cased": Row("distilbert", _bert({"do_lower_case": False}, lower=False), differs=_TYPES),
    "electra-small-discriminator": Row("electra", _bert({"do_lower_case": True, "model_max_length": 512})),
    "mobilebert-uncased": Row("mobilebert", _bert({"do_lower_case": True})),
    "roberta-base": Row("roberta", _roberta({"model_max_length": 512})),
    "distilroberta-base": Row("roberta", _roberta({"model_max_length": 512}), config={"num_hidden_layers": 6}),
    "roberta, nothing said": Row("roberta", _roberta()),
    "xlm-roberta-base": Row("xlm-roberta", _pieces("xlm-roberta", {"model_max_length": 512})),
    "xlm-roberta, nothing said": Row("xlm-roberta", _pieces("xlm-roberta")),
    "camembert-base": Row("camembert", _pieces("camembert", {"model_max_length": 512})),
    "camembert, nothing said": Row("camembert", _pieces("camembert")),
    "albert-base-v2": Row("albert", _pieces("albert", {"model_max_length": 512}), differs=_TYPES),
    "albert, nothing said": Row("albert", _pieces("albert"), differs=_TYPES),
    # As transformers writes them: 4 with all roles, 5 with those and added_tokens_decoder.
    "bert, saved by 4": Row(
        "bert",
        _bert({**_BERT_ROLES, "do_lower_case": True, "tokenizer_class": "BertTokenizer", "name_or_path": "x"})
        | {"special_tokens_map.json": _BERT_ROLES},
    ),
    "roberta, saved by 4": Row(
        "roberta",
        _roberta(
            {**_ROBERTA_ROLES, "mask_token": {"__type": "AddedToken", **_MASK}, "tokenizer_class": "RobertaTokenizer"}
        )
        | {"special_tokens_map.json": {**_ROBERTA_ROLES, "mask_token": _MASK}},
    ),
    "roberta, saved by 4.40": Row(
        "roberta",
        _roberta(
            {
                **_ROBERTA_ROLES,
                "mask_token": "<mask>",
                "added_tokens_decoder": _BY_ID,
                "add_prefix_space": False,
                "clean_up_tokenization_spaces": True,
                "errors": "replace",
                "trim_offsets": True,
                "tokenizer_class": "RobertaTokenizer",
            }
        ),
    ),
    "xlm-roberta, saved by 4": Row(
        "xlm-roberta",
        _pieces(
            "xlm-roberta", {**_ROBERTA_ROLES, "mask_token": {"__type": "AddedToken", **_MASK}, "sp_model_kwargs": {}}
        )
        | {"special_tokens_map.json": {**_ROBERTA_ROLES, "mask_token": _MASK}},
    ),
    "albert, saved by 4": Row(
        "albert",
        _pieces("albert", {**_BERT_ROLES, "unk_token": "<unk>", "pad_token": "<pad>", "keep_accents": False}),
        differs=_TYPES,
    ),
    "all-MiniLM-L6-v2": Row(
        "bert",
        _bert({"do_lower_case": True, "model_max_length": 512}, padding=_PADDING, truncation=_TRUNCATION),
    ),
    "saved by 5": Row(
        "bert", _bert({**_BERT_ROLES, "backend": "tokenizers", "is_local": True, "tokenizer_class": "BertTokenizer"})
    ),
    # Vocabularies without a tokenizer.json.
    "vocab.txt": Row("bert", _txt()),
    "vocab.txt, cased": Row("bert", _txt({"do_lower_case": False})),
    "vocab.txt, lines of Windows": Row("bert", {"vocab.txt": lines(WORD_PIECES, "\r\n")}),
    "vocab.txt with spaces": Row(
        "bert", {"vocab.txt": lines([*WORD_PIECES, "\u00a0", "wide\u3000", " in", "\u2028x"])}
    ),
    "vocab.txt, other tokens": Row(
        "bert",
        {
            "vocab.txt": VOCAB.replace("[PAD]", "<pad>").replace("[MASK]", "<mask>"),
            "tokenizer_config.json": {"pad_token": "<pad>", "mask_token": "<mask>"},
        },
    ),
    "vocab.txt and added_tokens.json": Row("bert", _txt(added_tokens={"[NEW]": _LAST + 1, "newtok": _LAST})),
    "vocab.txt, added and special": Row(
        "bert",
        _txt({"additional_special_tokens": ["[NEW]"]}, added_tokens={"[NEW]": _LAST, "NewTok": _LAST + 1}),
    ),
    "vocab.txt, additional special tokens": Row("bert", _txt({"additional_special_tokens": ["[NEW]", "<e>"]})),
    "vocab.txt, special_tokens_map.json": Row(
        "bert", _txt(special_tokens_map={"bos_token": "[NEW]", "mask_token": {**_MASK, "content": "[MASK]"}})
    ),
    "vocab.json and merges.txt": Row("roberta", dict(BYTE_PAIR_FILES)),
    "vocab.json and merges.txt, prefix": Row("roberta", {**BYTE_PAIR_FILES, **_said({"add_prefix_space": True})}),
    "vocab.json and merges.txt, saved by 4": Row(
        "roberta",
        {**BYTE_PAIR_FILES, "special_tokens_map.json": {**_ROBERTA_ROLES, "mask_token": _MASK}},
    ),
    "sentencepiece.bpe.model": Row("xlm-roberta", {"sentencepiece.bpe.model": spm("xlm-roberta")}),
    "sentencepiece.bpe.model, camembert": Row("camembert", {"sentencepiece.bpe.model": spm("camembert")}),
    "sentencepiece.bpe.model, no table": Row(
        "xlm-roberta", {"sentencepiece.bpe.model": spm("xlm-roberta", charsmap=b"")}
    ),
    "sentencepiece.bpe.model and a token": Row(
        "xlm-roberta",
        {"sentencepiece.bpe.model": spm("xlm-roberta"), **_said({"additional_special_tokens": ["[NEW]"]})},
    ),
    "spiece.model": Row("albert", {"spiece.model": spm("albert")}, differs=_TYPES),
    "spiece.model, accents": Row(
        "albert",
        {"spiece.model": spm("albert"), **_said({"keep_accents": True, "do_lower_case": False})},
        differs=_TYPES,
    ),
    # Settings against the tokenizer.json beside them.
    "do_lower_case off": Row("bert", _bert({"do_lower_case": False})),
    "do_lower_case on": Row("bert", _bert({"do_lower_case": True}, lower=False)),
    "strip_accents off": Row("bert", _bert({"strip_accents": False})),
    "strip_accents on, cased": Row("bert", _bert({"strip_accents": True, "do_lower_case": False})),
    "tokenize_chinese_chars off": Row("bert", _bert({"tokenize_chinese_chars": False})),
    "add_prefix_space on": Row("roberta", _roberta({"add_prefix_space": True})),
    "add_prefix_space off": Row("roberta", _roberta(add_prefix_space=True)),
    "trim_offsets off": Row("roberta", _roberta({"trim_offsets": False})),
    "pieces without a prefix": Row("xlm-roberta", _pieces("xlm-roberta", {"add_prefix_space": False})),
    "albert, cased": Row("albert", _pieces("albert", {"do_lower_case": False}), differs=_TYPES),
    "albert, accents": Row("albert", _pieces("albert", {"keep_accents": True}), differs=_TYPES),
    "a normalizer of its own": Row("bert", _bert({"do_lower_case": True}, normalizer=_OWN_STEPS)),
    "a normalizer of its own, as it is": Row(
        "bert", _bert({**_BERT_ROLES, "tokenizer_class": "PreTrainedTokenizerFast"}, normalizer=_OWN_STEPS)
    ),
    "a template of its own": Row(
        "bert", _bert(post_processor=template("[SEP]", "[CLS]", _IDS, "[CLS]:0 A:0 [SEP]:0 B:1 [SEP]:1"))
    ),
    "sides": Row("bert", _bert({"padding_side": "left", "truncation_side": "left"})),
    "max_len": Row("bert", _bert({"max_len": 64})),
    "no maximum": Row("roberta", _roberta({"model_max_length": 1000000000000000019884624838656})),
    "no lower case by caller": Row("bert", _bert({"do_lower_case": False, "strip_accents": None})),
    "only ids": Row("bert", _bert({"model_input_names": ["input_ids", "attention_mask"]})),
    "only ids, vocab.txt": Row("bert", _txt({"model_input_names": ["input_ids", "attention_mask"]})),
    "token types for RoBERTa": Row(
        "roberta", _roberta({"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]})
    ),
    "a role less": Row("bert", _bert({"pad_token": None})),
    # Classes that are not the model's.
    "DistilBertTokenizer for BERT": Row("bert", _bert({"tokenizer_class": "DistilBertTokenizer"})),
    "BertTokenizer for RoBERTa": Row("roberta", _txt({"tokenizer_class": "BertTokenizer"})),
    "BertTokenizerFast in config.json": Row("roberta", _bert(), config={"tokenizer_class": "BertTokenizerFast"}),
    "XLMRobertaTokenizer for BERT": Row("bert", _pieces("xlm-roberta", {"tokenizer_class": "XLMRobertaTokenizer"})),
    "XLMRobertaTokenizer in config.json": Row(
        "roberta", _pieces("xlm-roberta"), config={"tokenizer_class": "XLMRobertaTokenizerFast"}
    ),
    "RobertaTokenizer for BERT": Row("bert", _roberta({"tokenizer_class": "RobertaTokenizerFast"})),
    "BertTokenizer for DistilBERT": Row("distilbert", _bert({"tokenizer_class": "BertTokenizer"}), differs=_TYPES),
    "ElectraTokenizer": Row("electra", _bert({"tokenizer_class": "ElectraTokenizer"})),
    "MobileBertTokenizerFast": Row("mobilebert", _bert({"tokenizer_class": "MobileBertTokenizerFast"})),
    "PreTrainedTokenizerFast": Row("bert", _bert({**_BERT_ROLES, "tokenizer_class": "PreTrainedTokenizerFast"})),
    "PreTrainedTokenizerFast, nothing said": Row("bert", _bert({"tokenizer_class": "PreTrainedTokenizerFast"})),
    "PreTrainedTokenizerFast, padding": Row(
        "bert", _bert({"tokenizer_class": "PreTrainedTokenizerFast"}, padding=_PADDING, truncation=_TRUNCATION)
    ),
    "PreTrainedTokenizerFast, map": Row(
        "roberta",
        _roberta({"tokenizer_class": "PreTrainedTokenizerFast"})
        | {"special_tokens_map.json": {**_ROBERTA_ROLES, "mask_token": _MASK}},
    ),
    "TokenizersBackend": Row("roberta", _roberta({"tokenizer_class": "TokenizersBackend", "mask_token": "<mask>"})),
    "a class of nobody": Row("bert", _bert({**_BERT_ROLES, "tokenizer_class": "MyTokenizer"})),
    # Added tokens.
    "added_tokens_decoder": Row(
        "bert",
        _bert(
            {
                "added_tokens_decoder": {
                    **{str(i): added(token) for i, token in enumerate(WORD_PIECES[:5])},
                    str(_LAST + 1): added("[NEW]"),
                    str(_LAST): added("newtok", special=False, normalized=True, single_word=True),
                }
            }
        ),
    ),
    "added_tokens_decoder, vocab.txt": Row(
        "bert", _txt({"added_tokens_decoder": {str(_LAST): added("<e>", rstrip=True), "0": added("[PAD]")}})
    ),
    "added_tokens_decoder before the map": Row(
        "bert",
        _bert({"added_tokens_decoder": {"0": added("[PAD]")}})
        | {"special_tokens_map.json": {"pad_token": "[unused0]", "additional_special_tokens": ["[NEW]"]}},
    ),
    "added_tokens.json and tokenizer.json": Row("bert", _bert() | {"added_tokens.json": {"newtok": _LAST}}),
    "added in tokenizer.json": Row(
        "bert",
        _bert(
            added_tokens=[added(token, i) for i, token in enumerate(WORD_PIECES[:5])]
            + [added("newtok", _LAST, special=False, normalized=True), added("<e>", _LAST + 1)]
        ),
    ),
    "additional special tokens": Row("roberta", _roberta({"additional_special_tokens": ["<e1>", "</e1>"]})),
    "additional special tokens, map": Row(
        "bert", _bert() | {"special_tokens_map.json": {"additional_special_tokens": ["<e1>", "[unused1]"]}}
    ),
    "additional special tokens, camembert": Row(
        "camembert", _pieces("camembert", {"additional_special_tokens": ["<e1>"]})
    ),
    "extra special tokens, a list": Row("bert", _bert({"extra_special_tokens": ["<e1>", "<e2>"]})),
    "extra special tokens, a table": Row(
        "bert", _bert({"extra_special_tokens": {"image_token": "<e1>", "e_token": "<e2>"}})
    ),
    "a role of one model": Row("bert", _bert({"image_token": "<e1>"})),
    # What transformers reads in a way that nobody means, or with what minidistil does not have: refused, or on purpose.
    "a class of another kind": Row(  # there: bytes of a vocabulary of words
        "roberta",
        _bert({"tokenizer_class": "RobertaTokenizerFast"}),
        differs=("roles", "special", "added", "sizes", "texts", "pair", "pair's token types", "padded", "decoded"),
    ),
    "BertJapaneseTokenizer": Row(
        "bert",
        _txt({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}),
        error="names the class BertJapaneseTokenizer, which reads texts by Python code of its own",
    ),
    "BertweetTokenizer": Row(
        "roberta",
        _roberta({"tokenizer_class": "BertweetTokenizer"}),
        error="names the class BertweetTokenizer, which reads texts by Python code",
    ),
    "PhobertTokenizer": Row(
        "roberta",
        {"vocab.txt": VOCAB},
        error="names the class PhobertTokenizer, which reads",
        config={"tokenizer_class": "PhobertTokenizer"},
    ),
    "nothing": Row("bert", {}, error=r"has no tokenizer: neither tokenizer\.json nor vocab\.txt is there$"),
    "nothing, roberta": Row(
        "roberta", {"vocab.txt": VOCAB}, error=r"neither tokenizer\.json nor vocab\.json and merges\.txt"
    ),
    "no merges": Row(
        "roberta", {"vocab.json": BYTE_PAIR_FILES["vocab.json"]}, error=r"nor vocab\.json and merges\.txt is"
    ),
    "another family's pieces": Row("bert", {"spiece.model": spm("albert")}, error=r"nor vocab\.txt is there"),
    "a class without its vocabulary": Row(
        "bert",
        _txt({"tokenizer_class": "PreTrainedTokenizerFast"}),
        error=r"PreTrainedTokenizerFast, which needs a tokenizer\.",
    ),
    "vocab.txt without [CLS]": Row(
        "bert",
        {"vocab.txt": VOCAB.replace("[CLS]", "[cls]")},
        error=r"vocab\.txt: lacks the special tokens \['\[CLS\]'\]",
    ),
    "no [CLS], and none wanted": Row(
        "bert",
        _bert(
            {"cls_token": None, "added_tokens_decoder": {}},
            model={**word_piece_json()["model"], "vocab": {t: i for i, t in enumerate(WORD_PIECES) if t != "[CLS]"}},
            added_tokens=[],
            post_processor=None,
        ),
        error=r"every text needs '\[CLS\]', which is neither in the vocabulary nor declared",
    ),
    "merges of no tokens": Row(
        "roberta",
        {**BYTE_PAIR_FILES, "merges.txt": MERGES_TXT + "zz zz\none\n"},
        error=r"merges\.txt: 2 lines are no two tokens of vocab\.json that make up a third: zz zz, one$",
    ),
    "vocab.json of no ids": Row(
        "roberta", {**BYTE_PAIR_FILES, "vocab.json": {"a": "b"}}, error="is no table from tokens to"
    ),
    "pieces of another kind": Row(
        "xlm-roberta",
        {"sentencepiece.bpe.model": spm("xlm-roberta", model_type=2)},
        error="of the kind BPE; expected unigram",
    ),
    "pieces cut short": Row(
        "albert",
        {"spiece.model": spm("albert")[:-100]},
        error=r"spiece\.model: is no SentencePiece model, or a damaged one: a",
    ),
    "pieces of Git LFS": Row(
        "albert", {"spiece.model": b"version https://git-lfs.github.com/spec/v1\n"}, error="is no SentencePiece model"
    ),
    "no unknown piece": Row(
        "albert",
        {"spiece.model": sentencepiece_model([("a", 0.0, 1)])},
        error="lacks the unknown token '<unk>' among 1",
    ),
    "several files at fault": Row(
        "bert",
        _txt({"padding_side": "up", "mask_token": 1}, added_tokens={"a": "b"}, special_tokens_map={"pad_token": 2}),
        error=r"4 faults\n.*tokenizer_config\.json: padding_side = 'up'[\s\S]*mask_token = 1[\s\S]*pad_token = 2[\s\S]*"
        r"added_tokens\.json: is no table from tokens to ids",
    ),
    "without config.json": Row(None, _txt({"tokenizer_class": "DistilBertTokenizer"})),
}
