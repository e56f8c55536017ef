"""What the host tells: documents that others write, in folders that are mounted here read-only.

Whoever deploys writes one, whoever makes backups another, each in the form that its own release knows. So what is
missing or makes no sense is not known, and no error. Anybody may read it: none of it names a person or a place.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ValidationError, WrapValidator
from pydantic_core import core_schema

LARGEST = 64 << 10
"""Bytes of a document."""
T = TypeVar("T")
log = logging.getLogger(__name__)


def _or_none(value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
    """Return None for what makes no sense: the rest of the document may."""
    try:
        return handler(value)
    except ValidationError:
        return None


Known = Annotated[T | None, WrapValidator(_or_none)]
"""Something, or None when it is not known."""


class DeployOut(BaseModel):
    """A deploy, rollback or restore that has ended."""

    kind: str
    release: str
    color: str
    began: AwareDatetime
    seconds: float
    outcome: str
    """done, or undone."""


class Deploys(BaseModel):
    """What was done here, the newest first."""

    deploys: list[DeployOut] = []


class BackupOut(BaseModel):
    """A backup."""

    id: Known[str] = None
    at: AwareDatetime
    bytes: Known[int] = None
    verified: Known[bool] = None
    """Whether it was read again and is whole."""
    seconds: Known[float] = None


class ProofOut(BaseModel):
    """A backup that was restored to see whether it can be."""

    id: Known[str] = None
    at: AwareDatetime
    level: Known[str] = None
    """How far: L3 compared it with what it was made of, at L4 the application answered too."""
    outcome: Known[str] = None


class FailureOut(BaseModel):
    """A task that has not gone well since."""

    times: int


class BackupsOut(BaseModel):
    """What is known of the backups."""

    last_backup: Known[BackupOut] = None
    last_proven: Known[ProofOut] = None
    next_backup: Known[AwareDatetime] = None
    next_drill: Known[AwareDatetime] = None
    failures: Known[dict[str, FailureOut]] = None
    """What has failed since it last went well, by the name of the task."""


M = TypeVar("M", bound=BaseModel)


class Document(Generic[M]):
    """A file that somebody replaces once in a while; it is read again when it is another one."""

    def __init__(self, file: Path, model: type[M]) -> None:
        self.file, self.model = file, model
        self._seen: tuple[int, ...] | None = None
        self._content: M | None = None

    def read(self) -> M | None:
        """Return what it says; None when it is not there or makes no sense."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if seen != self._seen:
            self._content, self._seen = self._parsed(), seen
        return self._content

    def _parsed(self) -> M | None:
        try:
            with self.file.open("rb") as file:
                return self.model.model_validate_json(file.read(LARGEST))
        except (OSError, ValueError) as error:
            log.warning("%s makes no sense: %s", self.file.name, error)
            return None


class Facts:
    """The documents of the host."""

    def __init__(self, folder: Path) -> None:
        self._deploys = Document(folder / "history/deploys.json", Deploys)
        self._backups = Document(folder / "steward/backups.json", BackupsOut)

    @property
    def deploys(self) -> list[DeployOut]:
        """What was done here, the newest first."""
        found = self._deploys.read()
        return found.deploys if found else []

    @property
    def backups(self) -> BackupsOut | None:
        """What is known of the backups; None when there was none yet."""
        return self._backups.read()
