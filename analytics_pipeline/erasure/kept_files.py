"""Files that came in or went out: originals of the inbox, files of rejects, mails in a folder."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from analytics_pipeline.erasure.file_texts import texts_of, without
from analytics_pipeline.erasure.subject import Subject, any_names
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.messages.mail_folder import MailFolder, mail_name
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.store import STORE_ERRORS, Store, open_store, reason_of
from analytics_pipeline.text import without_credentials
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The files of a folder, and of folders below it; ``change`` returns what a file becomes, None: it goes."""

    name: str
    root: str
    change: Callable[[Subject, str, bytes], bytes | None]

    def count(self, subject: Subject) -> Mapping[str, int]:
        """Count the files that name it."""
        return {self.name: sum(1 for _ in self._changed(subject))}

    def erase(self, subject: Subject) -> None:
        """Write them anew, or remove them; a file whose name has the id in it gets another one."""
        store = opened_store(self.root)
        for file, content in list(self._changed(subject)):
            target = subject.file_name(file)
            if content is not None:
                store.write(target, content)
            if content is None or target != file:
                store.remove(file)

    def search(self, subject: Subject) -> Iterator[str]:
        """Look through all of them."""
        for file, _ in self._changed(subject):
            yield f"{self.name}: {subject.file_name(file)}"

    def suspect(self, subject: Subject) -> Iterator[str]:
        """Look through all of them, and their names."""
        for file, content in self._files() if subject.in_texts else ():
            if any(map(subject.suspects, (file, *texts_of(file, content)))):
                yield f"{self.name}: {subject.file_name(file)}"

    def _changed(self, subject: Subject) -> Iterator[tuple[str, bytes | None]]:
        for file, content in self._files():
            now = self.change(subject, file, content)
            if now != content or subject.file_name(file) != file:
                yield file, now

    def _files(self) -> Iterator[tuple[str, bytes]]:
        store = opened_store(self.root)
        try:
            for file in store.names_below():
                content = store.read(file)
                if content is not None:
                    yield file, content
        except STORE_ERRORS as error:
            raise AnalyticsError(
                f"Can't read {store.location}: {reason_of(error)}. Erase where {self.name} can be read."
            ) from error


def opened_store(root: str) -> Store:
    """Return the store at a folder or URI. Raises ``AnalyticsError`` for one that can't be opened."""
    try:
        return open_store(root)
    except STORE_ERRORS as error:
        raise AnalyticsError(f"Can't open {without_credentials(root)}: {reason_of(error)}.") from error


def kept_files(connection: Connection, settings: Settings) -> list[KeptFiles]:
    """Return the folders of these settings that hold such files."""
    folders = [
        KeptFiles("files of the inbox", settings.inbox_root, without),
        KeptFiles("files of rejects", str(settings.home / "rejects"), without),
    ]
    url = "" if settings.smtp_url is None else settings.smtp_url.get_secret_value()
    if urlsplit(url).scheme == "file":
        change = partial(_without_mail, connection)
        folders.append(KeptFiles("mails in the folder", str(MailFolder.parse(url).path), change))
    return folders


def _without_mail(connection: Connection, subject: Subject, name: str, content: bytes) -> bytes | None:
    """Remove what was mailed about the company, or names the person; before the rows of the outbox go."""
    if subject.is_company:
        rows = connection.execute(load_query("erasure_messages"), {"company": subject.company_id})
        if name in {mail_name(message_id) for (message_id,) in rows}:
            return None
    return None if any_names(subject, texts_of(name, content)) else content
