"""classify, ner, qa and zero-shot: what goes in, what comes out, against the pipelines."""

import csv
import io
import json

import pytest

import minidistil
from minidistil.cli.entities import mark
from tests.cli.support import run
from tests.pipelines.checkpoints import write_small

QUICK = ("--threads", "1")
TEXTS = ["the city of light", 'wine, "bread" and music', "paris is great", "unbelievable"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: write_small(folder, name) for name in ("sentiment", "entities", "questions", "entailment")}


@pytest.fixture
def inputs(tmp_path):
    """The same texts as lines, CSV and JSON lines."""
    (tmp_path / "in.txt").write_text("\n".join([*TEXTS[:2], "", *TEXTS[2:]]) + "\n")
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(TEXTS)])
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(TEXTS)))
    return tmp_path


def _lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_classify_in_every_form(capsys, inputs, models):
    pipe = minidistil.pipeline("text-classification", model=models["sentiment"], threads=1)
    wanted = pipe(TEXTS)
    for name, own in (("in.txt", False), ("in.csv", True), ("in.jsonl", True)):
        result = run(capsys, "classify", inputs / name, "-m", models["sentiment"], "--json", *QUICK)
        assert result.status == 0, result.err
        rows = _lines(result.out)
        assert [{k: row[k] for k in ("label", "score")} for row in rows] == wanted
        assert [row["text"] for row in rows] == TEXTS
        assert [str(row.get("id")) for row in rows] == (["0", "1", "2", "3"] if own else ["None"] * 4)
    shown = run(capsys, "classify", inputs / "in.txt", "-m", models["sentiment"], *QUICK).out.splitlines()
    score = format(wanted[3]["score"], ".3f")
    assert shown[3] == f"{inputs / 'in.txt'}:5 {wanted[3]['label']} {score}  {TEXTS[3]}"
    said = run(capsys, "classify", "-t", TEXTS[0], "-t", TEXTS[3], "-m", models["sentiment"], "--json", *QUICK).out
    assert [row["score"] for row in _lines(said)] == [wanted[0]["score"], wanted[3]["score"]]


def test_classify_standard_input(capsys, monkeypatch, models):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"t": "a dog"}\n\n{"t": "music"}\n')))
    arguments = ("--format", "jsonl", "--column", "t", "-m", models["sentiment"], "--json", "--all")
    rows = _lines(run(capsys, "classify", *arguments, *QUICK).out)
    assert [row["t"] for row in rows] == ["a dog", "music"]
    assert all(sum(label["score"] for label in row["labels"]) == pytest.approx(1) for row in rows)


def test_classify_to_csv_and_back(capsys, inputs, models):
    out = inputs / "out.csv"
    result = run(capsys, "classify", inputs / "in.csv", "-o", out, "--all", "-m", models["sentiment"], *QUICK)
    assert result == (0, "", "")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "label", "score"]
    assert [row["text"] for row in rows] == [text for text in TEXTS for _ in range(2)]
    again = run(capsys, "classify", out, "-m", models["sentiment"], "--json", *QUICK)
    assert [row["predicted_label"] for row in _lines(again.out)] == [
        row["label"] for row in rows[::2] for _ in range(2)
    ]
    tabs = inputs / "out.tsv"
    assert run(capsys, "classify", inputs / "in.csv", "-o", tabs, "-m", models["sentiment"], *QUICK).status == 0
    assert tabs.read_text().splitlines()[0] == "id\ttext\tlabel\tscore"
    assert not list(inputs.glob("*.partial"))


def test_classify_pairs(capsys, inputs, models):
    (inputs / "pairs.csv").write_text("a,b\nthe city,of light\nwine,music\n")
    arguments = ("--column", "a", "--pair-column", "b", "-m", models["sentiment"], "--json")
    rows = _lines(run(capsys, "classify", inputs / "pairs.csv", *arguments, *QUICK).out)
    pipe = minidistil.pipeline("text-classification", model=models["sentiment"], threads=1)
    wanted = pipe([{"text": "the city", "text_pair": "of light"}, {"text": "wine", "text_pair": "music"}])
    assert [row["score"] for row in rows] == [one["score"] for one in wanted]


