"""Notifications: operators hear once of every failure and once when it works again.

Belongs here: what is told, whether it was told, and the channels it is told through. Does not belong here:
noticing a failure (``orchestration.sensors``, ``timescale.job_health``). Nothing here imports dagster.

A new channel is one class with ``Notifier``'s method, chosen in ``channels``.
"""
