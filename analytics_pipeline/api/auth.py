"""Who asks: a token says which company, or that it is an operator, and what it may be used for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from analytics_pipeline.api.problems import ApiError, no_such_company
from analytics_pipeline.api.scopes import Scope


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: one company, or an operator (None), who may ask for every company.

    ``name`` is the token's id or the subject of an identity provider, for logs and limits.
    """

    name: str
    company: str | None
    scopes: frozenset[Scope]

    @property
    def is_operator(self) -> bool:
        """Whether it may ask for every company."""
        return self.company is None

    def company_asked(self, company_id: str | None) -> str | None:
        """Return the company to answer for, None: all together, of which only an operator may ask.

        Raises ``ApiError`` 404 for another company than the caller's, and for a name that no company can have.
        """
        if self.company is not None and company_id not in (None, self.company):
            raise no_such_company()
        # No text of the database holds a NUL.
        if company_id is not None and "\0" in company_id:
            raise no_such_company()
        return self.company or company_id


class NotAuthenticatedError(Exception):
    """A token that isn't there, isn't known, has expired or was revoked: which of them isn't said."""


_bearer = HTTPBearer(auto_error=False, description="A token of `analytics-pipeline token create`, or a JWT.")


def caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return the dependency that gives the caller of a request, who must have a scope."""

    async def caller(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
    ) -> Caller:
        state = request.app.state
        try:
            token = credentials.credentials if credentials else None
            found: Caller = await state.tokens.authenticate(token)
        except NotAuthenticatedError:
            # Of one address, so that nobody tries tokens, or has the database look for them, as fast as it can.
            state.failures.require(request.client.host if request.client else "")
            raise ApiError(
                401,
                "A valid token is needed: Authorization: Bearer ...",
                headers={"WWW-Authenticate": "Bearer"},
            ) from None
        request.scope["state"].update(caller=found.name, token=token)
        state.rate.require(found.name)
        if scope not in found.scopes:
            raise ApiError(403, f"This token may not be used for {scope}.")
        return found

    return caller
