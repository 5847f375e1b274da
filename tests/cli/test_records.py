"""Records in every form: what goes in comes out, types and all, beside the results."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from tests.bits import assert_same_bits
from tests.cli.support import run
from tests.cli.tables import FORMS, QUICK, TEXTS, TYPED, pa, plain, read, write


@pytest.mark.parametrize("out", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_any_form_into_any(capsys: Any, tmp_path: Path, tasks: dict[str, Path], form: str, out: str) -> None:
    table = pa.table({"id": [str(i) for i in range(len(TEXTS))], "body": TEXTS})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / f"out{out}"
    arguments = ("--column", "body", "-m", tasks["sentiment"], "-o", target, *QUICK)
    assert run(capsys, "classify", source, *arguments) == (0, "", "")
    found = read(target)
    assert found.select(["id", "body"]).to_pylist() == table.to_pylist()
    wanted = minidistil.pipeline("text-classification", model=tasks["sentiment"], threads=1)(TEXTS)
    assert found["label"].to_pylist() == [row["label"] for row in wanted]
    assert [float(score) for score in found["score"].to_pylist()] == [row["score"] for row in wanted]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({source.name, target.name})


@pytest.mark.parametrize("out", TYPED)
@pytest.mark.parametrize("form", TYPED)
def test_columns_of_any_type_are_kept(
    capsys: Any, tmp_path: Path, tasks: dict[str, Path], rich: Any, form: str, out: str
) -> None:
    source = write(tmp_path / f"in{form}", rich)
    for command, model, columns in [
        ("classify", "sentiment", {"label": pa.string(), "score": pa.float64()}),
        ("ner", "entities", {"entities": None}),
        ("embed", "sentences", {"embedding": pa.list_(pa.float32(), 128)}),
    ]:
        target = tmp_path / f"{command}{out}"
        assert run(capsys, command, source, "-o", target, "-m", tasks[model], *QUICK).err == ""
        found = read(target)
        found.validate(full=True)
        kept = found.select(rich.schema.names)
        assert kept.schema == rich.schema
        assert kept.schema.metadata[b"from"] == b"somewhere"
        assert plain(kept) == plain(rich)
        assert found.schema.names == [*rich.schema.names, *columns]
        for name, kind in columns.items():
            assert kind is None or found.schema.field(name).type == kind
            assert [i for i, value in enumerate(found[name]) if not value.is_valid] == [3, 64]  # the null texts


def test_the_rows_of_encode_in_every_form(capsys: Any, tmp_path: Path, tasks: dict[str, Path], rich: Any) -> None:
    source = write(tmp_path / "in.parquet", rich)
    texts = [text for text in rich["text"].to_pylist() if text is not None]
    expected = minidistil.load(tasks["sentences"], threads=1).encode(texts)
    for name in ("out.parquet", "out.arrow", "out.jsonl"):
        assert run(capsys, "embed", source, "-o", tmp_path / name, "-m", tasks["sentences"], *QUICK) == (
            0,
            "",
            "",
        )
        rows = read(tmp_path / name)["embedding"].to_pylist()
        assert_same_bits(np.array([row for row in rows if row is not None], np.float32), expected)
        assert [i for i, row in enumerate(rows) if row is None] == [3, 64]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[1]["at"] == "1970-01-01 00:00:01.000000007"
    assert lines[1]["money"] == "0.25"
    printed = run(capsys, "embed", source, "-m", tasks["sentences"], *QUICK)
    assert printed.out == (tmp_path / "out.jsonl").read_text()
    refused = run(capsys, "embed", source, "-o", tmp_path / "out.npy", "-m", "nowhere")
    assert refused.status == 2
    assert f"{source}:4: text is null, and a .npy file has no place for that" in refused.err


@pytest.mark.parametrize("form", FORMS)
def test_embed_reads_columns_and_not_their_lines(
    capsys: Any, tmp_path: Path, tasks: dict[str, Path], form: str
) -> None:
    table = pa.table({"id": [str(i) for i in range(len(TEXTS))], "body": TEXTS})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / "out.npy"
    arguments = ("--column", "body", "-m", tasks["sentences"], *QUICK)
    assert run(capsys, "embed", source, "-o", target, *arguments) == (0, "", "")
    assert_same_bits(np.load(target), minidistil.load(tasks["sentences"], threads=1).encode(TEXTS))
    for precision in ("float16", "ubinary"):
        whole = run(capsys, "embed", source, "-o", tmp_path / "out.parquet", "--precision", precision, *arguments)
        assert whole == (0, "", "")
        found = read(tmp_path / "out.parquet")
        kind = {"float16": pa.list_(pa.float16(), 128), "ubinary": pa.list_(pa.uint8(), 16)}[precision]
        assert found.schema.field("embedding").type == kind
        rows = np.array(found["embedding"].to_pylist(), kind.value_type.to_pandas_dtype())
        wanted = minidistil.quantize_embeddings(np.load(target), precision)
        assert rows.tobytes() == wanted.tobytes()


def test_search_and_rerank_in_columns_and_into_them(
    capsys: Any, tmp_path: Path, tasks: dict[str, Path], rich: Any
) -> None:
    source = write(tmp_path / "in.parquet", rich)
    for command, model in [("search", "sentences"), ("rerank", "reranker")]:
        asked = (command, "city light", source, "-k", "7", "-m", tasks[model], *QUICK)
        printed = json.loads(run(capsys, *asked, "--json").out)
        assert [row["score"] for row in printed] == sorted((row["score"] for row in printed), reverse=True)
        assert [row["text"] for row in printed] == [rich["text"][row["line"] - 1].as_py() for row in printed]
        for name in ("out.parquet", "out.arrow", "out.jsonl", "out.csv"):
            assert run(capsys, *asked, "-o", tmp_path / name) == (0, "", "")
            found = read(tmp_path / name)
            assert [float(score) for score in found["score"].to_pylist()] == [row["score"] for row in printed]
            if name.endswith(TYPED):
                wanted = rich.take([row["line"] - 1 for row in printed])
                assert plain(found.drop_columns(["score"])) == plain(wanted)
                assert found.schema.names == [*rich.schema.names, "score"]
                assert found.schema.field("kind").type == rich.schema.field("kind").type
        assert f"{source}:{printed[0]['line']} {printed[0]['score']:.3f}" in run(capsys, *asked).out


def test_search_reads_a_table_and_not_its_lines(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,"the city\nof light"\n2,wine\n3,\n')
    arguments = ("search", "wine", tmp_path / "in.csv", "-m", tasks["sentences"], "--json", *QUICK)
    found = json.loads(run(capsys, *arguments).out)
    assert [(row["id"], row["text"]) for row in found] == [("2", "wine"), ("1", "the city\nof light")]
    assert [row["line"] for row in found] == [4, 3]


def test_lists_have_types(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    pairs = pa.table({"question": ["who ?", None, "who ?"], "context": ["the city of light", "wine", None]})
    source, texts = write(tmp_path / "pairs.parquet", pairs), write(tmp_path / "in.parquet", pa.table({"text": ["a"]}))
    label = pa.struct([("label", pa.string()), ("score", pa.float64())])
    answer = [("answer", pa.string()), ("score", pa.float64()), ("start", pa.int64()), ("end", pa.int64())]
    entity = [("entity_group", pa.string()), ("score", pa.float64()), ("word", pa.string())]
    for asked, model, types in [
        (("classify", texts, "--all"), "sentiment", {"labels": pa.list_(label)}),
        (("zero-shot", texts, "-l", "a, b"), "entailment", {"labels": pa.list_(label)}),
        (("zero-shot", texts, "-l", "a"), "entailment", {"label": pa.string(), "score": pa.float64()}),
        (("ner", texts), "entities", {"entities": pa.list_(pa.struct([*entity, *answer[2:]]))}),
        (("qa", "--pairs", source), "questions", dict(answer)),
        (("qa", "--pairs", source, "-k", "2"), "questions", {"answers": pa.list_(pa.struct(answer))}),
    ]:
        target = tmp_path / "out.parquet"
        assert run(capsys, *asked, "-o", target, "-m", tasks[model], *QUICK).err == ""
        found = read(target)
        assert {field.name: field.type for field in found.schema if field.name in types} == types
        if asked[0] == "qa":
            assert found[next(iter(types))].null_count == 2


def test_names_that_are_taken(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    """A labelled data set works as it is; so does its output, under a name of one's own."""
    source = write(tmp_path / "in.jsonl", pa.table({"text": TEXTS[:4], "label": [1, 0, 1, 0]}))
    arguments = ("-m", tasks["sentiment"], "--json", *QUICK)
    rows = [json.loads(line) for line in run(capsys, "classify", source, *arguments).out.splitlines()]
    assert [row["label"] for row in rows] == [1, 0, 1, 0]
    assert list(rows[0]) == ["text", "label", "predicted_label", "predicted_score"]
    named = run(capsys, "classify", source, *arguments, "--prefix", "my_").out.splitlines()
    assert [json.loads(line)["my_label"] for line in named] == [row["predicted_label"] for row in rows]
    again = write(tmp_path / "again.jsonl", pa.Table.from_pylist(rows))
    refused = run(capsys, "classify", again, *arguments)
    assert refused.status == 2
    assert "has the column predicted_label and predicted_score already" in refused.err
    assert "--prefix" in refused.err
    embedded = write(tmp_path / "embedded.jsonl", pa.table({"text": ["a"], "embedding": [[1.0]]}))
    out = run(capsys, "embed", embedded, "-m", tasks["sentences"], *QUICK).out
    assert list(json.loads(out)) == ["text", "embedding", "new_embedding"]


