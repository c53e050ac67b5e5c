"""The names of the assets that no declaration gives a name.

Those of aggregates are in ``timescale.aggregates``, those of metrics are made by ``metrics.tables``.
"""

# The hypertable, and its set-up.
EVENTS = "analytics_events"
# Whatever brings events in, above it.
INCOMING = "incoming_events"
# The table, and the asset that keeps it.
USERS = "analytics_users"
SUBSCRIPTIONS_ASSET = "subscriptions"
FX_ASSET = "fx_rates"
# Of each source of the ERP, before its name.
ERP_PREFIX = "erp_"
MONTHLY_REPORT = "monthly_report"
COMPANY_REPORTS = "company_reports"
CUSTOM_REPORTS = "custom_reports"
SIGNED_MONTHS = "signed_months"
