"""`POST /score`: the scores of texts, as a whole or each towards a company. They are those of `foreshock score`."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from foreshock.ingest.markup import plain_text
from foreshock.model.labels import LABELS
from foreshock.serving.answers import REFUSALS
from foreshock.serving.batching import Batcher
from foreshock.serving.errors import Refused

Text = Annotated[str, Field(max_length=100_000)]
Entity = Annotated[str, Field(min_length=1, max_length=200)]


class ScoreRequest(BaseModel):
    """Texts to score."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    texts: list[Text]
    """Headlines, or title, line break and body. The first 128 tokens count."""
    entities: list[Entity | None] | None = None
    """For each text the company whose sentiment is asked, or null for the text as a whole. A text that does not name
    its company has the score of the text."""


class Score(BaseModel):
    """Probabilities of the three classes, in steps of 1/10,000; they add up to 1."""

    negative: float
    neutral: float
    positive: float


class ScoreAnswer(BaseModel):
    """The scores, in the order of the texts."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    """The identity of the model. Scores of one identity can be compared with each other."""
    scores: list[Score | None]
    """null for a text without a word."""


def router(batcher: Batcher, *, most: int) -> APIRouter:
    """Return the route. `most`: the most texts of one request."""
    routes = APIRouter()

    @routes.post("/score", responses={200: {"model": ScoreAnswer}, **REFUSALS}, response_class=Response)
    async def score(asked: ScoreRequest, request: Request) -> Response:
        """Score texts. Requests that come at the same time share a pass of the encoder, which changes no score."""
        if len(asked.texts) > most:
            raise Refused(422, f"texts: {len(asked.texts):,} texts, but one request takes at most {most:,}.")
        entities = asked.entities if asked.entities is not None else [None] * len(asked.texts)
        if len(entities) != len(asked.texts):
            raise Refused(
                422, f"entities: {len(entities):,} for {len(asked.texts):,} texts; give one, or null, for each text."
            )
        texts = [plain_text(text) for text in asked.texts]
        places = [i for i, text in enumerate(texts) if text.strip()]
        rows = iter(await batcher.score([texts[i] for i in places], [entities[i] for i in places]))
        found: list[dict[str, float] | None] = [None] * len(texts)
        for i in places:
            found[i] = dict(zip(LABELS, (share / 10_000 for share in next(rows)), strict=True))
        return Response(orjson.dumps({"model": batcher.identity, "scores": found}), media_type="application/json")

    return routes
