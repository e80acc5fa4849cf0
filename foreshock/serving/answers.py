"""The shape of answers: JSON objects, pages of lists, and refusals as one sentence."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from foreshock.serving.errors import Refused


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    error: str
    """A sentence that says what is wrong, and where."""


class Page(BaseModel):
    """One page of a list."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    items: list[dict[str, Any]]
    """Objects with the fields of the command's --json."""
    next: str | None
    """The cursor of the next page; null on the last one."""


_WHEN = {
    401: "The key is missing or unknown.",
    403: "The key lacks the scope, or the server has no keys and was asked under a foreign name.",
    408: "The body came too slowly.",
    413: "The body is too long.",
    422: "A parameter or a field is wrong.",
    429: "Too many requests of this key; see Retry-After.",
    503: "The store or the encoder cannot answer now; see Retry-After.",
}
NOT_JSON = "The body is not JSON in UTF-8."
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in _WHEN.items()
}


def json(value: object, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


async def wrong_request(_request: Request, error: Exception) -> Response:
    """Say the first thing that is wrong with a request, and where. What was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place, *path = first["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if first["type"] == "json_invalid":
        return json({"error": NOT_JSON}, 422)
    if place == "body" and not path:
        return json({"error": "The body is not a JSON object sent as content-type: application/json."}, 422)
    said = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return json({"error": f"{where or place}: {said[:1].lower()}{said[1:]}."}, 422)


async def refused(_request: Request, error: Exception) -> Response:
    """Answer with the sentence of a refusal."""
    assert isinstance(error, Refused)
    answer = json({"error": str(error)}, error.status)
    if error.retry_after is not None:
        answer.headers["retry-after"] = str(error.retry_after)
    return answer


async def unknown(_request: Request, error: Exception) -> Response:
    """Answer what no route answers: an unknown path, a method that a path does not have, a body that is no text."""
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return json({"error": NOT_JSON}, 422)
    said = {404: "There is no such path; /openapi.json lists them.", 405: "The path does not have this method."}
    answer = json({"error": said.get(error.status_code, str(error.detail))}, error.status_code)
    answer.headers.update(error.headers or {})
    return answer
