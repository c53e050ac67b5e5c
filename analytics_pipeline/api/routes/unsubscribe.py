"""Ends the reports to whoever clicks in a mail; the key in the address is all it needs."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.messages.unsubscribing import unsubscribe

router = APIRouter(tags=["messages"])

_Key = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people.", "content": {"text/html": {"schema": {"type": "string"}}}}
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Unsubscribe</title>
<body style="font-family: sans-serif; margin: 3rem auto; max-width: 30rem">{body}</body></html>
"""
_ASK = '<p>Do you want no more of these reports?</p><form method="post"><button>Unsubscribe</button></form>'
_DONE = "<p>You will get no more of these reports.</p>"


@router.get("/unsubscribe/{key}", **answered(None, errors=(422,), more=_HTML))
async def ask(key: _Key) -> Response:  # noqa: ARG001  # looking at the address changes nothing
    """Ask a person who follows the link of a mail; mail programs that look at links end nothing."""
    return _page(_ASK)


@router.post("/unsubscribe/{key}", **answered(None, errors=(404, 422, 429, 503), more=_HTML))
async def end(request: Request, key: _Key) -> Response:
    """End the reports to the recipient of the key."""
    state = request.app.state
    if not await state.readers.run("", partial(unsubscribe, key=key), read_only=False):
        state.failures.require(request.client.host if request.client else "")
        raise ApiError(404, "This address belongs to nobody.")
    return _page(_DONE)


def _page(body: str) -> Response:
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    return Response(_PAGE.format(body=body), media_type="text/html", headers={"Content-Security-Policy": policy})
