"""Files of the store as answers."""

import base64
from pathlib import PurePosixPath

from anyio import to_thread
from fastapi import Response

from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import ArtifactGoneError, read_artifact

_TYPES = {
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv; charset=utf-8",
    ".zip": "application/zip",
    ".json": "application/json",
}

FILE_TYPES = sorted({*_TYPES.values(), "application/octet-stream"})


async def file_response(settings: Settings, name: str, sha256: str, headers: dict[str, str] | None = None) -> Response:
    """Return a file of the store in one revision. Raises ``ApiError`` 404 where the store has lost it."""
    try:
        content = await to_thread.run_sync(read_artifact, settings.artifacts_root, name, sha256)
    except ArtifactGoneError:
        raise ApiError(404, "The store no longer holds this document.") from None
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    path = PurePosixPath(name)
    return Response(
        content,
        headers={
            "ETag": f'"{sha256}"',
            "Repr-Digest": f"sha-256=:{digest}:",
            "Content-Disposition": f'inline; filename="{_file_name(path)}"',
            "Cache-Control": "private, no-cache",
            **(headers or {}),
        },
        media_type=_TYPES.get(path.suffix, "application/octet-stream"),
    )


def _file_name(path: PurePosixPath) -> str:
    """Return a name for people: the names of the store hold nothing that a header could not."""
    return "-".join(path.parts)
