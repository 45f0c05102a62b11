"""Training of the projector in torch: import this only where torch is wanted, it loads at the top.

Tower and language model are frozen. A frozen language model of 135 million weights learns nothing from a projector
whose output means nothing to it: a fresh one stays at chance. So there are two phases.

`align` does not run the language model: it moves the embedding of every patch onto the straight line between those of
" No" and "Yes", the words of the answer, so that the mean over the patches gives the label of the picture (a deep set,
Zaheer et al. 2017) and patches under a labelled box lie at yes. A language model that reads such a text prefers the
word that it has read more often. `tune` then runs the whole model, and the loss is the cross-entropy of its answer.
Most of its steps use a random part of the patches at their true positions, which leaves the share of yes as it is and
is four times as fast (Liu et al. 2022, "PatchDropout"; Li et al. 2023, "FLIP"); the last ones use all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cascade.vlm.reading import word_ids
from tasks.classifier.backbone import MEAN, STD
from tasks.data.pictures import decode_stored
from tasks.data.schema import read_records
from tasks.data.views import LEVELS, View, make_view
from tasks.llava.assemble import LAYER, PATCH, SIZE

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    from tasks.config import VlmParams

NOTHING, WORKS = " No", "Yes"
MIDDLE = 0.5  # the mean share of yes is 0 for a clear picture and 1 for roadwork
CELLS = SIZE // PATCH
# draws that no other step of the pipeline makes of a training picture
FIRST_DRAW = 100


@dataclass(frozen=True)
class ProjectorSample:
    """One view to learn from.

    Attributes:
        pixels: uint8 (224, 224, 3).
        label: 0 or 1.
        cover: share of every patch under labelled boxes, (patches,).
    """

    pixels: NDArray[np.uint8]
    label: int
    cover: NDArray[np.float32]


class ProjectorDataset:
    """Training pictures in memory as they came, and views of them on demand: no view is seen twice."""

    def __init__(self, path: Path, seed: int) -> None:
        self._rows = list(read_records(path, columns=["image", "label", "sha256", "objects"]))
        self._seed = seed
        self._of = {label: [n for n, row in enumerate(self._rows) if row["label"] == label] for label in (0, 1)}

    def batch(self, step: int, size: int) -> list[ProjectorSample]:
        """Give the views of one step: as many of roadwork as of none, levels in equal shares.

        The same seed and step give the same views, so that a run that was killed goes on as if it was not.
        """
        return [self._sample(step * size + place) for place in range(size)]

    def _sample(self, number: int) -> ProjectorSample:
        label = number % 2
        members = self._of[label]
        turn, place = divmod(number // 2, len(members))
        order = np.random.default_rng([self._seed, turn, label]).permutation(members)
        row = self._rows[order[place]]
        # levels rotate, so that a picture comes back at another one
        level = LEVELS[(place + turn) % len(LEVELS)]
        view = View(level, draw=FIRST_DRAW + turn, mirrored=(place // len(LEVELS) + turn) % 2 == 1)
        image = decode_stored(row["image"]["bytes"])
        pixels, geometry = make_view(image, view, key=row["sha256"], seed=self._seed, size=SIZE)
        return ProjectorSample(pixels, label, geometry.coverage(row["objects"] or [], CELLS))


class Learner:
    """The model with only its projector left to learn, and the losses of both phases.

    Args:
        model: what `assemble.build` gives, in the precision that it will run in.
        processor: its processor.
        params: prompt, words, and the weights of the losses.

    Attributes:
        device: where the model lies; what the losses are given must lie there too.
    """

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor, params: VlmParams) -> None:
        self.model, self._training, self.device = model.requires_grad_(False), params.training, model.device
        # the projector learns in float32: its steps are smaller than bfloat16 can tell apart
        self.projector = model.model.multi_modal_projector.float().requires_grad_(True)
        self.table = model.get_input_embeddings().weight
        # a logit of 20 is one of 1/8 apart in bfloat16, too coarse to learn from
        self._output = model.lm_head.weight.float()
        tokenizer = processor.tokenizer
        self._yes, self._no = word_ids(tokenizer, params.yes_words), word_ids(tokenizer, params.no_words)
        self._prompt = torch.tensor(prompt_ids(processor, params.prompt), device=self.device)
        self._image = self._prompt == model.config.image_token_id
        ends = [tokenizer.encode(word, add_special_tokens=False)[0] for word in (NOTHING, WORKS)]
        self._start, works = self.table[ends].float()
        self._line = works - self._start

    def features(self, samples: list[ProjectorSample]) -> torch.Tensor:
        """Patch features of the tower, (samples, patches, channels), float32."""
        pixels = torch.from_numpy(np.stack([sample.pixels for sample in samples])).to(self.device)
        mean, std = (torch.tensor(given, device=self.device).view(1, 3, 1, 1) for given in (MEAN, STD))
        scaled = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        with torch.no_grad():
            tower = self.model.model.vision_tower
            hidden = tower(scaled.to(self.model.dtype), output_hidden_states=True).hidden_states[LAYER]
        return hidden[:, 1:].float()

    def align_loss(self, features: torch.Tensor, label: torch.Tensor, cover: torch.Tensor) -> torch.Tensor:
        """Loss of the patches' embeddings without the language model.

        Args:
            features: (n, patches, channels).
            label: 0 or 1, (n,).
            cover: share of every patch under boxes, (n, patches).
        """
        given, embedded = self._training, self.projector(features)
        share = ((embedded - self._start) @ self._line) / (self._line @ self._line)
        beside = (embedded - self._start - share.unsqueeze(-1) * self._line).square().mean() / self.table.float().var()
        mean = share.clamp(-given.share_margin, 1 + given.share_margin).mean(dim=1)
        picture = functional.binary_cross_entropy_with_logits(given.share_gain * (mean - MIDDLE), label.float())
        # a free patch of a roadwork picture may be either: the tower's attention has covered the whole street
        works = (cover >= given.covered).float() * given.covered_weight
        clear = (label == 0).float().unsqueeze(1).expand_as(share)
        patches = (works * (share - 1).square() + clear * share.square()).sum() / (works + clear).sum()
        return picture + given.patch_weight * patches + given.line_weight * beside

    def answer(self, features: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the first answer token, (n, vocabulary), from the patches `keep`, (n, kept), sorted."""
        n, first, count = len(features), int(self._image.float().argmax()), int(self._image.sum())
        keep = keep.to(self.device)
        chosen = torch.gather(features, 1, keep.unsqueeze(-1).expand(-1, -1, features.shape[-1]))
        text = self.table[self._prompt].unsqueeze(0).expand(n, -1, -1)
        visual = self.projector(chosen).to(self.model.dtype)
        embedded = torch.cat([text[:, :first], visual, text[:, first + count :]], dim=1)
        places = torch.arange(len(self._prompt), device=self.device).unsqueeze(0).expand(n, -1)
        places = torch.cat([places[:, :first], keep + first, places[:, first + count :]], dim=1)
        # without a mask, transformers takes gaps in the positions for borders between packed texts, and the question
        # would not attend to the picture
        mask = torch.ones(embedded.shape[:2], dtype=torch.long, device=self.device)
        language = self.model.model.language_model
        output = language(inputs_embeds=embedded, position_ids=places, attention_mask=mask, use_cache=False)
        return functional.log_softmax(output.last_hidden_state[:, -1].float() @ self._output.T, dim=-1)

    def answer_loss(self, scores: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of yes or no over the whole vocabulary: the model learns to give one of them, and which.

        Args:
            scores: log-probabilities, (n, vocabulary).
            label: 0 or 1, (n,).
        """
        yes, no = (torch.logsumexp(scores[:, ids], dim=-1) for ids in (self._yes, self._no))
        return -torch.where(label == 1, yes, no).mean()


def prompt_ids(processor: LlavaProcessor, prompt: str) -> list[int]:
    """Token ids of the question with one placeholder a patch, as the processor would write them for a picture."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    image = processor.image_token
    ids: list[int] = processor.tokenizer(text.replace(image, image * CELLS**2))["input_ids"]
    return ids


def some_patches(n: int, kept: int, seed: list[int]) -> torch.Tensor:
    """Draw `kept` of the patches for each of n pictures, in their order."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([np.sort(random.permutation(CELLS**2)[:kept]) for _ in range(n)]))
