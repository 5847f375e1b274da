"""Which execution of the model a caller gets.

Apart from `protocol.py`, which the reference imports: the reference must not reach the engine, not even through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

from minidistil._loading import loading
from minidistil._options import is_one_of
from minidistil._warn import warn_caller
from minidistil.backends.learning import Chances, Learner, Task
from minidistil.backends.protocol import Backend
from minidistil.weights.config import Config
from minidistil.weights.errors import CheckpointError
from minidistil.weights.file_names import PACKED_FILES
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.options import Option
from minidistil.weights.precision import Precision, stored_precision

if TYPE_CHECKING:
    from minidistil.weights import Checkpoint
    from minidistil.weights.packing import PackedWeights

BACKENDS = ("engine", "exact", "blas")
LEARNERS = ("engine", "exact")


class RunOptions(TypedDict, total=False):
    """How a model is computed."""

    threads: Annotated[int | None, Option("to compute with; None for OMP_NUM_THREADS where set, else all.")]
    backend: Annotated[
        str | None,
        Option('"engine", "exact" or "blas"; unset, the engine, or "blas" with a warning where it cannot run.'),
    ]
    precision: Annotated[
        Precision | None,
        Option('"float32", "bfloat16" or "int8", of the weights; unset, int8 where the checkpoint is, else float32.'),
    ]


def create_backend(
    name: str | None,
    config: Config,
    weights: ModelWeights,
    threads: int | None = None,
    packed: PackedWeights | None = None,
) -> Backend:
    """Make a backend by name.

    Args:
        name: "engine" (compiled kernels), "exact" (plain NumPy, the same bits, slow) or "blas" (plain NumPy and its
            BLAS, float tolerance); None for "engine", or "blas" with a warning where Numba or hardware FMA is missing.
        config: the model's.
        weights: the model's.
        threads: of the engine; None for OMP_NUM_THREADS where it is set, else what the process may use (affinity and
            control groups). NumPy's BLAS has settings of its own.
        packed: the weights in the engine's layout, from `packed_beside`; None to make them.

    Raises:
        RuntimeError: the engine was asked for, and cannot run here.
        ValueError: an unknown name, or fewer than one thread.
    """
    if not is_one_of(name, (None, *BACKENDS)):
        raise ValueError(f"backend must be one of {list(BACKENDS)}, got {name!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if name in (None, "engine"):
        return _engine(config, weights, threads, packed, name is None)
    with loading():
        from minidistil.backends.reference import Reference, blas, exact

    return Reference(config, weights, exact if name == "exact" else blas)


def create_learner(
    name: str | None,
    config: Config,
    weights: ModelWeights,
    task: Task,
    chances: Chances,
    threads: int | None = None,
) -> Learner:
    """Make a model that learns, by a backend's name.

    Args:
        name: "engine" (compiled kernels; None is the same) or "exact" (plain NumPy, the same bits, very slow).
        config: the model's.
        weights: to begin with; they are copied.
        task: the head that is trained.
        chances: of dropout.
        threads: of the engine, as in `create_backend`.

    Raises:
        RuntimeError: the engine cannot run here.
        ValueError: an unknown name, fewer than one thread, chances that are none, or a model without a backward pass.
    """
    if not is_one_of(name, (None, *LEARNERS)):
        raise ValueError(f"backend must be one of {list(LEARNERS)}, which have a backward pass, got {name!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if name == "exact":
        with loading():
            from minidistil.backends.reference.learning.model import ReferenceLearner

        return ReferenceLearner(config, weights, task, chances)
    with loading():
        from minidistil.backends.engine import EngineUnavailable
        from minidistil.backends.engine.learning import EngineLearner

    try:
        return EngineLearner(config, weights, task, chances, threads=threads)
    except EngineUnavailable as error:
        raise RuntimeError(
            f'the compiled engine cannot run here ({error}); backend="exact" has the same bits, and takes hundreds of '
            "times as long"
        ) from None


def packed_beside(name: str | None, checkpoint: Checkpoint, precision: str | None = None) -> PackedWeights | None:
    """The packed weights that `minidistil pack` left beside a checkpoint, if there are any and they are of use.

    A file that does not fit the checkpoint is passed over with a warning.

    Args:
        name: of the backend.
        checkpoint: an opened one.
        precision: of the model; None for the checkpoint's own.
    """
    found = checkpoint.folder / PACKED_FILES[precision or stored_precision(checkpoint.config)]
    if name not in (None, "engine") or not found.exists():
        return None
    with loading():
        from minidistil.kernels.code.native import Unavailable
        from minidistil.weights.packed_file import open_packed

    try:
        return open_packed(checkpoint, found, precision)
    except Unavailable:
        return None  # there will be no engine; making it says why
    except CheckpointError as error:
        warn_caller(RuntimeWarning(f"{error}; until then the weights are packed in memory"))
        return None


def _engine(
    config: Config, weights: ModelWeights, threads: int | None, packed: PackedWeights | None, or_blas: bool
) -> Backend:
    with loading():
        from minidistil.backends.engine import Engine, EngineUnavailable

    try:
        return Engine(config, weights, threads=threads, packed=packed)
    except EngineUnavailable as error:
        reason = str(error)
    if not or_blas:
        raise RuntimeError(
            f'the compiled engine cannot run here ({reason}); backend="exact" has the same bits, and backend="blas" is '
            "less slow"
        )
    message = (
        f"the compiled engine cannot run here ({reason}); using NumPy instead, which is slower and agrees with it to "
        'float tolerance only. backend="blas" asks for this without a warning'
    )
    warn_caller(RuntimeWarning(message))
    return create_backend("blas", config, weights)
