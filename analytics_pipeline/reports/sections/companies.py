"""The companies side by side, in the report over all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from reportlab.platypus import Flowable

from analytics_pipeline.currencies import PRECISION, money, percent
from analytics_pipeline.languages.wording import message
from analytics_pipeline.reports.content import Content
from analytics_pipeline.reports.report import ALL_COMPANIES, PeriodRevenue, Report, period_revenue
from analytics_pipeline.reports.report_parts import Key, ReportLoader, ReportPart
from analytics_pipeline.reports.sections.section import Section
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, name, share, text

# A document names those with the most revenue; files have all of them.
_MAX_COMPANIES = 15
_TITLE = message("Companies")


@dataclass(frozen=True, slots=True)
class CompanyFigures:
    """A company beside the others; ``active_users`` is None where raw events it needs have expired."""

    company_id: str
    revenue: PeriodRevenue
    active_users: int | None
    name: str = ""


def _read(loader: ReportLoader) -> Mapping[Key, Sequence[CompanyFigures]]:
    """Return the companies with figures, the one with the most revenue first, for the report over all of them."""
    if loader.each:
        return {}
    window = loader.window
    countable = window in loader.countable
    users = loader.users([window], each=True)[window] if countable else {}
    found = []
    for key, figures in loader.revenue([window], each=True)[window].items():
        if key is not None:
            # Whoever has no figures of users has none that is active.
            active = (users[key].active_users if key in users else 0) if countable else None
            found.append(CompanyFigures(key, period_revenue(figures), active))
    found.sort(key=lambda company: (-company.revenue.figures.total_revenue, company.company_id))
    return {None: _named(found, loader.names)}


def _named(companies: Sequence[CompanyFigures], names: Mapping[str, str]) -> Sequence[CompanyFigures]:
    """Return the companies with what each is called: where two have one name, with their ids."""
    named = [replace(company, name=names.get(company.company_id, company.company_id)) for company in companies]
    count = Counter(company.name for company in named)
    return [
        replace(company, name=f"{company.name} ({company.company_id})") if count[company.name] > 1 else company
        for company in named
    ]


COMPANIES: ReportPart[Sequence[CompanyFigures]] = ReportPart("companies", _read, ())


def tables(report: Report) -> list[Table]:
    """Return a row per company, the one with the most revenue first."""
    return [_table(report, [_row(report, company) for company in report[COMPANIES]])]


def _row(report: Report, company: CompanyFigures) -> tuple[Value, ...]:
    figures = company.revenue.figures
    return (
        company.company_id,
        company.name or company.company_id,
        money(figures.total_revenue, report.currency),
        share(figures.total_revenue, report.whole_revenue),
        percent(figures.revenue_growth),
        money(figures.mrr, report.currency),
        figures.paying_customers,
        company.active_users,
    )


def _table(report: Report, rows: list[tuple[Value, ...]]) -> Table:
    columns = (
        name("companyId"),
        text("companyName", message("Company")),
        Column("totalRevenue", message("Revenue, {currency}", currency=report.currency)),
        Column("sharePercent", message("Share"), Kind.PERCENT),
        Column("revenueGrowth", message("Growth"), Kind.CHANGE),
        Column("mrr", message("MRR, {currency}", currency=report.currency)),
        Column("payingCustomers", message("Paying")),
        Column("activeUsers", message("Active users")),
    )
    whole, users = report.revenue.figures, report.users
    total = (
        "",
        ALL_COMPANIES,
        money(whole.total_revenue, report.currency),
        "",
        percent(whole.revenue_growth),
        money(whole.mrr, report.currency),
        whole.paying_customers,
        None if users is None else users.active_users,
    )
    return Table("companies", _TITLE, columns, rows, total=total if len(rows) > 1 else None)


def pages(content: Content) -> list[Flowable]:
    """Return the companies with the most revenue, and the others as one row; nothing in a company's own report."""
    report = content.report
    if report.company_id is not None:
        return []
    companies = report[COMPANIES]
    if not companies:
        return [*content.heading(_TITLE), content.note(message("No company has figures in this period."))]
    listed, others = companies, companies[_MAX_COMPANIES:]
    if len(others) > 1:
        listed = companies[:_MAX_COMPANIES]
    rows = [_row(report, company) for company in listed]
    placed = content.set(_table(report, [*rows, _others(report, others)] if len(others) > 1 else rows))
    return [*content.heading(_TITLE, placed.least_height), placed]


def _others(report: Report, companies: Sequence[CompanyFigures]) -> tuple[Value, ...]:
    figures = [company.revenue.figures for company in companies]
    active = [company.active_users for company in companies if company.active_users is not None]
    with localcontext(prec=PRECISION):
        revenue = sum((each.total_revenue for each in figures), Decimal(0))
        mrr = sum((each.mrr for each in figures), Decimal(0))
    return (
        "",
        message("{number} others", number=len(companies)),
        money(revenue, report.currency),
        share(revenue, report.whole_revenue),
        "",
        money(mrr, report.currency),
        sum(each.paying_customers for each in figures),
        sum(active) if active else None,
    )


SECTION = Section("companies", tables, pages, parts=[COMPANIES], compares_companies=True)
