"""Events from an ERP's own tables: read by SQL that the user may adapt, recorded once each, however they arrive.

Belongs here: sources (an SQL file each), how far they have been read, rows that can't be events. Does not belong
here: files of events (``events.sources``), rules of an event (``events.model``), asking for runs (the sensor).
Rows are read by ``analytics_pipeline.erp.record_source``; ``docs/erp-sources.md`` describes all of it.
"""
