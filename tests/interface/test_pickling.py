"""Pickles say where to load from: small, compared by content, loaded once in a process; copies share the weights."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil.weights import by_reference
from minidistil.weights.checkpoint import Checkpoint
from minidistil.weights.errors import CheckpointError
from tests import build, synthetic
from tests.bits import assert_same_bits
from tests.processes import forked, join, pool, python
from tests.sentences.folders import NORMALIZE, dense, pooling, write_encoder, write_model

TEXTS = ["the city of light", "wine is great , people play music"]
SMALL = 2000  # bytes; the models have megabytes

Load = Callable[[Path], Any]
KINDS: dict[str, tuple[str, Load, Callable[[Any], Any]]] = {  # fixture, how it is loaded, how it is used
    "model": ("bert_small", lambda at: minidistil.load(at, threads=1), lambda m: m([[1, 2, 3]]).to_tuple()),
    "masked": ("distilbert_small", lambda at: minidistil.load(at, threads=1), lambda m: m([[1, 2, 3]]).to_tuple()),
    "encoder": ("sentence_small", lambda at: minidistil.load(at, threads=1), lambda m: m.encode(TEXTS)),
    "plain encoder": ("bert_small", lambda at: minidistil.load(at, threads=1), lambda m: m.encode(TEXTS)),
    "sentence-transformer": (
        "sentence_small",
        lambda at: minidistil.SentenceTransformer(at, prompts={"of": "people of "}, default_prompt_name="of"),
        lambda m: m.encode(TEXTS),
    ),
    "cross-encoder": (
        "reranker_small",
        lambda at: minidistil.CrossEncoder(at, max_length=8, activation_fn=np.tanh, threads=1),
        lambda m: m.predict([("wine", text) for text in TEXTS], truncation=True),
    ),
    "pipeline": (
        "distilbert_small",
        lambda at: minidistil.pipeline("fill-mask", model=at, top_k=2, threads=1),
        lambda pipe: pipe("the [MASK] of light"),
    ),
    "tokenizer": ("bert_small", minidistil.AutoTokenizer.from_pretrained, lambda t: dict(t(TEXTS))),
}


def _bits(answer: Any) -> Any:
    if isinstance(answer, np.ndarray):
        return answer.dtype, answer.shape, answer.tobytes()
    return list(map(_bits, answer)) if isinstance(answer, tuple) else answer


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[Any, Callable[[Any], Any]]:
    """A thing that was loaded and used, and a function that says what one like it answers."""
    fixture, load, use = KINDS[request.param]
    thing = load(request.getfixturevalue(fixture))
    assert _bits(use(thing))
    return thing, lambda thing: _bits(use(thing))


def test_a_pickle_is_small_and_what_comes_out_answers_the_same(kind: Any) -> None:
    thing, answer = kind
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(thing, protocol)
        assert len(pickled) < SMALL
        again = pickle.loads(pickled)
        assert type(again) is type(thing)
        assert again is not thing
        assert answer(again) == answer(thing)


def test_copies_answer_the_same(kind: Any) -> None:
    thing, answer = kind
    for copied in copy.copy(thing), copy.deepcopy(thing), copy.deepcopy([thing, thing])[1]:
        assert type(copied) is type(thing)
        assert copied is not thing
        assert answer(copied) == answer(thing)


@pytest.mark.parametrize("start", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_of_a_pool_take_them(start: str, sentence_small: Path, reranker_small: Path) -> None:
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} here")
    encoder, reranker = minidistil.load(sentence_small, threads=2), minidistil.CrossEncoder(reranker_small)
    want = [encoder.encode(TEXTS), reranker.predict([TEXTS])]
    with pool(2, start) as executor:
        parts = executor.map(encoder.encode, TEXTS, chunksize=1)
        scores = executor.submit(reranker.predict, [TEXTS]).result()
        assert_same_bits(np.stack(list(parts)), want[0])
    assert_same_bits(scores, want[1])


def test_a_process_of_its_own_loads_it_once(sentence_small: Path, tmp_path: Path) -> None:
    model = minidistil.load(sentence_small, threads=1)
    (tmp_path / "pickled").write_bytes(pickle.dumps([model, minidistil.SentenceTransformer(sentence_small, threads=1)]))
    code = """
import pickle, sys
from minidistil.weights import checkpoint
opened, begin = [], checkpoint.Checkpoint.__init__
checkpoint.Checkpoint.__init__ = lambda self, folder: (opened.append(1), begin(self, folder))[1]
for _ in range(3):
    one, other = pickle.load(open(sys.argv[1], "rb"))
    again = pickle.load(open(sys.argv[1], "rb"))
    assert one.model._backend is again[0].model._backend
    shown = one.encode(sys.argv[2:]).tobytes().hex()
    del one, other, again
