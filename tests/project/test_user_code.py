"""User code, and what type checkers say of it: mypy and pyright the same, of a checkout and (test_wheel.py) a wheel."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
README = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)

# Behind a line: the type of what it reveals; or `error`, where it is a mistake.
CODE = """\
import minidistil
from minidistil import AutoTokenizer, DistilBertForMaskedLM, pipeline

tokenizer = AutoTokenizer.from_pretrained("x")
model = DistilBertForMaskedLM.from_pretrained("x")
reveal_type(tokenizer("a", return_tensors="np")["input_ids"])  # Any
ids: list[int] = tokenizer("a")["input_ids"]
reveal_type(model(**tokenizer(["a"], return_tensors="np")))  # MaskedLMOutput
reveal_type(model(**tokenizer(["a"], return_tensors="np"), output_hidden_states=True).logits)  # ndarray
reveal_type(model([[1]], return_dict=False))  # tuple[Any, ...]
reveal_type(model([[1]], return_dict=True))  # MaskedLMOutput
model([[1]]).logit  # error

reveal_type(minidistil.load("x"))  # SentenceEncoder | Any
reveal_type(minidistil.load("x").encode(["a"]))  # ndarray[float32] | Any
reveal_type(minidistil.load("x").similarity([[1.0]], [[1.0]]))  # ndarray | Any

encoder = minidistil.SentenceTransformer("x")
reveal_type(encoder.encode("a"))  # ndarray[float32]
reveal_type(encoder.encode(["a"], normalize_embeddings=True, batch_size=2))  # ndarray[float32]
reveal_type(encoder.encode(["a"], "query", precision="binary"))  # ndarray[int8]
reveal_type(encoder.encode(["a"], precision="ubinary"))  # ndarray[uint8]
reveal_type(encoder.encode((text for text in "ab"), precision="float16"))  # ndarray[float16]
reveal_type(encoder.encode("a", output_value="token_embeddings"))  # ndarray[float32]
reveal_type(encoder.encode(["a"], output_value="token_embeddings"))  # list[ndarray[float32]]
reveal_type(encoder.encode(["a"], output_value=None)[0]["input_ids"])  # ndarray
reveal_type(encoder.encode("a", output_value=None))  # SentenceValues
reveal_type(encoder.encode_query(["a"], convert_to_numpy=True))  # ndarray[float32]
reveal_type(encoder.encode_document("a", precision="int8"))  # ndarray[int8]
reveal_type(minidistil.BertModel.from_pretrained("x").encode(["a"], truncate_dim=8))  # ndarray[float32]
encoder.encode(["a"], convert_to_tensor=True)  # error
encoder.encode(["a"], normalise_embeddings=True)  # error

reader = minidistil.CrossEncoder("x")
reveal_type(reader.predict([("a", "b")], apply_softmax=True))  # ndarray[float32]
reveal_type(reader.predict([["a", "b"], ["a", "c"]]))  # ndarray[float32]
reveal_type(reader.predict(("a", "b")))  # float32 | Any
reveal_type(reader.rank("a", ["b", "c"])[0]["corpus_id"])  # int
reader.rank("a", ["b"])[0]["corpus"]  # error

classify = pipeline("sentiment-analysis", model="x", threads=2)
reveal_type(classify("a"))  # list[Label]
reveal_type(classify("a")[0]["score"])  # float
reveal_type(classify(["a", "b"], truncation=True))  # list[Label]
reveal_type(classify({"text": "a", "text_pair": "b"}))  # Label
reveal_type(classify(text for text in "ab"))  # Iterator[Label]
reveal_type(classify("a", top_k=None))  # list[Label]
reveal_type(classify(["a"], top_k=2))  # list[list[Label]]
reveal_type(pipeline("text-classification", "x", top_k=2)(["a"]))  # list[list[Label]]
reveal_type(pipeline("text-classification", "x", top_k=2)({"text": "a"}))  # list[Label]
classify("a")[0]["scores"]  # error
classify("a", top_k="two")  # error

reveal_type(pipeline("ner", "x"))  # TokenClassificationPipeline[NamedToken]
reveal_type(pipeline("ner", "x")("a"))  # list[NamedToken]
reveal_type(pipeline("ner", "x", aggregation_strategy="first")("a"))  # list[Entity]
reveal_type(pipeline("token-classification", "x")(["a"], aggregation_strategy="max"))  # list[list[Entity]]
reveal_type(pipeline("token-classification", "x")("a", stride=2)[0]["entity"])  # str
pipeline("ner", "x")("a")[0]["entity_group"]  # error

answer = pipeline("question-answering", "x")
reveal_type(answer(question="a", context="b"))  # Answer | Any
reveal_type(answer(question="a", context="b")["start"])  # int | Any
reveal_type(answer([{"question": "a", "context": "b"}], top_k=2))  # list[Answer] | Any
answer(question="a", context="b", doc_strides=2)  # error

