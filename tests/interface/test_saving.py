"""What is saved loads again with the same bits, here and in transformers, and is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights import saving
from minidistil.weights.errors import CheckpointError
from tests import build, synthetic
from tests.bits import assert_same_bits
from tests.pipelines.checkpoints import write_small
from tests.sentences.folders import NORMALIZE, dense, pooling, write_encoder, write_model
from tests.weights.files import archive, bfloat16, dict_, program, storage, tensor, torch_bytes

TEXTS = ["the city of light", "wine is great , people play music"]


@pytest.mark.parametrize("name", ["sentiment", "entities-bert", "words-electra", "topics-roberta", "topics-albert"])
def test_a_model_is_saved_as_it_was_loaded(name: str, tmp_path: Path) -> None:
    folder = write_small(tmp_path, name)
    model = minidistil.load(folder, threads=1)
    written = model.save_pretrained(tmp_path / "saved", safe_serialization=True)
    assert sorted(map(os.path.basename, written)) == ["config.json", "model.safetensors"]
    assert len({Path(file).stat().st_mode for file in written}) == 1  # who may read one may read the other
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert type(again) is type(model)
    inputs = model.tokenizer(TEXTS, padding=True, return_tensors="np")
    assert_same_bits(again(**inputs).logits, model(**inputs).logits)
    model.tokenizer.save_pretrained(tmp_path / "saved")
    assert again.tokenizer(TEXTS) == model.tokenizer(TEXTS)
    for file in (tmp_path / "saved").iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes()


def test_shards_stay_shards(distilbert_small: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(distilbert_small, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(shards.values()):
        save_file({n: t for n, t in tensors.items() if shards[n] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    minidistil.load(folder, threads=1).save_pretrained(tmp_path / "saved")
    got = minidistil.load(tmp_path / "saved", threads=1)([[1, 2]]).logits
    assert_same_bits(got, minidistil.load(distilbert_small, threads=1)([[1, 2]]).logits)


def _tied(arrays: dict[str, np.ndarray], ties: dict[str, str]) -> bytes:
    """As torch.save writes a state dict in which names share storages."""
    keys = {name: str(i) for i, name in enumerate(arrays)}
    entries = {}
    for name, of in {**{name: name for name in arrays}, **ties}.items():
        x = arrays[of]
        strides = tuple(int(s // x.itemsize) for s in x.strides)
        entries[name] = tensor(storage("F32", keys[of], x.size), 0, x.shape, strides)
    data = {f"data/{keys[name]}": x.tobytes() for name, x in arrays.items()}
    return archive({"data.pkl": program(dict_(entries)), "byteorder": b"little", "version": b"3\n", **data})


@pytest.mark.parametrize("tied", [True, False])
def test_weights_of_pytorch_become_safetensors(tied: bool, tmp_path: Path) -> None:
    config = {**synthetic.BERT_SMALL, "architectures": ["BertForMaskedLM"], "tie_word_embeddings": tied}
    arrays = synthetic.tensors(config)
    words, decoder = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    arrays.pop(decoder, None)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "pytorch_model.bin").write_bytes(_tied(arrays, {decoder: words}))
    model = minidistil.load(folder, threads=1)
    model.save_pretrained(tmp_path / "saved")
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert_same_bits(again([[1, 2, 3]]).logits, model([[1, 2, 3]]).logits)
    from safetensors import safe_open

    with safe_open(tmp_path / "saved" / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
        assert words in names
        assert (decoder in names) is not tied  # tied weights are written once
        for name in arrays:
            assert_same_bits(file.get_tensor(name), arrays[name])


def test_element_types_stay(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        name: x.astype(np.float16) for name, x in synthetic.tensors(synthetic.BERT_SMALL).items()
    }
    wide = "embeddings.word_embeddings.weight"
    arrays[wide] = bfloat16(arrays[wide])  # NumPy has no such numbers: they are written as float32
    arrays["embeddings.position_ids"] = np.arange(64, dtype=np.int64)[None]
    folder = synthetic.write_checkpoint(tmp_path / "model", synthetic.BERT_SMALL)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(torch_bytes(arrays))
    model = minidistil.load(folder, threads=1)
    model.save_pretrained(tmp_path / "saved")
    from safetensors.numpy import load_file

    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert {str(x.dtype) for name, x in stored.items() if name not in (wide, "embeddings.position_ids")} == {"float16"}
    assert (stored[wide].dtype, stored["embeddings.position_ids"].dtype) == (np.float32, np.int64)
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert_same_bits(again([[1, 2]]).last_hidden_state, model([[1, 2]]).last_hidden_state)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a dense layer behind its pooling."""
    encoder = write_encoder(tmp_path / "encoder")
    return write_model(tmp_path / "model", encoder, pooling("mean"), dense(128, 16), NORMALIZE)


