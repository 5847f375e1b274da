"""What ties packed weights to the checkpoint that they were made from.

Size and time of change do not: `cp -p`, `rsync -t` and images keep both for other content. Comparing everything always
does, but reads all of the checkpoint, which packing is there to avoid. So, when a model is loaded:

- files that nobody touched (inode, size, times of change of content and of status are those noted): taken as they are;
- copies that kept their time (another inode, the same size and time), as in an image: the tables of contents, and the
  first, middle and last 4 KiB of every tensor. Other weights differ there; a few numbers changed by hand may not, which
  `minidistil verify` finds, as it compares everything;
- anything else: all content.

config.json is compared by content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.small_files import parse_json


def describe(checkpoint: Checkpoint) -> dict[str, str]:
    """What is noted of a checkpoint, for `is_from`."""
    return {
        "config": _config(checkpoint),
        "files": json.dumps(checkpoint.states()),
        "sample": checkpoint.sample(),
        "checkpoint": checkpoint.digest(),
    }


def is_from(noted: Mapping[str, str], checkpoint: Checkpoint) -> bool:
    """Whether what was noted is true of this checkpoint.

    Args:
        noted: what `describe` gave, or what a file claims that it gave.
        checkpoint: an opened one.

    Raises:
        LookupError, AttributeError, TypeError, ValueError: what was noted makes no sense.
    """
    if noted["config"] != _config(checkpoint):
        return False
    then, now = parse_json(noted["files"].encode()), checkpoint.states()
    if then == now and all(now):
        return True
    if len(then) == len(now) and all(map(_is_copy, then, now)):
        return noted["sample"] == checkpoint.sample()
    return noted["checkpoint"] == checkpoint.digest()


def _is_copy(then: Any, now: dict[str, Any]) -> bool:
    kept = ("name", "size", "changed")
    return bool(then and now) and all(then[key] == now[key] for key in kept) and then["inode"] != now["inode"]


def _config(checkpoint: Checkpoint) -> str:
    return hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode()).hexdigest()
