"""The reference itself: transformers on PyTorch in the pinned configuration.

Import this before torch, in a process of its own: two of the pins are read when torch is first loaded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

PINS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}
if "torch" in sys.modules:
    raise ImportError("torch is loaded already: the pins of the reference would not be in force")
os.environ.update(PINS)

import torch  # noqa: E402
import transformers  # noqa: E402

torch.backends.mkldnn.enabled = False
torch.set_num_threads(1)
if torch.backends.cpu.get_cpu_capability() != "AVX2":
    raise ImportError(f"PyTorch runs its {torch.backends.cpu.get_cpu_capability()} kernels here, the reference is AVX2")

MULTIPLE = 16  # of tokens, to which a sentence is padded


class TorchReference:
    """A model of transformers, bare or with its masked-LM head, run sentence by sentence.

    Args:
        values: config.json; the class is the one that it names.
        tensors: float32 arrays by checkpoint name; all that the model has, but for tied ones.
    """

    def __init__(self, values: dict, tensors: dict[str, np.ndarray]) -> None:
        kind = getattr(transformers, values["architectures"][0])
        self.masked_lm = kind.__name__.endswith("ForMaskedLM")
        values = {k: v for k, v in values.items() if k not in ("architectures", "model_type", "transformers_version")}
        model: Any = kind(kind.config_class(**values))
        loaded = model.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=False)
        parameters = dict(model.named_parameters(remove_duplicate=False))
        given = {id(parameters[name]) for name in tensors if name in parameters}
        missing = {name for name in loaded.missing_keys if id(parameters.get(name)) not in given}  # but for tied ones
        unexpected = set(loaded.unexpected_keys) - {"embeddings.position_ids"}
        if missing or unexpected:
            raise ValueError(f"missing {sorted(missing)}, unexpected {sorted(unexpected)}")
        if self.masked_lm:
            tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
            assert tied == model.config.tie_word_embeddings, "is the projection tied to the word embeddings?"
        if model.config._attn_implementation != "sdpa":
            raise ValueError(f"attention is {model.config._attn_implementation!r}, the reference is 'sdpa'")
        self.model = model.eval()
        self.padding = model.config.pad_token_id or 0

    def alone(
        self, ids: np.ndarray, types: np.ndarray | None = None, bias: np.ndarray | None = None, multiple: int = MULTIPLE
    ) -> tuple[list[np.ndarray], np.ndarray | None]:
        """One sentence, padded to a multiple of 16: the definition.

        Args:
            ids: int [n].
            types: int [n] or None.
            bias: float32 [1, n, n], a 4-D mask, or None.
            multiple: of tokens, to pad to.

        Returns:
            L + 1 hidden states float32 [n, D], and logits float32 [n, V] or None.
        """
        n = len(ids)
        padded = -(-n // multiple) * multiple
        real = (np.arange(padded) < n)[None].astype(np.int64)
        mask = real
        if bias is not None:
            mask = np.full((1, 1, padded, padded), -np.inf, np.float32)
            mask[0, :, :n, :n] = bias
        states, logits = self._run(
            _pad(ids, padded, self.padding), None if types is None else _pad(types, padded), real, mask
        )
        return [s[0, :n] for s in states], None if logits is None else logits[0, :n]

    def together(
        self, sentences: Sequence[np.ndarray], types: Sequence[np.ndarray] | None = None
    ) -> tuple[list[np.ndarray], np.ndarray | None]:
        """A padded batch, unpadded again: [T, D] each, [T, V]. Not the definition: neighbours may change the bits."""
        lengths = np.array([len(s) for s in sentences])
        padded = -(-lengths.max() // MULTIPLE) * MULTIPLE
        real = np.arange(padded) < lengths[:, None]
        rows = np.concatenate([_pad(s, padded, self.padding) for s in sentences])
        kinds = None if types is None else np.concatenate([_pad(t, padded) for t in types])
        states, logits = self._run(rows, kinds, real.astype(np.int64), real.astype(np.int64))
        return [s[real] for s in states], None if logits is None else logits[real]

    def _run(
        self, ids: np.ndarray, types: np.ndarray | None, real: np.ndarray, mask: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray | None]:
        kwargs = {} if types is None else {"token_type_ids": torch.from_numpy(types)}
        with torch.inference_mode():
            out = self.model(
                **words(self.model, torch.from_numpy(ids), torch.from_numpy(real)),
                attention_mask=torch.from_numpy(mask),
                output_hidden_states=True,
                **kwargs,
            )
        return [s.numpy() for s in out.hidden_states], out.logits.numpy() if self.masked_lm else None


def words(model: Any, ids: Any, real: Any) -> dict[str, Any]:
    """What a model of transformers is given for the words: their ids, as a rule.

    Of a model that reads each token's neighbours, embeddings with zeros in the place of padding, which is what it sees
    beyond the ends of a sentence that is alone and not padded. `real` is 0 for padding, else 1.
    """
    if not getattr(model.config, "trigram_input", False):
        return {"input_ids": ids}
    return {"inputs_embeds": model.get_input_embeddings()(ids) * real[..., None]}


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return torch.nn.functional.linear(*map(torch.from_numpy, (x, w, b))).numpy()


def layer_norm(x: np.ndarray, w: np.ndarray, b: np.ndarray, eps: float) -> np.ndarray:
    weight, bias = torch.from_numpy(w), torch.from_numpy(b)
    return torch.nn.functional.layer_norm(torch.from_numpy(x), (x.shape[1],), weight, bias, eps).numpy()


def gelu(x: np.ndarray) -> np.ndarray:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def activation(name: str, x: np.ndarray) -> np.ndarray:
    """The activation that transformers' config.json calls `name`."""
    return transformers.activations.ACT2FN[name](torch.from_numpy(x.copy())).numpy()


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """One sentence [n, H, d], padded to a multiple of 16 keys that are masked; bias [1 or H, n, n] or None."""
    n = len(q)
    padded = -(-n // MULTIPLE) * MULTIPLE
    if bias is None:
        mask = np.zeros((1, padded, padded), bool)
        mask[:, :, :n] = True
    else:
        mask = np.full((len(bias), padded, padded), -np.inf, np.float32)
        mask[:, :n, :n] = bias

    def heads_first(x: np.ndarray) -> Any:
        x = np.pad(x, ((0, padded - n), (0, 0), (0, 0)))
        return torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)[None]))

    out = torch.nn.functional.scaled_dot_product_attention(
        heads_first(q), heads_first(k), heads_first(v), attn_mask=torch.from_numpy(mask[None])
    )
    return np.ascontiguousarray(out[0].numpy().transpose(1, 0, 2)[:n])


def _pad(x: np.ndarray, length: int, value: int = 0) -> np.ndarray:
    return np.pad(x.astype(np.int64), (0, length - len(x)), constant_values=value)[None]
