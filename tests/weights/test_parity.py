"""Files written by PyTorch and transformers themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidistil.weights import CheckpointError, open_checkpoint, read_model
from minidistil.weights.read_model import sinusoidal_positions
from tests.weights import files
from tests.weights.test_families import CONFIGS
from tests.weights.test_torch_file import opened

pytestmark = pytest.mark.parity
torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed: pip install minidistil[parity]")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_save(tmp_path: Path, protocol: int) -> None:
    base = torch.randn(6, 5, generator=torch.Generator().manual_seed(protocol))
    state = {
        "plain": base, "transposed": base.T, "slice": base[1:4, 2:], "step": base[::2, ::3], "half": base.half(),
        "brain": base.bfloat16(), "double": base.double(), "parameter": torch.nn.Parameter(base.clone()),
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
    }  # fmt: skip
    others = {"ids": torch.arange(6)[None], "flag": torch.tensor([True]), "byte": torch.zeros(3, dtype=torch.uint8)}
    path = tmp_path / "written.pt"
    torch.save({**state, **others}, path, pickle_protocol=protocol)
    checkpoint = opened(tmp_path, path.read_bytes())
    assert set(checkpoint.names) == {*state, *others}
    for name, x in state.items():
        found = checkpoint.read(name)
        np.testing.assert_array_equal(found.view(np.uint32), x.detach().float().contiguous().numpy().view(np.uint32))
    assert checkpoint.stored("ids") == ("I64", (1, 6))


def test_module_state_dict_with_metadata(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    torch.save(module.state_dict(), tmp_path / "written.pt")
    checkpoint = opened(tmp_path, (tmp_path / "written.pt").read_bytes())
    for name, x in module.state_dict().items():
        np.testing.assert_array_equal(checkpoint.read(name), x.numpy())


def test_torch_reads_our_writer(tmp_path: Path) -> None:
    """The archives of the other tests are what PyTorch takes for its own."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((), np.float16), "c": np.arange(3)}
    (tmp_path / "made.bin").write_bytes(files.torch_bytes(arrays))
    read = torch.load(tmp_path / "made.bin", weights_only=True)
    for name, x in arrays.items():
        np.testing.assert_array_equal(read[name].numpy(), x)


def test_files_as_before_1_6(tmp_path: Path) -> None:
    """A transposed view, two names of one storage, half precision, and torch's own reading of our writer."""
    path, words = tmp_path / "written.pt", torch.arange(6.0).reshape(2, 3)
    state = {"a": words.t(), "b": words, "c": torch.ones(3, dtype=torch.float16), "d": torch.zeros(0), "e": words[1]}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    checkpoint = opened(tmp_path, path.read_bytes())
    for name, x in state.items():
        np.testing.assert_array_equal(checkpoint.read(name), x.float().numpy())
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((), np.float16)}
    path.write_bytes(files.old_torch_bytes(arrays))
    read = torch.load(path, weights_only=True)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name].numpy(), array)


def test_scripted_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "written.pt"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        CheckpointError, match=r"nothing was executed: loading it would import torch\.nn\.modules\.linear"
    ):
        opened(tmp_path, path.read_bytes())
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match=r"would import torch\.nn\.modules\.linear\.Linear"):
        opened(tmp_path, path.read_bytes())
    torch.save({"a": torch.ones(3).to_sparse()}, path)
    with pytest.raises(CheckpointError, match=r"torch\._utils\._rebuild_sparse_tensor"):
        opened(tmp_path, path.read_bytes())


@pytest.mark.parametrize("kind", ["DistilBertModel", "DistilBertForMaskedLM", "BertModel", "BertForMaskedLM",
                                  "BertForPreTraining", "DistilBertForSequenceClassification", "RobertaModel",
                                  "RobertaForMaskedLM", "XLMRobertaForMaskedLM", "CamembertForMaskedLM", "AlbertModel",
                                  "AlbertForMaskedLM", "AlbertForPreTraining", "ElectraModel", "ElectraForMaskedLM",
                                  "ElectraForPreTraining", "RobertaForSequenceClassification", "MobileBertModel",
                                  "MobileBertForMaskedLM", "MobileBertForPreTraining",
                                  "MobileBertForSequenceClassification"])  # fmt: skip
@pytest.mark.parametrize("safe", [True, False])
def test_saved_by_transformers(tmp_path: Path, kind: str, safe: bool) -> None:
    transformers: Any = pytest.importorskip("transformers")
    family = getattr(transformers, kind).config_class.model_type
    source = {"bert": files.BERT, "distilbert": files.DISTILBERT, **CONFIGS}[family]
    config = transformers.AutoConfig.for_model(**source)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, kind)(config)
    if safe:
        model.save_pretrained(tmp_path)
    else:  # transformers 5 writes safetensors only
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        model.config.save_pretrained(tmp_path)
    weights = read_model(open_checkpoint(tmp_path))
    base = model.base_model
    words = base.embeddings.word_embeddings.weight.detach().numpy()
    np.testing.assert_array_equal(weights.encoder.embeddings.word_embeddings, words)
    has_vocabulary = "MaskedLM" in kind or ("PreTraining" in kind and family != "electra")
    assert (weights.masked_lm is not None) == has_vocabulary
    assert (weights.pooler is not None) == (getattr(base, "pooler", None) is not None)
    if weights.masked_lm:
        assert weights.masked_lm.vocab_projector.weight is weights.encoder.embeddings.word_embeddings


@pytest.mark.parametrize(("positions", "dim"), [(512, 768), (7, 12)])
def test_sinusoidal_positions(positions: int, dim: int) -> None:
    module: Any = pytest.importorskip("transformers.models.distilbert.modeling_distilbert")
    table = torch.zeros(positions, dim)
    module.create_sinusoidal_embeddings(positions, dim, table)
    found = sinusoidal_positions(positions, dim)
    np.testing.assert_array_equal(found.view(np.uint32), table.numpy().view(np.uint32))
