"""Senders that are killed, one after the other, while they work through the outbox: what is lost, doubled or stuck."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from email.utils import parseaddr

import pytest

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.messages.conftest import Send, pass_time
from analytics_pipeline_tests.messages.mail_catcher import Catcher
from analytics_pipeline_tests.messages.sample_messages import put

KILLED, MESSAGES = 24, 240
_PATIENCE_SECONDS = 60


@pytest.mark.endurance
@pytest.mark.faults
def test_senders_that_are_killed_lose_nothing_send_nothing_twice_and_leave_nothing_behind(
    connection: Connection, catcher: Catcher, send: Send, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_SMTP_URL", f"smtp://127.0.0.1:{catcher.port}")
    chance = random.Random(5)  # noqa: S311
    people = [f"person{number}@example.com" for number in range(MESSAGES)]
    for person in people:
        put(connection, person, person)
    for _ in range(KILLED):
        before = len(catcher.mails)
        process = subprocess.Popen([sys.executable, "-m", "analytics_pipeline", "outbox", "send"])
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(catcher.mails) == before and process.poll() is None:
            assert time.monotonic() < deadline, "it sends nothing"
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        pass_time(connection, 16)
    while str(send()) != "nothing was due":
        pass_time(connection, 16)
    states: dict[str, str] = dict(connection.execute("SELECT target, state FROM analytics_outbox").fetchall())
    received = Counter(parseaddr(mail["To"])[1] for mail in catcher.mails)
    outcomes = Counter(states.values())
    lost = [person for person in people if states[person] == "sent" and not received[person]]
    assert (lost, [person for person in people if received[person] > 1]) == ([], [])
    # Killed between the end of a mail and its answer: a person is asked, and it is not sent again.
    assert set(outcomes) <= {"sent", "unknown"}, outcomes
    assert outcomes["unknown"] <= KILLED
    print(f"{KILLED} killed senders, {MESSAGES} messages: {dict(outcomes)}, {len(catcher.mails)} mails received")  # noqa: T201
