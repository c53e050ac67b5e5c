"""Live figures over a WebSocket: the current ones on connect, and again whenever they have changed.

One reading of the database serves all clients of a company, a currency and a time zone. Each message holds all of the
figures, so that a client that has missed one, or comes back, lacks nothing once it has the next.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from psycopg import AsyncConnection, sql
from psycopg_pool import PoolTimeout
from pydantic import Field, ValidationError

from analytics_pipeline.api.asking import Parameters, company_for, repeated_name
from analytics_pipeline.api.auth import Caller, NotAuthenticatedError
from analytics_pipeline.api.limits import RateLimit
from analytics_pipeline.api.numbers import Numbers, to_json
from analytics_pipeline.api.pools import Readers, primary_url
from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.token_cache import Tokens
from analytics_pipeline.api.versions import read_version
from analytics_pipeline.companies.calendar import Calendar, calendar_asked
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.announcements import CHANNEL
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.metrics.answers import Answer
from analytics_pipeline.metrics.live_figures import events_today, live_answer
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection

_log = logging.getLogger(__name__)

PROTOCOL = "analytics.live.v1"
# The token as a second sub-protocol, which is all that a browser can send besides the address.
_TOKEN_PROTOCOL = "bearer."  # noqa: S105

MAX_CLIENTS = 2_000
# One token can't take the places of all others.
MAX_CLIENTS_OF_A_TOKEN = 1_000
# So many messages wait for a client; each holds all figures, and who is that far behind would only fall further.
MAX_WAITING = 8

# Between two readings of a topic are so many seconds, however often its data changes; before one without new events of
# its company today, at least so many.
_MIN_SECONDS = 0.5
_OTHERS_SECONDS = 1.0
# And at least so often: a day begins, and with it other figures.
_MAX_SECONDS = 60.0
_RETRY_SECONDS = 5.0
# How often the data is asked for its version, while announcements come in and while they don't.
_POLL_ANNOUNCED_SECONDS = 10.0
_POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
# With the seconds for which a token is taken for valid (token_cache), less than five.
_TOKEN_CHECK_SECONDS = 0.5
_FIRST_MESSAGE_SECONDS = 5.0
_MAX_FIRST_MESSAGE = 10_000
_SEND_SECONDS = 20.0
_CLOSE_SECONDS = 10.0

_TOO_MANY_REQUESTS = 429

# What asking the database can raise that passes by itself.
_UNAVAILABLE = (psycopg.Error, PoolTimeout, AnalyticsError, OSError)

router = APIRouter()


class Close(IntEnum):
    """Why a socket was closed, as its client gets it; 4000 to 4999 are an application's own."""

    OK = 1000
    TRY_AGAIN_LATER = 1013
    NOT_AUTHENTICATED = 4401
    NOT_ALLOWED = 4403
    NO_SUCH_COMPANY = 4404
    TOO_SLOW = 4408
    NOT_PROCESSABLE = 4422


class LiveParameters(Parameters):
    """What a client listens to."""

    company_id: str | None = Field(None, min_length=1, max_length=MAX_ID_CHARACTERS)
    currency: str | None = Field(None, min_length=1, max_length=32)
    time_zone: str | None = Field(None, min_length=1, max_length=64)
    numbers: Numbers = "number"


class _RefusedError(Exception):
    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(eq=False, slots=True)
class _Client:
    """Somebody who listens: what waits to be sent, and the code to close with once it is to end."""

    caller: Caller
    token: str
    numbers: Numbers
    waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    ending: asyncio.Future[Close] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def offer(self, text: str) -> None:
        """Let a message wait to be sent; who has too many of them waiting is too slow."""
        try:
            self.waiting.put_nowait(text)
        except asyncio.QueueFull:
            self.end(Close.TOO_SLOW)

    def end(self, code: Close) -> None:
        if not self.ending.done():
            self.ending.set_result(code)


# What tells topics apart: a company (None: all together), a currency, a time zone.
_TopicKey = tuple[str | None, str, str]


