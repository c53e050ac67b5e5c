"""The first page of a document as a picture."""

from io import BytesIO

_WIDTH = 560
_COLOURS = 128


def first_page(pdf: bytes) -> bytes:
    """Return the first page as a PNG, small enough to travel in metadata (about 20 kB)."""
    import pypdfium2  # type: ignore[import-untyped]
    from PIL import Image

    document = pypdfium2.PdfDocument(pdf)
    try:
        page = document[0]
        picture = page.render(scale=_WIDTH / page.get_width()).to_pil()
    finally:
        document.close()
    target = BytesIO()
    # More colours would only be finer shades at the edges of letters. Of these, chosen by how they differ and not by
    # how much of the page they cover, the few red figures keep one.
    reduced = picture.convert("RGB").quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)
    reduced.save(target, "PNG", optimize=True)
    return target.getvalue()
