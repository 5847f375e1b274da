"""Random calls of all that takes arguments: a result with the bits of `exact`, or an error that is a sentence."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidistil
from minidistil import util
from minidistil.backends.batch import PackedBatch
from minidistil.models.tasks import MultipleChoice
from minidistil.weights.precision import Precision
from tests import float_modes
from tests.fuzz import checkpoints, odd_values
from tests.fuzz.outcomes import WrongBits, arrays, check_sentence, compare

_TASKS = {
    "wordpiece": "fill-mask", "vocabulary": "fill-mask", "bytes": "fill-mask", "pieces": "feature-extraction",
    "classifier": "text-classification", "questions": "question-answering", "entities": "ner",
    "entailment": "zero-shot-classification",
}  # fmt: skip
_GENERAL = ("batch_size", "batch_tokens", "truncation", "max_length", "padding")
_OPTIONS = {
    "feature-extraction": ("return_tensors", "tokenize_kwargs"),
    "fill-mask": ("top_k", "targets", "windows", "tokenizer_kwargs"),
    "question-answering": (
        "top_k", "doc_stride", "max_answer_len", "max_seq_len", "max_question_len", "handle_impossible_answer",
        "align_to_words"
    ),
    "text-classification": ("top_k", "function_to_apply", "pool_windows", "stride"),
    "ner": ("aggregation_strategy", "ignore_labels", "stride"),
    "zero-shot-classification": ("hypothesis_template", "multi_label", "pool_windows", "stride"),
}  # fmt: skip
_TOKENIZER_OPTIONS = (
    "add_special_tokens", "padding", "truncation", "max_length", "is_split_into_words", "pad_to_multiple_of",
    "padding_side", "stride", "return_tensors", "return_token_type_ids", "return_attention_mask",
    "return_overflowing_tokens", "return_special_tokens_mask", "return_offsets_mapping", "return_length",
)  # fmt: skip
_ENCODE_OPTIONS = (
    "prompt_name", "prompt", "batch_size", "output_value", "precision", "normalize_embeddings", "truncate_dim",
    "ranges", "truncation", "convert_to_numpy", "convert_to_tensor", "device",
)  # fmt: skip
_PREDICT_OPTIONS = (
    "prompt_name",
    "prompt",
    "batch_size",
    "activation_fn",
    "apply_softmax",
    "truncation",
    "convert_to_tensor",
)


class Pair(NamedTuple):
    """One checkpoint on both backends."""

    engine: Any
    exact: Any


def _pair(folder: Path, precision: Precision | None = None) -> Pair:
    how: Any = {"precision": precision}
    return Pair(minidistil.load(folder, threads=1, **how), minidistil.load(folder, backend="exact", **how))


class Calls:
    """Calls with arguments that are right, odd, or wrong."""

    name = "calls"
    reads_files = False

    def prepare(self, folder: Path) -> None:
        plain, texts, sentences = {}, {}, {}
        for name, files in checkpoints.single().items():
            plain[name] = self._load(folder / "plain" / name, files)
            for precision in ("bfloat16", "int8"):
                plain[f"{name} in {precision}"] = _pair(folder / "plain" / name, precision)
        for name, files in checkpoints.with_tokenizers(folder / "written").items():
            texts[name] = self._load(folder / "texts" / name, files)
        for name, files in checkpoints.sentence_models(folder / "more").items():
            sentences[name] = self._load(folder / "sentences" / name, files)
        self._models = [*plain.values(), *texts.values()]
        self._texts = texts
        self._encoders = [pair for name, pair in sentences.items() if "reranker" not in name]
        self._rerankers = [pair for name, pair in sentences.items() if "reranker" in name]
        # Two threads: the team, which calls from several threads share. Its threads start in the child that uses it.
        self._team = minidistil.load(folder / "texts" / "wordpiece", threads=2), texts["wordpiece"].exact
        for pair in self._models:  # kernels are compiled before the first child
            ids = np.zeros((1, 1, 2) if isinstance(pair.engine, MultipleChoice) else (1, 2), np.int64)
            pair.engine(ids)

    def _load(self, folder: Path, files: checkpoints.Files) -> Pair:
        folder.mkdir(parents=True)
        checkpoints.write(files, folder)
        return _pair(folder)

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        kinds: tuple[Callable[[random.Random, list[str]], bool], ...] = (
            self._model, self._model, self._in_another_mode, self._packed, self._tokenizer, self._encode,
            self._pipeline, self._pipeline, self._rank, self._compare_embeddings,
        )  # fmt: skip
        kind = self._threads if rng.random() < 0.01 else rng.choice(kinds)
        told.append(kind.__name__[1:])
        return "accepted" if kind(rng, told) else "refused"

    def _model(self, rng: random.Random, told: list[str]) -> bool:
        pair = rng.choice(self._models)
        seed = rng.random()
        shown = _arguments(pair.engine, random.Random(seed))
        return both(lambda model: model(**_arguments(model, random.Random(seed))), pair, told, shown)

    def _in_another_mode(self, rng: random.Random, told: list[str]) -> bool:
        """A caller that rounds otherwise, or has subnormals flushed to zero; `exact` computes in the default mode."""
        pair = rng.choice(self._models)
        arguments = _arguments(pair.engine, rng, spoil=False)
        if any(np.asarray(x).dtype.kind == "f" for x in arguments.values()):  # rounded on its way in
            return self._model(rng, told)
        mode = rng.choice([*float_modes._MODES.values(), float_modes.DEFAULT])
        told.append(f"mode {mode:#x}, {arguments!r:.1500}")
        want = pair.exact(**arguments)
        with float_modes.entered(mode):
            got = pair.engine(**arguments)
        compare(got, want, "model")
        return True

    def _packed(self, rng: random.Random, told: list[str]) -> bool:
        """A batch that somebody else packed, and rows that somebody else asks for."""
        pair = rng.choice(self._models)
        arguments = _packed_arguments(pair.engine.config, rng)
        rows = None
        if rng.random() < 0.5:
            rows = np.array([rng.randrange(8) for _ in range(rng.randrange(6))], np.int64)
            rows = odd_values.spoilt(rng, rows[None]) if rng.random() < 0.3 else odd_values.laid_out(rng, rows)
        return both(lambda m: m.encode_packed(PackedBatch(**arguments), rows), pair, told, (arguments, rows))

    def _tokenizer(self, rng: random.Random, told: list[str]) -> bool:
        tokenizer = rng.choice(list(self._texts.values())).engine.tokenizer
        pair = Pair(tokenizer, tokenizer)
        numbers = odd_values.ids(rng, 300, 12)[0]
        odd = odd_values.spoilt(rng, numbers[None]) if rng.random() < 0.6 else numbers
        change = rng.randrange(8)
        if change == 0:
            skip = rng.random() < 0.5
            return both(lambda t: t.decode(odd, skip), pair, told, odd)
        if change == 1:
            return both(lambda t: t.batch_decode(odd), pair, told, odd)
        if change == 2:
            return both(lambda t: t.convert_ids_to_tokens(odd), pair, told, odd)
        if change == 3:
            word = odd_values.spoilt_text(rng)
            return both(lambda t: t.convert_tokens_to_ids(word), pair, told, word)
        text, second = _texts(rng), _texts(rng) if rng.random() < 0.3 else None
        options = _some_options(rng, _TOKENIZER_OPTIONS)
        return both(lambda t: t(text, second, **options), pair, told, (text, second, options))

    def _encode(self, rng: random.Random, told: list[str]) -> bool:
        pair = rng.choice([*self._encoders, *self._texts.values()])
        text, options = _texts(rng), _some_options(rng, _ENCODE_OPTIONS)
        return both(lambda model: model.encode(text, **options), pair, told, (text, options))

    def _pipeline(self, rng: random.Random, told: list[str]) -> bool:
        name = rng.choice(list(_TASKS))
        task = _TASKS[name]
        inputs = _texts(rng)
        options = _some_options(rng, (*_GENERAL, *_OPTIONS[task]))
        if task == "question-answering" and rng.random() < 0.8:
            inputs = {"question": odd_values.text(rng), "context": odd_values.text(rng)}
        elif task == "fill-mask" and rng.random() < 0.7:
            inputs = f"{odd_values.text(rng)} {self._texts[name].engine.tokenizer.mask_token}"
        elif task == "zero-shot-classification":
            options["candidate_labels"] = rng.choice(
                (["light", "wine"], "light, wine", ["a"], [], None, [1], "", ["x"] * 40)
            )

        def answer(model: Any) -> Any:
            found = minidistil.pipeline(task, model, model.tokenizer)(inputs, **options)
            return list(found) if isinstance(found, Iterator) else found

        return both(answer, self._texts[name], told, (task, inputs, options))

    def _rank(self, rng: random.Random, told: list[str]) -> bool:
        pair = rng.choice(self._rerankers)
        options = _some_options(rng, _PREDICT_OPTIONS)
        if rng.random() < 0.3:
            query, documents = odd_values.text(rng), [odd_values.text(rng) for _ in range(rng.randrange(4))]
            options |= {"top_k": odd_values.option(rng)} if rng.random() < 0.3 else {}
            return both(lambda model: model.rank(query, documents, **options), pair, told, (query, documents, options))
        pairs: Any = [(odd_values.text(rng), odd_values.text(rng)) for _ in range(rng.randrange(4))]
        if rng.random() < 0.3:
            pairs = rng.choice(
                (odd_values.spoilt_text(rng), [*pairs, odd_values.spoilt_text(rng)], pairs[0] if pairs else ())
            )
        return both(lambda model: model.predict(pairs, **options), pair, told, (pairs, options))

    def _compare_embeddings(self, rng: random.Random, told: list[str]) -> bool:
        width = rng.choice((1, 8, 8, 33))
        values = np.random.default_rng(rng.randrange(1 << 30)).standard_normal((2, rng.randrange(5), width), np.float32)
        a, b = (odd_values.spoilt(rng, x) if rng.random() < 0.2 else odd_values.laid_out(rng, x) for x in values)
        functions = (
            util.cos_sim,
            util.dot_score,
            util.euclidean_sim,
            util.manhattan_sim,
            util.pairwise_cos_sim,
            util.semantic_search,
        )
        function = rng.choice(functions)
        return both(lambda f: f(a, b), Pair(function, function), told, (function.__name__, a, b))

    def _threads(self, rng: random.Random, told: list[str]) -> bool:
        """Calls of one model from several threads at once, one of which writes into the ids that another has passed."""
        engine, exact = self._team
        cases = [_arguments(engine, random.Random(rng.random()), spoil=False) for _ in range(4)]
        want = [exact(**case) for case in cases]
        shared = odd_values.ids(rng, 300, 30).astype(np.int32)
        stop = threading.Event()
        faults: list[BaseException] = []

        def compute(i: int) -> None:
            try:
                for _ in range(5):
                    compare(engine(**cases[i]), want[i], f"thread {i}")
            except BaseException as error:
                faults.append(error)

        def read_what_changes() -> None:
            try:
                for _ in range(40):
                    try:
                        engine(shared)
                    except ValueError as error:  # an id out of range, where it was seen
                        check_sentence(error)
            except BaseException as error:
                faults.append(error)

        def scribble() -> None:
            while not stop.is_set():
                shared[...] = 2**31 - 1
                shared[...] = 7

        workers = [threading.Thread(target=compute, args=(i,)) for i in range(len(cases))]
        workers.append(threading.Thread(target=read_what_changes))
        scribbler = threading.Thread(target=scribble)
        for thread in (scribbler, *workers):
            thread.start()
        for thread in workers:
            thread.join()
        stop.set()
        scribbler.join()
        if faults:
            raise faults[0]
        return True


def both(call: Callable[[Any], Any], pair: Pair, told: list[str], arguments: Any) -> bool:
    """Call both backends; True for one result, False for one error. Anything else is raised."""
    with contextlib.suppress(Exception):  # some arguments are odd enough
        told.append(repr(arguments)[:1500])
    mine, theirs = _attempt(call, pair.engine), _attempt(call, pair.exact)
    if isinstance(mine, Exception) or isinstance(theirs, Exception):
        if type(mine) is not type(theirs) or str(mine) != str(theirs):
            raise WrongBits(f"the engine gives {str(mine)[:500]!r}, exact {str(theirs)[:500]!r}")
        if not isinstance(mine, (TypeError, ValueError)):
            raise mine
        check_sentence(mine)
        return False
    compare(mine, theirs, "call")
    if len(list(arrays(mine))) == 0 and repr(mine) != repr(theirs):
        raise WrongBits(f"the engine gives {mine!r:.500}, exact {theirs!r:.500}")
    return True


def _attempt(call: Callable[[Any], Any], subject: Any) -> Any:
    try:
        return call(subject)
    except Exception as error:
        return error


def _arguments(model: Any, rng: random.Random, spoil: bool = True) -> dict[str, Any]:
    """Arguments of a model's call, one or two of which may be wrong."""
    config = model.config
    ids = odd_values.ids(rng, config.vocab_size, config.longest_sentence, isinstance(model, MultipleChoice))
    found: dict[str, Any] = {"input_ids": ids}
    if rng.random() < 0.6:
        found["attention_mask"] = odd_values.mask(rng, ids.shape, config.n_heads)
    if rng.random() < 0.4:
        found["token_type_ids"] = ids % max(1, config.type_vocab_size)
    if rng.random() < 0.3:
        found["position_ids"] = ids % config.max_position_embeddings
    if rng.random() < 0.15:
        width = config.embedding_size
        generator = np.random.default_rng(rng.randrange(1 << 30))
        del found["input_ids"]
        found["inputs_embeds"] = generator.standard_normal((*ids.shape, width)).astype(rng.choice(("e", "f", "d")))
    for name in list(found):
        if spoil and rng.random() < 0.15:
            found[name] = odd_values.spoilt(rng, found[name])
        elif rng.random() < 0.5:
            found[name] = odd_values.laid_out(rng, found[name])
    if spoil and rng.random() < 0.03:
        found[rng.choice(("inputs_embeds", "input_ids", "head_mask", "output_attentions", "labels"))] = (
            odd_values.option(rng)
        )
    return {**found, "output_hidden_states": rng.random() < 0.2, "output_attentions": rng.random() < 0.2}


