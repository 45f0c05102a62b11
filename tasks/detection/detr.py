"""DETRs of transformers: RF-DETR (Robinson et al. 2025) on our frozen DINOv2, or RT-DETR (Zhao et al. 2024).

The small RF-DETR keeps the backbone of stage 1 as it is: its feature maps are computed once a view and cached, and only
projector and decoder are trained, so a laptop trains it and the shipped weights are a few megabytes.

Import this only where torch is wanted; it loads at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cascade.detection.boxes import CLASSES
from tasks.config.detect import DetrParams
from tasks.detection.frozen import MEAN, STD, FrozenBackbone, normalised
from tasks.detection.target import Target, box_count


class Detr(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """A DETR over uint8 squares.

    Args:
        params: section `detect.detr`.
        backbone: a `Dinov2Model` folder; only the small RF-DETR reads it.

    Attributes:
        card_bfloat16: whether a training on a card computes the network in it.
    """

    card_bfloat16 = False

    def __init__(self, params: DetrParams, backbone: Path) -> None:
        super().__init__()
        self.size = params.size
        self.frozen: nn.Module | None = None
        if params.repo is not None:
            self.net = _pretrained(params)
        elif params.family == "rf_detr":
            self.frozen = FrozenBackbone(backbone, params.layers, params.size)
            self.net = _small_rf_detr(params, self.frozen.width)
        else:
            self.net = _small_rt_detr(params)
        self.net.loss_function = partial(_in_float32, self.net.loss_function)
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1), persistent=False)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run what is frozen.

        Args:
            pixels: uint8 (n, size, size, 3).

        Returns:
            Feature maps, bf16 (n, levels * width, size / 14, size / 14), or the pixels where nothing is frozen.
        """
        if self.frozen is None:
            return pixels
        return self.frozen.feature_maps(self._normalised(pixels))

    def loss(self, prepared: torch.Tensor, targets: list[Target]) -> torch.Tensor:
        """Set-prediction loss of transformers: class, L1 and GIoU after Hungarian matching.

        Args:
            prepared: see `prepare`.
            targets: n of them.

        Returns:
            A scalar.
        """
        inputs = self._normalised(prepared) if self.frozen is None else prepared.float()
        labels = [{"class_labels": target.classes, "boxes": target.centred} for target in targets]
        kind = inputs.device.type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.training and self.card_bfloat16):
            return self.net(pixel_values=inputs, labels=labels).loss

    def weight(self, targets: list[Target]) -> float:
        """Boxes of a batch, which its losses are divided by."""
        return box_count(targets)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Detect.

        Args:
            pixels: uint8 (n, size, size, 3).

        Returns:
            Corners as shares of the square (n, queries, 4), and a score a class (n, queries, 7).
        """
        inputs = self._normalised(pixels)
        answer = self.net(pixel_values=inputs if self.frozen is None else self.frozen(inputs))
        centre, side = answer.pred_boxes[..., :2], answer.pred_boxes[..., 2:]
        return torch.cat([centre - side / 2, centre + side / 2], dim=-1), answer.logits.sigmoid()

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return normalised(pixels, self.mean, self.std)


def _in_float32(loss: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Losses of a network that computed in bfloat16: their matching and coordinates need more than its 8 bits."""
    if not torch.is_autocast_enabled("cuda"):
        return loss(*given, **named)
    with torch.autocast("cuda", enabled=False):
        return loss(*_floats(given), **_floats(named))


def _floats(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _floats(one) for name, one in value.items()}
    return type(value)(map(_floats, value)) if isinstance(value, (tuple, list)) else value


class _PrecomputedFeatures(nn.Module):  # type: ignore[misc]
    """Stands where RF-DETR has its backbone: what comes in are feature maps already, one upon the other."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, maps: torch.Tensor) -> Any:
        from transformers.modeling_outputs import BackboneOutput

        return BackboneOutput(feature_maps=maps.chunk(self.levels, dim=1))


def _small_rf_detr(params: DetrParams, width: int) -> Any:
    from transformers import RfDetrConfig, RfDetrForObjectDetection
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    # stands for three maps of that width; its layers are never built into anything that stays
    maps = RfDetrDinov2Config(
        hidden_size=width, num_hidden_layers=3, num_attention_heads=6, out_features=["stage1", "stage2", "stage3"]
    )
    config = RfDetrConfig(
        backbone_config=maps,
        num_labels=len(CLASSES),
        d_model=params.width,
        decoder_layers=params.decoder_layers,
        decoder_ffn_dim=4 * params.width,
        num_queries=params.queries,
        group_detr=params.groups,
        decoder_self_attention_heads=params.width // 32,
        decoder_cross_attention_heads=params.width // 32,
        c2f_num_blocks=params.fusion_blocks,
        dropout=params.dropout,
    )
    net = RfDetrForObjectDetection(config)
    net.model.backbone.backbone = _PrecomputedFeatures(3)
    return net


def _small_rt_detr(params: DetrParams) -> Any:
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    resnet = RTDetrResNetConfig(
        embedding_size=32,
        hidden_sizes=[32, 64, 128, 256],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=resnet,
        num_labels=len(CLASSES),
        d_model=params.width,
        encoder_hidden_dim=params.width,
        encoder_in_channels=[64, 128, 256],
        decoder_in_channels=[params.width] * 3,
        encoder_ffn_dim=4 * params.width,
        decoder_ffn_dim=4 * params.width,
        decoder_layers=params.decoder_layers,
        encoder_attention_heads=params.width // 32,
        decoder_attention_heads=params.width // 32,
        num_queries=params.queries,
        num_denoising=0,
        anchor_image_size=None,
    )
    return RTDetrForObjectDetection(config)


def _pretrained(params: DetrParams) -> Any:
    from transformers import RfDetrForObjectDetection, RTDetrForObjectDetection

    kind = RfDetrForObjectDetection if params.family == "rf_detr" else RTDetrForObjectDetection
    names = dict(enumerate(CLASSES))
    net = kind.from_pretrained(
        params.repo,
        revision=params.revision,
        num_labels=len(CLASSES),
        id2label=names,
        label2id={name: index for index, name in names.items()},
        ignore_mismatched_sizes=True,
        use_safetensors=True,
    )
    if params.family == "rf_detr":
        _resize_positions(net.model.backbone.backbone, params.size)
    return net


def _resize_positions(backbone: Any, size: int) -> None:
    """Resize RF-DETR's position embeddings once, its own way: ONNX has no such filter, and it would at every call."""
    embeddings = backbone.embeddings
    step = backbone.config.patch_size
    known = embeddings.position_embeddings
    tokens = known.new_zeros(1, (size // step) ** 2 + 1, backbone.config.hidden_size)
    with torch.no_grad():
        fixed = embeddings.interpolate_pos_encoding(tokens, size, size).clone()
    embeddings.position_embeddings = nn.Parameter(fixed)
    embeddings.interpolate_pos_encoding = lambda *_: embeddings.position_embeddings
