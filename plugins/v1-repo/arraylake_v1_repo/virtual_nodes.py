"""Putting what a parser found into a session."""

from collections.abc import Sequence

from arraylake_core.names import join_prefix
from arraylake_v1_repo.changes import Clear, NodeChange, Operation, PutNode, VirtualBatch
from arraylake_v1_repo.content import require_groups
from arraylake_v1_repo.format import Inline
from arraylake_v1_repo.session import Session
from arraylake_v1_repo.virtual.references import VirtualArray, VirtualGroup

__all__ = ["add_virtual_nodes"]


async def add_virtual_nodes(session: Session, path: str, found: Sequence[VirtualGroup | VirtualArray]) -> None:
    """Put groups and arrays of references at a path; what was at an array's path is replaced, what else is below the group stays.

    Parameters
    ----------
    session
        Where to.
    path
        The group that they become.
    found
        Parents first.
    """
    await require_groups(session, path, replaced=True)
    operations: list[Operation] = []
    for node in found:
        target = join_prefix(path, node.path)
        documents: dict[str, bytes | None] = {"zarr.json": node.document}
        if isinstance(node, VirtualGroup):
            if await session.view.grid(target) is not None:
                operations.append(Clear(target))
            operations.append(PutNode(target, NodeChange(session.changes.origin(target), True, documents, {}, {}, [])))
            continue
        operations.append(Clear(target))
        batch = VirtualBatch(
            (0,) * node.source.ndim,
            node.source.shape,
            list(node.sources),
            node.source.astype("<u4").tobytes(),
            node.offset.astype("<u8").tobytes(),
            node.length.astype("<u8").tobytes(),
        )
        inlined = {coords: Inline(data) for coords, data in node.inlined.items()}
        operations.append(PutNode(target, NodeChange(None, False, documents, {}, dict(inlined), [batch])))
    await session.write(*operations)
