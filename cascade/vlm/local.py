"""Backend `transformers`: the VLM in this process."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from cascade.process.card import return_unused
from cascade.process.memory import Meter
from cascade.vlm import awq
from cascade.vlm.base import Clip, VlmAnswer, VlmError
from cascade.vlm.continuation import Continuation
from cascade.vlm.precision import float_precision
from cascade.vlm.prompt import to_tensors
from cascade.vlm.reading import OPEN, AnswerWords, GeneratedToken, is_final, read, word_ids
from cascade.vlm.settings import VlmSettings

if TYPE_CHECKING:
    import torch
    from PIL import Image

log = logging.getLogger("streetvision")
TOP = 20
WARM_UP = 224  # px
YES, NO = "yes", "no"
# of a model that answers with a trace of thought although its template forbids it: the trace, closed at once
CLOSED_THOUGHT = "<think></think>\n"


class LocalVlm:
    """Any image-text-to-text model that `transformers` knows by itself: LLaVA, GLM-4.6V, Molmo2.

    Args:
        place: folder of model and processor, or a repo whose snapshot lies in the Hub's cache; weights in safetensors,
            and code in it is never run.
        settings: question, words and limits.
        revision: of a repo.
    """

    def __init__(self, place: str, settings: VlmSettings, revision: str | None = None) -> None:
        self.memory_bytes, self.device = 0, settings.device
        self._place, self._settings = place, settings
        # a download would fetch what nothing vouches for; offline holds for folders too
        self._options = {"local_files_only": True, "trust_remote_code": False, "revision": revision or "main"}
        self._words = AnswerWords(settings.yes_words, settings.no_words, settings.min_mass)
        self._model: Any = None
        self._processor: Any = None
        # one forward pass at a time: two side by side take longer and twice the memory
        self._lock = Lock()

    def load(self) -> None:
        """See `VlmBackend.load`."""
        import torch
        from PIL import Image
        from transformers import AutoProcessor

        torch.set_num_threads(self._settings.threads)
        with self._lock:
            if self._model is not None:
                return
            meter = Meter(self.device)
            try:
                model = self._weights()
                self._processor = AutoProcessor.from_pretrained(self._place, **self._options)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                raise VlmError(f"{self._place}: not a model that can be loaded: {error}") from None
            self._model = model.eval().to(self.device)
            # a batch ends in the answer's place only where padding comes first
            tokenizer = self._processor.tokenizer
            tokenizer.padding_side = "left"
            self._ids = {
                YES: word_ids(tokenizer, self._settings.yes_words),
                NO: word_ids(tokenizer, self._settings.no_words),
            }
        for word, ids in self._ids.items():
            if not ids:
                self.close()
                raise VlmError(f"{self._place}: none of vlm.{word}_words is one token of this model")
        # the first pass allocates; no picture shall wait for that
        self._guarded([Image.new("RGB", (WARM_UP, WARM_UP))])
        if self.device != "cpu":
            # a card's memory is taken by the largest batch
            self._fill(Image.new("RGB", (self._settings.max_side, self._settings.max_side)))
        # memory that was freed before is taken without the process growing, but the weights are there for sure
        self.memory_bytes = max(_size(self._model), meter.taken())

    def _fill(self, largest: Image.Image) -> None:
        """Run the largest batch that there can be; where it finds no room, smaller ones are still answered."""
        answers = self._guarded([largest] * self._settings.batch_size)
        if answers[0].kind == "failed":
            log.warning(
                "the vlm cannot take %d pictures of %d px at once: %s", len(answers), largest.width, answers[0].why
            )

    def _weights(self) -> Any:
        from transformers import AutoModelForImageTextToText

        folder = Path(self._place)
        if folder.is_dir() and awq.quantization(folder):
            return awq.load(folder, _dtype(self.device))
        return AutoModelForImageTextToText.from_pretrained(
            self._place, dtype=_dtype(self.device), use_safetensors=True, **self._options
        )

    def run(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        """See `VlmBackend.run`. A batch that has begun is ended; those for which no time is left abstain."""
        start, answers = time.monotonic(), list[VlmAnswer]()
        for first in range(0, len(items), self._settings.batch_size):
            batch = items[first : first + self._settings.batch_size]
            limit = self._settings.time_limit_seconds
            if time.monotonic() - start > limit:
                answers += [VlmAnswer("timeout", why=f"no time was left of {limit:g} s") for _ in batch]
                continue
            # clips differ in length, pictures do not
            parts = [batch] if not any(isinstance(item, Clip) for item in batch) else [[item] for item in batch]
            answers += [answer for part in parts for answer in self._guarded(part)]
        return answers

    def examine(self, items: Sequence[Image.Image | Clip]) -> tuple[torch.Tensor, list[VlmAnswer]]:
        """What `run` reads an answer from, for comparing models; one batch, and errors come through.

        Returns:
            Log-probabilities of each answer's first token, (n, vocabulary); and the answers.
        """
        with self._lock:
            return self._batch(items)

    def text_loss(self, texts: Sequence[str]) -> tuple[float, int]:
        """Sum of -log p over the tokens of texts without pictures, each but a text's first, and how many they are."""
        import torch

        total, count = 0.0, 0
        with self._lock, torch.inference_mode():
            for text in texts:
                ids = torch.tensor([self._processor.tokenizer.encode(text)], device=self._model.device)
                scores = torch.log_softmax(self._model(input_ids=ids, use_cache=False).logits[0, :-1].float(), dim=-1)
                total -= float(scores.gather(1, ids[0, 1:, None]).sum())
                count += ids.shape[1] - 1
        return total, count

    def rest(self) -> None:
        """See `VlmBackend.rest`: in this process there is nothing between loaded and not."""
        self.close()

    def close(self) -> None:
        """See `VlmBackend.close`; what torch keeps of the card without use goes back to the driver."""
        with self._lock:
            self._model = self._processor = None
        return_unused()

    def _guarded(self, items: Sequence[Image.Image | Clip]) -> list[VlmAnswer]:
        try:
            with self._lock:
                return self._batch(items)[1]
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            return [VlmAnswer("failed", why=f"the model failed: {error}"[:300]) for _ in items]

    def _batch(self, items: Sequence[Image.Image | Clip]) -> tuple[torch.Tensor, list[VlmAnswer]]:
        import torch

        if self._model is None:
            raise RuntimeError("the VLM is not loaded; call load() first")
        inputs = self._inputs(items)
        with torch.inference_mode():
            scores, cache = self._scores(inputs)
            answers = [
                self._first(row) or self._go_on(row, Continuation.of_row(self._model, inputs, cache, number))
                for number, row in enumerate(scores)
            ]
        return scores, answers

    def _scores(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Log-probabilities of the next token, (n, vocabulary), float32; and the cache of keys and values.

        A logit of 20 in bfloat16 is one of 1/8 apart, too coarse to weigh yes against no: theirs are computed once more
        from the state under the output layer.
        """
        import torch

        layer, states = self._model.get_output_embeddings(), []
        hook = layer.register_forward_pre_hook(lambda _, given: states.append(given[0]))
        try:
            output = self._model(**inputs, logits_to_keep=1, use_cache=True)
        finally:
            hook.remove()
        logits = output.logits[:, -1].float()
        ids = [*self._ids[YES], *self._ids[NO]]
        # models that scale or cap their logits after this layer keep what they gave
        fine = torch.nn.functional.linear(states[-1][:, -1].float(), layer.weight[ids].float())
        if layer.bias is None and torch.allclose(fine, logits[:, ids], rtol=0.02, atol=0.1):
            logits[:, ids] = fine
        return torch.log_softmax(logits, dim=-1), output.past_key_values

    def _first(self, scores: torch.Tensor) -> VlmAnswer | None:
        """Read the first token; None where yes and no are unlikely there."""
        top = {word: float(scores[ids].logsumexp(dim=0)) for word, ids in self._ids.items()}
        answer = read(
            [GeneratedToken(max(top, key=top.__getitem__), top)], AnswerWords((YES,), (NO,), self._words.min_mass)
        )
        return answer if answer.kind == "answered" else None

    def _go_on(self, scores: torch.Tensor, rest: Continuation) -> VlmAnswer:
        """Let one model speak on after its first token, greedily, until it is clear what it says or `max_tokens`.

        Args:
            scores: log-probabilities of the first token, (vocabulary,).
            rest: the question, read.
        """
        first, number = self._greedy(scores)
        positions = [] if first is None else [first]
        if first is None or is_final(positions, self._words):
            return read(positions, self._words)
        said = [number]
        if first.text.strip() == OPEN and not self._settings.thinking:
            said = self._processor.tokenizer.encode(CLOSED_THOUGHT, add_special_tokens=False)
            positions.clear()
        self._speak(rest, said, positions)
        return read(positions, self._words)

    def _speak(self, rest: Continuation, said: list[int], positions: list[GeneratedToken]) -> None:
        while len(positions) < self._settings.max_tokens:
            scores, _ = self._scores(rest.inputs(said))
            position, number = self._greedy(scores[0])
            if position is None:
                return
            positions.append(position)
            if is_final(positions, self._words):
                return
            said = [number]

    def _greedy(self, scores: torch.Tensor) -> tuple[GeneratedToken | None, int]:
        """The likeliest token and its id; no position where it ends the answer."""
        tokenizer, top = self._processor.tokenizer, dict[str, float]()
        values, ids = scores.topk(min(TOP, len(scores)))
        for value, number in zip(values.tolist(), ids.tolist(), strict=True):
            # two tokens may read the same, with and without a blank in front
            top.setdefault(tokenizer.decode([number]), value)
        number = int(ids[0])
        ended = number == tokenizer.eos_token_id
        return (None if ended else GeneratedToken(tokenizer.decode([number]), top)), number

    def _inputs(self, items: Sequence[Image.Image | Clip]) -> dict[str, Any]:
        """What the model takes, on its device and in its precision."""
        made = to_tensors(self._processor, items, self._settings)
        inputs = {name: value.to(self._model.device) for name, value in made.items()}
        return {n: v.to(self._model.dtype) if v.is_floating_point() else v for n, v in inputs.items()}


def _size(model: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _dtype(device: str) -> torch.dtype:
    import torch

    return torch.bfloat16 if float_precision(device) == "bf16" else torch.float32