def _packed_arguments(config: Any, rng: random.Random) -> dict[str, Any]:
    """Fields of a PackedBatch, of which one may be wrong."""
    lengths = [rng.randint(1, 5) for _ in range(rng.randint(1, 3))]
    tokens = sum(lengths)
    ids = odd_values.ids(rng, config.vocab_size, 2)
    found: dict[str, Any] = {
        "input_ids": np.resize(ids, tokens).astype(np.int32),
        "position_ids": np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        "token_type_ids": np.zeros(tokens, np.int32) if rng.random() < 0.5 else None,
        "inputs_embeds": None,
        "offsets": np.cumsum([0, *lengths]),
    }
    if rng.random() < 0.2:
        found["input_ids"] = None
        found["inputs_embeds"] = np.ones((tokens, config.embedding_size), np.float32)
    if len(set(lengths)) == 1 and rng.random() < 0.3:
        found["attention_bias"] = np.zeros((len(lengths), 1, lengths[0], lengths[0]), np.float32)
    name = rng.choice(list(found))
    if rng.random() < 0.5 and found[name] is not None:
        spoilt = odd_values.spoilt(rng, found[name][None])
        found[name] = spoilt[0] if isinstance(spoilt, np.ndarray) and spoilt.ndim > 1 and len(spoilt) == 1 else spoilt
    return found


def _texts(rng: random.Random) -> Any:
    kind = rng.randrange(10)
    if kind < 4:
        return odd_values.text(rng)
    if kind < 7:
        return [odd_values.text(rng) for _ in range(rng.randrange(6))]
    if kind == 7:
        return [odd_values.text(rng), odd_values.spoilt_text(rng)]
    if kind == 8:
        return odd_values.spoilt_text(rng)
    return [(odd_values.text(rng), odd_values.text(rng)) for _ in range(rng.randrange(3))]


def _some_options(rng: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    chosen = {rng.choice(names): odd_values.option(rng) for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))}
    if rng.random() < 0.02:
        chosen["no_such_option"] = odd_values.option(rng)
    return chosen
