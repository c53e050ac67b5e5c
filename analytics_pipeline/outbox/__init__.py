"""The outbox: every mail and webhook call is a row before it leaves, and leaves once.

Belongs here: the rows of ``analytics_outbox``, their states, claiming, trying again, what people decide.
Does not belong here: what a message says and for whom it is (``reports.mail``), the conversation with a mail
server (``notify.mail``). Nothing here imports dagster.

A new channel is one class with ``Channel``'s method, chosen in ``channels``.
"""
