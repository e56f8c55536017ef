"""Facts about the host: documents that other programs write, in folders that are mounted here read-only.

ppmctl writes one when it deploys, and the steward another when it makes backups, each in the format of its own release.
So a missing or invalid value counts as unknown, and is not an error. The facts may be public: they contain no names of
people or places.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ValidationError, WrapValidator
from pydantic_core import core_schema

LARGEST = 64 << 10
"""Maximum size of a document, in bytes."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def _or_none(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    """Return None for an invalid value: the rest of the document may be valid."""
    try:
        return handler(value)
    except ValidationError:
        return None


Known = Annotated[T | None, WrapValidator(_or_none)]
"""A value, or None when it is unknown."""


class DeployOut(BaseModel):
    """A deploy, rollback or restore that has ended."""

    kind: str
    release: str
    color: str
    began: AwareDatetime
    seconds: float
    outcome: str
    """`done` or `undone`."""


class Deploys(BaseModel):
    """The deploys, rollbacks and restores on this host, newest first."""

    deploys: list[DeployOut] = []


class BackupOut(BaseModel):
    """A backup."""

    id: Known[str] = None
    at: AwareDatetime
    bytes: Known[int] = None
    verified: Known[bool] = None
    """Whether it was read back and is intact."""
    seconds: Known[float] = None


class ProofOut(BaseModel):
    """A backup that was restored to prove that it can be restored."""

    id: Known[str] = None
    at: AwareDatetime
    level: Known[str] = None
    """How thoroughly: at L3 the data was compared with its source, at L4 the application also answered on it."""
    outcome: Known[str] = None


class FailureOut(BaseModel):
    """A task that keeps failing, with its number of failures in a row."""

    times: int


class BackupsOut(BaseModel):
    """The state of the backups."""

    last_backup: Known[BackupOut] = None
    last_proven: Known[ProofOut] = None
    next_backup: Known[AwareDatetime] = None
    next_drill: Known[AwareDatetime] = None
    failures: Known[dict[str, FailureOut]] = None
    """Tasks that have failed since they last succeeded, by name."""


M = TypeVar("M", bound=BaseModel)


class Document(Generic[M]):
    """A file that another program replaces from time to time; it is read again when it has changed."""

    def __init__(self, file: Path, model: type[M]) -> None:
        self.file, self.model = file, model
        self._version: tuple[int, ...] | None = None
        self._content: M | None = None

    def read(self) -> M | None:
        """Return its content; None when it is missing or invalid."""
        try:
            status = self.file.stat()
        except OSError:
            return None
        version = status.st_ino, status.st_mtime_ns, status.st_size
        if version != self._version:
            self._content, self._version = self._parsed(), version
        return self._content

    def _parsed(self) -> M | None:
        try:
            with self.file.open("rb") as file:
                return self.model.model_validate_json(file.read(LARGEST))
        except (OSError, ValueError) as error:
            log.warning("%s is invalid: %s", self.file.name, error)
            return None


class Facts:
    """The documents about the host."""

    def __init__(self, folder: Path) -> None:
        self._deploys = Document(folder / "history/deploys.json", Deploys)
        self._backups = Document(folder / "steward/backups.json", BackupsOut)

    @property
    def deploys(self) -> list[DeployOut]:
        """The deploys, rollbacks and restores on this host, newest first."""
        document = self._deploys.read()
        return document.deploys if document else []

    @property
    def backups(self) -> BackupsOut | None:
        """The state of the backups; None before the first backup."""
        return self._backups.read()