print(len(opened), shown)
"""
    opened, shown = python(code, tmp_path / "pickled", *TEXTS).split()
    assert opened == "1"  # the class of the encoder is another, the model's is the same
    assert shown == model.encode(TEXTS).tobytes().hex()


def test_threads_that_unpickle_share_one_load(bert_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pickled, opened, found = pickle.dumps(minidistil.load(bert_small, threads=1)), list[Path](), list[Any]()
    begin = Checkpoint.__init__
    monkeypatch.setattr(
        Checkpoint, "__init__", lambda self, folder: (opened.append(Path(folder)), begin(self, folder))[1]
    )
    _forget()
    together = threading.Barrier(6)

    def work() -> None:
        together.wait()
        found.append(pickle.loads(pickled))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    join(threads)
    assert opened == [bert_small]
    assert len({id(model) for model in found}) == 6
    assert len({id(model._backend) for model in found}) == 1


def test_what_the_user_changed_comes_along_and_stays_apart(sentence_small: Path) -> None:
    model = minidistil.SentenceTransformer(sentence_small, threads=1)
    model.prompts["of"] = "people of "
    model.max_seq_length, model.truncate_dim, model.similarity_fn_name = 5, 7, "dot"
    model.tokenizer.padding_side = "left"
    model.note = {"mine": 1}
    for again in pickle.loads(pickle.dumps(model)), copy.deepcopy(model):
        assert (again.prompts["of"], again.max_seq_length, again.truncate_dim) == ("people of ", 5, 7)
        assert (again.similarity_fn_name, again.tokenizer.padding_side, again.note) == ("dot", "left", {"mine": 1})
        assert again.model._backend is model.model._backend
        assert again.tokenizer is again.model.tokenizer
        again.prompts["of"], again.tokenizer.padding_side, again.note["mine"] = "", "right", 2
        again.tokenizer.backend_tokenizer.add_tokens(["newword"])
    assert (model.prompts["of"], model.tokenizer.padding_side, model.note) == ("people of ", "left", {"mine": 1})
    assert "newword" not in model.tokenizer.get_vocab()


def test_a_changed_tokenizer_is_pickled_whole(bert_small: Path) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(bert_small)
    tokenizer.backend_tokenizer.add_tokens(["newword"])
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again("a newword") == tokenizer("a newword")
    assert again.get_vocab() == tokenizer.get_vocab()
    assert "newword" not in minidistil.AutoTokenizer.from_pretrained(bert_small).get_vocab()


def test_lower_casing_is_kept(sentence_small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentence_small, tmp_path / "model")
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    model = minidistil.load(folder, threads=1)
    want = model.encode("WINE")
    assert_same_bits(pickle.loads(pickle.dumps(model)).encode("WINE"), want)
    assert_same_bits(copy.deepcopy(model).encode("WINE"), want)


def _forget() -> None:
    """What is no longer used, also what the process would have kept."""
    by_reference._recent.clear()
    gc.collect()


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


_CHANGES: dict[str, Callable[[Path], object]] = {
    "one bit of a weight": lambda at: _flip(at / "model.safetensors", -300_001),
    "config.json": lambda at: (at / "config.json").write_text((at / "config.json").read_text() + " "),
    "the tokenizer": lambda at: (at / "vocab.txt").write_text((at / "vocab.txt").read_text() + "newword\n"),
    "the pooling": lambda at: (at / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}'),
    "a module's weights": lambda at: _flip(at / "3_Dense" / "model.safetensors", -1),
    "a file more": lambda at: (at / "special_tokens_map.json").write_text("{}"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with a dense layer behind its pooling, to be changed."""
    encoder = write_encoder(tmp_path / "encoder")
    return write_model(tmp_path / "model", encoder, pooling("mean"), NORMALIZE, dense(128, 16))


@pytest.mark.parametrize("change", _CHANGES)
def test_other_files_are_refused(folder: Path, change: str) -> None:
    pickled = pickle.dumps(minidistil.load(folder, threads=1))
    _forget()
    assert pickle.loads(pickled).get_embedding_dimension() == 16
    _forget()
    _CHANGES[change](folder)
    with pytest.raises(CheckpointError, match="other files than those that were loaded"):
        pickle.loads(pickled)


@pytest.mark.parametrize("change", _CHANGES)
def test_files_that_changed_after_loading_are_not_pickled(folder: Path, change: str) -> None:
    model = minidistil.load(folder, threads=1)
    pickle.dumps(model)
    os.utime(folder / "model.safetensors", ns=(1, 1))
    model = minidistil.load(folder, threads=1)
    _CHANGES[change](folder)
    with pytest.raises(CheckpointError, match="other files now than when they were loaded"):
        pickle.dumps(model)


def test_a_folder_that_is_not_there(folder: Path) -> None:
    pickled = pickle.dumps(minidistil.load(folder, threads=1))
    _forget()
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        pickle.loads(pickled)


