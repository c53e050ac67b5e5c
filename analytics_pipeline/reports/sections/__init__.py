"""The sections of a report, one module each.

A section is what it reads beside the figures of every report, its tables, and the way they are set on pages with their
charts; ``catalogue`` lists them in their order. Every number a section prints comes from its tables, so that a
document, a workbook and a file say the same.
"""
