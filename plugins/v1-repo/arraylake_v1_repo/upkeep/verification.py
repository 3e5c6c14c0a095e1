"""Whether everything that branches and tags reach is there, and is what was written."""

import asyncio

import msgspec

from arraylake_core.errors import ArraylakeError, StorageError
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.format import digest_of
from arraylake_v1_repo.refs import list_refs
from arraylake_v1_repo.upkeep.reach import Reached

__all__ = ["VerifyReport", "verify"]

_AT_ONCE = 16


class VerifyReport(msgspec.Struct, kw_only=True):
    """What a verification found.

    Parameters
    ----------
    commits, objects
        How many commits were followed, and how many objects were read.
    nbytes
        How many bytes of chunks were read.
    problems
        What is wrong, each with the object; empty where all is well.
    """

    commits: int = 0
    objects: int = 0
    nbytes: int = 0
    problems: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems

    def __str__(self) -> str:
        counted = f"{self.commits} commits, {self.objects} objects, {self.nbytes} bytes of chunks"
        if self.ok:
            return f"{counted}: all is well"
        found = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([f"{counted}: {found}", *self.problems])


async def verify(binding: Binding) -> VerifyReport:
    """Read everything that branches and tags reach, and check that it is there and what was written.

    Metadata is checked as it is followed, each chunk by its digest. Virtual chunks are checked when they are read.
    """
    report = VerifyReport()
    reached = Reached(binding)
    for family in ("branch", "tag"):
        for name, commit in (await list_refs(binding, family)).items():
            try:
                await reached.add([commit])
            except ArraylakeError as error:
                report.problems.append(f"the {family} {name}: {error}")
    report.commits = len(reached.commits)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def check(key: str, length: int) -> None:
        async with gate:
            problem = await _problem(binding, key, length)
        if problem is not None:
            report.problems.append(problem)
        report.nbytes += length

    pending = list(reached.lengths.items())
    for begin in range(0, len(pending), 256):
        await asyncio.gather(*(check(key, length) for key, length in pending[begin : begin + 256]))
    report.objects = len(reached.keys)
    return report


async def _problem(binding: Binding, key: str, length: int) -> str | None:
    try:
        data = await binding.objects.get(key)
    except StorageError as error:
        return str(error)
    where = binding.reader.where(key)
    if data is None:
        return f"{where} is missing: restore it from a backup"
    if len(data) != length:
        return f"{where} has {len(data)} bytes, not {length}: restore it from a backup"
    if digest_of(data).hex() != key.rpartition("/")[2]:
        return f"{where} is not what was written: restore it from a backup"
    return None
