"""Records in every form: what goes in comes out, types and all, beside the results; faults are told all at once."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidistil
from tests import processes
from tests.bits import assert_same_bits
from tests.cli.support import run, run_process
from tests.pipelines.checkpoints import write_small

pa: Any = pytest.importorskip("pyarrow", reason="Arrow and Parquet need pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet", reason="Arrow and Parquet need pyarrow")
feather: Any = pytest.importorskip("pyarrow.feather", reason="Arrow and Parquet need pyarrow")

QUICK = ("--threads", "1")
TEXTS = ["the city of light", 'wine, "bread"\nand music', "", "paris is great", "unbelievable"] * 20
TYPED = (".parquet", ".arrow", ".feather")
FORMS = (".csv", ".tsv", ".jsonl", *TYPED)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, reranker_small: Path, sentence_small: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    own = {name: write_small(folder, name) for name in ("sentiment", "entities", "questions", "entailment")}
    return {**own, "reranker": reranker_small, "sentences": sentence_small}


def write(path: Path, table: Any) -> Path:
    """A table as a file of the form that its name says, Parquet in row groups of 30."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=30)
    elif path.suffix in TYPED:
        feather.write_feather(table, path, chunksize=30)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, "excel-tab" if path.suffix == ".tsv" else "excel")
            writer.writerows([table.schema.names, *(row.values() for row in table.to_pylist())])
    return path


def read(path: Path) -> Any:
    """A file of any form as a table; all is text in CSV."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix in TYPED:
        return feather.read_table(path, memory_map=False)
    if path.suffix == ".jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_text().splitlines()])
    with path.open(newline="") as file:
        return pa.Table.from_pylist(
            list(csv.DictReader(file, dialect="excel-tab" if path.suffix == ".tsv" else "excel"))
        )


@pytest.fixture(scope="module")
def rich() -> Any:
    """Texts, two of them null, and columns of many types with nulls."""
    n = len(TEXTS)
    texts = [None if i in (3, 64) else text for i, text in enumerate(TEXTS)]
    return pa.table(
        {
            "id": pa.array([None if i % 7 == 0 else i for i in range(n)], pa.int16()),
            "text": pa.array(texts, pa.large_string()),
            "nested": [None if i % 5 == 0 else {"a": [i, None], "b": {"c": str(i)}} for i in range(n)],
            "kind": pa.array([["red", None, "blue"][i % 3] for i in range(n)]).dictionary_encode(),
            "at": pa.array([i * 1_000_000_007 for i in range(n)], pa.timestamp("ns")),
            "vector": pa.array([[float(i), 0.5] for i in range(n)], pa.list_(pa.float32(), 2)),
            "money": pa.array([Decimal(i) / 4 for i in range(n)], pa.decimal128(9, 2)),
        }
    ).replace_schema_metadata({"from": "somewhere"})


def plain(table: Any) -> list[dict[str, Any]]:
    """The rows of a table such as `rich`: nanoseconds, which Python's times have not, as numbers."""
    at = table.schema.get_field_index("at")
    rows: list[dict[str, Any]] = table.set_column(at, "at", table["at"].cast(pa.int64())).to_pylist()
    return rows


