"""Threshold rules over the metric tables: who is told when a figure crosses a line, and when it is back.

Belongs here: rules and their file, judging closed periods, alerts from their start to their end, the words of their
messages. Does not belong here: computing figures (``metrics``), delivering messages (``messages``), operators'
notifications about failures of the pipeline itself (``messages``). Nothing here imports dagster.
"""
