"""fill-mask: candidates, options, several texts, errors."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from minidistil import AutoModel, TruncationWarning, pipeline
from minidistil.pipelines.fill_mask import _best, _Options
from tests.interface.backends import QUICK

TEXT = "paris is the [MASK] of france."
TWO = "the [MASK] of [MASK] is big."


@pytest.fixture(scope="module", params=QUICK)
def fill(request: pytest.FixtureRequest, distilbert_small: Path) -> Any:
    return pipeline("fill-mask", model=distilbert_small, backend=request.param, threads=2)


def probabilities(fill: Any, text: str) -> np.ndarray:
    """Softmax in float64 over the whole vocabulary at each mask, from the model's own logits."""
    inputs = fill.tokenizer(text, return_tensors="np")
    logits = fill.model(**inputs).logits[0][inputs["input_ids"][0] == fill.tokenizer.mask_token_id].astype(np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def test_one_mask_gives_the_best_candidates(fill: Any) -> None:
    result = fill(TEXT)
    expected = probabilities(fill, TEXT)[0]
    assert [row["token"] for row in result] == np.argsort(-expected)[:5].tolist()
    for row in result:
        assert list(row) == ["score", "token", "token_str", "sequence"]
        assert row["score"] == pytest.approx(expected[row["token"]], rel=1e-5)
        assert row["token_str"] == fill.tokenizer.decode([row["token"]])
        assert row["sequence"] == f"paris is the {row['token_str']} of france."
    json.dumps(result)


def test_several_masks_give_a_list_each_and_stay_visible(fill: Any) -> None:
    first, second = fill(TWO, top_k=2)
    expected = probabilities(fill, TWO)
    for place, rows in enumerate((first, second)):
        assert [row["token"] for row in rows] == np.argsort(-expected[place])[:2].tolist()
        words = ["[MASK]", "[MASK]"]
        for row in rows:
            words[place] = row["token_str"]
            assert row["sequence"] == f"[CLS] the {words[0]} of {words[1]} is big. [SEP]"


def test_one_text_one_answer_a_list_a_list_an_iterable_an_iterator(fill: Any) -> None:
    one = fill(TEXT)
    both = fill([TEXT, TWO])
    assert isinstance(both, list)
    assert [row["token"] for row in both[0]] == [row["token"] for row in one]
    assert len(both[1]) == 2
    assert [row["token"] for row in fill([TEXT])] == [row["token"] for row in one]
    assert [row["token"] for row in fill((TEXT,))[0]] == [row["token"] for row in one]
    assert fill([]) == []
    assert len(fill((TEXT, TWO, TEXT), batch_size=2)) == 3
    read = []

    def texts() -> Any:
        for text in (TEXT, TWO, "no mask"):
            read.append(text)
            yield text

    answers = fill(texts())
    assert read == []
    assert [row["token"] for row in next(answers)] == [row["token"] for row in one]
    assert read == [TEXT]
    assert len(next(answers)) == 2
    with pytest.raises(ValueError, match=re.escape("no mask token ([MASK]) in text 2")):
        next(answers)


def test_targets_keep_their_share_of_the_whole_vocabulary(fill: Any) -> None:
    expected = probabilities(fill, TEXT)[0]
    result = fill(TEXT, targets=["capital", "city", "capital"])
    assert len(result) == 2
    ids = fill.tokenizer.convert_tokens_to_ids(["capital", "city"])
    assert sorted(row["token"] for row in result) == sorted(ids)
    assert result[0]["score"] > result[1]["score"]
    for row in result:
        assert row["score"] == pytest.approx(expected[row["token"]], rel=1e-5)
    assert [row["token_str"] for row in fill(TEXT, targets="city")] == ["city"]
    assert len(fill(TEXT, targets=["capital", "city"], top_k=1)) == 1


def test_targets_that_the_vocabulary_lacks(fill: Any) -> None:
    with pytest.warns(UserWarning, match="'waterfall' is not in the vocabulary; its first token 'water'") as caught:
        result = fill(TEXT, targets=["waterfall", "city"])
    assert caught[0].filename == __file__
    assert {row["token_str"] for row in result} == {"water", "city"}
    with (
        pytest.warns(UserWarning, match="has no tokens; it is left out"),
        pytest.raises(ValueError, match=re.escape("none of the targets ['']")),
    ):
        fill(TEXT, targets=[""])
    with pytest.raises(ValueError, match="at least one is needed"):
        fill(TEXT, targets=[])


def test_options_may_be_given_once_and_overridden(fill: Any) -> None:
    own = pipeline("fill-mask", model=fill.model, top_k=2, targets=["city", "king", "war"])
    assert len(own(TEXT)) == 2
    assert len(own(TEXT, top_k=3)) == 3
    assert len(fill(TEXT, top_k=10_000)) == 1200


def test_truncation_is_an_error_unless_told_otherwise(fill: Any) -> None:
    long = f"{TEXT} {'the ' * 600}"
    for options in ({}, {"truncation": False}, {"truncation": "error"}):
        with pytest.raises(ValueError, match=re.escape("1 of the texts (index 1) are longer than 512 tokens")):
            fill([TEXT, long], **options)
    before = fill.truncated
    with pytest.warns(TruncationWarning, match="1 of 2 texts are longer than 512 tokens") as caught:
        assert len(fill([TEXT, long], truncation="warn", top_k=1)) == 2
    assert caught[0].message.count == 1
    assert caught[0].filename == __file__
    assert len(fill(long, truncation=True)) == 5
    assert len(fill(long, tokenizer_kwargs={"truncation": True})) == 5
    assert fill.truncated == before + 3
    with pytest.raises(ValueError, match="in text 0: truncation has cut it off"):
        fill(f"{'the ' * 600} {TEXT}", truncation=True)


def test_windows_reach_the_end_of_a_long_text(fill: Any) -> None:
    """Every mask is filled as the model fills it in the window where it is nearest to the middle."""
    words = ["city" if i % 7 else "king" for i in range(1300)]
    for place in (3, 250, 255, 508, 512, 700, 1290):
        words[place] = "[MASK]"
    text = " ".join(words)
    tokenizer, mask = fill.tokenizer, fill.tokenizer.mask_token_id
    windows = tokenizer.encode_windows([text], 512, stride=255)[0]
    expected: dict[int, tuple[int, np.ndarray]] = {}
    for window in windows:
        logits = fill.model(np.array([window.ids])).logits[0]
        for i in np.flatnonzero(np.array(window.ids) == mask):
            central = min(i, len(window.ids) - 1 - i)
            start = window.offsets[i][0]
            if start not in expected or central > expected[start][0]:
                expected[start] = central, logits[i]
    found = fill(text, windows=True, top_k=1)
    assert len(found) == len(expected) == 7
    for rows, start in zip(found, sorted(expected), strict=True):
        logits = expected[start][1]
        assert rows[0]["token"] == logits.argmax()
        weights = np.exp(logits.astype(np.float64) - logits.max())
        assert rows[0]["score"] == pytest.approx(weights.max() / weights.sum(), rel=1e-5)
    assert len(tokenizer(found[0][0]["sequence"])["input_ids"]) > 1300


def test_windows_change_nothing_where_a_text_fits(fill: Any) -> None:
    asked = [TEXT, f"{TEXT} {TEXT}"]
    (one, several), (want_one, want_several) = fill(asked, windows=True), fill(asked)
    rows, want = sum(several, one), sum(want_several, want_one)
    assert [row | {"score": 0} for row in rows] == [row | {"score": 0} for row in want]
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in want], rel=1e-5)
    alone = fill(f"{'the ' * 900} {TEXT}", windows=True)
    assert len(alone) == 5
    in_company = fill([TEXT, f"{'the ' * 900} {TEXT}"], windows=True)[1]
    assert [row["token"] for row in in_company] == [row["token"] for row in alone]
    assert [row["score"] for row in in_company] == pytest.approx([row["score"] for row in alone], rel=1e-5)
    with pytest.raises(ValueError, match=r"no mask token .* in text 0: write"):
        fill("the " * 900, windows=True)


