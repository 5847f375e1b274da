"""The parsers, each with files of its own to mutate and a way to use what it accepts."""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

import minidistil
from minidistil.models.base import Model
from minidistil.models.tasks import MultipleChoice
from minidistil.sentences import CrossEncoder, SentenceEncoder
from minidistil.weights import CheckpointError, open_checkpoint, packed_file
from minidistil.weights.checksum import checksum
from minidistil.weights.file_names import PACKED_FILES
from tests.fuzz import byte_text, checkpoints, formats, json_text
from tests.fuzz.checkpoints import TEXTS, Files
from tests.fuzz.outcomes import Executed, check_sentence, compare

_UNTOUCHED = 0.005  # of the cases, so that a parser that refuses everything is found out
_PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[3], TEXTS[2]), (TEXTS[4], "")]


class _Files:
    """A target whose cases are folders.

    Attributes:
        bases: the folders that cases start from.
    """

    name: str
    reads_files = True

    def __init__(self) -> None:
        self.bases: dict[str, Files] = {}

    def prepare(self, folder: Path) -> None:
        self.bases = self.make(folder)
        for name, files in self.bases.items():
            (folder / "first" / name).mkdir(parents=True)
            checkpoints.write(files, folder / "first" / name)
            self.use(folder / "first" / name, name, random.Random(0))

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        name = rng.choice(sorted(self.bases))
        files = dict(self.bases[name])
        told.append(f"from {name}")
        untouched = rng.random() < _UNTOUCHED
        odd = False
        for _ in range(0 if untouched else rng.choice((1, 1, 1, 2, 3))):
            odd |= self.mutate(files, rng, told)
        checkpoints.write(files, folder)
        if odd:
            told.append(checkpoints.make_odd(folder / rng.choice(sorted(files)), rng))
        try:
            self.use(folder, name, rng)
        except CheckpointError as error:
            if untouched:
                raise RuntimeError("a file that nobody touched is refused") from error
            raise
        finally:
            if Path(formats.EXECUTED).exists():
                Path(formats.EXECUTED).rmdir()
                raise Executed("code of the file")
        return "accepted"

    def make(self, folder: Path) -> dict[str, Files]:
        """Make the bases; `folder` is theirs to write in."""
        raise NotImplementedError

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        """Change one file; True where one is also to become something that is no file."""
        raise NotImplementedError

    def use(self, folder: Path, base: str, rng: random.Random) -> None:
        """Load the folder, which was `base` once, and compute with it, on the engine and by `exact`."""
        engine = minidistil.load(folder, threads=1)
        exact = minidistil.load(folder, backend="exact")
        if type(engine) is not type(exact):
            raise AssertionError(f"loaded as {type(engine).__name__} and as {type(exact).__name__}")
        if isinstance(engine, CrossEncoder):
            with _texts_may_be_refused():
                compare(engine.predict(_PAIRS), exact.predict(_PAIRS), "predict")
        elif isinstance(engine, SentenceEncoder):
            with _texts_may_be_refused():
                compare(engine.encode(TEXTS), exact.encode(TEXTS), "encode")
        else:
            inputs = _inputs(engine, rng)
            compare(engine(**inputs), exact(**inputs), "model")


@contextlib.contextmanager
def _texts_may_be_refused() -> Iterator[None]:
    """Where files are right, a text may not be: too long, without a token, of tokens that the model lacks."""
    try:
        yield
    except CheckpointError:
        raise
    except ValueError as error:
        check_sentence(error)


def _inputs(model: Model[Any], rng: random.Random) -> dict[str, Any]:
    """Two sentences of any words that the model has, one with a token left out."""
    config = model.config
    S = min(config.longest_sentence, rng.choice((1, 3, 5, 9)))
    ids = np.array([[rng.randrange(config.vocab_size) for _ in range(S)] for _ in range(2)])
    mask = np.ones((2, S), np.int64)
    mask[1, S - 1] = S == 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if config.type_vocab_size:
        inputs["token_type_ids"] = ids % config.type_vocab_size
    if isinstance(model, MultipleChoice):
        inputs = {name: x[None] for name, x in inputs.items()}
    return {**inputs, "output_hidden_states": rng.random() < 0.5, "output_attentions": rng.random() < 0.3}