@pytest.mark.filterwarnings("always")
def test_long_texts_are_counted_or_read_whole(capsys, inputs, models):
    (inputs / "long.txt").write_text(("the cat and the dog " * 200 + "\nshort\n") * 3)
    arguments = ("classify", inputs / "long.txt", "-m", models["sentiment"], *QUICK)
    assert run(capsys, *arguments).err == (
        "minidistil: warning: 3 texts were too long for the model, and only the beginning read\n"
    )
    assert run(capsys, *arguments, "--windows", "mean").err == ""
    arguments = ("zero-shot", inputs / "long.txt", "-l", "city, wine", "-m", models["entailment"], *QUICK)
    assert "3 texts were too long" in run(capsys, *arguments).err
    assert run(capsys, *arguments, "--windows", "max").err == ""


def test_zero_shot(capsys, inputs, models):
    labels = ["wine", "a city", "law"]
    arguments = ("zero-shot", inputs / "in.jsonl", "-l", ", ".join(labels), "-m", models["entailment"], *QUICK)
    wanted = minidistil.pipeline("zero-shot-classification", model=models["entailment"], threads=1)(TEXTS, labels)
    rows = _lines(run(capsys, *arguments, "--json").out)
    for row, answer in zip(rows, wanted, strict=True):
        assert [label["label"] for label in row["labels"]] == answer["labels"]
        assert [label["score"] for label in row["labels"]] == answer["scores"]
    shown = run(capsys, *arguments, "--template", "About {}.", "--multi-label")
    assert shown.status == 0
    assert len(shown.out.splitlines()) == 4


def test_ner(capsys, inputs, models):
    pipe = minidistil.pipeline("ner", model=models["entities"], threads=1, aggregation_strategy="first")
    wanted = pipe(TEXTS)
    assert sum(map(len, wanted)) > 4
    rows = _lines(run(capsys, "ner", inputs / "in.csv", "-m", models["entities"], "--json", *QUICK).out)
    assert [row["entities"] for row in rows] == wanted
    out = inputs / "out.csv"
    assert run(capsys, "ner", inputs / "in.csv", "-o", out, "-m", models["entities"], *QUICK).status == 0
    with out.open(newline="") as file:
        assert [row["word"] for row in csv.DictReader(file)] == [e["word"] for found in wanted for e in found]
    shown = run(capsys, "ner", inputs / "in.txt", "-m", models["entities"], *QUICK).out.splitlines()
    first = wanted[0][0]
    assert f"[{TEXTS[0][first['start'] : first['end']]} {first['entity_group']}]" in shown[0]
    assert "\x1b" not in "".join(shown)  # no terminal, no colours


def test_entities_are_marked_where_they_stand():
    entities = [{"entity_group": "PER", "start": 0, "end": 4}, {"entity_group": "X", "start": 8, "end": 12}]
    marked = mark("Anna in Rome!", entities)
    assert "\x1b[91m" in marked  # a person is red
    import click

    assert click.unstyle(marked) == "[Anna PER] in [Rome X]!"


def test_qa_from_files(capsys, inputs, models):
    (inputs / "a.txt").write_text("the city of light\nis paris and wine is its king\n")
    (inputs / "b.txt").write_text("people play music at night\n")
    files = (inputs / "a.txt", inputs / "b.txt")
    arguments = ("qa", "who is king ?", *files, "-k", "4", "-m", models["questions"], *QUICK)
    found = json.loads(run(capsys, *arguments, "--json").out)
    assert len(found) == 4
    assert [a["score"] for a in found] == sorted((a["score"] for a in found), reverse=True)
    texts = {str(file): file.read_text()[:-1] for file in files}
    for answer in found:
        text = texts[answer["file"]]
        assert text[answer["start"] : answer["end"]] == answer["answer"]
        assert answer["line"] == text[: answer["start"]].count("\n") + 1
    shown = run(capsys, *arguments).out.splitlines()
    assert (
        shown[0]
        == f"{found[0]['file']}:{found[0]['line']} {found[0]['score']:.3f} {' '.join(found[0]['answer'].split())}"
    )


