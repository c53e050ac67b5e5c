"""What a failure is called and what to do about it, in sentences of ours that can be said in other languages.

The database keeps them in English, where they are known by their form. What machines say stays as it is: names of jobs,
assets and files, errors, commands.
"""

import re

from analytics_pipeline.languages.wording import Message, message, recognised

DATABASE = message("the analytics database")
DATABASE_REMEDY = message(
    "start the server, or correct ANALYTICS_DATABASE_URL; of runs that fail meanwhile you hear then."
)
FILE_REMEDY = message(
    "if the file is in failed/, fix it (the reason and its rejects lie beside it) and drop it into the inbox again; if "
    "it is still in the inbox, fix the cause: it is tried again by itself."
)
PARTITIONS_REMEDY = message(
    "fix the cause; then re-execute the run in the Dagster UI, or close its partitions by the command close. The "
    "sensor partition_gaps asks for them a few times by itself."
)
RUN_REMEDY = message("fix the cause, then re-execute the run in the Dagster UI.")
NO_REASON_OF_RUN = message("the run ended without saying why")
NO_REASON_OF_POLICY = message("no reason was recorded: see the server's log")
JOB_REMOVED = message("the job was removed")
MATERIALISATION = message("materialisation")

_is_run = re.compile(
    r"(?P<job>\S+)(?: of (?P<what>.+?))?(?: for (?P<partitions>\d[\w:+-]*(?: to \d[\w:+-]*)?))?"
).fullmatch


def policy_remedy(job: object, *, is_paused: bool) -> Message:
    """Return what to do about a policy job that fails, by its number."""
    if is_paused:
        return message(
            "look at its rows (job_id {job}) in timescaledb_information.job_errors, on the embedded server in "
            "analytics_job_runs; fix the cause, then try it with CALL run_job({job}); TimescaleDB has paused the job: "
            "SELECT alter_job({job}, scheduled => true, max_retries => -1);",
            job=job,
        )
    return message(
        "look at its rows (job_id {job}) in timescaledb_information.job_errors, on the embedded server in "
        "analytics_job_runs; fix the cause, then try it with CALL run_job({job});",
        job=job,
    )


def paused_after(failures: object, error: str) -> Message:
    """Return the error of a policy job that was paused after so many failures."""
    return message("paused after {number} failures in a row: {error}", number=failures, error=error)


def span(first: str, last: str) -> Message:
    """Return the first and the last of several partitions, by their keys."""
    return message("{first} to {last}", first=first, last=last)


def name_run(job: str, what: str = "", partitions: str = "") -> str:
    """Return what a run is called: by its job, with the assets or the file it is about, and its partitions."""
    if what and partitions:
        return message("{job} of {what} for {partitions}", job=job, what=what, partitions=partitions)
    if partitions:
        return message("{job} for {partitions}", job=job, partitions=partitions)
    return message("{job} of {what}", job=job, what=what) if what else job


def subject_in_words(subject: str) -> str:
    """Return what failed as the message it is, as far as it is called by ``name_run``."""
    if subject == DATABASE:
        return DATABASE
    if not (named := _is_run(subject)):
        return subject
    job = recognised(named["job"], (MATERIALISATION,))
    return name_run(job, named["what"] or "", partitions_in_words(named["partitions"] or ""))


def partitions_in_words(partitions: str) -> str:
    """Return the keys of partitions as the message that ``span`` makes; one of them as it is."""
    return recognised(partitions, _SPANS)


def error_in_words(error: str) -> str:
    """Return an error as the message it is, if it is one of ours."""
    known = recognised(error, _ERRORS)
    if isinstance(known, Message) and "error" in known.values:
        return paused_after(known.values["number"], error_in_words(str(known.values["error"])))
    return known


def remedy_in_words(remedy: str) -> str:
    """Return what to do, or how it was done, as the message it is, if it is one of ours."""
    return recognised(remedy, _REMEDIES)


_SPANS = (span("{first}", "{last}"),)
_ERRORS = (NO_REASON_OF_RUN, NO_REASON_OF_POLICY, paused_after("{number}", "{error}"))
_REMEDIES = (
    FILE_REMEDY,
    PARTITIONS_REMEDY,
    RUN_REMEDY,
    DATABASE_REMEDY,
    JOB_REMOVED,
    policy_remedy("{job}", is_paused=True),
    policy_remedy("{job}", is_paused=False),
)
