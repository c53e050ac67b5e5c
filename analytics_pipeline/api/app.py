"""The application: its routes, its pools, and what holds for every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import Depends, FastAPI
from psycopg import Error
from psycopg_pool import PoolTimeout
from starlette.middleware.gzip import GZipMiddleware

from analytics_pipeline.api import live
from analytics_pipeline.api.asking import refuse_repeated
from analytics_pipeline.api.conditional import Conditional, GivenAnswers
from analytics_pipeline.api.describing import describe
from analytics_pipeline.api.jwts import JwtVerifier
from analytics_pipeline.api.limits import RateLimit
from analytics_pipeline.api.measurements import Measurements
from analytics_pipeline.api.observing import Observing
from analytics_pipeline.api.page import add_page
from analytics_pipeline.api.pools import Readers
from analytics_pipeline.api.problems import add_problems
from analytics_pipeline.api.routes import (
    companies,
    events,
    figures,
    health,
    partitions,
    reports,
    series,
    signoffs,
    unsubscribe,
)
from analytics_pipeline.api.token_cache import Tokens
from analytics_pipeline.api.versions import Versions
from analytics_pipeline.api.writers import Writers
from analytics_pipeline.settings import Settings

# Of an address that sends tokens which are not valid.
_FAILURES_PER_SECOND, _FAILURES_AT_ONCE = 5, 20


def create_app(settings: Settings) -> FastAPI:
    """Return the application over the database of the settings; it connects when it is started.

    ``app.state`` holds what routes share: ``settings``, ``readers`` (``Readers``), ``writers`` (``Writers``),
    ``tokens`` (``Tokens``), ``versions`` (``Versions``), ``live`` (``Live``), ``measurements``, and limits.
    """
    measurements = Measurements()
    readers = Readers(settings, measurements)
    writers = Writers(settings)
    tokens = Tokens(readers, JwtVerifier(settings))

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await readers.open()
        await writers.open()
        noting = asyncio.create_task(tokens.note_uses())
        try:
            async with app.state.live.running():
                yield
        finally:
            noting.cancel()
            with suppress(Error, PoolTimeout):
                await tokens.flush_uses()
            await writers.close()
            await readers.close()

    app = FastAPI(
        title="Analytics of a crypto-ERP",
        version=version("analytics_pipeline"),
        lifespan=running,
        redirect_slashes=False,
        # FastAPI's own pages load scripts from elsewhere; ours is served with the dashboard.
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(refuse_repeated)],
    )
    state = app.state
    state.settings = settings
    state.readers = readers
    state.writers = writers
    state.tokens = tokens
    state.measurements = measurements
    state.versions = Versions(readers)
    state.given = GivenAnswers()
    state.rate = RateLimit(settings.api_rate, 2 * settings.api_rate)
    state.live = live.Live(settings, readers, tokens, state.rate)
    state.failures = RateLimit(_FAILURES_PER_SECOND if settings.api_rate else 0, _FAILURES_AT_ONCE)
    add_problems(app)
    app.add_middleware(GZipMiddleware, minimum_size=500)
    app.add_middleware(Conditional, given=state.given, tokens=tokens, versions=state.versions, rate=state.rate)
    app.add_middleware(Observing, measurements=measurements, max_body=settings.api_max_body)
    app.include_router(reports.keyed)
    for module in (figures, series, companies, partitions, signoffs, reports, events, health, unsubscribe, live):
        app.include_router(module.router)
    add_page(app)
    describe(app)
    return app
