"""Objects of an S3 bucket: listed, and read from any byte on. What goes wrong is one line.

Credentials, region and endpoint are those of every tool for S3: $AWS_ACCESS_KEY_ID, ~/.aws, $AWS_ENDPOINT_URL, ….
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ..errors import RemoteUnreachable
from ..extras import require

_SETTINGS = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp")
"""Whose errors say that a bucket cannot be read; s3fs passes them on."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Object:
    """One object as it was listed.

    Attributes:
        key: its name in the bucket.
        size: bytes.
        tag: changes with its content.
        modified: when it was uploaded last, as the server says.
    """

    key: str
    size: int
    tag: str
    modified: str


class Bucket:
    """A bucket, read only.

    Raises:
        ExtraMissing: s3fs is not installed.
    """

    def __init__(self, name: str) -> None:
        require("s3fs", extra="s3", command="reading s3://")
        import s3fs

        self.name = name
        self._files = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=_SETTINGS)

    def objects(self, prefix: str) -> list[Object]:
        """Every object whose key begins so.

        Raises:
            RemoteUnreachable: no such bucket, no permission, no network.
        """
        found: list[Object] = []
        more: dict[str, str] = {}
        while True:
            ask: Callable[[], Any] = partial(
                self._files.call_s3, "list_objects_v2", Bucket=self.name, Prefix=prefix, **more
            )
            page = self._asked(ask)
            found += [
                Object(entry["Key"], int(entry["Size"]), str(entry["ETag"]), entry["LastModified"].isoformat())
                for entry in page.get("Contents", ())
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, key: str, first: int = 0, end: int | None = None) -> bytes:
        """The bytes of an object from `first` to before `end`.

        Raises:
            RemoteUnreachable: as `objects`, or the object is gone.
        """
        if end is not None and end <= first:
            return b""
        result: bytes = self._asked(lambda: self._files.cat_file(f"{self.name}/{key}", start=first, end=end))
        return result

    def _asked(self, ask: Callable[[], _Result]) -> _Result:
        where = f"s3://{self.name}"
        try:
            return ask()
        except FileNotFoundError as error:
            raise RemoteUnreachable(
                f"{where}: no such bucket or object; check the name and $AWS_ENDPOINT_URL"
            ) from error
        except PermissionError as error:
            raise RemoteUnreachable(
                f"{where}: refused ({_line(error)}); check the credentials and their rights"
            ) from error
        except Exception as error:
            if type(error).__name__ == "NoCredentialsError":
                raise RemoteUnreachable(
                    f"{where}: no credentials; set $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, or $AWS_PROFILE"
                ) from error
            if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _LIBRARIES:
                raise
            raise RemoteUnreachable(f"{where}: cannot be reached ({_line(error)})") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
