"""Explanations with numbers of a generator, to lay out pages of any kind without a model."""

from __future__ import annotations

import numpy as np

from minidistil.backends.reference import exact
from minidistil.study import parts
from minidistil.study.explanation import Explanation
from minidistil.weights.model_weights import Linear

LAYERS, HEADS, WIDTH = 3, 4, 32
PATTERNS = ("previous", "next", "itself", "special", "broad")
SECTIONS = ("interventions", "lens", "numbers", "neighbours", "attribution")


def example(
    tokens: list[str] | None = None, text: str | None = None, *, lens: str = "words", layers: int = LAYERS,
    heads: int = HEADS, bare: bool = False
) -> Explanation:  # fmt: skip
    """Return an explanation of `tokens`, of which the first and the last are special; a `bare` one has two sections."""
    tokens = tokens or "[CLS] the cat ##fish [UNK] sat . [SEP]".split()
    n, rng = len(tokens), np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    probabilities = _softmax(3 * draw(layers, heads, n, n))
    return Explanation(
        parts.Subject(
            "example",
            "ExampleForMaskedLM",
            "distilbert",
            "masked_lm",
            layers,
            heads,
            WIDTH,
            1000,
            123_456,
            "float32",
            "float32",
        ),
        (text if text is not None else " ".join(tokens[1:-1]),),
        tuple(_pieces(tokens)),
        parts.Attention(
            probabilities,
            probabilities.sum(-1, dtype=np.float32),
            PATTERNS,
            0.5,
            tuple(_pattern(layer, head, draw(5)) for layer in range(layers) for head in range(heads)),
            "Attention is no explanation: a head may look at a token and take nothing from it.",
        ),
        None if bare else _interventions(n, layers, heads, draw),
        None if bare else _lens(lens, n, layers, draw),
        None if bare else _numbers(n, draw),
        None if bare else _neighbours(layers, draw),
        () if bare else (parts.Attribution("occlusion", "One token at a time is masked.", tuple(range(n)), draw(n)),),
        tuple(parts.LeftOut(section, f"<{section}> do not apply & are left out") for section in SECTIONS if bare),
    )


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x)
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def _pieces(tokens: list[str]) -> list[parts.Piece]:
    pieces, word = [], -1
    for i, token in enumerate(tokens):
        special = i in (0, len(tokens) - 1)
        word += not (special or token.startswith("##"))
        text = "" if special else token.removeprefix("##")
        place = (None, None) if special else (0, word)
        pieces.append(parts.Piece(token, 100 + i, text, i, i + 1, *place, i, 0, special, token == "[UNK]"))
    return pieces


def _pattern(layer: int, head: int, drawn: np.ndarray) -> parts.Pattern:
    shares = _softmax(3 * drawn)
    best = int(shares.argmax())
    return parts.Pattern(
        layer, head, PATTERNS[best] if shares[best] >= 0.5 else "", float(shares[best]), tuple(map(float, shares))
    )


def _interventions(n: int, layers: int, heads: int, draw) -> parts.Interventions:
    answer = parts.Answer("class", "The logits of the classes.", ("good", "<bad>"), draw(2), None)
    all_tokens = tuple(range(1, n - 1))
    change = lambda how, token: parts.TokensChanged(how, token, all_tokens, draw(n - 2, 2), draw(n - 2))  # noqa: E731
    heads_off = parts.HeadsOff(tuple(range(layers)), draw(layers, heads, 2), draw(layers, heads))
    return parts.Interventions(answer, heads_off, change("replaced", "[MASK]"), change("removed", ""))


def _lens(kind: str, n: int, layers: int, draw) -> parts.Lens:
    columns = {"classes": 1, "cosine": 1}.get(kind, n)
    words = {"words": ("cat", "</script>", "dog"), "classes": ("good", "bad"), "token classes": ("O", "B-PER")}.get(
        kind
    )
    count = len(words) if words else 2 if kind == "span" else 1
    values = _softmax(draw(layers + 1, columns, count))
    if kind == "span":
        return parts.Lens(kind, ((("start",), ("end",)),), values)
    return parts.Lens(kind, ((words,) * columns,) * (layers + 1) if words else (), values)


PRODUCTS = ("layer.0.attention.q_lin", "layer.0.ffn.lin1")


def _numbers(n: int, draw) -> parts.Numbers:
    """Two products of the words' embeddings: the row of token 1, and the weights of the first three columns."""
    words = draw(n, WIDTH)
    matrices = [parts.Matrix("embeddings.word", (n, WIDTH), "what stands in the table", "look-up", (), "words", ())]
    portions = []
    for name in PRODUCTS:
        weight, bias = draw(WIDTH, WIDTH), draw(WIDTH)
        value = exact.linear(words, Linear(weight, bias))
        total = parts.Number.of(value[1, 0])
        operands = (parts.Operand("embeddings.word", (1,), words[1]), parts.Operand(f"{name}.weight", (0,), weight[0]))
        blocks = (parts.Block(0, WIDTH, parts.Number.of(value[1, 0] - bias[0]), total),)
        steps = (parts.Step("bias", f"{name}.bias[0]", parts.Number.of(bias[0])),)
        cell = parts.Origin(name, (1, 0), "product", "bias + x . w", total, operands, blocks, steps, True)
        matrices.append(
            parts.Matrix(name, (n, WIDTH), "what comes of it", "product", ("embeddings.word",), name, (cell,))
        )
        rows = (parts.Kept("embeddings.word", "row", 1, words[1]), parts.Kept(name, "row", 1, value[1]))
        portions.append(parts.Portion(rows))
        for column in range(3):
            own = parts.Kept(f"{name}.weight", "weight", column, weight[column])
            portions.append(
                parts.Portion((own, parts.Kept(f"{name}.bias", "weight", column, bias[column : column + 1])))
            )
    return parts.Numbers(1, tuple(matrices), tuple(portions))


def _neighbours(layers: int, draw) -> parts.Neighbours:
    sentences = ("the bank of the river", "a bank lends money", "money in the bank")
    places = tuple((s.index("bank"), s.index("bank") + 4) for s in sentences)
    return parts.Neighbours(
        "bank", sentences, places, np.clip(draw(layers + 1, 3, 3), -1, 1), draw(layers + 1, 3, 2),
        _softmax(draw(layers + 1, 2)),
    )  # fmt: skip
