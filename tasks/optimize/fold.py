"""The classifier with constant operations folded into its weights: the same function in fewer operations.

Torch is imported at the top, so import this module inside functions. Folded, exactly up to rounding: ImageNet mean and
deviation into the patch convolution, LayerScale into the linear layers before it, queries, keys and values into one
matrix, and the attention's scale into the queries. Attention is written as two matrix products around a softmax on
fixed shapes, the pattern that OpenVINO, ONNX Runtime and TensorRT fuse. Only the batch stays dynamic.

LayerNorm's gain is not folded into the layer behind it: DINOv2's gains are small for a few channels with very large
activations, and int8 has one range for all channels (measured: without the gain the error of the logit grew by half).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from tasks.classifier.model import Classifier


class FoldedBlock(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """One block of DINOv2 (pre-norm attention and MLP, both with LayerScale) on (batch, tokens, channels)."""

    def __init__(self, block: Any, tokens: int) -> None:
        super().__init__()
        attention = block.attention
        self.tokens, self.heads, self.head = tokens, int(attention.num_attention_heads), int(attention.head_dim)
        self.channels = self.heads * self.head
        self.norm1, self.norm2 = block.norm1, block.norm2
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = stacked(parts, [float(attention.scaling), 1.0, 1.0])
        self.out = before_scale(attention.o_proj, block.layer_scale1.lambda1)
        self.fc1 = block.mlp.fc1
        self.fc2 = before_scale(block.mlp.fc2, block.layer_scale2.lambda1)
        self.activation = block.mlp.activation_fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (batch, tokens, channels) to tokens of the same shape."""
        x = x + self.out(self._attend(self.qkv(self.norm1(x))))
        return x + self.fc2(self.activation(self.fc1(self.norm2(x))))

    def _attend(self, qkv: torch.Tensor) -> torch.Tensor:
        parts = qkv.reshape(-1, self.tokens, 3, self.heads, self.head).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(parts[0] @ parts[1].transpose(-1, -2), dim=-1)
        return (weights @ parts[2]).transpose(1, 2).reshape(-1, self.tokens, self.channels)


class FoldedClassifier(nn.Module):  # type: ignore[misc]
    """uint8 RGB (batch, size, size, 3) to calibrated logits (batch,), like `tasks.classifier.model.Classifier`."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        backbone = model.backbone
        self.patch = patched(backbone.patch, backbone.mean, backbone.std)
        tokens = int(backbone.positions.shape[1])
        # the class token plus its position is a constant row; the other positions are added to the image's patches
        self.first = nn.Parameter(backbone.token + backbone.positions[:, :1])
        self.rest = nn.Parameter(backbone.positions[:, 1:].clone())
        self.blocks = nn.ModuleList(FoldedBlock(block, tokens) for block in backbone.blocks)
        self.layers, self.pooling, self.width = backbone.layers, backbone.pooling, backbone.width
        self.head, self.a, self.b = model.head, model.a, model.b

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to calibrated logits, fp32."""
        # sizes are constants: reading one from a tensor's shape adds three nodes to the graph
        patches = self.patch(pixels.permute(0, 3, 1, 2).float()).reshape(-1, *reversed(self.rest.shape[1:]))
        patches = patches.transpose(1, 2) + self.rest
        tokens = torch.cat([self.first.expand(patches.shape[0], -1, -1), patches], dim=1)
        outputs = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in self.layers:
                outputs.append(tokens)
        return self.a * self.head(self._pool(torch.cat(outputs, dim=2) if len(outputs) > 1 else tokens)) + self.b

    def _pool(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.pooling == "none":
            return tokens.reshape(-1, self.width)
        patches = tokens[:, 1:]
        return torch.cat([tokens[:, 0], patches.mean(dim=1), patches.amax(dim=1)], dim=1)


def fold(model: Classifier) -> nn.Module:
    """Fold a classifier; one with other blocks (gated MLP, no LayerScale) is given back unchanged."""
    known = all(hasattr(block.mlp, "fc2") and hasattr(block, "layer_scale1") for block in model.backbone.blocks)
    if not known:
        return model
    with torch.no_grad():
        return FoldedClassifier(model).eval()


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """Make a linear layer of a weight (out, in) and a bias (out,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    layer.weight.data, layer.bias.data = weight.float().contiguous(), bias.float().contiguous()
    return layer


def stacked(layers: Any, factors: list[float]) -> nn.Linear:
    """Join linear layers of one input into one, each times its factor; a missing bias counts as zero."""
    weights = [layer.weight.double() * factor for layer, factor in zip(layers, factors, strict=True)]
    biases = [
        (layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias).double() * factor
        for layer, factor in zip(layers, factors, strict=True)
    ]
    return linear(torch.cat(weights), torch.cat(biases))


def before_scale(layer: nn.Linear, scale: torch.Tensor) -> nn.Linear:
    """Fold the scale (out,) that follows a layer into it: s * (W x + b) = (s W) x + s b."""
    factor = scale.double()
    return linear(layer.weight.double() * factor[:, None], layer.bias.double() * factor)


def patched(patch: nn.Conv2d, mean: torch.Tensor, std: torch.Tensor) -> nn.Conv2d:
    """Fold x / 255, mean (3,) and deviation (3,) into the patch convolution: W((x / 255 - m) / s) + b.

    There is no padding, so the offset is the same everywhere.
    """
    weight = patch.weight.double() / std.double().view(1, 3, 1, 1)
    offset = (weight * mean.double().view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    folded = nn.Conv2d(3, patch.out_channels, patch.kernel_size, patch.stride)
    folded.weight.data = (weight / 255).float().contiguous()
    folded.bias.data = (patch.bias.double() - offset).float()
    return folded
