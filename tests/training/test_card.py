"""The model card: what the hub reads of it, and what people do."""

from __future__ import annotations

import json

from minidistil.training.card import licence_of, model_card


def _front(card: bytes) -> dict[str, object]:
    """What stands between the dashes: texts, and lists of them."""
    lines = card.decode().split("---\n")[1].splitlines()
    found: dict[str, object] = {}
    for line in lines:
        if line.startswith("- "):
            found[name].append(_value(line[2:]))  # type: ignore[attr-defined]  # noqa: F821
            continue
        name, _, value = line.partition(":")
        found[name] = _value(value.strip()) if value else []
    return found


def _value(text: str) -> str:
    return json.loads(text) if text.startswith('"') else text


def test_the_front_is_the_hubs() -> None:
    card = model_card(
        "sequence_classification",
        name="small",
        start="distilbert/distilbert-base-uncased",
        teacher="distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        figures={"accuracy": 0.9123, "macro_f1": 0.9, "f1": 0.91, "loss": 0.25, "agreement": 0.97},
        license="apache-2.0",
        languages=["en", "no"],
        datasets=["stanfordnlp/sst2"],
    )
    assert _front(card) == {
        "license": "apache-2.0",
        "language": ["en", "no"],
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["minidistil", "distillation"],
        "base_model": [
            "distilbert/distilbert-base-uncased",
            "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        ],
        "datasets": ["stanfordnlp/sst2"],
        "metrics": ["accuracy", "f1"],
    }
    text = card.decode()
    assert '- "no"\n' in text  # which YAML takes for false
    assert "| accuracy | 0.9123 |" in text
    assert "| agreement | 0.9700 |" in text
    assert "(https://huggingface.co/distilbert/distilbert-base-uncased)" in text
    assert licence_of(text) == "apache-2.0"


def test_what_nobody_said_is_not_made_up() -> None:
    card = model_card("masked_lm", name="law", start="/home/me/model").decode()
    assert "license: unknown\n" in card
    assert "base_model" not in card
    assert "metrics" not in card
    assert "Nobody has said." in card
    assert "`/home/me/model`" in card
    assert licence_of(card) is None
    assert licence_of("# no front\nlicense: mit") is None
    assert licence_of("---\r\nlanguage: en\r\nlicense: 'mit'\r\n---\r\n") == "mit"
    assert "from scratch" in model_card("masked_lm", name="law", start=None).decode()


def test_data_and_settings_are_tables_that_nothing_breaks() -> None:
    card = model_card(
        "token_classification",
        name="<b>names|of\nall",
        start=None,
        data={"examples": 6920, "labels": ["B-PER", "a|b"], "file": "x.jsonl"},
        settings={"learning_rate": 5e-05, "batch_tokens": None, "pieces": False},
    ).decode()
    assert "# &lt;b>names\\|of all\n" in card
    for line in (
        "| examples | 6,920 |",
        "| labels | B-PER, a\\|b |",
        "| learning_rate | 5e-05 |",
        "| batch_tokens | none |",
        "| pieces | False |",
    ):
        assert f"\n{line}\n" in card
