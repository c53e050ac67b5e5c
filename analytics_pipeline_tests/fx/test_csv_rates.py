"""Both layouts of CSV, every reason to turn a rate away, and every place a source may lie."""

import gzip
import io
import threading
import zipfile
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from upath import UPath

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.model import parse_event
from analytics_pipeline.fx.csv_rates import read_rates, read_source
from analytics_pipeline.fx.exchange_rates import Rate, parse_rate
from analytics_pipeline.fx.rate_sources import RatesUnreachableError, source_name
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline_tests.events.sample_records import payment

TODAY = date(2025, 6, 30)
HEADER = "rate_date,base,quote,rate\n"
ONE = HEADER + "2025-01-31,EUR,USD,1.0393\n"


def _read(text: str | bytes) -> list[Rate]:
    reading = read_rates(text if isinstance(text, bytes) else text.encode(), "rates.csv", today=TODAY)
    assert reading.rejects == []
    return reading.rates


def test_columns_may_stand_in_any_order_and_a_rate_keeps_every_digit() -> None:
    text = "quote , rate,base,rate_date\nUSD, 1.039300000000000001 ,EUR,2025-01-31\n\nEUR,60000,BTC,2025-01-31"
    first, second = _read(text)
    assert first == Rate(date(2025, 1, 31), "EUR", "USD", Decimal("1.039300000000000001"))
    assert second == Rate(date(2025, 1, 31), "BTC", "EUR", Decimal(60000))
    assert str(_read(HEADER + "2025-01-31,EUR,USD,1.10")[0].rate) == "1.10"


@pytest.mark.parametrize("end", ["\n", ",\n"], ids=["plain", "as the ECB ends its lines"])
def test_the_ecbs_table_gives_units_for_one_euro_and_no_rate_where_it_has_none(end: str) -> None:
    lines = ["Date,USD,JPY,BGN", "2025-01-31,1.0393,160.99,N/A", "2025-01-30,1.0396,,1.9558"]
    rates = _read("\ufeff" + "".join(line + end for line in lines))
    assert {(f"{r.rate_date}", r.base, r.quote, str(r.rate)) for r in rates} == {
        ("2025-01-31", "EUR", "USD", "1.0393"),
        ("2025-01-31", "EUR", "JPY", "160.99"),
        ("2025-01-30", "EUR", "USD", "1.0396"),
        ("2025-01-30", "EUR", "BGN", "1.9558"),
    }