REFUSED = [
    ("no mask here", {}, ValueError, "no mask token ([MASK]) in text 0: write [MASK] where to fill in"),
    ([TEXT, "none"], {}, ValueError, "no mask token ([MASK]) in text 1"),
    ([TEXT, None], {}, TypeError, "text 1 must be a str, got NoneType"),
    (7, {}, TypeError, "takes a str, a list of str or an iterable of str, got int"),
    ({"text": TEXT}, {}, TypeError, "got dict"),
    (TEXT, {"top_k": 0}, ValueError, "top_k must be positive, got 0"),
    (TEXT, {"targets": [3]}, TypeError, "targets must be str, got int"),
    (TEXT, {"topk": 3}, TypeError, "fill-mask has no option topk; it has top_k, targets, windows"),
    (TEXT, {"truncation": "cut"}, ValueError, "truncation must be"),
    (TEXT, {"batch_size": 0}, ValueError, "batch_size must be positive"),
    (TEXT, {"tokenizer_kwargs": {"stride": 3}}, TypeError, "of tokenizer_kwargs truncation, max_length and padding"),
]


@pytest.mark.parametrize(
    ("texts", "options", "kind", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else ""
)
def test_refused(fill: Any, texts: object, options: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        fill(texts, **options)


def test_errors_of_making_a_pipeline(distilbert_small: Path, bert_small: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="unknown task 'summarization'; supported tasks: feature-extraction, fill-mask, "
    ):
        pipeline("summarization", model=distilbert_small)
    with pytest.raises(ValueError, match="needs model="):
        pipeline("fill-mask")
    with pytest.raises(ValueError, match="CPU only, got device '0'"):
        pipeline("fill-mask", model=distilbert_small, device=0)
    with pytest.raises(TypeError, match="needs a model with a masked-language-model head, got DistilBertModel"):
        pipeline("fill-mask", model=AutoModel.from_pretrained(distilbert_small, backend="blas"))
    model = minidistil.load(distilbert_small, backend="blas")
    with pytest.raises(TypeError, match="has no option topk"):
        pipeline("fill-mask", model=model, topk=3)
    with pytest.raises(TypeError, match="tokenizer must be a path or a minidistil Tokenizer, got dict"):
        pipeline("fill-mask", model=model, tokenizer={})
    shutil.copy(distilbert_small / "config.json", tmp_path)
    minidistil.AutoTokenizer.from_pretrained(distilbert_small).backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    # Of no class that would have one.
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ValueError, match="needs a tokenizer that has a mask token"):
        pipeline("fill-mask", model=model, tokenizer=tmp_path)
    assert pipeline("fill-mask", model=model, tokenizer=bert_small, device="cpu")(TEXT)


def test_a_tokenizer_with_more_words_than_the_model_is_noticed(fill: Any, minilm: Path) -> None:
    other = pipeline("fill-mask", model=fill.model, tokenizer=minilm)
    with pytest.raises(ValueError, match=r"of text 0, token 1, is \d+.*the vocabulary has 1200 entries"):
        other("Paris is the [MASK] of France.")
    with pytest.raises(ValueError, match="are not in the model's 1200 words"):
        other(TEXT, targets=["paris"])


def test_equal_scores_go_to_the_smaller_id() -> None:
    logits = np.zeros(50, np.float32)
    logits[[40, 7, 30]] = 2
    tokens, scores = _best(logits, _Options(5, None))
    assert tokens.tolist() == [7, 30, 40, 0, 1]
    assert scores[0] == scores[2] > scores[3]
    assert _best(logits, _Options(2, np.array([3, 30, 40])))[0].tolist() == [30, 40]
    extreme = np.array([-1e30, 1e30, 0], np.float32)
    assert _best(extreme, _Options(3, None))[1].tolist() == [1, 0, 0]


def test_progress_is_shown_only_when_asked(fill: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fill([TEXT] * 6, batch_size=2)
    assert capsys.readouterr() == ("", "")
    fill([TEXT] * 6, batch_size=2, progress=True)
    assert "6/6" in capsys.readouterr().err


def test_a_text_alone_and_in_a_list_has_the_same_scores(distilbert_small: Path) -> None:
    fill = pipeline("fill-mask", model=distilbert_small, backend="engine", threads=2)
    texts = [TEXT, TWO, "[MASK] " * 3, "the night is [MASK] and the moon and the stars are new"]
    together = fill(texts)
    assert [fill(text) for text in texts] == together
    assert fill(texts, batch_size=1) == together
    with ThreadPoolExecutor(8) as workers:
        assert list(workers.map(fill, texts * 4)) == together * 4
