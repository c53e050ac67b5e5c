"""Ends the reports to whoever clicks in a mail; the key in the address is all it needs.

The page is in the language that the browser asks for, or the platform's.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.languages.catalogues import Language, language_of, preferred_language
from analytics_pipeline.languages.wording import message
from analytics_pipeline.messages.unsubscribing import unsubscribe

router = APIRouter(tags=["messages"])

_Key = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people.", "content": {"text/html": {"schema": {"type": "string"}}}}
}
_PAGE = """<!doctype html>
<html lang="{language}"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<body style="font-family: sans-serif; margin: 3rem auto; max-width: 30rem">{body}</body></html>
"""
_TITLE = message("Unsubscribe")
_ASK = message("Do you want no more of these reports?")
_DONE = message("You will get no more of these reports.")


@router.get("/unsubscribe/{key}", **answered(None, errors=(422,), more=_HTML))
async def ask(request: Request, key: _Key) -> Response:  # noqa: ARG001  # looking at the address changes nothing
    """Ask a person who follows the link of a mail; mail programs that look at links end nothing."""
    language = _language(request)
    button = f'<form method="post"><button>{language.say(_TITLE)}</button></form>'
    return _page(language, f"<p>{language.say(_ASK)}</p>{button}")


@router.post("/unsubscribe/{key}", **answered(None, errors=(404, 422, 429, 503), more=_HTML))
async def end(request: Request, key: _Key) -> Response:
    """End the reports to the recipient of the key."""
    state = request.app.state
    if not await state.readers.run("", partial(unsubscribe, key=key), read_only=False):
        state.failures.require(request.client.host if request.client else "")
        raise ApiError(404, "This address belongs to nobody.")
    language = _language(request)
    return _page(language, f"<p>{language.say(_DONE)}</p>")


def _language(request: Request) -> Language:
    asked = preferred_language(request.headers.get("accept-language", ""))
    return asked or language_of(request.app.state.settings.locale)


def _page(language: Language, body: str) -> Response:
    headers = {
        "Content-Security-Policy": (
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
        ),
        "Vary": "Accept-Language",
    }
    page = _PAGE.format(language=language.code, title=language.say(_TITLE), body=body)
    return Response(page, media_type="text/html", headers=headers)
