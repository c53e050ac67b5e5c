"""Locales: the notation of numbers and dates, and the language of words, that somebody reads.

A locale is a language with a script or a territory where they matter: ``de``, ``de_CH``, ``en_GB``, ``zh_Hant_TW``.
Babel knows the notation of every one; documents and messages have words in a few languages, and English ones in all
others.
"""

from typing import Final

from analytics_pipeline.errors import UnknownNameError

DEFAULT_LOCALE: Final = "en_GB"


def require_locale(name: str) -> str:
    """Return a locale in its usual spelling: ``de-ch`` is ``de_CH``.

    Raises ``UnknownNameError`` for one that Babel has no data of.
    """
    # Babel takes a moment to import: only who names a locale pays for it.
    from babel import Locale, UnknownLocaleError
    from babel.core import get_locale_identifier, parse_locale

    spelled = name.replace("-", "_")
    try:
        Locale.parse(spelled)
        return get_locale_identifier(parse_locale(spelled))
    except (UnknownLocaleError, ValueError):
        raise UnknownNameError(f"The locale {name!r} is not known; give one such as en_GB or de_CH.") from None
