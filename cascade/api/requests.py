"""From an HTTP request to the bytes of its images, with the limits that come before reading."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cascade.base64_text import decode_base64
from cascade.config import ServeParams
from cascade.deadline import DEADLINE_HEADER
from cascade.preprocess.image import BadImage, Decoded

if TYPE_CHECKING:
    from fastapi import Request

STATUS = {"too_large": 413, "too_long": 413, "not_an_image": 415, "not_a_clip": 415, "unknown_codec": 415}
DAMAGED = 422
# text fields of a multipart body; the service reads none of them
MAX_FIELDS = 8


class Refused(Exception):
    """A request that gets an error instead of an answer.

    Attributes:
        status: of HTTP.
        reason: one short word for machines.
        index: which image of the request is to blame, where it is one.
        retry_after: seconds after which the same request may be answered; None: it never will.
    """

    def __init__(
        self, status: int, reason: str, message: str, index: int | None = None, *, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.index = status, reason, index
        self.retry_after = 1 if status == 503 and retry_after is None else retry_after

    @property
    def headers(self) -> dict[str, str]:
        """What the caller's program needs beside the status."""
        key = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        return key if self.retry_after is None else {**key, "Retry-After": str(self.retry_after)}

    def body(self) -> dict[str, Any]:
        """The JSON that the caller gets."""
        place = {} if self.index is None else {"index": self.index}
        return {"error": {"reason": self.reason, "message": str(self), **place}}


def may_keep(request: Request) -> bool:
    """Whether picture and answer may be kept: not after `Cache-Control: no-store` (RFC 9111, section 5.2.1.5)."""
    words = request.headers.get("cache-control", "").lower().split(",")
    return "no-store" not in [word.strip() for word in words]


def with_deadline(request: Request, serve: ServeParams) -> ServeParams:
    """Give the limits of a request: those of the service, with an earlier deadline where its header asks for one.

    Raises:
        Refused: the header is no number of seconds above 0.
    """
    text = request.headers.get(DEADLINE_HEADER)
    if text is None:
        return serve
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    # `not`, so that NaN is refused too
    if not seconds > 0:
        raise Refused(400, "bad_deadline", f"{DEADLINE_HEADER} is a number of seconds above 0")
    return serve.model_copy(update={"deadline_seconds": min(seconds, serve.deadline_seconds)})


async def read_body(request: Request, serve: ServeParams) -> list[bytes] | bytes:
    """Give the files of a multipart request, or the raw JSON of another.

    Raises:
        Refused: another content type, no files, or too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return await request.body()
    if kind == "multipart/form-data":
        return await _read_files(request, serve)
    raise Refused(415, "unsupported_media_type", "send multipart/form-data with `files`, or application/json")


async def _read_files(request: Request, serve: ServeParams) -> list[bytes]:
    from python_multipart.exceptions import FormParserError
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException

    try:
        # one more than allowed, so that the count is refused below in our own words
        async with request.form(max_files=serve.max_images + 1, max_fields=MAX_FIELDS) as form:
            parts = form.getlist("files")
            if not all(isinstance(part, UploadFile) for part in parts):
                raise Refused(400, "no_image", "a `files` part is a text field; send it with a file name")
            files = [await part.read(serve.max_bytes + 1) for part in parts if isinstance(part, UploadFile)]
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise _too_many(serve) from None
        raise Refused(400, "not_multipart", f"the multipart body cannot be read: {error.detail}") from None
    # an empty or wrong boundary, headers that are too many or too long, an unknown character set
    except (FormParserError, LookupError, ValueError) as error:
        raise Refused(400, "not_multipart", f"the multipart body cannot be read: {error}") from None
    check_count(files, serve)
    return files


def _too_many(serve: ServeParams) -> Refused:
    return Refused(413, "too_many_images", f"at most {serve.max_images} images a request")


def check_count(images: Sequence[bytes | str], serve: ServeParams) -> None:
    """Refuse a request without images, or with more than are allowed."""
    if not images:
        raise Refused(400, "no_image", "the request holds no image; send `files` parts, or JSON `image` or `images`")
    if len(images) > serve.max_images:
        raise _too_many(serve)


def from_json(body: bytes, serve: ServeParams) -> list[bytes]:
    """Give the images of `{"image": base64}` or `{"images": [base64, ...]}`.

    Raises:
        Refused: not JSON, of another shape, or not base64.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "not_json", "the body is not JSON") from None
    if not isinstance(document, dict) or len(document) != 1 or next(iter(document)) not in ("image", "images"):
        raise Refused(400, "no_image", 'expected {"image": base64} or {"images": [base64, ...]}')
    texts = [document["image"]] if "image" in document else document["images"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refused(400, "not_base64", "an image in JSON is a string of base64")
    check_count(texts, serve)
    return [_from_base64(text, index) for index, text in enumerate(texts)]


def _from_base64(text: str, index: int) -> bytes:
    try:
        return decode_base64(text)
    except ValueError:
        raise Refused(400, "not_base64", f"image {index} is not base64", index) from None


def decoded(
    files: Sequence[bytes],
    serve: ServeParams,
    decode: Callable[[bytes], Decoded],
    places: Sequence[int] | None = None,
) -> Iterator[list[Decoded]]:
    """Decode the images of a request in groups that together hold about `max_pixels`, so that memory stays bounded.

    Args:
        files: of the request.
        serve: limits.
        decode: decodes one; raises BadImage.
        places: which of them; all by default.

    Raises:
        Refused: for the first image that is bad.
    """
    group: list[Decoded] = []
    pixels = 0
    for index in range(len(files)) if places is None else places:
        picture = _to_image(files[index], index, serve, decode)
        size = picture.image.width * picture.image.height
        if group and pixels + size > serve.max_pixels:
            yield group
            group, pixels = [], 0
        group.append(picture)
        pixels += size
    yield group


def _to_image(data: bytes, index: int, serve: ServeParams, decode: Callable[[bytes], Decoded]) -> Decoded:
    if len(data) > serve.max_bytes:
        raise Refused(413, "too_large", f"image {index} is larger than {serve.max_bytes} bytes", index)
    try:
        return decode(data)
    except BadImage as error:
        raise Refused(STATUS.get(error.reason, DAMAGED), error.reason, str(error), index) from None
