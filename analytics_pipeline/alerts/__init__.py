"""Threshold rules over the metric tables: who is notified when a figure crosses a line, and when it is back.

Belongs here: rules and their file, evaluating closed periods, alerts from their start to their end, what their
messages say. Does not belong here: computing figures (``metrics``), delivering messages (``messages``), operators'
notifications about failures of the pipeline itself (``messages``). Nothing here imports dagster.
"""
