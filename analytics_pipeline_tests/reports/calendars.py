"""Calendars that reports of tests follow."""

from analytics_pipeline.companies.calendar import ALL_COMPANIES, Calendar

EUROS = Calendar(None, ALL_COMPANIES, "UTC", "EUR", "en_GB")
"""What nobody has set otherwise."""
