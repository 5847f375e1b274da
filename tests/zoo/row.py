"""A folder of the zoo, and what its tokenizer is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Files = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One folder.

    Attributes:
        model_type: of its config.json; None for a folder without one.
        files: content by name: an object for JSON, a text, or bytes.
        error: what our refusal says, a regular expression; None where the tokenizer answers as transformers' does.
        differs: answers that differ from transformers' on purpose.
        config: what else config.json says.
    """

    model_type: str | None
    files: Files
    error: str | None = None
    differs: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def write(folder: Path, row: Row) -> Path:
    """Write a row's files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(row.files)
    if row.model_type is not None:
        files["config.json"] = {"model_type": row.model_type, **row.config}
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            (folder / name).write_bytes(text.encode())
    return folder


def answers(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer answers, ours or transformers', as JSON has it."""
    roles = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    mask = tokenizer.mask_token or "[NEW]"
    texts = [
        f"Paris is the {mask} of France.",
        f"the{mask}, {mask}",
        "  the café\u00a0ﬁnd  CAFÉ 你好 Ａ①… ",
        "[NEW] newtok NewTok newtoken <e>  <e1>the<e2> [PAD] <s></s> ( ``a'' [CLS]",
        "don't, e.g. 12!",
        "",
    ]
    pair = tokenizer(texts[0], "The café", return_token_type_ids=True)
    alone = [tokenizer(text, return_offsets_mapping=True) for text in texts]
    found = {
        "roles": {role: [getattr(tokenizer, role), getattr(tokenizer, f"{role}_id")] for role in roles},
        "added": [
            [index, t.content, t.lstrip, t.rstrip, t.single_word, t.normalized, t.special]
            for index, t in sorted(tokenizer.backend_tokenizer.get_added_tokens_decoder().items())
        ],
        "special": [tokenizer.all_special_tokens, tokenizer.all_special_ids, tokenizer.special_tokens_map],
        "model_input_names": sorted(tokenizer.model_input_names),
        "sides": [tokenizer.padding_side, tokenizer.truncation_side],
        "sizes": [len(tokenizer), tokenizer.vocab_size, min(tokenizer.model_max_length, 10**9)],
        "texts": [[one["input_ids"], [list(place) for place in one["offset_mapping"]]] for one in alone],
        "pair": pair["input_ids"],
        "pair's token types": pair["token_type_ids"],
        "decoded": [
            tokenizer.decode(one["input_ids"], skip_special_tokens=skip) for one in alone for skip in (False, True)
        ],
    }
    if tokenizer.pad_token is not None:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=12)
        found["padded"] = [batch["input_ids"], batch["attention_mask"]]
    return found