@pytest.mark.parametrize("out", TYPED)
def test_dictionaries_that_change(capsys: Any, tmp_path: Path, tasks: dict[str, Path], out: str) -> None:
    """A stream may have another dictionary for each batch; a file has one."""
    parts = [
        pa.record_batch({"text": ["wine"] * 300, "kind": pa.DictionaryArray.from_arrays([0, 1, None] * 100, values)})
        for values in (["red", "blue"], ["green", "red"])
    ]
    with pa.ipc.new_stream(str(tmp_path / "in.arrow"), parts[0].schema) as stream:
        for part in parts:
            stream.write_batch(part)
    for command, model in [("embed", "sentences"), ("classify", "sentiment")]:
        target = tmp_path / f"out{out}"
        assert run(capsys, command, tmp_path / "in.arrow", "-o", target, "-m", tasks[model], *QUICK) == (
            0,
            "",
            "",
        )
        found = read(target)
        assert found["kind"].to_pylist() == ["red", "blue", None] * 100 + ["green", "red", None] * 100
        assert found.schema.field("kind").type == parts[0].schema.field("kind").type


def test_nothing_found_is_a_file_too(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    source = write(tmp_path / "in.parquet", pa.table({"text": ["a"]}))
    for name in ("out.csv", "out.parquet", "out.arrow"):
        asked = ("search", "wine", source, "--min-score", "2", "-o", tmp_path / name)
        assert run(capsys, *asked, "-m", tasks["sentences"], *QUICK) == (0, "", "")
        assert len(read(tmp_path / name)) == 0


@pytest.mark.parametrize("out", [".csv", ".jsonl", *TYPED])
@pytest.mark.parametrize("form", [".csv", ".jsonl", *TYPED])
def test_nothing_gives_a_file_of_nothing(
    capsys: Any, tmp_path: Path, tasks: dict[str, Path], form: str, out: str
) -> None:
    source = write(tmp_path / f"in{form}", pa.table({"id": pa.array([], pa.int8()), "text": pa.array([], pa.string())}))
    target = tmp_path / f"out{out}"
    assert run(capsys, "classify", source, "-o", target, "-m", tasks["sentiment"], *QUICK) == (0, "", "")
    own = ["id", "text"] if form != ".jsonl" else []  # no line says what columns there are
    if out == ".csv":
        assert target.read_text() == ",".join([*own, "label", "score"]) + "\n"
    elif out == ".jsonl":
        assert target.read_text() == ""
    else:
        found = read(target)
        assert found.schema.names == [*own, "label", "score"]
        assert len(found) == 0
        assert run(capsys, "embed", source, "-o", target, "-m", tasks["sentences"], *QUICK) == (0, "", "")
        assert read(target).schema.names == [*own, "embedding"]


def test_json_lines_get_types(capsys: Any, tmp_path: Path, tasks: dict[str, Path]) -> None:
    lines = [{"text": "a", "n": 1}, {"n": 2.5, "text": "b", "who": {"x": [1]}}, {"text": None, "n": None}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ("-o", tmp_path / "out.parquet", "-m", tasks["sentiment"], *QUICK)
    assert run(capsys, "classify", tmp_path / "in.jsonl", *arguments) == (0, "", "")
    found = read(tmp_path / "out.parquet")
    assert found.schema.names == ["text", "n", "who", "label", "score"]
    assert found["n"].to_pylist() == [1.0, 2.5, None]
    assert found["who"].to_pylist() == [None, {"x": [1]}, None]
    assert found["label"].null_count == 1


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_streams(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: dict[str, Path], command: str
) -> None:
    """What can be read only once: types are those of its beginning."""
    model = {"classify": tasks["sentiment"], "embed": tasks["sentences"]}[command]
    out = io.BytesIO()
    table = pa.table({"id": [1, 2], "text": ["the city", None]})
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    given = {
        "arrow": out.getvalue(),
        "jsonl": b'{"id": 1, "text": "the city"}\n{"id": 2, "text": null}\n',
        "csv": b"id,text\n1,the city\n2,\n",
    }
    for form, data in given.items():
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        arguments = ("--format", form, "-o", tmp_path / "out.parquet", "-m", model, *QUICK)
        assert run(capsys, command, *arguments) == (0, "", "")
        found = read(tmp_path / "out.parquet")
        assert found.select(["id", "text"]).to_pylist()[0] == {"id": "1" if form == "csv" else 1, "text": "the city"}
        assert found.schema.names[:2] == ["id", "text"]
        assert len(found) == 2
