"""`import minidistil` is quick and loads nothing."""

from __future__ import annotations

import pytest

import minidistil
from tests.processes import python

HEAVY = ("numpy", "numba", "tokenizers", "huggingface_hub", "safetensors", "tqdm", "click", "torch", "transformers")


def test_importing_loads_nothing() -> None:
    code = f"import minidistil, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code) == "[]"


def test_loading_a_model_needs_no_hub_and_no_torch(bert_small: object) -> None:
    code = (
        f"import minidistil, sys; m = minidistil.load({str(bert_small)!r}, backend='blas'); m.encode('the city');"
        "print([m for m in ('numba', 'huggingface_hub', 'tqdm', 'click', 'torch', 'transformers') if m in sys.modules])"
    )
    assert python(code) == "[]"


@pytest.mark.parametrize("name", minidistil.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(minidistil, name) is not None
    assert name in dir(minidistil)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TFAutoModel'"):
        _ = minidistil.TFAutoModel
    with pytest.raises(ImportError):
        from minidistil import Nothing  # noqa: F401
