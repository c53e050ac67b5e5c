"""The picture of a first page is small and keeps the colours that say something."""

from dataclasses import replace
from io import BytesIO

from PIL import Image

from analytics_pipeline.reports.preview import first_page
from analytics_pipeline_tests.reports import samples


def test_a_change_for_the_worse_stays_red_in_a_small_picture() -> None:
    report = samples.golden()
    assert report.users_before is not None
    worse = replace(report, users_before=replace(report.users_before, active_users=90))
    picture = first_page(samples.pdf_of(worse).content)
    assert len(picture) < 60_000
    with Image.open(BytesIO(picture)) as page:
        red, green, blue = (channel.tobytes() for channel in page.convert("RGB").split())
    assert sum(r - max(g, b) > 60 for r, g, b in zip(red, green, blue, strict=True)) > 50