DAY_IN_CSV = "Date, USD, JPY, BGN, \n30 June 2025, 1.1720, 169.17, 1.9558, \n"
DAY_IN_XML = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/eurofxref">
<gesmes:subject>Reference rates</gesmes:subject>
<Cube><Cube time='2025-06-30'><Cube currency='USD' rate='1.1720'/><Cube currency='JPY' rate='169.17'/>
<Cube currency='BGN' rate='1.9558'/></Cube></Cube></gesmes:Envelope>"""


@pytest.mark.parametrize("text", [DAY_IN_CSV, DAY_IN_XML], ids=["csv", "xml"])
def test_the_ecbs_table_of_the_day_is_read_as_its_history_is(text: str) -> None:
    assert _read(text) == [
        Rate(date(2025, 6, 30), "EUR", quote, Decimal(rate))
        for quote, rate in (("USD", "1.1720"), ("JPY", "169.17"), ("BGN", "1.9558"))
    ]


def test_a_history_in_xml_is_read_and_its_rejects_name_their_lines() -> None:
    friday = "\n<Cube time='2025-06-27'><Cube currency='USD' rate='x'/></Cube>"
    text = DAY_IN_XML.replace("</Cube></Cube>", f"</Cube>{friday}</Cube>")
    reading = read_rates(text.encode(), "hist.xml", today=TODAY)
    assert [rate.rate_date for rate in reading.rates] == [date(2025, 6, 30)] * 3
    assert [(reject.line, reject.record) for reject in reading.rejects] == [(6, "2025-06-27,EUR,USD,x")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (DAY_IN_XML[:-30], "is no whole XML"),
        ("<html><body>Not found</body></html>", "is XML without rates"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "is XML with a document type"),
        (DAY_IN_CSV.replace("Date", "Day"), "has the header"),
    ],
)
def test_what_is_no_table_of_the_ecb_loads_nothing(text: str, problem: str) -> None:
    with pytest.raises(AnalyticsError, match=problem):
        read_rates(text.encode(), "daily", today=TODAY)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("30 June 2025,EUR,USD,1", "rate_date '30 June 2025' is not like 2025-01-31"),
        ("2025-02-30,EUR,USD,1", "rate_date '2025-02-30' is no day"),
        ("31.01.2025,EUR,USD,1", "rate_date '31.01.2025' is not like 2025-01-31"),
        ("20250131,EUR,USD,1", "is not like 2025-01-31"),
        ("2025-07-02,EUR,USD,1", "rate_date 2025-07-02 is in the future"),
        ("2025-01-31,eur,USD,1", "base 'eur' is neither a currency"),
        ("2025-01-31,EUR,,1", "quote '' is neither a currency"),
        ("2025-01-31,EUR,EUR,1", "base and quote are both EUR"),
        ("2025-01-31,EUR,USD,0", "rate '0' is not above 0"),
        ("2025-01-31,EUR,USD,-1.1", "rate '-1.1' is not above 0"),
        ("2025-01-31,EUR,USD,NaN", "rate 'NaN' is not a finite number"),
        ("2025-01-31,EUR,USD,inf", "rate 'inf' is not a finite number"),
        ("2025-01-31,EUR,USD,1.1.1", "rate '1.1.1' is not a number"),
        ("2025-01-31,EUR,USD,", "rate '' is not a number"),
        ("2025-01-31,EUR,USD,1E-101", "or none of the first 100 decimals"),
        (f"2025-01-31,EUR,USD,0.{'1' * 101}", "has more than 100 digits"),
        ("2025-01-31,EUR,USD,1E+20", "has more than 20 digits before the point"),
        ("2025-01-31,EUR,USD", "3 cells where the header has 4"),
        ('2025-01-31,EUR,USD,"1', "not CSV"),
        ("2025-01-30,EUR,USD,1.2", "rate 1.2 contradicts line 2, where one EUR costs 1.1 USD on 2025-01-30"),
    ],
)
def test_a_line_that_is_no_rate_is_reported_with_its_number_and_the_rest_is_read(line: str, reason: str) -> None:
    text = f"{HEADER}2025-01-30,EUR,USD,1.1\n\n{line}\n2025-01-30,EUR,USD,1.10\n2025-07-01,EUR,USD,1.3\n"
    reading = read_rates(text.encode(), "rates.csv", today=TODAY)
    (reject,) = reading.rejects
    assert (reject.source, reject.line, reject.record) == ("rates.csv", 4, line)
    assert reason in reject.reason
    assert [str(rate.rate) for rate in reading.rates] == ["1.1", "1.3"], "tomorrow's and an equal one are no rejects"
    assert (reading.read, sum(reading.reasons.values())) == (4, 1)


@pytest.mark.parametrize("rate", ["0.0000000123456789012345", "1.123456789012345678901234", "7.53450", "1E-19"])
def test_a_rate_keeps_every_digit_whatever_its_decimals(rate: str) -> None:
    reading = read_rates(f"{HEADER}2025-01-31,EUR,USD,{rate}\n".encode(), "rates.csv", today=TODAY)
    assert [read.rate.as_tuple() for read in reading.rates] == [Decimal(rate).as_tuple()]


def test_a_bad_cell_of_the_ecbs_table_spoils_no_other_and_a_bad_line_is_one_reject() -> None:
    text = "Date,USD,jpy\n2025-01-31,1.0393,160\n2025-01-30,x\n2025-01-29,abc,\n0,1,2\n"
    reading = read_rates(text.encode(), "e.csv", today=TODAY)
    assert [(rate.quote, str(rate.rate)) for rate in reading.rates] == [("USD", "1.0393")]
    assert [(reject.line, reject.record) for reject in reading.rejects] == [
        (2, "2025-01-31,EUR,jpy,160"),
        (3, "2025-01-30,x"),
        (4, "2025-01-29,EUR,USD,abc"),
        (5, "0,1,2"),
    ]


def test_bytes_that_are_no_text_and_endless_lines_are_rejects() -> None:
    text = ONE.encode() + b"2025-01-30,EUR,\xffUSD,1\n" + b"9" * 2_000_000 + b"\n2025-01-29,EUR,USD,1.04\n"
    reading = read_rates(text, "rates.csv", today=TODAY)
    assert [reject.line for reject in reading.rejects] == [3, 4]
    assert "\\xffUSD" in reading.rejects[0].record
    assert len(reading.rejects[1].record) <= 1000
    assert len(reading.rates) == 2


@pytest.mark.parametrize("text", ["", "\n\n", "date,from,to,rate\n", HEADER.replace("rate\n", "rate,note\n"), "\xff"])
def test_a_file_without_a_known_header_is_refused_whole(text: str) -> None:
    with pytest.raises(AnalyticsError, match=r"rates\.csv has (the|no readable CSV) header") as caught:
        read_rates(text.encode("latin-1"), "rates.csv")
    assert not isinstance(caught.value, RejectedEvent)


@pytest.mark.parametrize("currency", ["EUR", "1INCH", "BTC", "usd", "E", "E" * 11, "A1", "€", "EUR\n", ""])
def test_a_currency_of_a_rate_has_the_form_of_an_events_currency(currency: str) -> None:
    def accepts(check: object, *arguments: object, **named: object) -> bool:
        try:
            check(*arguments, **named)  # type: ignore[operator]
        except RejectedEvent:
            return False
        return True

    as_event = accepts(parse_event, payment(currency=currency))
    other = "USD" if currency != "USD" else "EUR"
    assert accepts(parse_rate, "2025-01-31", currency, other, "1") == as_event
    assert accepts(parse_rate, "2025-01-31", other, currency, "1") == as_event


@pytest.mark.slow
def test_the_shipped_history_of_the_ecb_is_read_exactly() -> None:
    reading = read_source("ecb")
    rates = {(str(r.rate_date), r.base, r.quote): str(r.rate) for r in reading.rates}
    assert (reading.source, reading.rejects) == ("ecb", [])
    assert reading.read == len(rates) > 200_000
    # Published by the ECB; the first day has currencies that are no more.
    assert rates["1999-01-04", "EUR", "USD"] == "1.1789"
    assert rates["1999-01-04", "EUR", "TRL"] == "372274"
    assert rates["2025-01-31", "EUR", "USD"] == "1.0393"
    assert ("2025-01-31", "EUR", "RUB") not in rates
    assert ("2025-02-01", "EUR", "USD") not in rates, "a Saturday"


def _zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [ONE.encode(), gzip.compress(ONE.encode()), _zipped(a=ONE)], ids=["csv", "gz", "zip"]
)
def test_a_file_may_be_packed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rates"
    path.write_bytes(content)
    reading = read_source(str(path))
    assert [str(rate.rate) for rate in reading.rates] == ["1.0393"]
    assert reading.source == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_zipped(a=ONE, b=ONE), "holds 2 files: pack exactly one"),
        (_zipped(), "holds 0 files"),
        (_zipped(a=ONE)[:-30], "is damaged: File is not a zip file"),
        (gzip.compress(ONE.encode(), mtime=0)[:-9], "is damaged: Compressed file ended"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rates"
    path.write_bytes(content)
    with pytest.raises(AnalyticsError, match=message):
        read_source(str(path))


def test_a_missing_file_and_a_folder_are_errors_of_the_user(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(AnalyticsError, match=f"Can't read the rates of {path}") as caught:
            read_source(str(path))
        assert not isinstance(caught.value, RatesUnreachableError), "trying again would not help"


def test_an_object_store_is_read() -> None:
    place = UPath("memory://fx/rates.csv")
    place.write_bytes(ONE.encode())
    reading = read_source(str(place))
    assert [str(rate.rate) for rate in reading.rates] == ["1.0393"]
    assert reading.source == str(place)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/rates.zip": 200, "/broken": 500}.get(self.path.partition("?")[0], 404)
        self.send_response(status)
        self.end_headers()
        if status == 200:
            self.wfile.write(_zipped(a=ONE))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Keep the tests' output clean."""


