"""Output objects: attributes, keys, positions, tuples."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from minidistil.models.outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
)

HIDDEN = np.ones((1, 2, 3), np.float32)
MAPS = (np.zeros((1, 1, 2, 2), np.float32),)


def test_what_was_computed_is_found_in_every_way() -> None:
    out = BaseModelOutput(last_hidden_state=HIDDEN, attentions=MAPS)
    assert out.last_hidden_state is out["last_hidden_state"] is out[0] is HIDDEN
    assert out.attentions is out["attentions"] is out[1] is out[-1] is MAPS
    assert out.hidden_states is None
    assert "hidden_states" not in out
    assert list(out) == ["last_hidden_state", "attentions"]
    assert len(out) == 2
    assert out[:1] == (HIDDEN,)
    first, second = out.to_tuple()
    assert first is HIDDEN
    assert second is MAPS
    assert dict(**out)["last_hidden_state"] is HIDDEN


def test_what_is_not_there_is_refused() -> None:
    out = MaskedLMOutput(logits=HIDDEN)
    with pytest.raises(AttributeError, match="no field 'last_hidden_state'; it has \\['logits'"):
        _ = out.last_hidden_state
    with pytest.raises(KeyError):
        out["hidden_states"]
    with pytest.raises(IndexError):
        out[1]
    with pytest.raises(TypeError, match="no field"):
        MaskedLMOutput(loss=HIDDEN)
    with pytest.raises(AttributeError):
        out.loss = HIDDEN


def test_fields_can_be_set_and_keep_their_order() -> None:
    out = BaseModelOutput(last_hidden_state=HIDDEN, attentions=MAPS)
    out.hidden_states = MAPS
    assert out[1] is MAPS
    assert out.to_tuple()[2] is MAPS
    out.hidden_states = None
    assert out.hidden_states is None
    assert len(out) == 2


def test_a_class_adds_its_fields_before_those_of_all_outputs() -> None:
    class Chosen(MaskedLMOutput):
        choice: np.ndarray

    assert Chosen._fields == ("logits", "choice", "hidden_states", "attentions")
    assert MaskedLMOutput._fields == ("logits", "hidden_states", "attentions")
    assert BaseModelOutputWithPooling._fields[:2] == ("last_hidden_state", "pooler_output")
    assert QuestionAnsweringModelOutput._fields[:2] == ("start_logits", "end_logits")
    assert Chosen(attentions=MAPS, choice=HIDDEN, logits=MAPS[0]).to_tuple() == (MAPS[0], HIDDEN, MAPS)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda out: pickle.loads(pickle.dumps(out))])
def test_copies_are_outputs_too(clone: object) -> None:
    out = clone(BaseModelOutput(last_hidden_state=HIDDEN, attentions=MAPS))
    assert type(out) is BaseModelOutput
    assert np.array_equal(out.last_hidden_state, HIDDEN)
    assert np.array_equal(out[1][0], MAPS[0])
