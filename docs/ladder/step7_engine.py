"""Step 7: the engine's own steps, as every pass takes them.

Why: what step 6 still does in Python, or for each head anew, is done in registers here: keys and values are packed by
transposing sixteen by sixteen, 48 queries share a pass over them, and nothing is allocated. A pass is a list of such
steps, and threads share one by blocks of rows, panels and heads, never along a sum; here one thread takes them.
"""

import math

import numpy as np

from minidistil.kernels.code import target
from minidistil.kernels.layout import PANEL, address, attention_scratch, pack, padded_columns, panels
from minidistil.kernels.steps.attend import Attend
from minidistil.kernels.steps.product import Product
from minidistil.kernels.steps.table import Matrix, Packed
from minidistil.kernels.steps.take import take
from minidistil.weights.model_weights import Linear

ORDER = "the rule"


def prepare(w: Linear) -> tuple[np.ndarray, np.ndarray]:
    n, k = w.weight.shape
    packed, bias = np.empty((panels(n), k, PANEL), np.float32), np.zeros(padded_columns(n), np.float32)
    pack(w.weight, packed, target.sliver())
    bias[:n] = w.bias
    return packed, bias


def product(x: np.ndarray, w: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    packed, bias = w
    (m, k), columns = x.shape, len(bias)
    y = np.empty((m, columns), np.float32)
    matrix = Packed(address(packed), address(bias), k, columns)
    take(Product(Matrix(address(x), k), matrix, Matrix(address(y), columns), m))
    return y


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    n, heads, d = q.shape
    context, ends = np.empty_like(q), np.array([0, n])
    rows = [Matrix(address(x), heads * d) for x in (q, k, v, context)]
    scale, offsets = 1 / math.sqrt(d), address(ends)
    step = Attend(*rows, heads, d, scale, 1, offsets, offsets, 0, 1, 0, 0)
    take(step, scratch_floats=attention_scratch(n, d))
    return context


if __name__ == "__main__":
    from measure import tell

    tell(__file__)
