"""Answers as the OpenAPI document shows them: one of each kind, believable and of one imaginary company."""

from analytics_pipeline.metrics.rates import RATES, answer_key
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION

_RATES = {answer_key(name): rate.example for name, rate in RATES.items()}
_MOVEMENTS = {
    "start": 2300.00,
    "new": 300.00,
    "reactivation": 0.00,
    "expansion": 50.00,
    "contraction": 50.00,
    "churn": 100.00,
    "fx": 0.00,
    "rounding": 0.00,
    "end": 2500.00,
}
_PERIOD = {
    "companyId": "acme",
    "startDate": "2025-01-01",
    "endDate": "2025-12-31",
    "timeZone": "UTC",
    "asOf": "2026-01-01T00:00:00Z",
    "dataThrough": "2026-03-01T09:30:00Z",
    "provisional": False,
    "definitionsVersion": DEFINITIONS_VERSION,
}

_REVENUE = {
    "mrr": 2500.00,
    "arr": 30000.00,
    "totalRevenue": 15000.00,
    "averageRevenuePerUser": 150.00,
    "revenueGrowth": 15.5,
    "currency": "EUR",
    **_PERIOD,
    "invoiced": 15500.00,
    "refunds": 120.00,
    "payingCustomers": 25,
    "arpa": 100.00,
    "mrrMovements": _MOVEMENTS,
    **_RATES,
    "unconverted": [],
}
_USERS = {
    "totalUsers": 100,
    "activeUsers": 85,
    "newUsers": 15,
    "churnedUsers": 5,
    "churnRate": 5.0,
    "activeUserRate": 85.0,
    **_PERIOD,
    "usersAtStart": 85,
    "activeBefore": 75,
    "churnRateOfStart": 6.7,
}

_MOVED = {**_MOVEMENTS, "currency": "EUR", **_PERIOD, "unconverted": []}

_CRYPTO = {
    "assets": [
        {
            "asset": "BTC",
            "received": 1.25000000,
            "receivedValue": 78125.00,
            "sent": 0.50000000,
            "sentValue": 31000.00,
            "swapped": 0.10000000,
            "swappedValue": 6300.00,
            "transactions": 14,
        }
    ],
    "currency": "EUR",
    **_PERIOD,
}

_TOP_EVENTS = {
    "topEvents": [
        {"eventType": "user.login", "category": "user_activity", "events": 1830},
        {"eventType": "payment.received", "category": "revenue", "events": 150},
    ],
    **_PERIOD,
}

_REVENUE_SERIES = {
    "series": [
        {
            "start": "2025-01",
            "startsAt": "2025-01-01T00:00:00Z",
            "endsAt": "2025-02-01T00:00:00Z",
            "totalRevenue": 1180.00,
            "invoiced": 1250.00,
            "refunds": 20.00,
            "mrr": 2300.00,
            "payingCustomers": 23,
            **_RATES,
        }
    ],
    "interval": "month",
    "currency": "EUR",
    "unconverted": [],
    **_PERIOD,
}

_USERS_SERIES = {
    "series": [
        {
            "start": "2025-01",
            "startsAt": "2025-01-01T00:00:00Z",
            "endsAt": "2025-02-01T00:00:00Z",
            "totalUsers": 88,
            "activeUsers": 71,
            "newUsers": 3,
            "churnedUsers": 2,
            "churnRate": 2.7,
            "activeUserRate": 80.7,
        }
    ],
    "interval": "month",
    **_PERIOD,
}

_COMPANIES = {
    "companies": [
        {
            "companyId": "acme",
            "companyName": "Acme Ltd",
            "timeZone": "Europe/Berlin",
            "reportingCurrency": "EUR",
            "locale": "de_DE",
            "mrr": 2500.00,
            "arr": 30000.00,
            "totalRevenue": 15000.00,
            "averageRevenuePerUser": 150.00,
            "revenueGrowth": 15.5,
            "payingCustomers": 25,
            "totalUsers": 100,
            "activeUsers": 85,
            "newUsers": 15,
        }
    ],
    "currency": "EUR",
    **_PERIOD,
    "companyId": None,
}

