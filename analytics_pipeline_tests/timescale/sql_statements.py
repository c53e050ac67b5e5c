"""The statements of a text of SQL."""

import re

# What may hold a semicolon that ends nothing: comments, strings, names, bodies between dollars.
_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|;|.",
    re.DOTALL,
)


def split_statements(text: str) -> list[str]:
    """Return the statements of a text, each with its semicolon and what stands before it; together they are the text.

    What follows the last one goes with it.
    """
    statements, begun = [], ""
    for token in _TOKEN.finditer(text):
        begun += token[0]
        if token[0] == ";":
            statements.append(begun)
            begun = ""
    if statements:
        statements[-1] += begun
    return statements
