"""Every row of docs/migration.md, run: a function for each, by its first cell."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import pipeline, util
from tests.pipelines.checkpoints import write_small

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migration.md"
ROWS: dict[str, Callable[[Any], Any]] = {}
TEXTS = ["the city of light", "wine is great , people play music"]


def row(first_cell: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """The function that runs a row, given `at`: the folder of a checkpoint by its name; "tmp" is one to write in."""

    def add(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ROWS[first_cell] = run
        return run

    return add


@pytest.fixture(scope="module")
def at(
    tmp_path_factory: pytest.TempPathFactory, bert_small: Path, sentence_small: Path, reranker_small: Path
) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("migration")
    made = {"bert": bert_small, "sentences": sentence_small, "reranker": reranker_small, "tmp": folder}

    def find(name: str) -> Path:
        if name not in made:
            made[name] = write_small(folder, name)
        return made[name]

    return find


def _rows() -> list[str]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [re.split(r" \| ", line.strip("| "))[0] for line in lines]
    return [cell for cell in cells if not re.fullmatch(r"(sentence-)?transformers \d", cell)]


def test_every_row_is_run() -> None:
    assert sorted(_rows()) == sorted(ROWS)


@pytest.mark.parametrize("cell", ROWS)
def test_row(cell: str, at: Callable[[str], Path]) -> None:
    ROWS[cell](at)


@row("`AutoTokenizer.from_pretrained(name)`, `DistilBertTokenizerFast...`, `BertTokenizer...`")
def _(at: Any) -> None:
    want = minidistil.AutoTokenizer.from_pretrained(at("bert"))(TEXTS)
    assert minidistil.DistilBertTokenizerFast.from_pretrained(at("bert"))(TEXTS) == want
    assert minidistil.BertTokenizer.from_pretrained(at("bert"))(TEXTS) == want


@row("`AutoConfig.from_pretrained(name, num_labels=, output_hidden_states=, ...)`")
def _(at: Any) -> None:
    assert minidistil.AutoConfig.from_pretrained(at("bert"), num_labels=4).num_hidden_layers == 2


@row("`from_pretrained(name, dtype=, device_map=, config=, subfolder=, add_pooling_layer=, ...)`")
def _(at: Any) -> None:
    options = {"dtype": "auto", "device_map": "auto", "subfolder": "", "add_pooling_layer": False}
    assert "pooler_output" not in minidistil.AutoModel.from_pretrained(at("bert"), **options)([[2, 3]])


@row("`from_pretrained(name, dtype=torch.bfloat16)`")
def _(at: Any) -> None:
    load = minidistil.AutoModel.from_pretrained
    half = load(at("bert"), dtype="torch.bfloat16")([[2, 3]]).last_hidden_state
    assert np.array_equal(load(at("bert"), precision="bfloat16")([[2, 3]]).last_hidden_state, half)
    assert half.dtype == np.float32
    assert np.any(half != load(at("bert"))([[2, 3]]).last_hidden_state)


@row(
    "`from_pretrained(name, quantization_config=...)`, `load_in_8bit=True`, "
    "`torch.ao.quantization.quantize_dynamic(model)`"
)
def _(at: Any) -> None:
    for keyword in ({"quantization_config": object()}, {"load_in_8bit": True}):
        with pytest.raises(ValueError, match='pass precision="int8"'):
            minidistil.AutoModel.from_pretrained(at("bert"), **keyword)
    assert minidistil.AutoModel.from_pretrained(at("bert"), precision="int8").precision == "int8"


@row('`SentenceTransformer(name, model_kwargs={"torch_dtype": "bfloat16"})`, `backend="onnx"` with a quantized file')
def _(at: Any) -> None:
    told = minidistil.SentenceTransformer(at("sentences"), model_kwargs={"torch_dtype": "bfloat16"})
    assert told.precision == "bfloat16"
    assert np.array_equal(
        told.encode(TEXTS), minidistil.SentenceTransformer(at("sentences"), precision="bfloat16").encode(TEXTS)
    )
    assert minidistil.SentenceTransformer(at("sentences"), precision="int8").encode(TEXTS).dtype == np.float32
    with pytest.raises(ValueError, match="takes the checkpoint as it is"):
        minidistil.SentenceTransformer(at("sentences"), backend="onnx")


@row('`tokenizer(texts, return_tensors="pt")`')
def _(at: Any) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(at("bert"))
    assert tokenizer(TEXTS, padding=True, return_tensors="np")["input_ids"].shape[0] == 2
    assert isinstance(tokenizer(TEXTS)["input_ids"], list)
    with pytest.raises(ValueError, match='must be None or "np"'):
        tokenizer(TEXTS, return_tensors="pt")


@row(
    "`tokenizer(..., stride=, return_overflowing_tokens=True)`, `.word_ids(i)`, `.sequence_ids(i)`, "
    "`.char_to_token(...)`"
)
def _(at: Any) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(at("bert"))
    windows = tokenizer(TEXTS, truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert windows["overflow_to_sample_mapping"][:2] == [0, 0]
    assert windows.word_ids(1)[1] == 2
    assert windows.sequence_ids(0) == [None, 0, 0, 0, None]
    assert windows.char_to_token(0, 4) == 2


@row(
    '`encoding[0]`, `.data`, `.to("cpu")`, `.word_to_tokens(...)`, `tokenizer.pad(...)`, `.special_tokens_map`, '
    "`.get_added_vocab()`"
)
def _(at: Any) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(at("bert"))
    encoding = tokenizer(TEXTS).to("cpu")
    assert encoding.data["input_ids"][0] == encoding[0].ids
    assert encoding.word_to_tokens(0, 1) == (2, 3)
    assert tokenizer.pad(encoding, return_tensors="np").input_ids.shape[0] == 2
    assert set(tokenizer.special_tokens_map.values()) == set(tokenizer.get_added_vocab())


@row("`tokenizer.add_tokens(...)`, `tokenizer.pad_token = ...`, `model.resize_token_embeddings(...)`")
def _(at: Any) -> None:
    tokenizer = minidistil.AutoTokenizer.from_pretrained(at("bert"), pad_token="[MASK]")
    assert tokenizer.pad_token_id == tokenizer.mask_token_id
    assert not hasattr(tokenizer, "add_tokens")
    with pytest.raises(AttributeError):
        tokenizer.pad_token = "[PAD]"
    assert not hasattr(minidistil.AutoModel.from_pretrained(at("bert"), backend="blas"), "resize_token_embeddings")


@row("`AutoModel.from_pretrained(name)`, `AutoModelFor...`, `DistilBertFor...`, `BertFor...`")
def _(at: Any) -> None:
    assert type(minidistil.AutoModel.from_pretrained(at("bert"), backend="blas")) is minidistil.BertModel
    for kind in (minidistil.AutoModelForSequenceClassification, minidistil.DistilBertForSequenceClassification):
        loaded = kind.from_pretrained(at("sentiment"), backend="blas")
        assert type(loaded) is type(minidistil.load(at("sentiment"), backend="blas"))


@row("`model(**inputs)`, `output_hidden_states=`, `output_attentions=`, `return_dict=`")
def _(at: Any) -> None:
    model = minidistil.AutoModelForSequenceClassification.from_pretrained(at("sentiment"), threads=1)
    inputs = model.tokenizer(TEXTS, padding=True, return_tensors="np")
    out = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert (out.logits.shape, len(out.hidden_states), len(out["attentions"])) == ((2, 2), 3, 2)
    assert np.array_equal(model(**inputs, return_dict=False)[0], out[0])


@row("`model(..., labels=...)`, `model.generate`")
def _(at: Any) -> None:
    model = minidistil.load(at("sentiment"), backend="blas")
    with pytest.raises(ValueError, match="nothing is trained here"):
        model([[1, 2]], labels=[0])
    assert not hasattr(model, "generate")


@row("`model.save_pretrained(folder)`, `tokenizer.save_pretrained(folder)`, `pipe.save_pretrained(folder)`")
def _(at: Any) -> None:
    model, saved = minidistil.load(at("sentiment"), threads=1), at("tmp") / "saved"
    model.save_pretrained(saved)
    model.tokenizer.save_pretrained(saved)
    answers = [pipeline("sentiment-analysis", model=folder, threads=1)(TEXTS) for folder in (saved, at("sentiment"))]
    assert answers[0] == answers[1]
    pipeline("sentiment-analysis", model=saved, threads=1).save_pretrained(at("tmp") / "saved-again")
    assert pipeline("sentiment-analysis", model=at("tmp") / "saved-again", threads=1)(TEXTS) == answers[0]


@row("`model.device`, `.dtype`, `.num_parameters()`, `.get_input_embeddings().weight`, `.name_or_path`")
def _(at: Any) -> None:
    model = minidistil.BertModel.from_pretrained(at("bert"), backend="blas")
    assert (model.device.type, model.dtype, model.name_or_path) == ("cpu", np.float32, str(at("bert")))
    assert model.get_input_embeddings().weight.shape == (1200, 128)
    assert model.num_parameters() - model.num_parameters(exclude_embeddings=True) == (1200 + 512 + 2) * 128


@row("`config.to_dict()`, `config.get(key)`, `BertConfig.from_pretrained(name)`, `BertConfig(vocab_size=...)`")
def _(at: Any) -> None:
    config = minidistil.BertConfig.from_pretrained(at("bert"))
    assert config.to_dict()["hidden_size"] == config.get("hidden_size") == 128
    assert minidistil.BertConfig(vocab_size=99).hidden_size == 768


@row('`model.eval()`, `model.to("cpu")`, `with torch.no_grad():`')
def _(at: Any) -> None:
    model = minidistil.load(at("sentiment"), backend="blas")
    assert model.eval().to("cpu") is model


@row('`pipeline("text-classification")`, `"sentiment-analysis"`')
def _(at: Any) -> None:
    answers = [
        pipeline(task, model=at("sentiment"), threads=1)(TEXTS)
        for task in ("text-classification", "sentiment-analysis")
    ]
    assert answers[0] == answers[1]
    assert set(answers[0][1]) == {"label", "score"}


@row('`pipeline("token-classification")`, `"ner"`')
def _(at: Any) -> None:
    answers = [
        pipeline(task, model=at("entities"), threads=1, aggregation_strategy="simple")(TEXTS)
        for task in ("token-classification", "ner")
    ]
    assert answers[0] == answers[1]
    assert set(answers[0][0][0]) == {"entity_group", "score", "word", "start", "end"}


@row('`pipeline("question-answering")` (transformers 4; gone since)')
def _(at: Any) -> None:
    ask = pipeline("question-answering", model=at("questions"), threads=1)
    assert ask(question="what ?", context=TEXTS[1]) == ask("what ?", TEXTS[1])


@row('`pipeline("zero-shot-classification")`')
def _(at: Any) -> None:
    answer = pipeline("zero-shot-classification", model=at("entailment"), backend="blas")(TEXTS[0], ["wine", "city"])
    assert set(answer) == {"sequence", "labels", "scores"}


@row('`pipeline("fill-mask")`, `pipeline("feature-extraction")`')
def _(at: Any) -> None:
    assert len(pipeline("fill-mask", model=at("words-electra"), backend="blas")("the [MASK] of light")) == 5
    assert np.shape(pipeline("feature-extraction", model=at("bert"), backend="blas")(TEXTS[0])) == (1, 6, 128)


@row("`pipe(text)`, `pipe([a, b])`, `for answer in pipe(generator):`")
def _(at: Any) -> None:
    pipe = pipeline("ner", model=at("entities"), backend="blas")
    assert isinstance(pipe(iter(TEXTS)), Iterator)
    assert len(pipe(TEXTS)) == len(list(pipe(text for text in TEXTS))) == 2
    assert pipe(TEXTS[0])[0]["index"] == 1


@row("`pipe(texts, batch_size=8)`")
def _(at: Any) -> None:
    pipe = pipeline("ner", model=at("entities"))
    assert pipe(TEXTS, batch_size=8) == pipe(TEXTS) == pipe(TEXTS, batch_tokens=8)


@row('`pipe(KeyDataset(dataset, "text"))`')
def _(at: Any) -> None:
    class KeyDataset:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> str:
            return TEXTS[i]

    pipe = pipeline("ner", model=at("entities"))
    assert list(pipe(KeyDataset())) == pipe(TEXTS) == list(pipe(r["text"] for r in [{"text": t} for t in TEXTS]))


@row("`pipeline(model=name)`, without a task")
def _(at: Any) -> None:
    assert pipeline(model=at("entities"))(TEXTS) == pipeline("ner", model=at("entities"))(TEXTS)


@row("`FillMaskPipeline(model=model, tokenizer=tokenizer)` and its kin")
def _(at: Any) -> None:
    model = minidistil.AutoModelForMaskedLM.from_pretrained(at("words-electra"), backend="blas")
    fill = minidistil.FillMaskPipeline(model=model, tokenizer=model.tokenizer, top_k=2)
    texts, other = ["the [MASK] of light"], minidistil.FillMaskPipeline(model)
    assert [row["token"] for row in fill(texts)] == [row["token"] for row in other(texts)][:2]
    for kind in ("TextClassification", "TokenClassification", "QuestionAnswering", "FeatureExtraction"):
        assert issubclass(getattr(minidistil, f"{kind}Pipeline"), minidistil.Pipeline)


@row("`pipeline(..., device=0)`")
def _(at: Any) -> None:
    with pytest.raises(ValueError, match="CPU only"):
        pipeline("ner", model=at("entities"), device=0)


@row(
    '`pipeline(..., device=-1, dtype="auto", device_map="auto", framework="pt", num_workers=4, use_fast=True, '
    "model_kwargs={})`"
)
def _(at: Any) -> None:
    options = {"device": -1, "dtype": "auto", "device_map": "auto", "framework": "pt", "num_workers": 4}
    told = pipeline("ner", model=at("entities"), **options, use_fast=True, model_kwargs={})
    assert told(TEXTS) == pipeline("ner", model=at("entities"))(TEXTS)


@row('`SentenceTransformer("all-MiniLM-L6-v2")`')
def _(at: Any) -> None:
    want = minidistil.load(at("sentences")).encode(TEXTS)
    assert np.array_equal(minidistil.SentenceTransformer(str(at("sentences"))).encode(TEXTS), want)


@row(
    "`model.encode(sentences, prompt_name=, prompt=, batch_size=, normalize_embeddings=, truncate_dim=, output_value=)`"
)
def _(at: Any) -> None:
    model = minidistil.SentenceTransformer(at("sentences"), prompts={"of": "people of "})
    first = model.encode(TEXTS, prompt_name="of", batch_size=1, normalize_embeddings=True, truncate_dim=7)
    assert np.array_equal(model.encode(TEXTS, prompt="people of ", normalize_embeddings=True, truncate_dim=7), first)
    assert model.encode(TEXTS, output_value="token_embeddings")[0].shape == (6, 128)


@row('`model.encode(..., precision="binary")`, `"ubinary"`')
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    assert model.encode(TEXTS, precision="binary").dtype == np.int8
    assert model.encode(TEXTS, precision="ubinary").shape == (2, 16)


@row('`model.encode(..., precision="int8")`, `"uint8"`')
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    ranges = minidistil.calibration_ranges(model.encode([*TEXTS, "the night"]))
    assert model.encode(TEXTS, precision="int8", ranges=ranges).dtype == np.int8
    with pytest.raises(ValueError, match="needs ranges"):
        model.encode(TEXTS, precision="uint8")


@row('`quantize_embeddings(x, "int8", ranges=, calibration_embeddings=)`')
def _(at: Any) -> None:
    x = minidistil.load(at("sentences")).encode([*TEXTS, "the night"])
    ranges = minidistil.calibration_ranges(x)
    want = minidistil.quantize_embeddings(x, "int8", calibration_embeddings=x)
    assert np.array_equal(minidistil.quantize_embeddings(x, "int8", ranges=ranges), want)


@row("`model.encode_query(...)`, `model.encode_document(...)`")
def _(at: Any) -> None:
    model = minidistil.SentenceTransformer(at("sentences"), prompts={"query": "what "})
    assert np.array_equal(model.encode_query("is wine"), model.encode("what is wine"))
    assert np.array_equal(model.encode_document("is wine"), model.encode("is wine"))


@row("`model.similarity(a, b)`, `model.similarity_pairwise(a, b)`, `model.similarity_fn_name`")
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    x = model.encode(TEXTS)
    assert model.similarity_fn_name == "cosine"
    np.testing.assert_allclose(np.diag(model.similarity(x, x)), model.similarity_pairwise(x, x), rtol=1e-6)


@row(
    "`util.cos_sim`, `dot_score`, `euclidean_sim`, `manhattan_sim`, `pairwise_...`, `semantic_search`, "
    "`normalize_embeddings`"
)
def _(at: Any) -> None:
    x = util.normalize_embeddings(np.eye(3) * 2)
    assert util.semantic_search(x[1], x, top_k=1) == [[{"corpus_id": 1, "score": 1.0}]]
    for name in ("cos_sim", "dot_score", "euclidean_sim", "manhattan_sim"):
        assert np.array_equal(np.diag(getattr(util, name)(x, x)), getattr(util, f"pairwise_{name}")(x, x))


@row("`model.get_embedding_dimension()`, `model.max_seq_length`, `model.truncate_embeddings(n)`, `model.prompts`")
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    with model.truncate_embeddings(5):
        assert model.get_embedding_dimension() == len(model.encode("wine")) == 5
    assert model.max_seq_length == 64
    assert "query" in model.prompts


@row("`CrossEncoder(name).predict(pairs)`, `.rank(query, documents, top_k=)`")
def _(at: Any) -> None:
    model = minidistil.CrossEncoder(at("reranker"))
    scores = model.predict([("wine", text) for text in TEXTS])
    (best,) = model.rank("wine", TEXTS, top_k=1)
    assert best == {"corpus_id": int(scores.argmax()), "score": float(scores.max())}
    folder = shutil.copytree(at("reranker"), at("tmp") / "marked-reranker", dirs_exist_ok=True)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    assert isinstance(minidistil.load(folder), minidistil.CrossEncoder)


@row("`model.start_multi_process_pool()`, `model.encode(..., pool=pool)`")
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"), threads=2)
    assert np.array_equal(model.encode(TEXTS, pool=None), model.encode(TEXTS))
    with pytest.raises(ValueError, match="no pool of processes is needed"):
        model.encode(TEXTS, pool={"input": None})


@row("`util.paraphrase_mining`, `community_detection`, `truncate_embeddings`, `SimilarityFunction`")
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    texts = [*TEXTS, TEXTS[0]]
    assert util.paraphrase_mining(model, texts)[0][1:] == [0, 2]
    assert util.community_detection(model.encode(texts), 0.999, 2) == [[0, 2]]
    assert util.truncate_embeddings(model.encode(texts), 3).shape == (3, 3)
    assert util.SimilarityFunction is minidistil.SimilarityFunction


@row(
    '`model.device`, `.eval()`, `.to("cpu")`, `.tokenize(texts)`, `.get_max_seq_length()`, `model[0].auto_model`, '
    "`model[1].pooling_mode`, `len(model)`"
)
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    assert model.eval().to(model.device) is model
    assert isinstance(model.tokenize(TEXTS)["input_ids"], np.ndarray)
    assert model.get_max_seq_length() == 64
    assert model[0].auto_model is model.model
    assert [model[1].pooling_mode, len(model)] == ["mean", 3]


@row("a loop over chunks for more sentences than fit")
def _(at: Any) -> None:
    model, path = minidistil.load(at("sentences")), at("tmp") / "out.npy"
    minidistil.encode_to_file(model, (text for text in TEXTS), path)
    assert np.array_equal(np.load(path), model.encode(TEXTS))


@row("`model.save(folder)`, `model.save_pretrained(folder)`, also of a `CrossEncoder`")
def _(at: Any) -> None:
    model, reranker = minidistil.load(at("sentences"), threads=1), minidistil.CrossEncoder(at("reranker"), threads=1)
    model.save(at("tmp") / "saved-sentences")
    assert np.array_equal(minidistil.load(at("tmp") / "saved-sentences").encode(TEXTS), model.encode(TEXTS))
    reranker.save_pretrained(at("tmp") / "saved-reranker")
    assert minidistil.load(at("tmp") / "saved-reranker").predict([TEXTS]) == reranker.predict([TEXTS])


@row("`fit`, trainers, losses, sparse and multi-vector encoders, images")
def _(at: Any) -> None:
    model = minidistil.load(at("sentences"))
    assert not any(hasattr(model, name) for name in ("fit", "train"))
