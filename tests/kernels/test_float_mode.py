"""The default floating-point mode: code runs in it, and the caller's comes back, however the code ends.

Bits of the entries in other modes: tests/engine/test_float_mode.py, and on 64-bit ARM tests/machines/test_neon.py.
"""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from minidistil._float_mode import default_mode
from minidistil.kernels.code import emit, native
from minidistil.kernels.code.target import cpu
from tests import float_modes


def third() -> tuple[bytes, bytes]:
    """A quotient that modes round apart, and a subnormal sum."""
    with np.errstate(all="ignore"):
        return (np.float32([-1]) / np.float32([3])).tobytes() + (np.float32([1]) / np.float32([3])).tobytes(), (
            np.float32([1e-40]) + np.float32([1e-40])
        ).tobytes()


@float_modes.MODES
def test_a_block_and_a_function(mode: int) -> None:
    want = third()

    @default_mode()
    def function(depth: int) -> tuple[bytes, bytes]:
        return function(depth - 1) if depth else third()

    with float_modes.entered(mode):
        assert third() != want, "this mode changes nothing"
        with default_mode():
            inside, current = third(), float_modes.current()
        called = function(3)
        with pytest.raises(ZeroDivisionError), default_mode():
            struct.pack("f", 1 / 0)
        assert float_modes.current() == mode
    assert inside == called == want
    assert current == float_modes.DEFAULT


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads assembly of x86-64")
def test_an_entry_computes_nothing_outside_the_default_mode() -> None:
    from minidistil.kernels.steps.run import run

    machine = emit.this_machine()
    module = emit.closed_module(run, "its_name", machine, cpu()[1])
    entry = machine.emit_assembly(module).partition("\nits_name:")[2].partition(".cfi_endproc")[0]
    assert re.findall(r"v?(?:ld|st)mxcsr|call", entry) == ["vstmxcsr", "vldmxcsr", "call", "vldmxcsr"]
    assert not re.search("%[xyz]mm", entry)


@float_modes.MODES
def test_kernels_are_compiled_in_the_default_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int) -> None:
    """Or their constants would be rounded in the mode of whoever came first, and kept."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(native.kept, "write", lambda *_: None)
    monkeypatch.setattr(emit, "object_code", lambda name, tell: ("symbol", str(float_modes.current()).encode()))
    monkeypatch.setattr(native, "_entries", {})
    monkeypatch.setattr(native.kept, "read", lambda name, key: None)
    monkeypatch.setattr(native, "_function", lambda symbol, code: code)
    with float_modes.entered(mode):
        assert int(native.entry("run")) == float_modes.DEFAULT
