"""The sections of the monthly report, one module each.

A section is a function from the report's content to flowables; ``monthly`` lists them in their order.
"""
