"""The errors a user can act on."""

from analytics_pipeline.text import printable


class AnalyticsError(Exception):
    """Something the user can fix: the message names the input and the remedy in one sentence.

    The command line prints the message alone and exits with status 1; everything that is
    not an ``AnalyticsError`` is a defect and keeps its traceback. Control characters of the input are escaped in the
    message, wherever it is shown.
    """

    def __init__(self, message: str = "") -> None:
        """Take the message."""
        super().__init__(printable(message))


class RefusedError(AnalyticsError):
    """What was asked for is not possible, and nothing was begun: no failure of what is there."""


class DatabaseUnreachableError(AnalyticsError):
    """No connection to the database could be had now; later it may be."""


class ArgumentError(AnalyticsError):
    """An argument can't be what it is, whatever the database holds: the command line exits with status 2."""


class UnknownNameError(ArgumentError):
    """An argument names what nobody knows, such as a company or a message."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says; a driver's go on with positions and hints."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