def test_models_made_of_arrays_are_copied_and_not_pickled() -> None:
    model = minidistil.BertModel(build.config(synthetic.BERT_SMALL), build.model_weights(synthetic.BERT_SMALL))
    copied = copy.deepcopy(model)
    assert_same_bits(copied([[1, 2]]).last_hidden_state, model([[1, 2]]).last_hidden_state)
    assert copied._backend is model._backend
    with pytest.raises(pickle.PicklingError, match="BertModel was made in memory"):
        pickle.dumps(model)


def test_a_relative_folder_is_found_from_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    pickled = pickle.dumps(minidistil.load(folder.name, threads=1))
    _forget()
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).source.folder == folder


def test_an_encoder_in_a_folder_within(folder: Path) -> None:
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in [p for p in folder.iterdir() if p.is_file() and p.name != "modules.json"]:
        path.rename(inner / path.name)
    modules = (folder / "modules.json").read_text().replace('"path": "",', '"path": "0_Transformer",')
    (folder / "modules.json").write_text(modules)
    model = minidistil.load(folder, threads=1)
    want, pickled = model.encode(TEXTS), pickle.dumps(model)
    del model
    _forget()
    again = pickle.loads(pickled)
    assert again.model.source.inside == "0_Transformer"
    assert_same_bits(again.encode(TEXTS), want)


def test_options_of_loading_come_along(folder: Path, tmp_path: Path) -> None:
    config = minidistil.AutoConfig.from_pretrained(folder).to_dict()
    options = {"config": {**config, "hidden_act": "relu"}, "subfolder": "model", "add_pooling_layer": False}
    model = minidistil.AutoModel.from_pretrained(folder.parent, threads=1, **options)
    want, pickled = model([[1, 2]]).last_hidden_state, pickle.dumps(model)
    assert np.any(minidistil.load(folder, threads=1).model([[1, 2]]).last_hidden_state != want)
    del model
    _forget()
    again = pickle.loads(pickled)
    assert again.source.hub == {"subfolder": "model"}
    assert "pooler_output" not in again([[1, 2]])
    assert_same_bits(again([[1, 2]]).last_hidden_state, want)


_FROM_THE_HUB = """
import pickle, sys, minidistil
tokenizer, pipe = minidistil.AutoTokenizer, minidistil.pipeline
name = "distilbert/distilbert-base-uncased"
made = pipe("fill-mask", model=name, token="hf_secret", threads=1), tokenizer.from_pretrained(name, token="hf_secret")
pickled = pickle.dumps(made)
assert b"hf_secret" not in pickled
assert made[0].model.source.hub == {"revision": "0123456789abcdef0123456789abcdef01234567"}
open(sys.argv[1], "wb").write(pickled)
"""
_ELSEWHERE = """
import pickle, sys
pipe, tokenizer = pickle.load(open(sys.argv[1], "rb"))
assert tokenizer("wine") == pipe.tokenizer("wine")
print(pipe.model.source.folder, pipe.model.source.name)
"""


def test_a_hub_id_is_found_in_another_cache(offline: dict[str, str], tmp_path: Path) -> None:
    python(_FROM_THE_HUB, tmp_path / "pickled", env=offline)
    home = shutil.copytree(offline["HF_HOME"], tmp_path / "home")
    folder, name = python(_ELSEWHERE, tmp_path / "pickled", env={**offline, "HF_HOME": str(home)}).split()
    assert name == "distilbert/distilbert-base-uncased"
    assert Path(folder).is_relative_to(home)


def test_a_package_is_found_elsewhere(sentence_small: Path, tmp_path: Path) -> None:
    for place in "one", "other":
        shutil.copytree(sentence_small, tmp_path / place / "some_model_package" / "model")
        (tmp_path / place / "some_model_package" / "__init__.py").write_text("raise SystemExit('it was run')")
    code = "import sys, pickle, minidistil; m = minidistil.load('package:some_model_package', threads=1);"
    python(code + "pickle.dump(m, open(sys.argv[1], 'wb'))", tmp_path / "p", env={"PYTHONPATH": str(tmp_path / "one")})
    code = "import sys, pickle; print(pickle.load(open(sys.argv[1], 'rb')).source.folder)"
    found = python(code, tmp_path / "p", env={"PYTHONPATH": str(tmp_path / "other")})
    assert Path(found) == tmp_path / "other" / "some_model_package" / "model"


def test_only_what_is_ours_is_loaded() -> None:
    with pytest.raises(TypeError, match="not pickled as where"):
        by_reference.restored(dict, ("/", {}, ""), {}, "")  # type: ignore[type-var]


def test_errors_are_pickled() -> None:
    again = pickle.loads(pickle.dumps(CheckpointError("folder", ["one", "two"])))
    assert (again.where, again.faults) == ("folder", ("one", "two"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children_find_what_their_parent_pickled(bert_small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = minidistil.load(bert_small, threads=1)
    pickled = pickle.dumps(model)
    monkeypatch.setattr(Checkpoint, "__init__", None)  # nobody opens one
    assert forked(lambda: str(pickle.loads(pickled)._backend is model._backend).encode()) == b"True"
