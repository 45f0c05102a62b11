"""The parts of the OpenAPI document that the routes' signatures do not show: bodies, refusals, examples, the key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]
# one pixel, so that the example can be sent as it stands (and is refused as too small)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
STAGE = {
    "stage": "classifier",
    "probability": 0.96,
    "exits": {"high": 0.88, "low": 0.12},
    "verdict": "roadwork",
    "milliseconds": 22.4,
    "batch": 1,
    "detail": {},
    "skipped": None,
}
PREDICTION = {
    "probability": 0.96,
    "label": "roadwork",
    "decided_by": "classifier",
    "reason": "0.96 is at least 0.88",
    "stages": [STAGE],
    "milliseconds": 22.4,
    "release": "46b0c9499b02",
    "cached": False,
    "notes": [],
}
PREDICTED = {"release": "46b0c9499b02", "results": [PREDICTION]}
REFUSALS = {
    400: ("The body cannot be read", "no_image", "the request holds no image; send `files` parts"),
    401: ("The key is missing or wrong", "unauthorized", "send the header `Authorization: Bearer KEY`"),
    413: ("Too many bytes, pixels, images or seconds", "too_large", "image 0 is larger than 20000000 bytes"),
    415: ("Neither an image nor a clip", "not_an_image", "the file is not an image that can be read"),
    422: ("The file is damaged, animated or too small", "truncated", "the image is truncated or damaged"),
    429: ("The key's limit is reached; `Retry-After` says for how long", "rate_limited", "60 requests a minute"),
    503: ("Not ready, too busy, or out of time; `Retry-After` says when to try again", "busy", "64 requests wait"),
}


class ErrorDetail(BaseModel):
    """Why a request was refused.

    Attributes:
        reason: one word for machines.
        message: a sentence for people.
        index: which image is to blame, where it is one.
    """

    model_config = ConfigDict(frozen=True)
    reason: str
    message: str
    index: int | None = None


class ErrorResponse(BaseModel):
    """The body of every answer that is no success."""

    model_config = ConfigDict(frozen=True)
    error: ErrorDetail


class Health(BaseModel):
    """Answer of `/healthz`."""

    model_config = ConfigDict(frozen=True)
    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Answer of `/readyz`, with status 200 for `ready` and 503 for the others; `reason` only for holders of the key."""

    model_config = ConfigDict(frozen=True)
    status: Literal["loading", "ready", "busy", "failed", "draining"]
    release: str
    reason: str | None = None


def refusals(*statuses: int) -> dict[int | str, Json]:
    """Give the `responses` of a route for these statuses, each with an example."""
    return {status: _refusal(*REFUSALS[status]) for status in statuses}


def example(value: Json) -> dict[int | str, Json]:
    """Give the `responses` entry of a success with an example."""
    return {200: {"content": {"application/json": {"example": value}}}}


def images_body(max_images: int) -> Json:
    """Give `requestBody` of `/v1/predict`: files, or base64 in JSON."""
    text = {"type": "string", "contentEncoding": "base64", "description": "base64, with or without a data URL's head"}
    one = {"type": "object", "required": ["image"], "additionalProperties": False, "properties": {"image": text}}
    many = {"type": "array", "items": text, "minItems": 1, "maxItems": max_images}
    several = {**one, "required": ["images"], "properties": {"images": many}}
    as_json = {"schema": {"oneOf": [one, several]}, "example": {"image": PIXEL}}
    return _body({"multipart/form-data": _files(max_images), "application/json": as_json})


def clip_body() -> Json:
    """Give `requestBody` of `/v1/clip`: one file."""
    return _body({"multipart/form-data": _files(1)})


def with_key(document: Json, *, needed: bool) -> Json:
    """Name the bearer key in a document, and on each route that asks for it where one is set."""
    scheme = {"type": "http", "scheme": "bearer", "description": "an API key; none is needed where none is set"}
    document.setdefault("components", {})["securitySchemes"] = {"key": scheme}
    for path, operations in document["paths"].items():
        for operation in operations.values() if needed and path not in ("/healthz", "/readyz") else ():
            operation["security"] = [{"key": []}]
    return document


def _files(most: int) -> Json:
    parts = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1, "maxItems": most}
    return {"schema": {"type": "object", "required": ["files"], "properties": {"files": parts}}}


def _body(content: Json) -> Json:
    return {"requestBody": {"required": True, "content": content}}


def _refusal(description: str, reason: str, message: str) -> Json:
    sample = {"error": {"reason": reason, "message": message}}
    return {
        "model": ErrorResponse,
        "description": description,
        "content": {"application/json": {"example": sample}},
    }