_PARTITIONS = {
    "partitions": [
        {
            "asset": "analytics_revenue_daily",
            "state": "closed",
            "start": "2025-01-01T00:00:00Z",
            "end": "2026-01-01T00:00:00Z",
        }
    ],
    **_PERIOD,
    "companyId": None,
}

_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_REPORT = {
    "id": 42,
    "report": "company_report",
    "companyId": "acme",
    "period": "2025-12",
    "revision": 1,
    "isCurrent": True,
    "renderedAt": "2026-01-01T01:05:00Z",
    "dataThrough": "2026-01-01T00:59:41Z",
    "provisional": False,
    "definitionsVersion": DEFINITIONS_VERSION,
    "pages": 4,
    "figures": [{"label": "Total revenue", "value": "€1,420.00", "change": "+3.6%"}],
    "files": {"pdf": {"name": "company_reports/acme/2025-12.pdf", "size": 48211, "sha256": _SHA256}},
}
_ADDRESS = {
    "url": "https://analytics.example.com/documents/Zk0mQ1v0dQ9bYwJX0q7sXg",
    "expiresAt": "2026-01-05T10:00:00Z",
}
_REPORT_REQUEST = {
    "id": 7,
    "state": "requested",
    "companyId": "acme",
    "startDate": "2025-01-01",
    "endDate": "2025-03-31",
    "sections": ["revenue"],
    "format": "xlsx",
    "currency": "EUR",
    "locale": "en_GB",
    "pageSize": "A4",
    "requestedAt": "2026-01-05T09:00:00Z",
    "finishedAt": None,
    "problem": None,
    "size": None,
    "sha256": None,
}

_SIGN_OFFS = {
    "signoffs": [
        {
            "month": "2025-12",
            "companyId": "acme",
            "signedBy": "anna",
            "signedAt": "2026-01-06T08:12:00Z",
            "definitionsVersion": DEFINITIONS_VERSION,
            "currency": "EUR",
            "document": {"id": 42, "sha256": _SHA256, "isCurrent": True},
            "restatements": [
                {
                    "figure": "total_revenue",
                    "label": "Total revenue",
                    "unit": "money",
                    "before": 1420.00,
                    "after": 1400.00,
                    "difference": -20.00,
                }
            ],
            "causes": [
                {
                    "cause": "late events",
                    "number": 1,
                    "first": "2025-12-30T17:00:00Z",
                    "last": "2025-12-30T17:00:00Z",
                    "text": "1 late event, the first on 2025-12-30 17:00 UTC",
                }
            ],
            "withdrawn": None,
        }
    ],
    "maySign": False,
    **_PERIOD,
}

_EVENTS = {
    "received": 1,
    "stored": 1,
    "known": 0,
    "conflict": 0,
    "rejected": 0,
    "records": [{"index": 0, "outcome": "stored", "eventId": "0b0e5b0a-6c1f-4d0e-9a55-0d4d3c1f7a11"}],
}

# By the names of their models (schemas).
EXAMPLES: dict[str, object] = {
    "RevenueAnswer": _REVENUE,
    "UsersAnswer": _USERS,
    "MovementsAnswer": _MOVED,
    "CryptoAnswer": _CRYPTO,
    "TopEventsAnswer": _TOP_EVENTS,
    "RevenueSeriesAnswer": _REVENUE_SERIES,
    "UsersSeriesAnswer": _USERS_SERIES,
    "CompaniesAnswer": _COMPANIES,
    "PartitionsAnswer": _PARTITIONS,
    "ReportList": {"reports": [_REPORT]},
    "Report": _REPORT,
    "Address": _ADDRESS,
    "ReportRequestAnswer": _REPORT_REQUEST,
    "SignOffsAnswer": _SIGN_OFFS,
    "Signed": {"month": "2025-12", "companies": ["acme"]},
    "EventsAnswer": _EVENTS,
    "Status": {"status": "ok"},
}