def test_qa_of_pairs(capsys, inputs, models):
    rows = [{"id": i, "question": "who ?", "context": text} for i, text in enumerate(TEXTS)]
    (inputs / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = inputs / "answers.jsonl"
    result = run(capsys, "qa", "--pairs", inputs / "pairs.jsonl", "-o", out, "-m", models["questions"], *QUICK)
    assert result == (0, "", "")
    ask = minidistil.pipeline("question-answering", model=models["questions"], threads=1)
    assert _lines(out.read_text()) == [{**row, **ask({k: row[k] for k in ("question", "context")})} for row in rows]
    table = inputs / "answers.csv"
    arguments = ("-o", table, "-k", "2", "--no-answer", "-m", models["questions"], *QUICK)
    assert run(capsys, "qa", "--pairs", inputs / "pairs.jsonl", *arguments).status == 0
    with table.open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["0", "0", "1", "1", "2", "2", "3", "3"]


FAULTS = {
    "no such column": ("in.csv", "id,text\n1,a\n", ["--column", "body"], ":1: no body among the columns id, text"),
    "an empty CSV": ("in.csv", "", [], "(none)"),
    "a row too short": ("in.csv", "id,text\n1\n", [], ":2: 1 cells, and the header has 2"),
    "a quote that never ends": ("in.csv", 'id,text\n1,"a\n', [], "unexpected end of data"),
    "two columns of one name": ("in.csv", "text,text\na,b\n", [], "two columns have the same name"),
    "no JSON": ("in.jsonl", '{"text": "a"}\n{"text"\n', [], ":2: not a line of JSON"),
    "no object": ("in.jsonl", "[1]\n", [], ":1: not an object, but list"),
    "no text": ("in.jsonl", '{"text": 3}\n', [], ":1: text is no text, but int"),
    "columns in plain text": ("in.txt", "a\n", ["--pair-column", "b"], "--format says which"),
    "labels in plain text": ("in.txt", "a\n", ["--gold", "b"], "columns text and b take CSV"),
    "an output of no known kind": (
        "in.txt",
        "a\n",
        ["-o", "out.xml"],
        "must end in one of .csv, .tsv, .jsonl, .ndjson, .parquet",
    ),
    "a column that is taken": (
        "in.jsonl",
        '{"text": "a", "score": 1}\n',
        ["--json", "--prefix", ""],
        "has the column score already",
    ),
    "other columns than before": (
        "in.jsonl",
        '{"text": "a"}\n{"text": "b", "x": 1}\n',
        ["-o", "out.csv"],
        "in.jsonl:2: columns text, x, and the records before it have text; CSV takes the same ones throughout",
    ),
    "no labels file": ("in.txt", "a\n", ["--pairs", "x"], "--pairs"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_one_line(capsys, monkeypatch, tmp_path, models, case):
    name, content, options, message = FAULTS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    result = run(capsys, "classify", name, "-m", models["sentiment"], *QUICK, *options)
    assert result.status == 2
    assert result.err.startswith("minidistil: ")
    assert result.err.count("\n") == 1, result.err
    assert message in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["qa", "-m", "{questions}"], "ask a QUESTION of FILE..."),
        (["qa", "who ?", "--pairs", "in.csv", "-m", "{questions}"], "ask a QUESTION of FILE..."),
        (["qa", "who ?", "in.txt", "-o", "x.csv", "-m", "{questions}"], "--output is for --pairs"),
        (["qa", " ", "in.txt", "-m", "{questions}"], "the question is empty"),
        (["qa", "who ?", "empty.txt", "-m", "{questions}"], "there is no text in empty.txt"),
        (["qa", "who ?", "nowhere.txt", "-m", "{questions}"], "nowhere.txt: No such file"),
        (["ner", "nowhere.txt", "-m", "{entities}"], "nowhere.txt: No such file"),
        (["ner", "in.txt", "-m", "{sentiment}"], "it is one for `minidistil classify`"),
        (["zero-shot", "in.txt", "-m", "{entailment}"], "--labels"),
        (["zero-shot", "in.txt", "-l", " , ", "-m", "{entailment}"], "needs --labels, such as travel,cooking"),
        (["zero-shot", "in.txt", "-l", "a", "--template", "x", "-m", "{entailment}"], "has no {}"),
    ],
)
def test_refusals_are_one_line(capsys, monkeypatch, tmp_path, models, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("a dog\n")
    (tmp_path / "empty.txt").write_text("\n \n")
    filled = [str(models[a[1:-1]]) if a.startswith("{") else a for a in arguments]
    result = run(capsys, *filled, *QUICK)
    assert result.status == 2, result.out
    assert result.err.count("\n") == 1, result.err
    assert message in result.err