@pytest.mark.parametrize("out", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_any_form_into_any(capsys: Any, tmp_path: Path, models: dict[str, Path], form: str, out: str) -> None:
    table = pa.table({"id": [str(i) for i in range(len(TEXTS))], "body": TEXTS})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / f"out{out}"
    arguments = ("--column", "body", "-m", models["sentiment"], "-o", target, *QUICK)
    assert run(capsys, "classify", source, *arguments) == (0, "", "")
    found = read(target)
    assert found.select(["id", "body"]).to_pylist() == table.to_pylist()
    wanted = minidistil.pipeline("text-classification", model=models["sentiment"], threads=1)(TEXTS)
    assert found["label"].to_pylist() == [row["label"] for row in wanted]
    assert [float(score) for score in found["score"].to_pylist()] == [row["score"] for row in wanted]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({source.name, target.name})


@pytest.mark.parametrize("out", TYPED)
@pytest.mark.parametrize("form", TYPED)
def test_columns_of_any_type_are_kept(
    capsys: Any, tmp_path: Path, models: dict[str, Path], rich: Any, form: str, out: str
) -> None:
    source = write(tmp_path / f"in{form}", rich)
    for command, model, columns in [
        ("classify", "sentiment", {"label": pa.string(), "score": pa.float64()}),
        ("ner", "entities", {"entities": None}),
        ("embed", "sentences", {"embedding": pa.list_(pa.float32(), 128)}),
    ]:
        target = tmp_path / f"{command}{out}"
        assert run(capsys, command, source, "-o", target, "-m", models[model], *QUICK).err == ""
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


def test_the_rows_of_encode_in_every_form(capsys: Any, tmp_path: Path, models: dict[str, Path], rich: Any) -> None:
    source = write(tmp_path / "in.parquet", rich)
    texts = [text for text in rich["text"].to_pylist() if text is not None]
    expected = minidistil.load(models["sentences"], threads=1).encode(texts)
    for name in ("out.parquet", "out.arrow", "out.jsonl"):
        assert run(capsys, "embed", source, "-o", tmp_path / name, "-m", models["sentences"], *QUICK) == (0, "", "")
        rows = read(tmp_path / name)["embedding"].to_pylist()
        assert_same_bits(np.array([row for row in rows if row is not None], np.float32), expected)
        assert [i for i, row in enumerate(rows) if row is None] == [3, 64]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[1]["at"] == "1970-01-01 00:00:01.000000007"
    assert lines[1]["money"] == "0.25"
    printed = run(capsys, "embed", source, "-m", models["sentences"], *QUICK)
    assert printed.out == (tmp_path / "out.jsonl").read_text()
    refused = run(capsys, "embed", source, "-o", tmp_path / "out.npy", "-m", "nowhere")
    assert refused.status == 2
    assert f"{source}:4: text is null, and a .npy file has no place for that" in refused.err


@pytest.mark.parametrize("form", FORMS)
def test_embed_reads_columns_and_not_their_lines(
    capsys: Any, tmp_path: Path, models: dict[str, Path], form: str
) -> None:
    table = pa.table({"id": [str(i) for i in range(len(TEXTS))], "body": TEXTS})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / "out.npy"
    arguments = ("--column", "body", "-m", models["sentences"], *QUICK)
    assert run(capsys, "embed", source, "-o", target, *arguments) == (0, "", "")
    assert_same_bits(np.load(target), minidistil.load(models["sentences"], threads=1).encode(TEXTS))
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
    capsys: Any, tmp_path: Path, models: dict[str, Path], rich: Any
) -> None:
    source = write(tmp_path / "in.parquet", rich)
    for command, model in [("search", "sentences"), ("rerank", "reranker")]:
        asked = (command, "city light", source, "-k", "7", "-m", models[model], *QUICK)
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


