"""The companies side by side, in the report over all of them."""

from decimal import Decimal, localcontext

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import PRECISION, currency_digits, round_money
from analytics_pipeline.metrics.rounding import round_parts
from analytics_pipeline.reports.content import Content, decimal
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, percent, share, text

# A document names those with the most revenue; files have all of them.
_MOST_COMPANIES = 15
_TITLE = "Companies"


def tables(report: Report) -> list[Table]:
    """Return a row per company, the one with the most revenue first; amounts add up to those of all together."""
    if not report.companies:
        return [_table(report, [])]
    whole = report.revenue.figures
    revenue = _parts([c.revenue.figures.total_revenue for c in report.companies], whole.total_revenue, report.currency)
    mrr = _parts([c.revenue.figures.mrr for c in report.companies], whole.mrr, report.currency)
    rows: list[tuple[Value, ...]] = [
        (
            company.company_id,
            of_revenue,
            share(company.revenue.figures.total_revenue, whole.total_revenue),
            percent(company.revenue.figures.revenue_growth),
            of_mrr,
            company.revenue.figures.paying_customers,
            company.active_users,
        )
        for company, of_revenue, of_mrr in zip(report.companies, revenue, mrr, strict=True)
    ]
    return [_table(report, rows)]


def _parts(amounts: list[Decimal], whole: Decimal, currency: str) -> list[Decimal]:
    return round_parts(amounts, round_money(whole, currency), currency_digits(currency))


def _table(report: Report, rows: list[tuple[Value, ...]]) -> Table:
    columns = (
        text("companyId", "Company"),
        Column("totalRevenue", f"Revenue, {report.currency}"),
        Column("sharePercent", "Share", Kind.PERCENT),
        Column("revenueGrowth", "Growth", Kind.CHANGE),
        Column("mrr", f"MRR, {report.currency}"),
        Column("payingCustomers", "Paying"),
        Column("activeUsers", "Active users"),
    )
    whole, users = report.revenue.figures, report.users
    total = (
        "All companies",
        round_money(whole.total_revenue, report.currency),
        "",
        percent(whole.revenue_growth),
        round_money(whole.mrr, report.currency),
        whole.paying_customers,
        None if users is None else users.active_users,
    )
    return Table("companies", _TITLE, columns, rows, total=total if len(rows) > 1 else None)


def pages(content: Content) -> list[Flowable]:
    """Return the companies with the most revenue, and the others as one row; nothing in a company's own report."""
    report = content.report
    if report.company_id is not None:
        return []
    if not report.companies:
        return [*content.heading(_TITLE), content.note("No company has figures in this period.")]
    (table,) = tables(report)
    rows = [tuple(row) for row in table.rows]
    if len(rows) > _MOST_COMPANIES + 1:
        rows = [*rows[:_MOST_COMPANIES], _others(content, rows[_MOST_COMPANIES:])]
    placed = content.set(_table(report, rows))
    return [*content.heading(_TITLE, placed.least_height), placed]


def _others(content: Content, rows: list[tuple[Value, ...]]) -> tuple[Value, ...]:
    with localcontext(prec=PRECISION):
        revenue, mrr = (sum((decimal(row[index]) for row in rows), Decimal(0)) for index in (1, 4))
    paying, active = (sum(int(decimal(row[index])) for row in rows) for index in (5, 6))
    of_whole = share(revenue, content.report.revenue.figures.total_revenue)
    return (f"{len(rows)} others", revenue, of_whole, "", mrr, paying, active if rows[0][6] is not None else None)


SECTION = Section("companies", tables, pages, compares_companies=True)
