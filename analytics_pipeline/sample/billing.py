"""Invoices and what follows them: payments, refunds, credits."""

from random import Random

from analytics_pipeline.sample.customers import User
from analytics_pipeline.sample.market import FIAT_PLACES
from analytics_pipeline.sample.seasons import moment
from analytics_pipeline.sample.stream import DAY, MINUTE, Metadata, Recorder, decimal_text

CARD_SHARE = 0.55
CARD_SECONDS = 20 * MINUTE
TRANSFER_DAYS = 14
CREDIT_SHARE = 0.01
REFUND_SHARE = 0.015
REFUND_DAYS = 20
PARTIAL_PERCENTS = (5, 10, 20, 25, 50)


class Billing:
    """Writes the invoices of one company."""

    def __init__(self, rng: Random, recorder: Recorder) -> None:
        """Write with the company's random numbers into its recorder."""
        self._rng = rng
        self._recorder = recorder
        self._invoices = 0

    def charge(self, user: User, at: int, cents: int, reason: Metadata) -> None:
        """Invoice the amount; it is paid, perhaps after a partial credit, and perhaps refunded."""
        invoice = self.invoice(user, at, cents, reason)
        at += self._payment_delay(at)
        draw = self._rng.random()
        if draw < CREDIT_SHARE:
            credit = self._part_of(cents)
            self.credit(user, at - 1, credit, invoice)
            cents -= credit
        self.pay(user, at, cents, invoice)
        if draw >= 1 - REFUND_SHARE:
            refund = self._part_of(cents) if self._rng.random() < 1 / 2 else cents
            at = moment(at // DAY + 1 + int(self._rng.random() * REFUND_DAYS), self._rng)
            self.credit(user, at, refund, invoice)
            self._money(user, at + MINUTE, "payment.refunded", -refund, invoice)

    def invoice(self, user: User, at: int, cents: int, reason: Metadata) -> Metadata:
        """Invoice the amount and return what later events say about it."""
        self._invoices += 1
        invoice: Metadata = {"invoice": f"INV-{self._invoices:06d}", **reason}
        self._money(user, at, "invoice.created", cents, invoice)
        return invoice

    def pay(self, user: User, at: int, cents: int, invoice: Metadata) -> None:
        """Receive the amount for the invoice."""
        self._money(user, at, "payment.received", cents, invoice)

    def credit(self, user: User, at: int, cents: int, invoice: Metadata) -> None:
        """Take the (positive) amount off the invoice."""
        self._money(user, at, "invoice.credited", -cents, invoice)

    def _money(self, user: User, at: int, event_type: str, cents: int, about: Metadata) -> None:
        user.settled = max(user.settled, at)
        value = decimal_text(cents, FIAT_PLACES)
        self._recorder.record(at, user.id, event_type, value=value, currency=user.currency, metadata=dict(about))

    def _payment_delay(self, at: int) -> int:
        if self._rng.random() < CARD_SHARE:
            return MINUTE + int(self._rng.random() * CARD_SECONDS)
        return moment(at // DAY + 1 + int(self._rng.random() * TRANSFER_DAYS), self._rng) - at

    def _part_of(self, cents: int) -> int:
        percent = PARTIAL_PERCENTS[int(self._rng.random() * len(PARTIAL_PERCENTS))]
        return max(cents * percent // 100, 1)
