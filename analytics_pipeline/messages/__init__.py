"""Messages to people and their programs: every one is a row of the outbox before it leaves, and leaves once.

Belongs here: the outbox and sending, the channels that messages go by (``channels``: a class each), failures of runs
and jobs from their start to their end (``incidents``), who gets reports (``recipients``). Does not belong here: what an
alert or a report has to say (``alerts``, ``reports``), noticing that something has failed (``orchestration``). Nothing
here imports dagster.
"""