@pytest.fixture
def web() -> Iterator[str]:
    """The address of a web server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_web_address_is_read_and_its_key_is_kept_out_of_names(web: str) -> None:
    reading = read_source(f"{web}/rates.zip?key=secret")
    assert [str(rate.rate) for rate in reading.rates] == ["1.0393"]
    assert reading.source == f"{web}/rates.zip"


@pytest.mark.parametrize(("path", "message"), [("/none?key=secret", "404"), ("/broken?key=secret", "500")])
def test_a_server_that_gives_nothing_may_be_asked_again(web: str, path: str, message: str) -> None:
    with pytest.raises(RatesUnreachableError, match=message) as caught:
        read_source(web + path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1/r.csv?key=secret", "https://me:secret@127.0.0.1/r.csv", "nowhere://me:secret@x/r.csv"],
)
def test_an_address_that_leads_nowhere_is_one_sentence_without_secrets(address: str) -> None:
    with pytest.raises(RatesUnreachableError, match="Can't read the rates of") as caught:
        read_source(address)
    assert "secret" not in str(caught.value)
    assert "secret" not in source_name(address)


@pytest.mark.parametrize("byte", [" ", "\0"])
def test_a_rate_behind_too_many_blanks_or_nul_bytes_is_rejected_with_the_length_of_its_line(byte: str) -> None:
    line = byte * 1_048_577 + "2025-01-31,EUR,USD,1.0393"
    reading = read_rates(f"{HEADER}{line}\n2025-01-30,EUR,USD,1.0400\n".encode(), "rates.csv", today=TODAY)
    assert [rate.rate_date for rate in reading.rates] == [date(2025, 1, 30)]
    (reject,) = reading.rejects
    assert (reject.line, reject.kind) == (2, "line too long")
    assert f"has {len(line):,} bytes" in reject.reason
