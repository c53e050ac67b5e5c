"""The HTTP side: answers, events, reports, live figures and the page, for applications and browsers.

Belongs here: who asks, for which company, and how an answer is written as HTTP. Does not belong here: a figure
(``metrics``), what an event has to look like (``events``), and anything of Dagster's.
"""
