"""The targets by name."""

from __future__ import annotations

from tests.fuzz import calls, evil, kept_code, targets

TARGETS = {
    target.name: target
    for target in (
        targets.Safetensors,
        targets.Quantized,
        targets.TorchFile,
        targets.Shards,
        targets.ConfigFile,
        targets.TokenizerFiles,
        targets.SentenceFiles,
        targets.PackedFile,
        kept_code.KeptCode,
        calls.Calls,
    )
}
OF_THE_HARNESS = {evil.Evil.name: evil.Evil}
