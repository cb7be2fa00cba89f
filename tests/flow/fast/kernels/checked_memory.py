"""Triton's interpreter with checks of each access: it runs programs one after another, and has no threads."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from triton.runtime import interpreter


class _Memory:
    """The accesses to each element of one tensor in a launch. Programs count from 1; 0: none, -1: several."""

    def __init__(self, tensor: Tensor) -> None:
        self.start, self.item, self.n = tensor.data_ptr(), tensor.element_size(), tensor.numel()
        self.stored_by, self.loaded_by, self.stored_at, self.loaded_at = np.zeros((4, self.n), np.int64)


class Checker:
    """Finds accesses outside of a tensor, of several programs to an element, and of a program without a barrier.

    Of two accesses to an element, one a store, another thread may do the second, and do it first: a barrier must be
    between them. Only a block that is stored where it was loaded from, with no product between, needs none, since an
    element then depends on itself only.
    """

    def __init__(self) -> None:
        self.found: set[str] = set()  # what is wrong, and where
        self.accesses = 0
        self._memories: list[_Memory] = []
        self._time = 1  # barriers so far
        self._program = 0
        self._loaded: set[bytes] = set()  # addresses of blocks, since the last barrier or product

    def launch(self, arguments: list[Any]) -> None:
        self._memories = [_Memory(each) for each in arguments if isinstance(each, Tensor)]
        self._program = 0

    def program(self) -> None:
        self._program += 1
        self.barrier()

    def barrier(self) -> None:
        self._time += 1
        self._loaded.clear()

    def product(self) -> None:
        self._loaded.clear()

    def access(self, pointers: Any, mask: Any, *, store: bool) -> None:
        all_addresses = np.asarray(pointers.data)
        addresses = all_addresses[np.broadcast_to(mask.data, all_addresses.shape).astype(bool)].astype(np.int64)
        if not addresses.size:
            return
        self.accesses += 1
        first, last = addresses.min(), addresses.max()
        memory = next((m for m in self._memories if m.start <= first and last < m.start + m.n * m.item), None)
        if memory is None:
            self._note("outside of a tensor")
            return
        its = (addresses - memory.start) // memory.item
        others = memory.stored_by[its] if not store else np.stack([memory.stored_by[its], memory.loaded_by[its]])
        if ((others != 0) & (others != self._program)).any():
            self._note("to what is another program's")
        if (memory.stored_at[its] == self._time).any():
            self._note("to what was stored since the last barrier")
        block = all_addresses.tobytes()
        if store:
            if len(np.unique(its)) < its.size:
                self._note("twice to an element")
            if (memory.loaded_at[its] == self._time).any() and block not in self._loaded:
                self._note("to what was loaded since the last barrier")
            memory.stored_by[its], memory.stored_at[its] = self._program, self._time
        else:
            loaded_by = memory.loaded_by[its]
            memory.loaded_by[its] = np.where((loaded_by == 0) | (loaded_by == self._program), self._program, -1)
            memory.loaded_at[its] = self._time
            self._loaded.add(block)

    def _note(self, what: str) -> None:
        places = [
            f"{frame.name} {frame.lineno}"
            for frame in traceback.extract_stack()
            if "flow/fast/kernels/" in frame.filename and frame.filename != __file__
        ]
        self.found.add(f"{' '.join(places[-2:])}: access {what}")


@contextmanager
def checked() -> Iterator[Checker]:
    """Have all kernels that are interpreted within the block checked."""
    checker, builder = Checker(), type(interpreter.interpreter_builder)
    with pytest.MonkeyPatch.context() as patch:

        def before(owner: type, name: str, call: Any) -> None:
            its_own = getattr(owner, name)

            def both(self: Any, *arguments: Any, **named: Any) -> Any:
                call(*arguments)
                return its_own(self, *arguments, **named)

            patch.setattr(owner, name, both)

        before(interpreter.GridExecutor, "_init_args_hst", lambda arguments, _: checker.launch(arguments))
        before(builder, "set_grid_idx", lambda *_: checker.program())
        before(builder, "create_barrier", checker.barrier)
        before(builder, "create_dot", lambda *_: checker.product())
        before(builder, "create_masked_load", lambda pointers, mask, *_: checker.access(pointers, mask, store=False))
        before(
            builder, "create_masked_store", lambda pointers, _, mask, *__: checker.access(pointers, mask, store=True)
        )
        yield checker
