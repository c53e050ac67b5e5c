"""The words of documents and messages in several languages: one catalogue, a file of gettext's form for each language.

``wording`` marks what is said in English where it is said, ``catalogues`` says it in another language, ``notation``
writes figures and dates beside it. A new language is one more ``.po`` file here (``docs/languages.md``).
"""