def _change(
    files: Files, name: str, mutator: Callable[..., tuple[bytes, str]], rng: random.Random, told: list[str]
) -> None:
    files[name], what = mutator(files[name], rng)
    told.append(f"{name}: {what}")


class Safetensors(_Files):
    """model.safetensors, in every precision."""

    name = "safetensors"

    def make(self, folder: Path) -> dict[str, Files]:
        return {
            name: files for dtype in ("F32", "F16", "BF16", "F64") for name, files in checkpoints.single(dtype).items()
        }

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        _change(files, "model.safetensors", formats.mutate_safetensors, rng, told)
        return rng.random() < 0.01


class Quantized(_Files):
    """Weights in int8: what config.json says of them, their scales, and the tensors."""

    name = "quantized"

    def make(self, folder: Path) -> dict[str, Files]:
        return checkpoints.quantized(folder)

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        change = rng.randrange(10)
        if change < 4:
            _change(files, "config.json", self._said_otherwise, rng, told)
        elif change == 4:
            _change(files, "config.json", checkpoints.mutate_json, rng, told)
        elif change < 7:
            _change(files, "model.safetensors", self._other_tensors, rng, told)
        else:
            _change(files, "model.safetensors", formats.mutate_safetensors, rng, told)
        return rng.random() < 0.01

    def _said_otherwise(self, content: bytes, rng: random.Random) -> tuple[bytes, str]:
        """Another value somewhere within quantization_config."""
        try:
            tree = json_text.parse(content)
            said = json_text.find(tree, "quantization_config")
            if not isinstance(said, json_text.Pairs):
                raise ValueError
        except (ValueError, TypeError, RecursionError):  # an earlier change did it
            return byte_text.mutate(content, rng)
        if rng.random() < 0.1:
            json_text.set_key(tree, "quantization_config", json_text.odd_value(rng))
            told = "another quantization_config"
        elif rng.random() < 0.3:
            names = ("Linear", "Embedding", "classifier", "re:.*", "embeddings.word_embeddings", "vocab_projector", "")
            json_text.set_key(said, "ignore", [rng.choice(names) for _ in range(rng.choice((0, 1, 2, 300)))])
            told = "others are ignored"
        else:
            told = json_text.mutate(said, rng)
        return json_text.dump(tree), f"quantization_config: {told}"

    def _other_tensors(self, content: bytes, rng: random.Random) -> tuple[bytes, str]:
        """Scales of other numbers, shapes or types, and tensors that are gone or have another's content."""
        try:
            table = safetensors.numpy.load(content)
        except Exception:  # an earlier change did it
            return byte_text.mutate(content, rng)
        scales = [name for name in table if name.endswith(("weight_scale", "input_smooth", "weight_kept"))]
        name = rng.choice(scales if rng.random() < 0.7 and scales else sorted(table))
        array, change = table[name], rng.randrange(9)
        if change == 0:
            del table[name]
        elif change == 1:
            names = (f"{name}_zero_point", f"x.{name}")
            names += name.replace("weight_scale", "input_smooth"), name.replace("input_smooth", "weight_kept")
            table[rng.choice(names)] = array
        elif change == 8:
            self._other_columns(table, rng)
        elif change == 2:
            table[name] = array.reshape(-1)[: rng.choice((1, 2, array.size, array.size))].copy()
        elif change == 3:
            table[name] = array.T.copy()
        elif change == 4:
            with np.errstate(all="ignore"):
                table[name] = array.astype(rng.choice((np.int8, np.float16, np.float64, np.int32, np.uint8)))
        elif change == 5:
            other = rng.choice(sorted(table))
            table[name] = table[other]
        elif change == 6 and array.dtype == np.int8:
            table[name] = np.full_like(array, rng.choice((-128, 127, 0, -1)))
        elif array.size:
            with np.errstate(all="ignore"):
                odd = np.array(rng.choice((0, -1, np.nan, np.inf, 1e-45, 3e38, 1e36, 1e-38, -0.0))).astype(array.dtype)
            array.reshape(-1)[rng.randrange(array.size)] = odd
        return safetensors.numpy.save(table), f"tensors: change {change} of {name}"

    def _other_columns(self, table: dict[str, np.ndarray], rng: random.Random) -> None:
        """Other columns in float32, of every product of one width: perhaps none, or all of them."""
        modules = [name.removesuffix(".input_smooth") for name in table if name.endswith(".input_smooth")]
        width = rng.choice([table[f"{module}.input_smooth"].size for module in modules] or [0])
        columns = rng.sample(range(width), rng.choice((0, 1, min(2, width), width)) if width else 0)
        for module in modules:
            smooth, weight = table[f"{module}.input_smooth"], table.get(f"{module}.weight")
            if smooth.shape != (width,) or weight is None or weight.ndim != 2:
                continue
            table[f"{module}.input_smooth"] = np.where(np.isin(np.arange(width), columns), 0, 1).astype(np.float32)
            table.pop(f"{module}.weight_kept", None)
            if columns:
                odd = rng.choice((0, -1, 1e-45, 1e30, 3e38))
                table[f"{module}.weight_kept"] = np.full((len(weight), len(columns)), odd, np.float32)


