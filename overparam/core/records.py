"""Records: what each finished run measured, one file for each (chapter, seed), there as a whole or not at all.

A record's place is held from before the run that fills it until the record stands there: by a lock, so that two
processes never measure the same thing at once, and by as many bytes of disk as it will need, so that a disk that
fills up in the meantime costs no finished run. The lock ends with its process, however that ends.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overparam.core.claims import Claim

if TYPE_CHECKING:
    from pydantic import TypeAdapter

#: Bytes that are taken on the disk for a record that is still being measured; records have 5 to 10 thousand.
ROOM = 2**15


@dataclass(frozen=True)
class Record:
    """What one finished run of one chapter with one seed measured, and what it took.

    ``config`` is the configuration as plain data. ``digest`` and ``core`` are hashes of the code that ran, the
    chapter's own (:meth:`overparam.core.chapters.Chapter.digest`) and what it takes from ``core``
    (:meth:`~overparam.core.chapters.Chapter.core_digest`). ``machine`` says what it ran on, ``peak_memory`` is in
    bytes.
    """

    chapter: str
    seed: int
    claims: tuple[Claim, ...]
    config: dict[str, Any]
    digest: str
    core: str
    versions: dict[str, str]
    machine: dict[str, str]
    device: str
    cpu_seconds: float
    peak_memory: int

    def to_json(self) -> bytes:
        """The record as JSON; what JSON lacks, such as NaN, infinities and a dtype, is written as a string."""
        return _json(self)


def _json(value: Any) -> bytes:
    from pydantic_core import to_json

    return to_json(value, indent=1, inf_nan_mode="strings", serialize_unknown=True)


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as a record that is read back holds it."""
    from pydantic_core import from_json

    return from_json(_json(config))


class BrokenRecordError(ValueError):
    """A record's file that cannot be read back; the message names the file and says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"broken record {path}: {reason}")
        self.path = path


class TakenError(RuntimeError):
    """Another process is measuring this record."""


@cache
def _adapter() -> TypeAdapter[Record]:
    # Imported here: pydantic costs a tenth of a second that `overparam --help` need not pay.
    from pydantic import TypeAdapter

    return TypeAdapter(Record)


def record_path(directory: Path, chapter: str, seed: int) -> Path:
    """Where the record of (chapter, seed) stands below ``directory``."""
    return Path(directory) / chapter / f"seed-{seed}.json"


def begun_path(directory: Path, chapter: str, seed: int) -> Path:
    """The file that stands beside a record's place while it is measured; one that was killed leaves it there."""
    return record_path(directory, chapter, seed).with_name(f".seed-{seed}.begun")


@contextmanager
def place(directory: Path, chapter: str, seed: int, *, wait: bool = True) -> Iterator[Callable[[Record], Path]]:
    """Hold the place of the record of (chapter, seed) while it is measured.

    Parameters
    ----------
    directory, chapter, seed
        Whose place it is.
    wait
        Wait for a process that holds it already.

    Yields
    ------
    A function that puts the record there and returns its path. It raises ``BrokenRecordError`` if a broken file
    stands there: that may be somebody's only copy and is left as it is.

    Raises
    ------
    TakenError
        If another process holds it and ``wait`` is False.
    OSError
        If there is no room for the record.
    """
    path = record_path(directory, chapter, seed)
    begun = begun_path(directory, chapter, seed)
    path.parent.mkdir(parents=True, exist_ok=True)

    def put(record: Record) -> Path:
        if path.exists():
            read_record(path)
        with begun.open("r+b") as file:  # in the room that was taken
            file.write(record.to_json())
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        return begun.replace(path)

    with _locked(Path(directory) / ".locks" / f"{chapter.replace('/', '-')}-{seed}", wait):
        try:
            with begun.open("wb") as file:
                file.write(bytes(ROOM))
                file.flush()
                os.fsync(file.fileno())
            yield put
        finally:
            begun.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, wait: bool) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, blocking=wait)
    try:
        lock.acquire()
    except Timeout:
        raise TakenError(f"{path.name} is being measured by another process") from None
    try:
        yield
    finally:
        lock.release()


def write_record(directory: Path, record: Record) -> Path:
    """Write a record in its place at once; see :func:`place`."""
    with place(directory, record.chapter, record.seed) as put:
        return put(record)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, through a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def updating(path: Path) -> Iterator[None]:
    """Keep others that update the file ``path`` out, from reading it to writing it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.lock"), wait=True):
        yield


def read_record(path: Path) -> Record:
    """Read one record back.

    Raises
    ------
    BrokenRecordError
        If the file is not a record, or is the record of another chapter or seed than its path says.
    """
    from pydantic import ValidationError

    try:
        record = _adapter().validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise BrokenRecordError(path, f"{where}: {first['msg']}") from None
    except (OSError, TypeError) as error:
        raise BrokenRecordError(path, str(error)) from None
    own_name = record_path(Path(), record.chapter, record.seed)
    if Path(*path.parts[-3:]) != own_name:
        raise BrokenRecordError(path, f"holds the record of {own_name}")
    return record


def read_records(directory: Path) -> tuple[list[Record], list[BrokenRecordError]]:
    """All records below ``directory``, by chapter and seed, and the files that are broken."""
    records: list[Record] = []
    broken: list[BrokenRecordError] = []
    for path in sorted(Path(directory).glob("*/*/seed-*.json")):
        try:
            records.append(read_record(path))
        except BrokenRecordError as error:
            broken.append(error)
    return sorted(records, key=lambda r: (r.chapter, r.seed)), broken
