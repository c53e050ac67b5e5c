"""The first page of a document as a picture."""

from io import BytesIO

_WIDTH = 560
_COLOURS = 64


def first_page(pdf: bytes) -> bytes:
    """Return the first page as a PNG, small enough to travel in metadata (about 30 kB)."""
    import pypdfium2  # type: ignore[import-untyped]

    document = pypdfium2.PdfDocument(pdf)
    try:
        page = document[0]
        picture = page.render(scale=_WIDTH / page.get_width()).to_pil()
    finally:
        document.close()
    target = BytesIO()
    # More colours would only be finer shades at the edges of letters.
    picture.convert("RGB").quantize(_COLOURS).save(target, "PNG", optimize=True)
    return target.getvalue()
