"""A graphics card that is not there: tensors that say `cuda`, keep their values in main memory, and refuse to mix.

torch's own FakeTensorMode has no values, so nothing that reads one runs under it: Hungarian matching, a check for NaN,
greedy decoding. Here every operation runs on the processor and gives its real numbers, under the rule of a real card:
an operation on tensors of the card and of main memory fails, unless the latter has no dimensions or is an index.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

CARD = torch.device("cuda", 0)
aten = torch.ops.aten
# what a real card takes from main memory too: copies, and indices
MIXED = {f"aten::{name}" for name in ("_to_copy", "copy_", "index", "index_put", "index_put_", "_index_put_impl_")}


NAMES = (str, torch.device)
# what gives values of a tensor to Python
READ = {getattr(torch.Tensor, name) for name in ("tolist", "item", "__int__", "__float__", "__bool__", "__index__")}
STATE = {"meta": False}  # whether the device `meta` itself was asked for


class CardTensor(torch.Tensor):
    """A tensor of the card; `held` has its values.

    To torch's own C++ it lies on the device `meta`, whose gradients need no streams of CUDA.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda _: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda _: True)  # type: ignore[assignment]
    is_meta = property(lambda _: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls: type[CardTensor], held: torch.Tensor) -> CardTensor:
        """Make one that looks like `held` but for its device."""
        made: CardTensor = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device="meta", requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    held: torch.Tensor

    @property
    def data(self) -> torch.Tensor:  # type: ignore[override]
        """The values without their history."""
        return self.detach()

    @data.setter
    def data(self, value: CardTensor) -> None:
        torch.Tensor.data.__set__(self, value)
        self.held = value.held

    def __repr__(self, **_: Any) -> str:
        """Say what it is; torch's own would read values through the card."""
        return f"CardTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation."""
        return _run(func, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Gives the card its number wherever it is named, as C++ would ask CUDA for it, and tells `meta` from the card."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {name: _numbered(value) if name == "device" else value for name, value in (kwargs or {}).items()}
        if func in (torch.Tensor.to, torch.Tensor.cuda):
            # C++ names the card of a tensor as it knows it
            args = tuple(CARD if isinstance(one, NAMES) and str(one) == "meta" else _numbered(one) for one in args)
        elif isinstance(kwargs.get("device"), NAMES) and str(kwargs["device"]) == "meta":
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(STATE, "meta", True)
                return func(*args, **kwargs)
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == CARD:
            given = tree_map_only(CardTensor, lambda one: one.held, args)
            return func(*given, **{**kwargs, "device": None}).to(CARD)
        if func in READ and isinstance(args[0], CardTensor):
            return func(args[0].held)
        if func is functional.scaled_dot_product_attention and kwargs.pop("is_causal", False):
            kwargs["attn_mask"] = torch.ones(args[0].shape[-2], args[1].shape[-2], dtype=torch.bool).tril().to(CARD)
        return func(*args, **kwargs)


def _numbered(value: Any) -> Any:
    return CARD if isinstance(value, NAMES) and str(value) in ("cuda", "cuda:0") else value


class _Mode(TorchDispatchMode):
    """Sees what makes a tensor from nothing, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on_card = [one for one in given if isinstance(one, CardTensor)]
    name = func._schema.name
    if on_card and name not in MIXED:
        _refuse_mixture(name, given)
    wanted = kwargs.get("device")
    # where nobody asked for `meta`, it is what C++ takes the card for
    card = {"cuda"} if STATE["meta"] else {"cuda", "meta"}
    to_card = bool(on_card) if wanted is None else torch.device(wanted).type in card
    if name == "aten::copy_":
        to_card = isinstance(args[0], CardTensor)
    if name in ("aten::is_pinned", "aten::_pin_memory"):
        return False if name == "aten::is_pinned" else args[0]
    if name == "aten::_fused_sdp_choice":
        return 0  # the kernel of plain operations, which both devices have
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu") if to_card else wanted}
    plain_args, plain_kwargs = tree_map_only(CardTensor, lambda one: one.held, (args, kwargs))
    found = func(*plain_args, **plain_kwargs)
    if not to_card:
        return found
    known = {id(one.held): one for one in on_card}
    # what an operation in place gives back is the tensor that it was given
    return tree_map_only(torch.Tensor, lambda one: known[id(one)] if id(one) in known else CardTensor(one), found)


def _refuse_mixture(name: str, given: list[torch.Tensor]) -> None:
    for one in given:
        if not isinstance(one, CardTensor) and one.dim() > 0:
            raise RuntimeError(f"{name}: expected all tensors on the card, and one of {tuple(one.shape)} is not")


class _Event:
    """Work that is done as soon as it is asked for."""

    def record(self) -> None:
        """Nothing is under way."""

    def synchronize(self) -> None:
        """Nothing is waited for."""


@contextmanager
def fake_card(*, available: bool = False, bfloat16: bool = True) -> Iterator[torch.device]:
    """Have a card within; gives its device.

    Args:
        available: whether `torch.cuda.is_available()` says that there is one, for code that asks.
        bfloat16: whether it has that; autocast does not change what a network computes in here.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        # otherwise `Module.to` would change what C++ knows of a weight, and not its values
        patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
        # tensors made in inference mode could not be views of others, which ours are not seen to be
        patch.setattr(torch, "inference_mode", torch.no_grad)
        if available:
            patch.setattr(torch.cuda, "is_available", lambda: True)
            patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: bfloat16)
            patch.setattr(torch.cuda, "empty_cache", lambda: None)
            patch.setattr(torch.cuda, "memory_allocated", lambda *_: 0)
            patch.setattr(torch.cuda, "memory_reserved", lambda *_: 0)
            patch.setattr(torch.cuda, "max_memory_reserved", lambda *_: 0)
            patch.setattr(torch.cuda, "mem_get_info", lambda *_: (22 << 30, 24 << 30))
            patch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: None)
            patch.setattr(torch.cuda, "synchronize", lambda *_: None)
            patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda _: None)
            patch.setattr(torch.cuda, "Event", _Event)
        with _Mode(), _Names():
            yield CARD
