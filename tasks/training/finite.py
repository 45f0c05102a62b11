"""NaN and infinite values in a training: it ends at once, and says which layer had the first of them.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

RATE = "try a lower learning_rate, or a lower training.max_gradient where the step has one"
REMEDY = {
    "input": "what goes in is not finite: look at this step's features or pictures, and delete its cache under var",
    "output": f"the value overflowed: {RATE}, or float32 in place of bfloat16",
    "weight": RATE,
    "gradient": RATE,
    "loss": "every layer is finite: look at labels, covers and weights of the pictures, and at the loss's parameters",
}


@dataclass(frozen=True)
class Fault:
    """Where the first value that is not finite stands.

    Attributes:
        kind: a key of REMEDY.
        layer: its name in the model; empty for the loss.
        value: the tensor that holds it: NaN or inf.
        detail: name of a weight, or the layer before.
    """

    kind: str
    layer: str
    value: str
    detail: str = ""

    def line(self, step: int) -> str:
        """One line for people: step, layer, kind of value, what to try."""
        place = f"the {self.kind} of layer {self.layer}" if self.layer else f"the {self.kind}"
        return f"training ends at step {step}: {self.value} in {place}{self.detail}; {REMEDY[self.kind]}"


class NonFiniteError(ValueError):
    """A loss, a gradient or a weight is NaN or infinite."""

    def __init__(self, fault: Fault, step: int) -> None:
        super().__init__(fault.line(step))
        self.fault, self.step = fault, step


def refuse_loss(model: nn.Module, step: int, loss: torch.Tensor, again: Callable[[], Any]) -> None:
    """Raise where a loss is not finite.

    Args:
        model: in training mode.
        step: of the training.
        loss: a scalar.
        again: computes the same loss once more, so that hooks see the layers; it is called only where the loss is not
            finite.

    Raises:
        NonFiniteError: names the first layer with a value that is not finite.
    """
    if torch.isfinite(loss):
        return
    # running statistics come last: the pass that gave this loss may have broken them
    fault = _in(model.named_parameters()) or _in_layers(model, again) or _in(model.named_buffers())
    raise NonFiniteError(fault or Fault("loss", "", _value(loss)), step)


def refuse_gradient(model: nn.Module, step: int, norm: torch.Tensor) -> None:
    """Raise where the norm of all gradients is not finite.

    Raises:
        NonFiniteError: names the layer nearest to the loss, where the backward pass came by first.
    """
    if torch.isfinite(norm):
        return
    found = [fault for name, weight in model.named_parameters() if (fault := _in_gradient(name, weight.grad))]
    raise NonFiniteError(found[-1] if found else Fault("gradient", "", _value(norm), " (their norm)"), step)


def refuse_weights(model: nn.Module, step: int) -> None:
    """Raise where a weight or a running statistic is not finite.

    Raises:
        NonFiniteError: names the first of them, in the order of the layers.
    """
    if fault := _in([*model.named_parameters(), *model.named_buffers()]):
        raise NonFiniteError(fault, step)


def _in_gradient(name: str, gradient: torch.Tensor | None) -> Fault | None:
    return _named("gradient", name, gradient) if gradient is not None and not _finite(gradient) else None


def _in(weights: Iterable[tuple[str, torch.Tensor]]) -> Fault | None:
    for name, tensor in weights:
        if not _finite(tensor):
            return _named("weight", name, tensor)
    return None


def _named(kind: str, name: str, tensor: torch.Tensor) -> Fault:
    layer, _, last = name.rpartition(".")
    return Fault(kind, layer or "(model)", _value(tensor), f" ({last})")


def _in_layers(model: nn.Module, again: Callable[[], Any]) -> Fault | None:
    """Run the loss once more and give the first layer with a value that is not finite, in the order of the calls."""
    faults: list[Fault] = []
    with _watched(model, faults), torch.no_grad():
        again()
    return faults[0] if faults else None


@contextmanager
def _watched(model: nn.Module, faults: list[Fault]) -> Iterator[None]:
    """Note what comes into and out of every layer that has none below it."""
    last = ""

    def before(name: str, given: Any) -> None:
        if (tensor := _first_bad(given)) is not None:
            faults.append(Fault("input", name, _value(tensor), f" (after {last})" if last else ""))

    def after(name: str, answer: Any) -> None:
        nonlocal last
        if (tensor := _first_bad(answer)) is not None:
            faults.append(Fault("output", name, _value(tensor)))
        last = name

    leaves = [(name or "(model)", layer) for name, layer in model.named_modules() if not any(layer.children())]
    hooks = [
        hook
        for name, layer in leaves
        for hook in (
            layer.register_forward_pre_hook(lambda _, given, name=name: before(name, given)),
            layer.register_forward_hook(lambda _, __, answer, name=name: after(name, answer)),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _first_bad(value: Any) -> torch.Tensor | None:
    """The first tensor among nested values that is not finite."""
    if isinstance(value, torch.Tensor):
        return None if _finite(value) else value
    if isinstance(value, str):
        return None
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, Sequence) else ()
    return next((bad for one in inner if (bad := _first_bad(one)) is not None), None)


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _value(tensor: torch.Tensor) -> str:
    return "NaN" if bool(torch.isnan(tensor).any()) else "inf"
