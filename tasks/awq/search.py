"""AutoAWQ's quantizer for inputs with pictures, layer by layer; AutoAWQ is imported at the top, see families.py.

Of AutoAWQ: the search space and its loss, how scales are applied, and clipping. Ours: samples of unequal lengths that
come through the vision tower, a grid that a parameter sets, one layer on the device at a time, and no rounding, which
`tasks.awq.packing` does.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from awq.quantize.quantizer import AwqQuantizer
from awq.quantize.scale import apply_clip, apply_scale
from awq.utils.module import get_named_linears
from torch import nn
from tqdm import tqdm

from tasks.awq.backend import Encoded, Layer, QuantizeError
from tasks.awq.packing import MOST, SMALLEST
from tasks.awq.scales import LayerScales, Scales

if TYPE_CHECKING:
    from tasks.config import QuantizeParams

CACHE = ("past_key_values", "past_key_value", "use_cache", "cache_position")
SAMPLES = "samples"


class Reached(Exception):  # no error: the samples have come as far as the first layer
    """Ends a forward pass at the first layer."""


class Quantizer(AwqQuantizer):  # type: ignore[misc]  # AutoAWQ has no types
    """Searches the scales of one model; see `layers`.

    Args:
        tower: class of tasks.awq.families around the model.
        samples: inputs of the model.
        params: group size, grid, tokens that a scale is tried on, and whether ranges are clipped too.

    Attributes:
        found: scales of the layers that were given so far.
    """

    def __init__(self, tower: Any, samples: list[Encoded], params: QuantizeParams) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._params = params
        self._calls: list[dict[str, Any]] = []
        self._lengths: list[int] = []
        self.found = Scales()
        self.inps: torch.Tensor
        super().__init__(
            tower, tower.model, None, w_bit=4, group_size=params.group_size, zero_point=True, version="gemm",
            calib_data=samples, split="", text_column="", duo_scaling=True, apply_clip=params.clip,
            export_compatible=True,
        )  # fmt: skip

    def init_quant(self, n_samples: int = 0, max_seq_len: int = 0) -> tuple[Any, dict[str, Any], torch.Tensor]:
        """Run every sample up to the first layer and keep what that layer is given.

        Returns:
            The layers, nothing (arguments are kept a sample), and hidden states (tokens of all samples, channels).
        """
        modules, states = self.awq_model.get_model_layers(self.model), []

        def catch(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            call = {name: value for name, value in named.items() if name not in CACHE}
            states.append(given[0] if given else call.pop("hidden_states"))
            self._calls.append(call)
            raise Reached

        self.awq_model.move_embed(self.model, self._device)
        hook = modules[0].register_forward_pre_hook(catch, with_kwargs=True)
        with torch.no_grad():
            for sample in tqdm(self.calib_data, desc="vision tower", unit="sample"):
                inputs = _moved(sample, self._device, self.model.dtype)
                try:
                    self.model(**inputs, use_cache=False)
                except Reached:
                    continue
        hook.remove()
        self.awq_model.move_embed(self.model, "cpu")
        self._lengths = [state.shape[1] for state in states]
        self._calls = [_moved(call, self._device, torch.float32) for call in self._calls]
        return modules, {}, torch.cat([state[0].float() for state in states])

    def layers(self) -> Iterator[Layer]:
        """Give each layer with its scales applied, float32; the model's own layer is spent by then."""
        for number in tqdm(range(len(self.modules)), desc="AWQ", unit="layer"):
            layer = self.modules[number].to(self._device).float()
            self.found[number] = self._scale(layer)
            state = {name: value.detach() for name, value in layer.state_dict().items()}
            layer.to("meta")
            yield number, state
            # its memory is wanted for the next
            del layer, state

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _scale(self, layer: nn.Module) -> list[LayerScales]:
        linears = get_named_linears(layer)
        for name, linear in linears.items():
            if linear.in_features % self.group_size:
                raise QuantizeError(
                    f"quantize.group_size: {linear.in_features} inputs of {name} are no multiple of {self.group_size}"
                )
        features = self._features(layer, linears)
        found = [
            self._search_best_scale(layer, **wanted)
            for wanted in self.awq_model.get_layers_for_scaling(layer, features, {})
        ]
        apply_scale(layer, found, input_feat_dict=features)
        if self.apply_clip:
            apply_clip(layer, self._search_best_clip(layer, linears, features))
        return found

    def _features(self, layer: nn.Module, linears: dict[str, nn.Linear]) -> dict[str, torch.Tensor]:
        """Inputs of each linear layer, (tokens, channels); the layer's outputs become the next one's inputs."""
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in linears}
        hooks = [
            linear.register_forward_pre_hook(lambda _, given, kept=seen[name]: kept.append(given[0].detach()))
            for name, linear in linears.items()
        ]
        self.inps = self._module_forward(self.inps, layer, {})
        for hook in hooks:
            hook.remove()
        return {name: torch.cat([part.flatten(0, -2) for part in parts]) for name, parts in seen.items()}

    def _module_forward(self, x: torch.Tensor, module: nn.Module, module_kwargs: dict[str, Any]) -> torch.Tensor:
        """Outputs for the tokens of all samples, or of `samples` among the arguments.

        A module that mixes tokens gets one sample at a time.
        """
        if not _mixes_tokens(module):
            output: torch.Tensor = module(x)
            return output
        known = inspect.signature(module.forward).parameters
        members, outputs = module_kwargs.get(SAMPLES, range(len(self._calls))), []
        for number, part in zip(members, x.split([self._lengths[number] for number in members]), strict=True):
            call = {name: value for name, value in self._calls[number].items() if name in known}
            found = module(part.unsqueeze(0), **call)
            outputs.append((found[0] if isinstance(found, tuple) else found)[0])
        return torch.cat(outputs)

    def _search_rows(self, module: nn.Module) -> tuple[torch.Tensor, dict[str, Any]]:
        """Rows of all tokens that a scale is tried on, spread evenly, and the samples that they are."""
        total, wanted = sum(self._lengths), self._params.search_tokens
        if not _mixes_tokens(module):
            return torch.arange(0, total, max(1, total // wanted), device=self.inps.device), {}
        count = min(len(self._lengths), max(1, round(wanted * len(self._lengths) / total)))
        members = [number * len(self._lengths) // count for number in range(count)]
        rows = torch.arange(total, device=self.inps.device).split(self._lengths)
        return torch.cat([rows[number] for number in members]), {SAMPLES: members}

    def pseudo_quantize_tensor(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Round to the grid, as AutoAWQ does, in place: this is where a processor spends its time.

        Returns:
            Rounded weights (out, in); scales and zero points, (out, in / group).
        """
        pieces = w.reshape(-1, self.group_size)
        low, high = torch.aminmax(pieces, dim=1, keepdim=True)
        # zero lies within every grid, as in tasks.awq.packing
        low, high = low.clamp(max=0), high.clamp(min=0)
        scales = (high - low).clamp(min=SMALLEST).div_(MOST)
        zeros = (-low / scales).round_().clamp_(0, MOST)
        rounded = (pieces / scales).round_().add_(zeros).clamp_(0, MOST).sub_(zeros).mul_(scales)
        return rounded.view_as(w), scales.view(len(w), -1), zeros.view(len(w), -1)

    def _compute_best_scale(
        self,
        x: torch.Tensor,
        w_mean: torch.Tensor,
        x_mean: torch.Tensor,
        module2inspect: nn.Module,
        linears2scale: list[nn.Linear],
        fp16_output: torch.Tensor,
        kwargs: dict[str, Any] | None = None,
    ) -> torch.Tensor:
        """The scale of least squared error at the block, `s = mean|x|^r / mean|w|^(1 - r)` over a grid of r."""
        kept = [linear.weight.data for linear in linears2scale]
        rows, members = self._search_rows(module2inspect)
        x, wanted = x[rows], fp16_output[rows]
        best, least = None, float("inf")
        for step in range(self._params.grid):
            ratio = step / self._params.grid
            scales = (x_mean.pow(ratio) / (w_mean.pow(1 - ratio) + 1e-4)).clamp(min=1e-4)
            scales = scales / (scales.max() * scales.min()).sqrt()
            scales[~torch.isfinite(scales)] = 1
            for linear, weight in zip(linears2scale, kept, strict=True):
                linear.weight.data = self.pseudo_quantize_tensor(weight * scales)[0].div_(scales)
            loss = float((self._module_forward(x, module2inspect, members) - wanted).square().mean())
            if loss < least:
                best, least = scales, loss
        for linear, weight in zip(linears2scale, kept, strict=True):
            linear.weight.data = weight
        if best is None:
            raise QuantizeError("the search found no scale: the layer's outputs are no numbers")
        return best.cpu()


def scaled_layers(tower: Any, scales: Scales) -> Iterator[Layer]:
    """Give each layer with scales applied that a search found before; see `Quantizer.layers`.

    Args:
        tower: class of tasks.awq.families around the model.
        scales: of every layer.

    Raises:
        QuantizeError: they are of fewer or more layers.
    """
    modules = tower.get_model_layers(tower.model)
    if sorted(scales) != list(range(len(modules))):
        raise QuantizeError(f"scales of {len(scales)} layers do not fit a model of {len(modules)}")
    for number, layer in enumerate(modules):
        with torch.no_grad():
            apply_scale(layer.float(), scales[number])
        state = {name: value.detach() for name, value in layer.state_dict().items()}
        layer.to("meta")
        yield number, state


def _mixes_tokens(module: nn.Module) -> bool:
    return "position_embeddings" in inspect.signature(module.forward).parameters


def _moved(value: Any, device: str, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)
    if isinstance(value, dict):
        return {name: _moved(part, device, dtype) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(part, device, dtype) for part in value)
    return value
