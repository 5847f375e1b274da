"""Tokenizers in the forms of the families that have no WordPiece: of bytes as RoBERTa's, of pieces as SentencePiece's.

Their vocabularies are learnt from the texts that the tests use, in the same way everywhere.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
# The first entries of each family's published vocabulary, and the role that an entry of another name has.
_FIRST = {
    "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "xlm-roberta": _ROBERTA,
    "camembert": ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>"],
}
_CLASSES = {
    "albert": "AlbertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}


def write_bytes_tokenizer(folder: Path, texts: Iterable[str], size: int) -> Path:
    """Write a byte-level BPE tokenizer as RoBERTa's; returns the folder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=_ROBERTA, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return _write(folder, tokenizer, "RobertaTokenizer", "<s>", "</s>", "<mask>")


def write_pieces_tokenizer(folder: Path, family: str, texts: Iterable[str], size: int) -> Path:
    """Write a SentencePiece tokenizer (a unigram model over words that begin with a low line); returns the folder.

    Args:
        folder: of the checkpoint.
        family: "albert", "xlm-roberta" or "camembert".
        texts: whose words, their beginnings and ends, and characters become pieces.
        size: of the vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    first = _FIRST[family]
    steps: list[Any] = []
    if family == "albert":
        steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        steps += [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    normalizer = normalizers.Sequence(steps)
    pieces = _pieces(map(normalizer.normalize_str, texts), size - len(first))
    tokenizer = Tokenizer(models.Unigram([*((s, 0.0) for s in first), *pieces], unk_id=first.index("<unk>")))
    if steps:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    if family == "albert":
        cls, sep, mask = "[CLS]", "[SEP]", "[MASK]"
        single, pair = f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1"
    else:
        cls, sep, mask = "<s>", "</s>", "<mask>"
        single, pair = f"{cls} $A {sep}", f"{cls} $A {sep} {sep} $B {sep}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(token, first.index(token)) for token in (cls, sep)]
    )
    tokenizer.add_special_tokens([t for t in first if t != mask])
    tokenizer.add_special_tokens([AddedToken(mask, lstrip=True)])
    return _write(folder, tokenizer, _CLASSES[family], cls, sep, mask)


def _pieces(texts: Iterable[str], count: int) -> list[tuple[str, float]]:
    """The commonest words, and beginnings and ends of words, with every character; each with the log of its share."""
    found: Counter[str] = Counter()
    for text in texts:
        for word in text.split():
            marked = f"▁{word}"
            found.update({marked, *marked, *(marked[:n] for n in (2, 3, 4)), *(marked[-n:] for n in (2, 3))})
    ranked = sorted(found.items(), key=lambda item: (len(item[0]) > 1, -item[1], item[0]))[:count]
    total = sum(n for _, n in ranked)
    return [(piece, round(math.log(n / total), 6)) for piece, n in ranked]


def _write(folder: Path, tokenizer: Tokenizer, name: str, cls: str, sep: str, mask: str) -> Path:
    roles = {"bos": cls, "cls": cls, "eos": sep, "sep": sep, "pad": "<pad>", "unk": "<unk>", "mask": mask}
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": name,
        "model_max_length": 512,
        **{f"{role}_token": token for role, token in roles.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