def test_search_reads_a_table_and_not_its_lines(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,"the city\nof light"\n2,wine\n3,\n')
    arguments = ("search", "wine", tmp_path / "in.csv", "-m", models["sentences"], "--json", *QUICK)
    found = json.loads(run(capsys, *arguments).out)
    assert [(row["id"], row["text"]) for row in found] == [("2", "wine"), ("1", "the city\nof light")]
    assert [row["line"] for row in found] == [4, 3]


def test_lists_have_types(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
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
        assert run(capsys, *asked, "-o", target, "-m", models[model], *QUICK).err == ""
        found = read(target)
        assert {field.name: field.type for field in found.schema if field.name in types} == types
        if asked[0] == "qa":
            assert found[next(iter(types))].null_count == 2


def test_names_that_are_taken(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
    """A labelled data set works as it is; so does its output, under a name of one's own."""
    source = write(tmp_path / "in.jsonl", pa.table({"text": TEXTS[:4], "label": [1, 0, 1, 0]}))
    arguments = ("-m", models["sentiment"], "--json", *QUICK)
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
    out = run(capsys, "embed", embedded, "-m", models["sentences"], *QUICK).out
    assert list(json.loads(out)) == ["text", "embedding", "new_embedding"]


@pytest.mark.parametrize("form", [*FORMS, ".txt"])
def test_shards_one_after_another_are_the_whole(
    capsys: Any, tmp_path: Path, models: dict[str, Path], form: str
) -> None:
    source = tmp_path / f"in{form}"
    if form == ".txt":
        source.write_text("".join(f"{text.splitlines()[0] if text else ''}\n" for text in TEXTS))
    else:
        write(source, pa.table({"text": TEXTS, "id": list(map(str, range(len(TEXTS))))}))
    for command, model in [("embed", "sentences"), ("classify", "sentiment")]:
        for target in ("x.jsonl", "x.parquet"):
            asked = (command, source, "-m", models[model], *QUICK)
            assert run(capsys, *asked, "-o", tmp_path / target).err == ""
            parts = []
            for i in (1, 2, 3):
                assert run(capsys, *asked, "-o", tmp_path / f"{i}{target}", "--shard", f"{i}/3") == (0, "", "")
                parts.append(tmp_path / f"{i}{target}")
            if target == "x.jsonl":
                assert b"".join(part.read_bytes() for part in parts) == (tmp_path / target).read_bytes()
            else:
                assert pa.concat_tables(map(read, parts)).equals(read(tmp_path / target))
            assert len({part.stat().st_size for part in parts}) > 1 or form == ".txt"
    refused = run(capsys, "embed", "-", "--shard", "1/2", "-m", "nowhere")
    assert "--shard takes a file" in refused.err
    for wrong in ("0/2", "3/2", "1", "a/b"):
        assert "it is I/N, such as 1/4" in run(capsys, "embed", source, "--shard", wrong, "-m", "nowhere").err


KILLED = """
import os, sys
from minidistil import SentenceEncoder
from minidistil.cli import main
from minidistil.sentences import journal
journal.COMMIT_SECONDS = 0.0
honest, calls = SentenceEncoder.encode, 0
def encode(self, sentences, *args, **options):
    global calls
    calls += bool(sentences)
    if calls == 9:  # in the second chunk: null texts divide each into six calls
        os._exit(9)
    return honest(self, sentences, *args, **options)
SentenceEncoder.encode = encode
main(sys.argv[1:])
"""


@pytest.mark.parametrize("out", [".parquet", ".arrow", ".jsonl"])
def test_killed_and_gone_on_with(
    capsys: Any, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, rich: Any, out: str
) -> None:
    table = pa.concat_tables([rich] * 9)  # chunks of 256, with null texts among them
    source, target = write(tmp_path / "in.parquet", table), tmp_path / f"out{out}"
    asked = ("embed", source, "-m", models["sentences"], *QUICK)
    ended = processes.run([sys.executable, "-c", KILLED, *asked, "-o", target])
    assert ended.returncode == 9
    assert not target.exists()
    assert (tmp_path / f"out{out}.partial").stat().st_size > 1000
    changed = table.set_column(0, "id", pa.array(range(len(table)), pa.int16()))
    write(tmp_path / "changed.parquet", changed)
    refused = run(capsys, "embed", tmp_path / "changed.parquet", *asked[2:], "-o", target)
    assert "sentence 0 (counted from 0) is another than the one it was made of" in refused.err
    assert "--column" not in refused.err
    computed: list[str] = []
    honest = minidistil.SentenceEncoder.encode

    def counted(self: Any, sentences: Any, **options: Any) -> Any:
        computed.extend(sentences)
        return honest(self, sentences, **options)

    monkeypatch.setattr(minidistil.SentenceEncoder, "encode", counted)
    assert run(capsys, *asked, "-o", target) == (0, "", "")
    assert 0 < len(computed) < 900 - 18 - 3  # something was taken over, and something was left
    monkeypatch.undo()
    assert run(capsys, *asked, "-o", tmp_path / f"whole{out}") == (0, "", "")
    assert target.read_bytes() == (tmp_path / f"whole{out}").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


ANSWERS_KILLED = """
import os, sys
from minidistil.cli import main
from minidistil.pipelines.base import Pipeline
from minidistil.sentences import journal
journal.COMMIT_SECONDS = 0.0
honest, calls = Pipeline.__call__, 0
def call(self, inputs, **options):
    global calls
    calls += 1
    if calls == 3:
        os._exit(9)
    return honest(self, inputs, **options)
Pipeline.__call__ = call
main(sys.argv[1:])
"""


@pytest.mark.parametrize("form", [".csv", ".parquet"])
@pytest.mark.parametrize("out", [".parquet", ".arrow", ".jsonl", ".csv"])
def test_answers_are_gone_on_with_too(
    capsys: Any, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, form: str, out: str
) -> None:
    table = pa.table({"id": [str(i) for i in range(300)], "text": TEXTS * 3})
    source, target = write(tmp_path / f"in{form}", table), tmp_path / f"out{out}"
    for command, model in [("classify", "sentiment"), ("ner", "entities")]:
        asked = (command, source, "-m", models[model], *QUICK)
        ended = processes.run([sys.executable, "-c", ANSWERS_KILLED, *asked, "-o", target])
        assert ended.returncode == 9
        assert not target.exists()
        assert (tmp_path / f"out{out}.partial").stat().st_size > 1000
        other = {"classify": ("-k", "2"), "ner": ("--aggregation", "max")}[command]
        refused = run(capsys, *asked, "-o", target, *other)
        assert refused.status == 2
        assert {"classify": "top_k was 1 and is 2", "ner": "aggregation was 'first' and is 'max'"}[
            command
        ] in refused.err
        answered: list[str] = []
        honest = minidistil.pipelines.base.Pipeline.__call__

        def counted(
            self: Any, inputs: Any, answered: list[str] = answered, honest: Any = honest, **options: Any
        ) -> Any:
            answered.extend(inputs)
            return honest(self, inputs, **options)

        monkeypatch.setattr(minidistil.pipelines.base.Pipeline, "__call__", counted)
        assert run(capsys, *asked, "-o", target) == (0, "", "")
        assert answered == (TEXTS * 3)[128:]
        monkeypatch.undo()
        assert run(capsys, *asked, "-o", tmp_path / f"whole{out}") == (0, "", "")
        assert target.read_bytes() == (tmp_path / f"whole{out}").read_bytes()
        assert not list(tmp_path.glob("*.partial*"))
        target.unlink()


def test_labels_are_counted_from_the_beginning(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
    """What an interrupted run has left is done anew where agreement with gold labels is asked for."""
    source = write(tmp_path / "in.csv", pa.table({"text": TEXTS, "label": ["1"] * len(TEXTS)}))
    asked = ("classify", source, "-m", models["sentiment"], "-o", tmp_path / "out.csv", *QUICK)
    processes.run([sys.executable, "-c", ANSWERS_KILLED.replace("calls == 3", "calls == 2"), *asked])
    assert (tmp_path / "out.csv.partial").exists()
    assert json.loads(run(capsys, *asked, "--gold", "label", "--json").out)["texts"] == len(TEXTS)
    assert len(read(tmp_path / "out.csv")) == len(TEXTS)


@pytest.mark.parametrize("out", [".csv", ".jsonl", *TYPED])
@pytest.mark.parametrize("form", [".csv", ".jsonl", *TYPED])
def test_nothing_gives_a_file_of_nothing(
    capsys: Any, tmp_path: Path, models: dict[str, Path], form: str, out: str
) -> None:
    source = write(tmp_path / f"in{form}", pa.table({"id": pa.array([], pa.int8()), "text": pa.array([], pa.string())}))
    target = tmp_path / f"out{out}"
    assert run(capsys, "classify", source, "-o", target, "-m", models["sentiment"], *QUICK) == (0, "", "")
    own = ["id", "text"] if form != ".jsonl" else []  # no line says what columns there are
    if out == ".csv":
        assert target.read_text() == ",".join([*own, "label", "score"]) + "\n"
    elif out == ".jsonl":
        assert target.read_text() == ""
    else:
        found = read(target)
        assert found.schema.names == [*own, "label", "score"]
        assert len(found) == 0
        assert run(capsys, "embed", source, "-o", target, "-m", models["sentences"], *QUICK) == (0, "", "")
        assert read(target).schema.names == [*own, "embedding"]


def test_json_lines_get_types(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
    lines = [{"text": "a", "n": 1}, {"n": 2.5, "text": "b", "who": {"x": [1]}}, {"text": None, "n": None}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ("-o", tmp_path / "out.parquet", "-m", models["sentiment"], *QUICK)
    assert run(capsys, "classify", tmp_path / "in.jsonl", *arguments) == (0, "", "")
    found = read(tmp_path / "out.parquet")
    assert found.schema.names == ["text", "n", "who", "label", "score"]
    assert found["n"].to_pylist() == [1.0, 2.5, None]
    assert found["who"].to_pylist() == [None, {"x": [1]}, None]
    assert found["label"].null_count == 1


@pytest.mark.parametrize("command", ["classify", "embed"])
def test_streams(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: dict[str, Path], command: str
) -> None:
    """What can be read only once: types are those of its beginning."""
    model = {"classify": models["sentiment"], "embed": models["sentences"]}[command]
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


def many(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


BAD: dict[str, tuple[str, Any, list[str], list[str]]] = {
    "rows of CSV": (
        "in.csv", many("id,text", "1,a", "2", "3,b", "4,c,d"), [],
        ["in.csv:3: 1 cells, and the header has 2", "in.csv:5: 3 cells, and the header has 2"],
    ),
    "lines of JSON": (
        "in.jsonl", many('{"text": "a"}', "{", '{"body": 1}', '{"text": 3}', "[]"), [],
        ["in.jsonl:2: not a line of JSON", "in.jsonl:3: no text among the columns body", "in.jsonl:4: text is no text, "
         "but int", "in.jsonl:5: not an object, but list"],
    ),
    "more than can be told": ("in.csv", many("text", *["a,b"] * 30), [], ["in.csv:21: 2 cells", "; and 10 more"]),
    "no such column": ("in.parquet", pa.table({"a": [1]}), [], ["in.parquet: no column 'text' among a"]),
    "two columns of a pair": (
        "in.parquet", pa.table({"text": [1]}), ["--pair-column", "b"],
        ["in.parquet: column 'text' is no text, but int64", "in.parquet: no column 'b' among text"],
    ),
    "bytes that are no text": (
        "in.arrow", pa.table({"text": pa.array([b"a", b"\xff", b"\xfe"]).view(pa.string())}), [],
        ["in.arrow:2: text: byte 0xff is not UTF-8", "in.arrow:3: text: byte 0xfe is not UTF-8"],
    ),
    "two columns of one name": (
        "in.arrow", pa.table([["a"], ["b"]], names=["text", "text"]), [], ["in.arrow: two columns have the same name"],
    ),
    "no Parquet": ("in.parquet", "text\n", [], ["in.parquet: is no Parquet file, or a damaged one"]),
    "no Arrow": ("in.arrow", "text\n", [], ["in.arrow: is no Arrow file, or a damaged one"]),
    "no types in common": (
        "in.jsonl", many('{"text": "a", "x": 1}', '{"text": "b", "x": "c"}'), ["-o", "out.parquet"],
        ["in.jsonl: column 'x' holds values that have no type in common", "write .jsonl"],
    ),
    "labels": (
        "in.csv", many("text,gold", "a,1", "b,neutral", "c,POSITIVE"), ["--gold", "gold"],
        ["in.csv:3: gold is 'neutral'", "the model's labels are 0 NEGATIVE, 1 POSITIVE"],
    ),
    "no such labels": ("in.csv", many("text", "a"), ["--gold", "gold"], ["in.csv:1: no gold among the columns text"]),
    "no labels at all": ("in.jsonl", many('{"text": "a", "g": null}'), ["--gold", "g"], ["no text has a label in"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_all_faults_at_once(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: dict[str, Path], case: str
) -> None:
    name, content, options, messages = BAD[case]
    monkeypatch.chdir(tmp_path)
    if isinstance(content, str):
        Path(name).write_text(content)
    else:
        write(Path(name), content)
    result = run(capsys, "classify", name, "-m", models["sentiment"], *QUICK, *options)
    assert result.status == 2
    assert result.err.count("\n") == 1, result.err
    for message in messages:
        assert message in result.err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_cannot_be_written_is_told_with_what_can(capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    for name in ("out.csv", "out.json", "out", "out.txt"):
        result = run(capsys, "embed", tmp_path / "in.txt", "-o", tmp_path / name, "-m", "nowhere")
        assert result.status == 2
        assert ".npy, .jsonl, .ndjson, .arrow, .feather, .parquet" in result.err
    assert not list(tmp_path.glob("out*"))


def test_what_a_form_cannot_hold_is_told(capsys: Any, tmp_path: Path, models: dict[str, Path]) -> None:
    source = write(
        tmp_path / "in.arrow", pa.table({"text": ["a"], "raw": [b"\x00"], "day": [datetime.date(2020, 1, 2)]})
    )
    arguments = ("-m", models["sentiment"], *QUICK)
    for name in ("out.jsonl", "out.csv"):
        result = run(capsys, "classify", source, "-o", tmp_path / name, *arguments)
        assert "column 'raw': JSON has no form for bytes; write .parquet or .arrow" in result.err
        assert "nothing was written" in result.err
    odd = pa.table({"text": ["a"], "x": pa.array([None], pa.month_day_nano_interval())})
    source = write(tmp_path / "odd.arrow", odd)
    for command, model in [("classify", models["sentiment"]), ("embed", models["sentences"])]:
        result = run(capsys, command, source, "-o", tmp_path / "out.parquet", "-m", model, *QUICK)
        assert "Parquet cannot hold these columns" in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.arrow", "odd.arrow"]


def test_without_pyarrow_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from minidistil.cli import main; print(main(sys.argv[1:]))"
    (tmp_path / "in.txt").write_text("a\n")
    (tmp_path / "in.parquet").write_text("a\n")
    for arguments in (
        ("classify", "in.parquet", "-m", "x"),
        ("classify", "in.txt", "-o", "out.arrow", "-m", "x"),
        ("embed", "in.txt", "-o", "out.parquet", "-m", "x"),
        ("search", "q", "in.parquet", "-m", "x"),
        ("rerank", "q", "in.txt", "-o", "out.parquet", "-m", "x"),
    ):
        done = processes.run([sys.executable, "-c", code, *arguments], cwd=tmp_path)
        assert done.stdout == "2\n"
        assert 'pip install "minidistil[arrow]"' in done.stderr


def test_commands_without_tables_load_no_pyarrow(tmp_path: Path, models: dict[str, Path]) -> None:
    code = "import sys; from minidistil.cli import main; main(sys.argv[1:]); assert 'pyarrow' not in sys.modules"
    (tmp_path / "in.csv").write_text("text\na\n")
    processes.python(
        code, "classify", str(tmp_path / "in.csv"), "-m", str(models["sentiment"]), "-o", str(tmp_path / "o.jsonl")
    )
    processes.python(
        code, "embed", str(tmp_path / "in.csv"), "-m", str(models["sentences"]), "-o", str(tmp_path / "o.npy")
    )
    assert run_process("--help").status == 0