class TorchFile(_Files):
    """pytorch_model.bin: the zip archive, the pickle and the storages."""

    name = "torch"

    def make(self, folder: Path) -> dict[str, Files]:
        old = {f"{name} as before 1.6": files for name, files in checkpoints.single(old=True).items()}
        return old | {
            name: files for dtype in ("F32", "BF16") for name, files in checkpoints.single(dtype, torch=True).items()
        }

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        _change(files, "pytorch_model.bin", formats.mutate_torch, rng, told)
        return rng.random() < 0.01


class Shards(_Files):
    """The index of several weight files, and the files."""

    name = "shards"

    def make(self, folder: Path) -> dict[str, Files]:
        return {**checkpoints.sharded(), **checkpoints.sharded(torch=True)}

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        index = next(name for name in files if name.endswith(".index.json"))
        shards = [name for name in files if "-of-" in name]
        change = rng.randrange(10)
        if change < 7 or not shards:
            _change(files, index, checkpoints.mutate_json, rng, told)
        elif change == 7:
            name = rng.choice(shards)
            files[name], what = formats.mutate_weights(files[name], name, rng)
            told.append(f"{name}: {what}")
        elif change == 8:
            name, other = rng.choice(shards), rng.choice(shards)
            files[name] = files[other]
            told.append(f"{name} is {other}")
        else:
            name = rng.choice(shards)
            del files[name]
            told.append(f"no {name}")
        return rng.random() < 0.02


class ConfigFile(_Files):
    """config.json."""

    name = "config"

    def make(self, folder: Path) -> dict[str, Files]:
        return checkpoints.single()

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        if rng.random() < 0.4:
            _change(files, "config.json", self._another_value, rng, told)
        else:
            _change(files, "config.json", checkpoints.mutate_json, rng, told)
        return rng.random() < 0.01

    def _another_value(self, content: bytes, rng: random.Random) -> tuple[bytes, str]:
        """A key that any family knows with a value that any family has, or an odd one."""
        try:
            tree = json_text.parse(content)
            if not isinstance(tree, json_text.Pairs):
                raise ValueError
        except (ValueError, RecursionError):
            return byte_text.mutate(content, rng)
        known = [pair for config in checkpoints.CONFIGS.values() for pair in config.items()]
        known += [
            ("problem_type", "regression"),
            ("num_labels", 3),
            ("layer_norm_eps", 1e-5),
            ("torch_dtype", "float16"),
        ]
        known += [("num_hidden_groups", 2), ("sinusoidal_pos_embds", True), ("position_embedding_type", "relative_key")]
        key, value = rng.choice(known)
        if rng.random() < 0.6:
            value = json_text.odd_value(rng)
        json_text.set_key(tree, key, value)
        return json_text.dump(tree), f"json: {key} = {ascii(value)[:60]}"


_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model")