def test_an_encoder_is_saved_with_its_modules(folder: Path, tmp_path: Path) -> None:
    model = minidistil.SentenceTransformer(folder, threads=1)
    model.save(str(tmp_path / "saved"), create_model_card=False)
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert_same_bits(again.encode(TEXTS), model.encode(TEXTS))
    kept = ("model.safetensors", "config.json", "modules.json", "tokenizer.json", "sentence_bert_config.json")
    for name in (*kept, "2_Dense/model.safetensors", "2_Dense/config.json", "1_Pooling/config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (folder / name).read_bytes()


def test_what_was_changed_is_saved(folder: Path, tmp_path: Path) -> None:
    model = minidistil.SentenceTransformer(folder, prompts={"of": "people of "}, threads=1)
    model.max_seq_length, model.truncate_dim, model.similarity_fn_name = 5, 7, "dot"
    model.default_prompt_name = "of"
    model.tokenizer.padding_side = "left"
    model.save_pretrained(tmp_path / "saved")
    again = minidistil.SentenceTransformer(tmp_path / "saved", threads=1)
    assert (again.max_seq_length, again.truncate_dim, again.similarity_fn_name) == (5, 7, "dot")
    assert (again.prompts["of"], again.default_prompt_name) == ("people of ", "of")
    assert again.tokenizer.padding_side == "left"
    assert_same_bits(again.encode(TEXTS, truncation=True), model.encode(TEXTS, truncation=True))


def test_an_encoder_without_modules_gets_them(bert_small: Path, tmp_path: Path) -> None:
    model = minidistil.SentenceTransformer(bert_small, threads=1)
    model.save(tmp_path / "saved")
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert isinstance(again, minidistil.SentenceEncoder)
    assert again.max_seq_length == model.max_seq_length
    assert_same_bits(again.encode(TEXTS), model.encode(TEXTS))


def test_an_encoder_in_a_folder_within(folder: Path, tmp_path: Path) -> None:
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [p for p in folder.iterdir() if p.is_file() and p.name != "modules.json"]:
        path.rename(inner / path.name)
    lines = (folder / "modules.json").read_text().replace('"path": "",', '"path": "0_Transformer",')
    (folder / "modules.json").write_text(lines)
    model = minidistil.load(folder, threads=1)
    model.save(tmp_path / "saved")
    assert_same_bits(minidistil.load(tmp_path / "saved", threads=1).encode(TEXTS), model.encode(TEXTS))


def test_a_reranker_is_saved(reranker_small: Path, tmp_path: Path) -> None:
    pairs = [("wine", text) for text in TEXTS]
    model = minidistil.CrossEncoder(reranker_small, max_length=6, activation_fn="torch.nn.Identity", threads=1)
    model.save_pretrained(tmp_path / "saved")
    again = minidistil.load(tmp_path / "saved", threads=1)
    assert isinstance(again, minidistil.CrossEncoder)
    assert (again.max_length, again.activation_fn) == (6, "torch.nn.Identity")
    assert_same_bits(again.predict(pairs, truncation=True), model.predict(pairs, truncation=True))
    with pytest.raises(ValueError, match="can only name a class"):
        minidistil.CrossEncoder(reranker_small, activation_fn=np.tanh).save(tmp_path / "other")


def test_a_pipeline_is_saved(tmp_path: Path) -> None:
    pipe = minidistil.pipeline("sentiment-analysis", model=write_small(tmp_path, "sentiment"), threads=1)
    pipe.save_pretrained(tmp_path / "saved")
    assert minidistil.pipeline("sentiment-analysis", model=tmp_path / "saved", threads=1)(TEXTS) == pipe(TEXTS)


def test_a_changed_tokenizer_is_saved(bert_small: Path, tmp_path: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(bert_small)
    tokenizer.backend_tokenizer.add_tokens(["newword"])
    tokenizer.model_max_length = 9
    tokenizer.save_pretrained(tmp_path / "saved")
    again = minidistil.AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = "a newword " * 9
    assert again(text, truncation=True) == tokenizer(text, truncation=True)
    assert again.get_vocab() == tokenizer.get_vocab()


def test_files_of_another_tokenizer_do_not_stay(bert_small: Path, tmp_path: Path) -> None:
    (tmp_path / "added_tokens.json").write_text('{"strange": 1200}')
    (tmp_path / "notes.txt").write_text("mine")
    minidistil.AutoTokenizer.from_pretrained(bert_small).save_pretrained(tmp_path)
    assert not (tmp_path / "added_tokens.json").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_cannot_be_saved(folder: Path, tmp_path: Path) -> None:
    made = minidistil.BertModel(build.config(synthetic.BERT_SMALL), build.model_weights(synthetic.BERT_SMALL))
    with pytest.raises(ValueError, match="made in memory"):
        made.save_pretrained(tmp_path / "saved")
    model = minidistil.load(folder, threads=1)
    with pytest.raises(ValueError, match="safe_serialization"):
        model.save_pretrained(tmp_path / "saved", safe_serialization=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        model.save_pretrained(tmp_path / "file")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(CheckpointError, match="other files now"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_saving_over_itself_changes_nothing(folder: Path) -> None:
    model = minidistil.load(folder, threads=1)
    want, before = model.encode(TEXTS), {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    model.save_pretrained(folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p in before} == before
    assert_same_bits(minidistil.load(folder, threads=1).encode(TEXTS), want)


@pytest.mark.parametrize("over", [False, True])
def test_what_is_interrupted_is_never_taken_for_whole(
    over: bool, folder: Path, sentence_small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step: of another model in the same folder, either all is there or it is refused."""
    model, other = minidistil.load(folder, threads=1), minidistil.load(sentence_small, threads=1)
    whole = {model.encode(TEXTS).tobytes(), other.encode(TEXTS).tobytes()}
    seen, steps = set[str](), 0
    real: dict[str, Callable[..., Any]] = {name: getattr(Path, name) for name in ("replace", "unlink", "write_bytes")}

    class Stop(BaseException):
        pass

    def counted(name: str) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Stop
            return real[name](*args, **options)

        return step

    while "saved" not in seen:
        target = tmp_path / f"target-{steps}"
        if over:
            other.save_pretrained(target)
        left = steps
        with monkeypatch.context() as patch:
            for name in real:
                patch.setattr(Path, name, counted(name))
            try:
                saving.save(target, _files(model))
                seen.add("saved")
            except Stop:
                seen.add("stopped")
        assert not list(target.glob(".saving-*"))
        try:
            found = minidistil.load(target, threads=1).encode(TEXTS)
        except CheckpointError:
            seen.add("refused")
        else:
            assert found.tobytes() in whole
        steps += 1
    assert seen == {"saved", "stopped", "refused"}
    assert steps > 10


def _files(model: Any) -> dict[str, saving.Content]:
    from minidistil.sentences.saving import encoder_files

    return encoder_files(model, model.source, model._files, {})


@pytest.mark.parity
@pytest.mark.parametrize("name", ["sentiment", "entities-bert", "topics-roberta", "topics-electra", "topics-albert"])
def test_transformers_loads_what_was_saved(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch: install the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    folder = write_small(tmp_path, name)
    pipe = minidistil.pipeline("ner" if "entities" in name else "text-classification", model=folder, threads=1)
    pipe.save_pretrained(tmp_path / "saved")
    outputs = []
    for place in folder, tmp_path / "saved":
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        kind = getattr(transformers, json.loads((place / "config.json").read_text())["architectures"][0])
        model = kind.from_pretrained(place).eval()
        with torch.no_grad():
            outputs.append(model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.numpy())
    assert_same_bits(outputs[1], outputs[0])
    assert np.ptp(outputs[0]) > 0


@pytest.mark.parity
def test_transformers_loads_what_was_converted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="compares with PyTorch: install the extra `parity`")
    transformers = pytest.importorskip("transformers", reason="compares with transformers: install the extra `parity`")
    config = transformers.BertConfig(**{k: v for k, v in synthetic.BERT_SMALL.items() if k != "architectures"})
    model = transformers.BertForMaskedLM(config).eval()
    config.architectures = ["BertForMaskedLM"]
    folder = tmp_path / "model"
    folder.mkdir()
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    minidistil.load(folder, threads=1).save_pretrained(tmp_path / "saved")
    again = transformers.BertForMaskedLM.from_pretrained(tmp_path / "saved").eval()
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert_same_bits(again(ids).logits.numpy(), model(ids).logits.numpy())