@dataclass(eq=False, slots=True)
class _Topic:
    """A company (None: all together), a currency and a time zone, its listeners, and what they were sent last."""

    company: str | None
    currency: str
    time_zone: str
    clients: set[_Client] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    latest: Answer | None = None
    # When it was read, and how many seconds that took.
    read_at: float = 0.0
    cost: float = 0.0
    worker: asyncio.Task[None] | None = None

    def text(self, numbers: Numbers) -> str:
        return to_json({"type": "figures", **(self.latest or {})}, numbers).decode()

    def publish(self) -> None:
        texts = {numbers: self.text(numbers) for numbers in {client.numbers for client in self.clients}}
        for client in self.clients:
            client.offer(texts[client.numbers])


class Live:
    """The clients of this process, and the tasks that keep them up to date."""

    def __init__(self, settings: Settings, readers: Readers, tokens: Tokens, rate: RateLimit) -> None:
        """Take what figures are read with, whose tokens are valid, and how often each may ask; nothing is started."""
        self._settings = settings
        self._readers = readers
        self._tokens = tokens
        self._rate = rate
        self._topics: dict[_TopicKey, _Topic] = {}
        self._sockets = 0
        self._anybody = asyncio.Event()
        # Whether anything was announced since the data was asked for its version.
        self._was_announced = False
        # Some of the connections stay for requests.
        self._reading = asyncio.Semaphore(max(1, settings.api_pool_size // 2))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep clients up to date inside the block."""
        steps = [self._poll, self._check_tokens, self._send_heartbeats]
        # The embedded server has one session, which nobody can keep for listening.
        if self._settings.database_url is not None:
            steps.append(self._listen)
        tasks = [asyncio.create_task(self._repeat(step)) for step in steps]
        try:
            yield
        finally:
            tasks += [topic.worker for topic in self._topics.values() if topic.worker is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, socket: WebSocket) -> None:
        """Serve a client until one of the two sides ends it."""
        if not is_same_origin(socket.headers.get("origin"), socket.headers.get("host")):
            # Before it is accepted: the browser of another site's visitor is answered 403.
            await socket.close()
            return
        offered: list[str] = socket.scope["subprotocols"]
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        self._sockets += 1
        try:
            client, topic = await self._admit(socket, offered)
            code = await self._send_all(socket, client, topic)
            reason = ""
        except _RefusedError as refused:
            code, reason = refused.code, refused.reason
        except WebSocketDisconnect:
            return
        finally:
            self._sockets -= 1
        _log.info("A live client is closed with %s %s", int(code), reason)
        # Who doesn't read can't be sent anything either.
        with suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await socket.close(code, reason)

    async def _admit(self, socket: WebSocket, offered: list[str]) -> tuple[_Client, _Topic]:
        if self._sockets > MAX_CLIENTS:
            raise _RefusedError(Close.TRY_AGAIN_LATER, "too many clients")
        token = next((one.removeprefix(_TOKEN_PROTOCOL) for one in offered if one.startswith(_TOKEN_PROTOCOL)), None)
        if token is None:
            token = await _first_message(socket)
        try:
            caller = await self._tokens.authenticate(token)
            self._rate.require(caller.name)
            if Scope.FIGURES not in caller.scopes:
                raise _RefusedError(Close.NOT_ALLOWED, f"this token may not be used for {Scope.FIGURES}")
            if (name := repeated_name(socket.query_params)) is not None:
                raise _RefusedError(Close.NOT_PROCESSABLE, f"{_short(name)}: give it once")
            parameters = LiveParameters.model_validate(dict(socket.query_params))
            company = caller.company_asked(parameters.company_id)
            calendar = await self._readers.run(
                company, lambda connection: self._calendar_of(connection, caller, company, parameters)
            )
        except NotAuthenticatedError:
            raise _RefusedError(Close.NOT_AUTHENTICATED, "a valid token is needed") from None
        except ApiError as error:
            code = Close.TRY_AGAIN_LATER if error.status == _TOO_MANY_REQUESTS else Close.NO_SUCH_COMPANY
            raise _RefusedError(code, error.detail) from None
        except (ValidationError, AnalyticsError) as error:
            text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise _RefusedError(Close.NOT_PROCESSABLE, _short(text)) from None
        except _UNAVAILABLE as error:
            _log.warning("A live client was rejected: %s", error)
            raise _RefusedError(Close.TRY_AGAIN_LATER, "the database is not available now") from None
        of_this_token = sum(one.caller.name == caller.name for one in self._clients())
        if of_this_token >= MAX_CLIENTS_OF_A_TOKEN:
            raise _RefusedError(Close.TRY_AGAIN_LATER, "too many clients of this token")
        client = _Client(caller, token or "", parameters.numbers)
        _log.info("A live client of %s listens", caller.name)
        return client, self._join(client, (company, calendar.currency, calendar.time_zone))

    def _calendar_of(
        self, connection: Connection, caller: Caller, company: str | None, parameters: LiveParameters
    ) -> Calendar:
        company_for(connection, caller, company)
        return calendar_asked(connection, self._settings, company, parameters.time_zone, parameters.currency)

    def _join(self, client: _Client, key: _TopicKey) -> _Topic:
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic(*key)
            topic.worker = asyncio.create_task(self._keep_current(topic))
        topic.clients.add(client)
        if topic.latest is not None:
            client.offer(topic.text(client.numbers))
        self._anybody.set()
        return topic

    def _leave(self, client: _Client, topic: _Topic) -> None:
        topic.clients.discard(client)
        key = topic.company, topic.currency, topic.time_zone
        if not topic.clients and self._topics.get(key) is topic:
            del self._topics[key]
            if topic.worker is not None:
                topic.worker.cancel()
        if not self._topics:
            self._anybody.clear()

    async def _send_all(self, socket: WebSocket, client: _Client, topic: _Topic) -> Close:
        """Send what is offered to a client until it is to end, and return the code for that."""
        tasks = [asyncio.create_task(_send(socket, client)), asyncio.create_task(_receive(socket))]
        ends: list[asyncio.Future[Any]] = [client.ending, *tasks]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return client.ending.result() if client.ending.done() else Close.OK
        finally:
            self._leave(client, topic)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_current(self, topic: _Topic) -> None:
        """Read a topic again when its data may have changed, and send it if it has.

        A change is nobody's in particular: a company that has new events is read at once, the others in their turn.
        """
        due = _now()
        while True:
            is_due = False
            try:
                async with asyncio.timeout_at(due):
                    await topic.changed.wait()
            except TimeoutError:
                is_due = True
            topic.changed.clear()
            try:
                if not is_due and not await self._has_new_events(topic):
                    due = min(due, self._turn(topic))
                    continue
                await self._read(topic)
                due = _now() + _MAX_SECONDS
                await asyncio.sleep(_MIN_SECONDS)
            # Whatever it was: without another try its clients would be shown old figures.
            except Exception as error:  # noqa: BLE001
                _log.warning("Live figures couldn't be read: %s", error)
                due = _now() + _RETRY_SECONDS

    async def _read(self, topic: _Topic) -> None:
        async with self._reading:
            started = _now()
            answer = await self._readers.run(
                topic.company,
                lambda connection: live_answer(connection, topic.company, topic.currency, topic.time_zone),
                may_lag=True,
            )
            topic.read_at, topic.cost = started, _now() - started
        if answer != topic.latest:
            topic.latest = answer
            topic.publish()

    def _turn(self, topic: _Topic) -> float:
        """Return when a topic is to be read for changes of others, so that all of them keep one connection busy."""
        all_of_them = sum(each.cost for each in self._topics.values())
        return max(_now() + _OTHERS_SECONDS, topic.read_at + all_of_them)

    async def _has_new_events(self, topic: _Topic) -> bool:
        count = await self._readers.run(
            topic.company,
            lambda connection: events_today(connection, topic.company, topic.time_zone),
            may_lag=True,
        )
        return topic.latest is None or bool(count != topic.latest["today"]["events"])

    def _mark_changed(self) -> None:
        for topic in self._topics.values():
            topic.changed.set()

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step again and again, while there is anybody to do it for."""
        while True:
            await self._anybody.wait()
            try:
                await step()
            # Whatever it was, the next try may be better, and without one nobody would hear of a change again.
            except Exception as error:  # noqa: BLE001
                _log.warning("Changes can't be watched now: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        """Wait for announcements over a connection of its own, as long as that lasts."""
        async with await AsyncConnection.connect(
            await primary_url(self._settings), autocommit=True, application_name="analytics_pipeline live"
        ) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            # What was announced before is not heard.
            self._mark_changed()
            async for _ in connection.notifies():
                self._was_announced = True
                self._mark_changed()

    async def _poll(self) -> None:
        """Find changes by the version of the data: all of them where none is announced, else those that are not."""
        seconds = _POLL_SECONDS
        version = await self._version()
        while self._anybody.is_set():
            self._was_announced = False
            await asyncio.sleep(seconds)
            before, version = version, await self._version()
            if version != before:
                self._mark_changed()
                seconds = _POLL_ANNOUNCED_SECONDS if self._was_announced else _POLL_SECONDS

    async def _version(self) -> str:
        # Bound to no company: it is the version of all data, and of the day.
        _, version = await self._readers.run("", read_version, may_lag=True)
        return version

    async def _check_tokens(self) -> None:
        """End the sockets of tokens that are not valid any more."""
        await asyncio.sleep(_TOKEN_CHECK_SECONDS)
        by_token: dict[str, list[_Client]] = {}
        for client in self._clients():
            by_token.setdefault(client.token, []).append(client)

        async def check(token: str, clients: list[_Client]) -> None:
            try:
                await self._tokens.authenticate(token)
            except NotAuthenticatedError:
                for client in clients:
                    client.end(Close.NOT_AUTHENTICATED)

        await asyncio.gather(*(check(token, clients) for token, clients in by_token.items()))

    async def _send_heartbeats(self) -> None:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        text = msgspec.json.encode({"type": "heartbeat", "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}).decode()
        for client in self._clients():
            client.offer(text)

    def _clients(self) -> list[_Client]:
        return [client for topic in self._topics.values() for client in topic.clients]

    def counts(self) -> Counter[str]:
        """Return how many clients there are, and how many topics they listen to."""
        return Counter(clients=len(self._clients()), topics=len(self._topics))


@router.websocket("/analytics/live")
async def live(socket: WebSocket) -> None:
    """Send the current figures of a company, and again whenever they have changed."""
    served: Live = socket.app.state.live
    await served.serve(socket)


def is_same_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a socket was opened by our own page, or by a program, which names no origin."""
    if origin is None:
        return True
    try:
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        # No address at all, such as http://[::1.
        return False


async def _first_message(socket: WebSocket) -> str:
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            text = await socket.receive_text()
        message: Any = msgspec.json.decode(text) if len(text) <= _MAX_FIRST_MESSAGE else None
        token = message["token"]
    except (TimeoutError, msgspec.DecodeError, RecursionError, KeyError, TypeError):
        token = None
    if not isinstance(token, str):
        raise _RefusedError(Close.NOT_AUTHENTICATED, 'the first message has to be {"token": "..."}')
    return token


async def _send(socket: WebSocket, client: _Client) -> None:
    while True:
        text = await client.waiting.get()
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await socket.send_text(text)
        except TimeoutError:
            client.end(Close.TOO_SLOW)
            return


async def _receive(socket: WebSocket) -> None:
    """Take what a client sends, which means nothing, until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _short(reason: str) -> str:
    """Return as much of a reason as a close frame can hold."""
    return reason.encode()[:100].decode(errors="ignore")


def _now() -> float:
    return asyncio.get_running_loop().time()
