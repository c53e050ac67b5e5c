"""The sections of a report, one module each.

A section is its tables, made from the report's figures, and the way they are set on pages; ``catalogue`` lists them in
their order. Every number a section prints comes from its tables, so that a document, a workbook and a file say the
same.
"""
