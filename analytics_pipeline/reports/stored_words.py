"""Words of documents that the database keeps, in English: why figures are to be computed again, why records failed.

They are known by their form, so that a document says them in its language; any other text stays as it is.
"""

from analytics_pipeline.languages.wording import message, recognised

_OF_METADATA = "metadata: "
# Later ones are more general.
_FORMS = (
    # Causes of analytics_metric_changes.
    message("subscriptions"),
    message("first payers"),
    message("users first seen"),
    message("users deleted or back"),
    message("a company that was renamed"),
    message("a user that was renamed"),
    message("a company that was erased"),
    message("calendar of the company"),
    message("test companies"),
    message("rates of subscriptions"),
    message("{column} is stored", column="{column}"),
    message("events in {relation}", relation="{relation}"),
    message("{metric} of the period before", metric="{metric}"),
    message("{metric} of the year before", metric="{metric}"),
    message("the irrevocable rate of {currency}", currency="{currency}"),
    message("rates {pairs} and {number} more pairs", pairs="{pairs}", number="{number}"),
    message("rates {pairs}", pairs="{pairs}"),
    # Kinds of rejections.
    message("kept by an earlier version, without a kind"),
    message("refused by the database"),
    message("another company"),
    message("cut off"),
    message("not valid Unicode"),
    message("not an object"),
    message("not a finite number"),
    message("key twice in one object"),
    message("row too long"),
    message("wrong number of cells"),
    message("cell that can't be read"),
    message("base and quote are one"),
    message("rate is not positive"),
    message("timestamp without zone"),
    message("timestamp is not in UTC"),
    message("timestamp before 1970"),
    message("timestamp in the future"),
    message("timestamp ambiguous in its zone"),
    message("value without currency"),
    message("currency is a currency's code"),
    message("value of the wrong sign"),
    message("event type in the wrong category"),
    message("record that can't be parsed"),
    message("contradicts a stored event"),
    message("recorded with other content"),
    message("of an erased company"),
    message("line too long"),
    message("name too long"),
    message("blank name"),
    message("NUL byte"),
    message("NUL character"),
    message("envelope"),
    message("two lines of one company"),
    message("two rates for one day"),
    message("metadata number out of bounds"),
    message("metadata.{field} contradicts the event type", field="{field}"),
    message("metadata.{field} is not the event_id", field="{field}"),
    message("bad {field}", field="{field}"),
    message("unknown {field}", field="{field}"),
    message("{field} is missing", field="{field}"),
    message("{field} is blank", field="{field}"),
    message("{field} is too long", field="{field}"),
    message("{field} is not a text", field="{field}"),
    message("{field} is not a number", field="{field}"),
    message("{field} is not a count", field="{field}"),
    message("{field} is not in normal form", field="{field}"),
    message("{field} is too large", field="{field}"),
    message("{field} is too deep", field="{field}"),
    message("{field} is out of bounds", field="{field}"),
    message("{field} has a decimal comma", field="{field}"),
    message("{field} has too many decimals", field="{field}"),
    message("{field} has blanks around it", field="{field}"),
    message("{field} holds a character that is not seen", field="{field}"),
    message("{field} would lose digits", field="{field}"),
    message("{field} in the future", field="{field}"),
    message("{field} is not a date", field="{field}"),
    message("{field} is not a time", field="{field}"),
    message("{field} is not a UUID", field="{field}"),
    message("{field} is not an object", field="{field}"),
    message("{field} is not JSON", field="{field}"),
    message("{field} of the wrong form", field="{field}"),
    message("{field} can't be used", field="{field}"),
    message("not {form}", form="{form}"),
)


def in_words(text: str) -> str:
    """Return a text of the database as the message it is, in English the very same; as it is if it is none."""
    if text.startswith(_OF_METADATA):
        # What is wrong inside of metadata.
        return message("metadata: {kind}", kind=in_words(text.removeprefix(_OF_METADATA)))
    return recognised(text, _FORMS)
