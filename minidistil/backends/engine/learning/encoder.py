"""Embeddings and layer of BERT and its kin as steps, both passes side by side; see reference/learning/model.py.

A function returns what comes out, and its own backward pass: a function of the gradient of that, which writes steps.
A gradient may come in two terms, as that of the layer above: by way of its products, and by way of its residual sum.
"""

from __future__ import annotations

from collections.abc import Callable

from minidistil.backends.engine.learning.planner import LearningPlanner
from minidistil.backends.engine.planner import POSITION_IDS, TOKENS, TYPE_IDS, WANTED, WORD_IDS, Array
from minidistil.backends.learning import EMBEDDINGS_SITE, layer_sites
from minidistil.kernels.layout import address
from minidistil.kernels.steps.table import Rows
from minidistil.weights.model_weights import EmbeddingWeights, LayerWeights, whole

Gradient = tuple[Array, Array | None]
"""One or two terms [T, D]."""

Embed = Callable[[Gradient], None]
Layer = Callable[[Gradient], Gradient]
"""Backward passes of the embeddings and of a layer."""


def embed(p: LearningPlanner, w: EmbeddingWeights) -> tuple[Array, Embed]:
    """What enters the first layer: [T] -> [T, D]."""
    D = p.config.dim
    tables = {
        "word_embeddings": (whole(w.word_embeddings), WORD_IDS),
        "position_embeddings": (whole(w.position_embeddings), POSITION_IDS),
    }
    words, positions = (Rows(address(table), D, ids) for table, ids in tables.values())
    terms = [words, positions]
    if w.token_type_embeddings is not None:
        tables["token_type_embeddings"] = whole(w.token_type_embeddings), TYPE_IDS
        terms.insert(1, Rows(address(whole(w.token_type_embeddings)), D, TYPE_IDS))
    s = p.sum("embeddings", *terms, into=p.kept("embeddings", D))  # [T] -> [T, D]
    x, norm = p.normalize("layer_norm", s, "embeddings.layer_norm", w.layer_norm, into=p.kept("x", D))
    x = p.hidden_dropout(x, EMBEDDINGS_SITE, into=x)

    def backward(gradient: Gradient) -> None:
        dx, more = gradient
        if more is not None:
            dx = p.sum("residual dX", dx, more, into=dx)
        dx = p.hidden_dropout(dx, EMBEDDINGS_SITE, into=dx)
        ds = p.normalize_backward("layer_norm", dx, None, norm, into=p.buffer("ds", D))
        for table in tables:
            p.scatter(table, ds)

    return x, backward


def layer(p: LearningPlanner, x: Array, w: LayerWeights, at: str, some: bool) -> tuple[Array, Layer]:
    """One post-norm block: attention, add and normalize, feed-forward, add and normalize: [T, D] -> [T, D].

    With `some`, what follows the attention is computed of the rows that the head reads: [T, D] -> [R, D].
    """
    D, F, activation, i = p.config.dim, p.config.hidden_dim, p.config.activation, p.layer
    sites, rows = layer_sites(i or 0), WANTED if some else TOKENS
    spare, inner = p.buffer("y", D), p.buffer("hidden", F)

    qkv = p.product("q, k, v", x, f"{at}.qkv", into=p.kept("qkv", D, D, D))  # [T, D] -> [T, 3 D]
    q, k, v = (qkv.parts(n, n + 1) for n in range(3))
    context, attended = p.attend_kept(q, k, v, sites[0], into=p.kept("context", D))
    entered = p.read(x, into=p.kept("entered", D, rows=rows)) if some else x  # [T, D] -> [R, D], and so on
    context = p.read(context, into=p.kept("read context", D, rows=rows)) if some else context
    y = p.product("out_lin", context, f"{at}.out_lin", into=spare)
    y = p.hidden_dropout(y, sites[1], into=spare)
    s = p.sum("residual", entered, y, into=p.kept("attended", D, rows=rows))
    h, sa_norm = p.normalize("sa_layer_norm", s, f"{at}.sa_layer_norm", w.sa_layer_norm, into=p.kept("h", D, rows=rows))
    u = p.product("lin1", h, f"{at}.lin1", into=p.kept("inner", F, rows=rows))  # [T, D] -> [T, F]
    g = p.activate("activation", u, activation, into=inner)
    y = p.product("lin2", g, f"{at}.lin2", into=spare)  # [T, F] -> [T, D]
    y = p.hidden_dropout(y, sites[2], into=spare)
    s = p.sum("residual", h, y, into=p.kept("fed", D, rows=rows))
    out, norm = p.normalize(
        "output_layer_norm", s, f"{at}.output_layer_norm", w.output_layer_norm, into=p.kept("out", D, rows=rows)
    )

    def backward(gradient: Gradient) -> Gradient:
        p.layer = i
        a, b, c = (p.buffer(name, D) for name in ("dx", "more", "ds"))
        g = p.activate("activation", u, activation, into=inner, meets=False)  # again: it is not kept
        ds = p.normalize_backward("output_layer_norm", *gradient, norm, into=c)
        dy = p.hidden_dropout(ds, sites[2], into=spare)
        du = p.product_backward("lin2", dy, g, f"{at}.lin2", into=p.buffer("wide", F))  # [T, D] -> [T, F]
        du = p.activate_backward("activation", du, u, activation)
        dh = p.product_backward("lin1", du, h, f"{at}.lin1", into=a)  # [T, F] -> [T, D]
        more = p.normalize_backward("sa_layer_norm", dh, ds, sa_norm, into=spare if some else b)
        dy = p.hidden_dropout(more, sites[1], into=c if some else spare)
        dcontext = p.product_backward("out_lin", dy, context, f"{at}.out_lin", into=a)
        if some:
            more, dcontext = p.spread(more, into=b, meets=False), p.spread(dcontext, into=c)  # [R, D] -> [T, D]
        dqkv = p.attend_backward(dcontext, attended, into=p.buffer("wide", 3 * D))  # [T, D] -> [T, 3 D]
        return p.product_backward("q, k, v", dqkv, x, f"{at}.qkv", into=a), more  # [T, 3 D] -> [T, D]

    return out, backward