class TokenizerFiles(_Files):
    """tokenizer.json, older vocabularies and what stands beside them; texts through them into every pipeline."""

    name = "tokenizer"

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, tuple[Any, Any]] = {}

    def make(self, folder: Path) -> dict[str, Files]:
        found = checkpoints.with_tokenizers(folder)
        for name, files in found.items():
            roles = {"mask_token": "[MASK]", "unk_token": {"content": "[UNK]"}}
            others = name.startswith(("bytes", "pieces"))
            files.setdefault("special_tokens_map.json", json.dumps({} if others else roles).encode())
        return found

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        names = [name for name in _VOCABULARIES if name in files] * 3
        names += ["tokenizer_config.json"] * 2 + ["special_tokens_map.json", *({"added_tokens.json"} & files.keys())]
        name = rng.choice(names)
        if name == "spiece.model":
            _change(files, name, formats.mutate_pieces, rng, told)
        elif name.endswith(".txt"):
            _change(files, name, self._vocabulary, rng, told)
        elif name == "tokenizer.json" and rng.random() < 0.25:
            _change(files, name, self._template, rng, told)
        else:
            _change(files, name, checkpoints.mutate_json, rng, told)
        return rng.random() < 0.01

    def _vocabulary(self, content: bytes, rng: random.Random) -> tuple[bytes, str]:
        lines = content.split(b"\n")
        change, at = rng.randrange(6), rng.randrange(len(lines))
        if change == 0:
            return byte_text.mutate(content, rng)
        if change == 1:
            del lines[at : at + rng.choice((1, 1, 5, 200))]
        elif change == 2:
            lines[at:at] = [rng.choice(lines)] * rng.choice((1, 50))
        elif change == 3:
            lines[at] = json_text.dump(rng.choice(json_text.STRINGS))[1:-1]
        elif change == 4:
            lines[at:at] = [b"new%d" % i for i in range(rng.choice((1, 30)))]
        else:
            rng.shuffle(lines)
        return b"\n".join(lines), f"vocabulary: change {change} at {at}"

    def _template(self, content: bytes, rng: random.Random) -> tuple[bytes, str]:
        """Another post-processor: what puts special tokens and types around texts."""
        try:
            tree = json_text.parse(content)
        except (ValueError, RecursionError):
            return byte_text.mutate(content, rng)
        number = rng.choice((0, 1, 2, 22, 23, 299, 300, 301, 2**31 - 1, 2**31, 2**32 - 1))
        kind = rng.choice((0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1))
        text = {"Sequence": {"id": rng.choice("AAB"), "type_id": kind}}
        special = {"SpecialToken": {"id": "[CLS]", "type_id": rng.choice((0, kind))}}
        single = [rng.choice((text, special)) for _ in range(rng.choice((0, 1, 2, 3, 6, 40)))]
        template = {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": kind}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [number] * rng.choice((0, 1, 1, 3)), "tokens": ["[CLS]"]}
            },
        }
        json_text.set_key(tree, "post_processor", json_text.Raw(json.dumps(template)))
        return json_text.dump(tree), f"template: {template}"

    def use(self, folder: Path, base: str, rng: random.Random) -> None:
        whole = base not in self.models or rng.random() < 0.1
        if whole:
            pair = minidistil.load(folder, threads=1), minidistil.load(folder, backend="exact")
            self.models.setdefault(base, pair)
            tokenizer = pair[0].tokenizer
        else:  # only the tokenizer is another
            pair, tokenizer = self.models[base], minidistil.AutoTokenizer.from_pretrained(folder)
        with _texts_may_be_refused():
            for text in TEXTS:
                tokenizer.decode(tokenizer(text)["input_ids"])
            tokenizer(
                TEXTS, max_length=12, truncation=True, return_overflowing_tokens=True, return_offsets_mapping=True
            )
            tokenizer(_PAIRS, max_length=16, truncation=True)
            self._answer(pair, tokenizer, rng.sample(TEXTS, 2))
            if whole:
                compare(*(model.encode(TEXTS[3]) for model in pair), "encode")

    def _answer(self, models: tuple[Any, Any], tokenizer: Any, texts: list[str]) -> None:
        kind, config = type(models[0]).__name__, models[0].config
        task, inputs, options = "feature-extraction", texts, {}
        if kind.endswith("ForMaskedLM") and tokenizer.mask_token:
            task, inputs = "fill-mask", f"{texts[0]} {tokenizer.mask_token}"
        elif kind.endswith("ForTokenClassification"):
            task, options = "ner", {"aggregation_strategy": "first"}
        elif kind.endswith("ForQuestionAnswering"):
            task, inputs = "question-answering", {"question": texts[0], "context": " ".join(TEXTS)}
        elif "entailment" in config.label2id:
            task, options = "zero-shot-classification", {"candidate_labels": ["light", "dark"]}
        elif kind.endswith("ForSequenceClassification"):
            task, options = "text-classification", {"top_k": None}
        answers = (minidistil.pipeline(task, model, tokenizer)(inputs, truncation=True, **options) for model in models)
        compare(*answers, task)


