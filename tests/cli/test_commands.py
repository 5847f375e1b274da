"""What the commands print, against what the library returns."""

import csv
import io
import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest

import minidistil
from minidistil.cli.verification import Stage
from minidistil.kernels.code import native
from tests.cli.support import command, run, run_process
from tests.heads import Head
from tests.pipelines.checkpoints import write_small
from tests.processes import HANGS, started

QUICK = ("--backend", "blas")  # to float tolerance; what is compared in every bit, or put in order, takes the next
EXACTLY = ("--threads", "1")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Lines of many lengths, blank ones among them, more than one chunk of them."""
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    words = "the cat and dog love music in paris while rain and snow make night cold".split()
    path.write_text("\n".join(" ".join(words[i % 5 : i % 14]) if i % 7 else "  " for i in range(300)) + "\n")
    return path


def test_fill_mask_prints_what_the_pipeline_returns(capsys, distilbert_small):
    texts = ["Paris is the [MASK] of France.", "the [MASK] and the [MASK]"]
    fill = minidistil.pipeline("fill-mask", model=minidistil.load(distilbert_small, threads=1))
    expected = [fill(text, top_k=3) for text in texts]
    result = run(capsys, "fill-mask", *texts, "-m", distilbert_small, "-k", "3", "--json", *EXACTLY)
    assert result.status == 0
    assert json.loads(result.out) == json.loads(json.dumps(expected))
    shown = run(capsys, "fill-mask", *texts, "-m", distilbert_small, "-k", "3", *EXACTLY).out.splitlines()
    assert shown[0] == texts[0]
    assert shown[1].split() == [f"{expected[0][0]['score']:.2%}", expected[0][0]["token_str"]]
    assert len(shown) == 1 + 3 + 1 + 2 * (1 + 3)


def test_a_hub_id_from_the_cache_alone(offline):
    asked = (
        "fill-mask",
        "a [MASK]",
        "--model",
        "distilbert/distilbert-base-uncased",
        "--local-files-only",
        "--json",
        *QUICK,
    )
    home = {"HF_HOME": offline["HF_HOME"]}
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert len(json.loads(run_process(*asked, **home).out)[0]) == 5
    assert run_process(*asked, "--revision", commit, **home).status == 0
    missing = run_process(*asked, "--revision", commit[::-1], **home)
    assert missing.status == 2
    assert "--local-files-only" in missing.err


def test_fill_mask_targets(capsys, distilbert_small):
    arguments = ("a [MASK] .", "-m", distilbert_small, "--targets", "dog, cat", "--json", *QUICK)
    rows = json.loads(run(capsys, "fill-mask", *arguments).out)[0]
    assert {row["token_str"] for row in rows} == {"dog", "cat"}


def test_embed_npy_has_the_rows_of_encode(capsys, tmp_path, lines, sentence_small):
    out = tmp_path / "out.npy"
    result = run(capsys, "embed", lines, "-o", out, "-m", sentence_small, *QUICK)
    assert result == (0, "", "")
    rows = np.load(out)
    expected = minidistil.load(sentence_small, backend="blas").encode(lines.read_text().split("\n")[:-1])
    assert rows.shape == (300, 128)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def test_embed_standard_input_as_json_lines(capsys, monkeypatch, sentence_small):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a dog\n\nthe sun")))
    result = run(capsys, "embed", "-m", sentence_small, *QUICK)
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["text"] for row in rows] == ["a dog", "", "the sun"]
    expected = minidistil.load(sentence_small, backend="blas").encode(["a dog", "", "the sun"])
    np.testing.assert_allclose(np.array([row["embedding"] for row in rows]), expected, rtol=0, atol=1e-6)


def test_embed_nothing(capsys, tmp_path, sentence_small):
    (tmp_path / "empty.txt").write_bytes(b"")
    out = tmp_path / "out.npy"
    assert run(capsys, "embed", tmp_path / "empty.txt", "-o", out, "-m", sentence_small, *QUICK).status == 0
    assert np.load(out).size == 0


def test_embed_interrupted_keeps_what_is_finished(tmp_path, sentence_small):
    arguments = ("embed", "-o", tmp_path / "out.npy", "-m", sentence_small, *QUICK)

    def hear_ctrl_c():  # which a background job of a shell starts ignoring
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
    with started(command(*arguments), preexec_fn=hear_ctrl_c, **pipes) as process:
        process.stdin.write(b"a dog barks\n" * 700)  # two chunks, and part of a third that never fills
        process.stdin.flush()
        partial = tmp_path / "out.npy.partial"
        while not (partial.exists() and partial.stat().st_size >= 128 + 512 * 128 * 4):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=HANGS)
        assert process.returncode == 130
    rows = np.load(partial)
    assert rows.shape in ((256, 128), (512, 128))  # the second chunk's rows are there; Ctrl-C may beat their count
    assert err.decode() == f"minidistil: interrupted; the first {len(rows)} embeddings are in {partial}\n"
    assert not (tmp_path / "out.npy").exists()


def test_embed_goes_on_where_an_interrupted_run_ended(capsys, tmp_path, lines, sentence_small):
    out, partial, broken = tmp_path / "out.npy", tmp_path / "out.npy.partial", tmp_path / "broken.txt"
    content = lines.read_bytes()
    broken.write_bytes(content[: content.index(b"\n" * 1, len(content) - 900)] + b"\n\xff\n")
    asked = ("-o", out, "-m", sentence_small, *EXACTLY)
    result = run(capsys, "embed", broken, *asked)
    assert result.status == 2
    assert result.err.endswith(f"; the first 256 embeddings are in {partial}\n")
    other = run(capsys, "embed", lines, *asked, "--normalize")
    assert other.status == 2
    assert "normalize_embeddings was False and is True" in other.err
    assert other.err.count("\n") == 1
    assert run(capsys, "embed", lines, *asked) == (0, "", "")
    run(capsys, "embed", lines, "-o", tmp_path / "whole.npy", "-m", sentence_small, *EXACTLY)
    assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not partial.exists()


def test_embed_anew_where_asked_to(capsys, tmp_path, lines, sentence_small):
    (tmp_path / "out.npy.partial").write_bytes(b"of something else")
    asked = ("embed", lines, "-o", tmp_path / "out.npy", "-m", sentence_small, *QUICK)
    assert "there is no out.npy.partial.journal" in run(capsys, *asked).err
    assert run(capsys, *asked, "--restart") == (0, "", "")
    assert len(np.load(tmp_path / "out.npy")) == 300


def test_embed_in_fewer_bits(capsys, tmp_path, lines, sentence_small):
    model = minidistil.load(sentence_small, backend="blas")
    texts = lines.read_text().split("\n")[:-1]
    ranges = minidistil.calibration_ranges(model.encode(texts, truncate_dim=16))
    np.save(tmp_path / "ranges.npy", ranges)
    options = ("--precision", "int8", "--ranges", tmp_path / "ranges.npy", "--truncate-dim", "16")
    out = tmp_path / "out.npy"
    assert run(capsys, "embed", lines, "-o", out, "-m", sentence_small, *options, *QUICK) == (0, "", "")
    expected = model.encode(texts, truncate_dim=16, precision="int8", ranges=ranges)
    assert np.load(out).dtype == np.int8
    assert np.abs(np.load(out).astype(int) - expected).max() <= 1  # BLAS: a chunk's last bits are its own
    missing = run(capsys, "embed", lines, "-o", out, "-m", sentence_small, "--precision", "int8", *QUICK)
    assert missing.status == 2
    assert "needs --ranges" in missing.err
    (tmp_path / "ranges.npy").write_text("nothing")
    assert "is no .npy file" in run(capsys, "embed", lines, "-o", out, "-m", sentence_small, *options, *QUICK).err


def test_rerank_orders_the_lines_by_the_models_scores(capsys, lines, reranker_small):
    texts = lines.read_text().split("\n")[:-1]
    result = run(capsys, "rerank", "cat and dog", lines, "-m", reranker_small, "-k", "12", "--json", *EXACTLY)
    found = json.loads(result.out)
    assert [row["text"] for row in found] == [texts[row["line"] - 1] for row in found]
    filled = [text for text in texts if text.strip()]
    expected = minidistil.CrossEncoder(reranker_small, threads=1).rank("cat and dog", filled, top_k=12)
    np.testing.assert_allclose([row["score"] for row in found], [row["score"] for row in expected], rtol=0, atol=1e-5)
    shown = run(capsys, "rerank", "cat and dog", lines, "-m", reranker_small, "-k", "2", *EXACTLY).out.splitlines()
    assert shown[0].startswith(f"{lines}:{found[0]['line']} {found[0]['score']:.3f} ")
    assert len(shown) == 2


def test_rerank_from_tables_and_into_them(capsys, tmp_path, reranker_small):
    rows = [{"id": str(i), "text": text} for i, text in enumerate(["the cat", "a dog barks", "", "wine, and\nmusic"])]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    best = minidistil.CrossEncoder(reranker_small, threads=1).rank("dog", [r["text"] for r in rows if r["text"]])
    order = [[rows[0], rows[1], rows[3]][one["corpus_id"]] for one in best]
    scores = [one["score"] for one in best]
    for file in ("in.csv", "in.jsonl"):
        arguments = ("rerank", "dog", tmp_path / file, "-m", reranker_small, *EXACTLY)
        printed = json.loads(run(capsys, *arguments, "--json").out)
        assert [{"id": row["id"], "text": row["text"]} for row in printed] == order
        assert [row["score"] for row in printed] == pytest.approx(scores, abs=1e-5)
        assert {row["file"] for row in printed} == {str(tmp_path / file)}
        assert run(capsys, *arguments, "-o", tmp_path / "out.csv").out == ""
        with (tmp_path / "out.csv").open(newline="") as written:
            found = list(csv.DictReader(written))
        assert [{"id": row["id"], "text": row["text"]} for row in found] == order
        assert [float(row["score"]) for row in found] == [row["score"] for row in printed]
        assert run(capsys, *arguments, "-o", tmp_path / "out.jsonl", "-k", "2").out == ""
        lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert lines == [{**row, "score": one["score"]} for row, one in zip(order[:2], printed, strict=False)]
        assert run(capsys, *arguments).out.count("\n") == 3  # the line break within a text is shown as a space
    again = run(capsys, "rerank", "dog", tmp_path / "out.csv", "-m", reranker_small, "--json", *EXACTLY)
    assert [row["found_score"] for row in json.loads(again.out)] == scores
    arguments = ("rerank", "dog", tmp_path / "out.csv", "-m", reranker_small, "--prefix", "", *EXACTLY)
    assert "has the column score already" in run(capsys, *arguments, "--json").err
    assert (
        "no_such_model" not in run(capsys, "rerank", "dog", tmp_path / "in.csv", "-m", "no_such_model", "-o", "x.y").err
    )


@pytest.mark.parametrize("command", ["classify", "ner", "search", "rerank"])
def test_no_text_commands_the_terminal(capsys, tmp_path, monkeypatch, command, sentence_small, reranker_small):
    """Escapes in a text are shown as spaces; colours are ours alone."""
    (tmp_path / "in.txt").write_text("the cat\x1b[31m and\x9b2J the\x07 dog\u2028barks\n")
    model = {"classify": write_small(tmp_path, "sentiment"), "ner": write_small(tmp_path, "entities")}
    model = {**model, "search": sentence_small, "rerank": reranker_small}[command]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    query = ["dog"] if command in ("search", "rerank") else []
    shown = run(capsys, command, *query, tmp_path / "in.txt", "-m", model, *QUICK).out
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "cat" in plain
    assert not set(plain) & {"\x1b", "\x9b", "\x07", "\u2028"}
    assert "\x1b[31m" not in shown.replace("\x1b[31m[", "")


def test_search_finds_the_lines_that_encode_ranks_first(capsys, lines, sentence_small):
    texts = lines.read_text().split("\n")[:-1]
    result = run(capsys, "search", "cat and dog", lines, "-m", sentence_small, "-k", "12", "--json", *QUICK)
    found = json.loads(result.out)
    assert [row["text"] for row in found] == [texts[row["line"] - 1] for row in found]
    model = minidistil.load(sentence_small, backend="blas")
    filled = [i for i, text in enumerate(texts) if text.strip()]
    scores = model.encode([texts[i] for i in filled]) @ model.encode("cat and dog")
    best = sorted(scores.tolist(), reverse=True)[:12]
    np.testing.assert_allclose([row["score"] for row in found], best, rtol=0, atol=1e-5)
    assert {row["file"] for row in found} == {str(lines)}


def test_search_several_files_and_a_lowest_score(capsys, tmp_path, sentence_small):
    for name, text in {"a.txt": "a dog\n", "b.txt": "\n\na dog\n"}.items():
        (tmp_path / name).write_text(text)
    files = (tmp_path / "a.txt", tmp_path / "b.txt")
    shown = run(capsys, "search", "a dog", *files, "-m", sentence_small, *EXACTLY).out.splitlines()
    assert shown == [f"{files[0]}:1 1.000 a dog", f"{files[1]}:3 1.000 a dog"]
    assert run(capsys, "search", "a dog", *files, "-m", sentence_small, "--min-score", "1.5", *EXACTLY) == (0, "", "")


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("command_line", [["embed"], ["search", "a dog"]])
def test_cut_lines_are_counted_once_at_the_end(capsys, tmp_path, sentence_small, command_line):
    path = tmp_path / "long.txt"
    path.write_text(("a dog\n" + "the cat " * 100 + "\n") * 130)
    result = run(capsys, *command_line, path, "-m", sentence_small, *QUICK)
    assert result.status == 0
    assert result.err == "minidistil: warning: 130 texts were cut to 64 tokens\n"


def test_inspect_counts_what_is_stored(capsys, distilbert_small):
    facts = json.loads(run(capsys, "inspect", distilbert_small, "--json").out)
    from minidistil.weights import open_checkpoint

    checkpoint = open_checkpoint(distilbert_small)
    assert facts["parameters"] == sum(checkpoint.read(name).size for name in checkpoint.names)
    assert facts["float32_bytes"] == facts["stored_bytes"] == 4 * facts["parameters"]
    assert [tensor["name"] for tensor in facts["tensors"]] == list(checkpoint.names)
    assert facts["sentences"]["pooling"] == ["mean"]
    assert (facts["n_layers"], facts["n_heads"], facts["dim"], facts["hidden_dim"]) == (2, 4, 128, 400)
    assert facts["heads_found"] == ["masked_lm"]
    assert facts["machine_code"] == native.description()
    shown = run(capsys, "inspect", distilbert_small, "--tensors").out
    assert f"machine code  {native.description()}\n" in shown
    assert f"{facts['parameters']:,}" in shown
    assert all(name in shown for name in checkpoint.names)


def test_verify_says_that_every_bit_agrees(capsys, distilbert_small):
    result = run(capsys, "verify", distilbert_small)
    assert result.status == 0, result.out + result.err
    assert result.out.splitlines()[-1] == "every bit agrees"
    facts = json.loads(run(capsys, "verify", distilbert_small, "--json", "--threads", "1").out)
    assert facts["agree"] is True
    assert [stage["stage"] for stage in facts["stages"]] == ["embeddings", "layer 1", "layer 2", "masked-LM logits"]
    assert facts["digest"][:32] in result.out


@pytest.mark.parametrize(
    ("task", "field", "stage"),
    [
        ("SequenceClassification", "sequence_classification", "sequence logits"),
        ("TokenClassification", "token_classification", "token logits"),
        ("QuestionAnswering", "question_answering", "span logits"),
        ("MultipleChoice", "multiple_choice", "choice logits"),
    ],
)
def test_inspect_and_verify_know_every_head(capsys, tmp_path, task, field, stage):
    folder = Head("DistilBert", task).write(tmp_path)
    assert json.loads(run(capsys, "inspect", folder, "--json").out)["heads_found"] == [field]
    facts = json.loads(run(capsys, "verify", folder, "--json", "--threads", "1").out)
    assert facts["agree"] is True
    assert facts["stages"][-1]["stage"] == stage
    assert len(facts["stages"]) == 4


@pytest.mark.parametrize("fault", ["one bit", "a NaN"])
def test_verify_sees_a_single_value(capsys, monkeypatch, distilbert_small, fault):
    from minidistil.backends.engine import Engine

    honest = Engine.encode

    def encode(self, batch, **options):
        encoded = honest(self, batch, **options)
        value = encoded.hidden_states[1][7, 5:6]
        value[:] = np.nan if fault == "a NaN" else np.nextafter(value, np.float32(9))
        return encoded

    monkeypatch.setattr(Engine, "encode", encode)
    result = run(capsys, "verify", distilbert_small, "--json")
    facts = json.loads(result.out)
    assert result.status == 1
    assert facts["agree"] is False
    assert [stage["differing"] for stage in facts["stages"]] == [0, 1, 0, 0]
    assert "some bits differ" in run(capsys, "verify", distilbert_small).out


def test_two_equal_nans_are_not_agreement():
    x = np.array([1, np.nan, -0.0], np.float32)
    assert Stage("s", x, x.copy()).differing == 1
    assert Stage("s", x, np.array([1, np.nan, 0.0], np.float32)).differing == 2
    assert Stage("s", x, x).summary()["largest_difference"] == "nan"


def test_warmup(capsys):
    result = run(capsys, "warmup")
    assert result.status == 0, result.err
    assert result.out.startswith("ready after")
