"""Up to which instant the ERP's rows are complete: what rows that commit late could still precede.

A row's time is that of its transaction's start (``now()``) or later, but it is seen only when that transaction
commits, which may be hours after rows of later ones were read. So the cursor must not pass the start of any
transaction that is under way. Two probes show it, whatever the role may see: one that was not there at the probe
before has begun since.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analytics_pipeline.erp.reader import ErpDatabase

# What the very first probe assumes of a transaction whose start it may not see.
ASSUMED_LONGEST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TransactionProbe:
    """The ERP's clock at a probe, and for each running transaction an instant before which it can't have begun."""

    at: datetime
    open_transactions: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def safe_until(self) -> datetime:
        """Rows before this instant are all committed: later reads see every one of them."""
        return min([self.at, *self.open_transactions.values()])


def probe_transactions(erp: ErpDatabase, before: TransactionProbe | None) -> TransactionProbe:
    """Probe the transactions that are under way, given the probe before.

    Raises ``AnalyticsError`` as every reading of the ERP does.
    """
    # The clock first: what begins after it is no concern of this probe.
    ((at,),) = erp.read("erp_clock")
    found = erp.read("erp_transactions")
    return TransactionProbe(
        at,
        {name: began or _not_before(name, before, at, is_prepared=is_prepared) for name, began, is_prepared in found},
    )


def _not_before(name: str, before: TransactionProbe | None, at: datetime, *, is_prepared: bool) -> datetime:
    if before is None:
        return at - ASSUMED_LONGEST
    if name in before.open_transactions:
        return before.open_transactions[name]
    # A transaction that was prepared since the probe before has another name now.
    return before.safe_until if is_prepared else before.at