class SentenceFiles(_Files):
    """modules.json, the modules' folders, and what sentence-transformers writes beside them."""

    name = "sentences"

    def make(self, folder: Path) -> dict[str, Files]:
        return checkpoints.sentence_models(folder)

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        own = [name for name in files if "/" in name or name in ("modules.json", "config_sentence_transformers.json")]
        own += [name for name in files if name.startswith("sentence_")]
        name = rng.choice([*own, *own, "config.json"])
        if name.endswith(".json"):
            _change(files, name, checkpoints.mutate_json, rng, told)
        else:
            _change(files, name, formats.mutate_safetensors, rng, told)
        return rng.random() < 0.02


class PackedFile(_Files):
    """Weights packed beside a checkpoint: nothing damaged may be used, and results are the checkpoint's.

    Checksums are no defence against people: of a file that is sealed again its numbers may be wrong, but no more.
    """

    name = "packed"
    _sealed_again = False

    def make(self, folder: Path) -> dict[str, Files]:
        found = {}
        for name, files in checkpoints.single().items():
            (folder / name).mkdir(parents=True)
            checkpoints.write(files, folder / name)
            _make_old(folder / name)
            opened = open_checkpoint(folder / name)
            for precision in ("float32", "int8"):
                packed = packed_file.pack_checkpoint(opened, precision)
                path = packed_file.save_packed(packed, opened, precision=precision)
                found[f"{name} in {precision}"] = {**files, path.name: path.read_bytes()}
        return found

    def run(self, rng: random.Random, folder: Path, told: list[str]) -> str:
        self._sealed_again = False
        return super().run(rng, folder, told)

    def mutate(self, files: Files, rng: random.Random, told: list[str]) -> bool:
        (name,) = set(files) & set(PACKED_FILES.values())
        if rng.random() < 0.4:
            _change(files, name, _seal_another, rng, told)
            self._sealed_again = True
        else:
            _change(files, name, formats.mutate_safetensors, rng, told)
        return rng.random() < 0.02

    def use(self, folder: Path, base: str, rng: random.Random) -> None:
        _make_old(folder)  # the checkpoint is that one, by size and time
        options: Any = {"precision": base.rpartition(" ")[2]}
        model = minidistil.load(folder, threads=1, **options)
        inputs = _inputs(model, rng)
        found = model(**inputs)
        if not self._sealed_again:
            compare(found, minidistil.load(folder, backend="exact", **options)(**inputs), "model")


def _seal_another(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A packed file with another header or other numbers, and right checksums of them."""
    length = int.from_bytes(content[:8], "little")
    data = content[8 + length :]
    try:
        tree = json_text.parse(content[8 : 8 + length])
        metadata = json_text.find(tree, "__metadata__")
        places = json_text.parse(json_text.find(metadata, "places"))
        told = json_text.mutate(places, rng)
        json_text.set_key(metadata, "places", json_text.dump(places).decode("utf-8", "surrogatepass"))
        if rng.random() < 0.3:
            told = f"{told}, {json_text.mutate(tree, rng)}"
        if rng.random() < 0.3:
            data = rng.randbytes(len(data))
        json_text.set_key(metadata, "content", checksum(data))
        json_text.set_key(metadata, "header", packed_file._NO_DIGEST)
        text = json_text.dump(tree)
    except (TypeError, ValueError, AttributeError, RecursionError):  # an earlier change did it
        return formats.mutate_safetensors(content, rng)
    text += b" " * (-(8 + len(text)) % packed_file._LINE_BYTES)
    header = len(text).to_bytes(8, "little") + text
    return header.replace(packed_file._NO_DIGEST.encode(), packed_file._digest(header)) + data, f"sealed again: {told}"


def _make_old(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