rank = pipeline("zero-shot-classification", "x")
reveal_type(rank("a", ["b", "c"]))  # RankedLabels
reveal_type(rank(["a"], "b, c", multi_label=True)[0]["labels"])  # list[str]
rank("a", ["b"], hypothesis="c {}")  # error

reveal_type(pipeline("fill-mask", "x")("a [MASK]")[0]["token_str"])  # str | Any
reveal_type(pipeline("fill-mask", "x", top_k=2)(["a [MASK]"], targets=["b"]))  # list[list[Candidate]] | Any

reveal_type(pipeline("feature-extraction", "x")("a"))  # list[list[list[float]]]
reveal_type(pipeline("feature-extraction", "x", return_tensors=True)(["a"]))  # list[ndarray]
reveal_type(pipeline("feature-extraction", "x")("a", return_tensors=True))  # ndarray


def any_task(task: str) -> None:
    reveal_type(pipeline(task, "x"))  # Any
"""

FILES = {**{f"readme_{i}.py": code for i, code in enumerate(README)}, "code.py": CODE}
Said = dict[str, dict[int, tuple[str, str]]]  # file -> line -> "reveals" or "error", and the type or what is wrong


def mypy_says(folder: Path, *options: str | Path) -> Said:
    """What mypy says of FILES, which it finds the package from in a folder."""
    pytest.importorskip("mypy", reason="mypy is of the extra `test`")
    _write(folder)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--ignore-missing-imports", *FILES]
    done = run([*command, "--cache-dir", folder / "cache", *options], cwd=folder)
    assert done.stderr == ""
    said: Said = {name: {} for name in FILES}
    for name, line, kind, text in re.findall(r"^(\w+\.py):(\d+): (note|error): (.*)$", done.stdout, re.MULTILINE):
        if kind == "error":
            said[name][int(line)] = "error", text
        elif text.startswith("Revealed type"):
            said[name][int(line)] = "reveals", _plain(text.split('"')[1])
    return said


def pyright_says(folder: Path, *options: str | Path) -> Said:
    """What pyright, or what is made of it, says of FILES."""
    beside = str(Path(sys.executable).parent)
    names = ("pyright", "basedpyright")
    found = next((path for name in names if (path := shutil.which(name, path=beside) or shutil.which(name))), None)
    if found is None:
        pytest.skip("pyright is not installed: pip install basedpyright")
    _write(folder)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "standard", "include": list(FILES)}))
    done = run([found, "--outputjson", *options], cwd=folder)
    said: Said = {name: {} for name in FILES}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        line, revealed = one["range"]["start"]["line"] + 1, re.search(r' is "(.*)"$', one["message"])
        if one["severity"] == "error":
            said[Path(one["file"]).name][line] = "error", one["message"]
        elif revealed:
            said[Path(one["file"]).name][line] = "reveals", _plain(revealed[1])
    return said


def _write(folder: Path) -> None:
    for name, code in FILES.items():
        (folder / name).write_text(code)


def check(found: dict[int, tuple[str, str]], code: str) -> None:
    """Compare what a checker said of lines with what stands behind them."""
    lines, expected = code.splitlines(), {}
    for number, line in enumerate(lines, 1):
        _, mark, meant = line.partition("  # ")
        if mark and (line.lstrip().startswith("reveal_type") or meant == "error"):
            expected[number] = meant
    said = {number: "error" if kind == "error" else text for number, (kind, text) in found.items()}
    wrong = {lines[n - 1]: found.get(n) for n in sorted({*expected, *said}) if expected.get(n) != said.get(n)}
    assert wrong == {}


def _plain(text: str) -> str:
    """A type by short names: no modules, no fields of dictionaries, arrays without what they are of."""
    text = re.sub(r"TypedDict\(([\w.]+), \{[^}]*\}\)", r"\1", text)
    text = re.sub(r"\b(?:\w+\.)+(\w)", r"\1", text)
    for name, bits in (("float", "floating"), ("int", "signedinteger"), ("uint", "unsignedinteger")):  # NumPy's stubs
        text = re.sub(rf"\b{bits}\[_(\d+)Bit\]", rf"{name}\1", text)
    text = re.sub(r"\bndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"ndarray[\1]", text)
    return text.replace("ndarray[Any]", "ndarray")


@pytest.fixture(scope="module", params=[mypy_says, pyright_says])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What a checker says where the package lies beside somebody's code as it installs."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "minidistil").symlink_to(ROOT / "minidistil")
    found: Said = request.param(folder)
    return found


@pytest.mark.parametrize("name", FILES)
def test_user_code_has_its_types(said: Said, name: str) -> None:
    check(said[name], FILES[name])


def test_the_check_sees_what_differs() -> None:
    code = "reveal_type(1)  # int\nx = 1\n"
    check({1: ("reveals", "int")}, code)
    for said in ({}, {1: ("reveals", "str")}, {1: ("reveals", "int"), 2: ("error", "wrong")}):
        with pytest.raises(AssertionError):
            check(said, code)
