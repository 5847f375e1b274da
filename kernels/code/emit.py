"""From a kernel to machine code: what Numba compiles, closed off from Python, through LLVM's code generators."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from minidistil.kernels.code.float_mode import run_in_default_mode
from minidistil.kernels.code.shipped import ENTRY_PREFIX, Unavailable
from minidistil.kernels.code.target import cpu

ENTRIES = {"run": "minidistil.kernels.steps.run", "train": "minidistil.kernels.steps.train"}
"""The functions that machine code is made of: name -> the module that has it, imported only where it is compiled."""

LINKED: dict[str, Callable[[Any, str], Any]] = {}
"""Functions of which Numba sees no more than the name, and what makes an LLVM module of each, for a code generator and
the features that it was made with. Who has such a function enters it here."""

# Of the C library; the kernels need no other.
ALLOWED = ("sched_yield", "SwitchToThread", "clock_gettime", "memcpy", "memset", "memmove")


def object_code(name: str, tell: Callable[[int, int], None]) -> tuple[str, bytes]:
    """Symbol and object code of an entry, for this CPU; `tell` hears how many kernels are done, of how many."""
    machine, symbol, dispatcher = this_machine(), ENTRY_PREFIX + name, dispatcher_of(name)
    from minidistil.kernels.code.compile import counted

    with counted(tell):
        module = closed_module(dispatcher, symbol, machine, cpu()[1])
    return symbol, machine.emit_object(module)


def dispatcher_of(name: str) -> Any:
    """An entry, as Numba has it; what is needed to compile it is imported."""
    return getattr(importlib.import_module(ENTRIES[name]), name)


def closed_module(dispatcher: Any, symbol: str, machine: Any, features: str) -> Any:
    """LLVM module of a Numba function of three int64, named `symbol`, without the parts that call back into Python.

    Whatever floating-point mode its caller is in, the code runs in the default one. Nothing else of it can be seen from
    outside.

    `machine` is LLVM's code generator, of this CPU or of another kind; `features` are what it was made with.
    """
    from llvmlite import binding
    from numba import types

    signature = (types.int64,) * 3
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    module = binding.parse_assembly(result.library.get_llvm_str())
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.get_function(result.fndesc.llvm_func_name).name = symbol  # Numba's name counts what was compiled before it
    run_in_default_mode(module, symbol)
    for name in [function.name for function in module.functions if function.name in LINKED]:
        module.link_in(LINKED[name](machine, features))
    for thing in (*module.functions, *module.global_variables):
        if not thing.is_declaration and thing.name != symbol:
            thing.linkage = binding.Linkage.internal
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2)))
    foreign = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    if not set(foreign) <= set(ALLOWED):
        raise Unavailable(f"Numba made code that calls {sorted(set(foreign) - set(ALLOWED))}; is NUMBA_OPT set to 0?")
    return module


def this_machine() -> Any:
    """LLVM's code generator for the CPU, as Numba sets it up for code that is run where it was made."""
    from llvmlite import binding

    name, features = cpu()
    triple = binding.get_process_triple()
    reloc = "static" if triple.startswith("x86") else "default"
    options = {"cpu": name, "features": features, "opt": 3, "reloc": reloc, "codemodel": "jitdefault"}
    return binding.Target.from_triple(triple).create_target_machine(**options)


def any_machine(triple: str, cpu: str, features: str = "") -> Any:
    """LLVM's code generator for code that is linked into a library, for a CPU that need not be here."""
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    options = {"cpu": cpu, "features": features, "opt": 3, "reloc": "pic", "codemodel": "small"}
    return binding.Target.from_triple(triple).create_target_machine(**options)
