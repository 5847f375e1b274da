"""A WordPiece tokenizer of any size from 300 entries on, written as transformers would save it."""

from __future__ import annotations

import json
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = """the of and to in a is that for it as was with be by on not he his but at are this have from or had an they
which one you were all her she there would their we him been has when who will no more if out so up said what its about
than into them can only other time new some could these two may first then do any like my now over such our man me even
most made after also did many off before must well back through years where much your way down should because long each
just state those people too mr how little good world make very year still see own work men day get here between both
life being under three never know same last another while us might great old come since go against came right take used
himself few house use during without again place around small found school part number always city paris france capital
london england berlin germany river water light night music food bread wine cat dog bird tree rain snow sun moon star
king queen war peace law court book page word letter language computer memory machine fast slow hot cold big happy sad
love hate""".split()


def vocabulary(size: int) -> list[str]:
    """`size` entries: special tokens, characters, words, syllables, then unused places."""
    characters = [*_LETTERS, *"0123456789", *"!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"]
    entries = [*SPECIAL, *characters, *(f"##{c}" for c in _LETTERS + "0123456789"), *_WORDS]
    entries += [f"##{a}{b}" for a in _LETTERS for b in "aeiourstln"]
    unique = list(dict.fromkeys(entries))[:size]
    return unique + [f"[unused{i}]" for i in range(size - len(unique))]


def write_tokenizer(folder: str | Path, vocab_size: int, token_types: bool) -> Path:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json for a lower-casing WordPiece; returns the folder."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    folder = Path(folder)
    entries = vocabulary(vocab_size)
    ids = {entry: i for i, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    second = "$B:1 [SEP]:1" if token_types else "$B:0 [SEP]:0"
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair=f"[CLS]:0 $A:0 [SEP]:0 {second}",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "BertTokenizer" if token_types else "DistilBertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": 512,
        **{f"{name[1:-1].lower()}_token": name for name in SPECIAL},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder
