"""The errors a user can act on."""


class AnalyticsError(Exception):
    """Something the user can mend: the message names the input and the remedy in one sentence.

    The command line prints the message alone and exits with status 1; everything that is
    not an ``AnalyticsError`` is a defect and keeps its traceback.
    """


class RefusedError(AnalyticsError):
    """What was asked for is not possible, and nothing was begun: no failure of what is there."""


class DatabaseUnreachableError(AnalyticsError):
    """No connection to the database could be had now; later it may be."""
