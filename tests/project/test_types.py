"""What type checkers see: the stubs are as the tables say, and user code gets the types that a reader expects."""

from __future__ import annotations

import importlib
import pickle
import re
import sys
from itertools import chain
from pathlib import Path

import pytest

import minidistil
from minidistil.class_names import BEGINNINGS, ENDINGS, FURTHER_ENDINGS, class_names
from minidistil.models import classes as models
from minidistil.weights.families import FAMILIES, TASKS
from tests.processes import run
from tests.project.make_stubs import LAZY, stubs

ROOT = Path(__file__).resolve().parents[2]

_PRECISION = "Literal['float32'] | Literal['bfloat16'] | Literal['int8']"
# A line of user code, and what mypy says it is, without `minidistil.` and what an array is made of.
REVEALED = {
    'DistilBertForMaskedLM.from_pretrained("x")': "models.classes.DistilBertForMaskedLM",
    'DistilBertForMaskedLM.from_pretrained("x")([[1]])': "models.outputs.MaskedLMOutput",
    'BertForSequenceClassification.from_pretrained("x")([[1]]).logits': "ndarray",
    'BertModel.from_pretrained("x")([[1]])': "models.outputs.BaseModelOutputWithPooling",
    'BertModel.from_pretrained("x")([[1]]).attentions': "tuple[ndarray, ...] | None",
    'DistilBertModel.from_pretrained("x")([[1]], return_dict=False)': "tuple[Any, ...]",
    'DistilBertModel.from_pretrained("x").sentence_encoder': "sentences.encoder.SentenceEncoder",
    'AutoModel.from_pretrained("x")': "models.base.Model[Any]",
    'AutoModelForQuestionAnswering.from_pretrained("x")': "models.tasks.QuestionAnswering",
    'AutoModelForTokenClassification.from_pretrained("x")([[1]])': "models.outputs.TokenClassifierOutput",
    'AutoConfig.from_pretrained("x")': "weights.config.Config",
    'AutoTokenizer.from_pretrained("x")("a text")': "tokenization.encoding.BatchEncoding",
    'XLMRobertaTokenizerFast.from_pretrained("x")': "tokenization.tokenizer.Tokenizer",
    'load("x")': "sentences.encoder.SentenceEncoder | Any",
    'AutoModel.from_pretrained("x", precision="int8").precision': _PRECISION,
    'CrossEncoder("x", precision=None).precision': _PRECISION,
    'SentenceTransformer("x").similarity([[1.0]], [[1.0]])': "ndarray",
    "util.cos_sim([1.0], [1.0])": "ndarray",
    "__version__": "str",
}
# Mistakes, and what mypy says of them.
REFUSED = {
    'minidistil.BertModel.from_pretrained("x")([[1]]).logits': 'has no attribute "logits"',
    "minidistil.TFBertModel": 'Module has no attribute "TFBertModel"',
    'minidistil.BertModel.from_pretrained("x", revison="main")': 'Unexpected keyword argument "revison"',
    'minidistil.load("x", threads="2")': 'has incompatible type "str"; expected "int | None"',
    'minidistil.load("x", precision="int4")': """has incompatible type "Literal['int4']"; expected "Literal['""",
    'minidistil.SentenceTransformer("x", precision="half")': """incompatible type "Literal['half']"; expected "Lit""",
    'minidistil.AutoTokenizer.from_pretrained("x", local_files_only="yes")': 'incompatible type "str"; expected "bool"',
}


def test_stubs_are_what_the_tables_say() -> None:
    for path, text in stubs().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m tests.project.make_stubs"


@pytest.mark.parametrize("package", LAZY)
def test_a_stub_has_every_public_name(package: str) -> None:
    module = importlib.import_module(package)
    stub = Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
    names = re.findall(r"^(?:(?:from \S+ import|   ) \w+ as )?(\w+)(?: = \w+)?,?$", stub, re.MULTILINE)
    assert sorted(names) == sorted(module.__all__)


def test_every_family_and_every_head_has_its_classes() -> None:
    assert BEGINNINGS.keys() == FAMILIES.keys()
    endings = {*ENDINGS, *chain.from_iterable(FURTHER_ENDINGS.values())}
    assert endings == {"Model", *TASKS}
    for model_type, ending, name in class_names():
        assert getattr(minidistil, name).heads == ((TASKS[ending],) if ending in TASKS else ())
        assert getattr(minidistil, name).families == (model_type,)


@pytest.mark.parametrize("name", models.CLASSES)
def test_a_made_class_is_like_a_written_one(name: str) -> None:
    made = getattr(models, name)
    assert (made.__name__, made.__qualname__, made.__module__) == (name, name, models.__name__)
    assert getattr(minidistil, name) is pickle.loads(pickle.dumps(made)) is made
    assert made.__doc__.endswith(".")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What mypy says of the lines above, in user code beside the package as it installs."""
    pytest.importorskip("mypy")
    tree = tmp_path_factory.mktemp("tree")
    (tree / "minidistil").symlink_to(ROOT / "minidistil")
    lines = ["import minidistil", *(f"reveal_type(minidistil.{line})" for line in REVEALED), *REFUSED]
    (tree / "user.py").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--follow-imports=silent"]
    command += ["--cache-dir", str(tree / "cache"), "user.py"]
    done = run(command, cwd=tree)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("line", REVEALED)
def test_user_code_gets_its_type(seen: list[str], line: str) -> None:
    place = f"user.py:{list(REVEALED).index(line) + 2}: "
    (said,) = [text.removeprefix(place) for text in seen if text.startswith(place)]
    plain = re.sub(r"numpy\.(ndarray)\[.*?numpy\.dtype\[Any\]\]", r"\1", said.replace("minidistil.", ""))
    assert plain == f'note: Revealed type is "{REVEALED[line]}"'


@pytest.mark.parametrize("line", REFUSED)
def test_mistakes_in_user_code_are_seen(seen: list[str], line: str) -> None:
    place = f"user.py:{list(REFUSED).index(line) + 2 + len(REVEALED)}: error: "
    (said,) = [text for text in seen if text.startswith(place)]
    assert REFUSED[line] in said
