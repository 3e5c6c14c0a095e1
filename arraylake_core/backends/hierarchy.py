"""The hierarchy of a zarr store, read once and shown as text, in a terminal or in a notebook; shared by all repo kinds."""

from html import escape
from math import prod
from typing import TYPE_CHECKING, cast

import msgspec

from arraylake_core.errors import NotFoundError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.tree import Tree as RichTree
    from xarray import Dataset
    from zarr.abc.store import Store

__all__ = ["Tree", "open_xarray", "read_tree"]


class Tree(msgspec.Struct, kw_only=True):
    """A node of a hierarchy and what is below it.

    Parameters
    ----------
    name
        The node's name; the repo's name at the root.
    shape, dtype
        Of an array; None for a group.
    nbytes
        The size in memory of an array, or of all arrays below a group.
    children
        By name.
    """

    name: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    nbytes: int = 0
    children: dict[str, "Tree"] = msgspec.field(default_factory=dict)

    @property
    def label(self) -> str:
        """One line: the name, and an array's shape, type and size."""
        if self.shape is None:
            return self.name
        return f"{self.name} {self.shape} {self.dtype} {_size(self.nbytes)}"

    def __str__(self) -> str:
        return "\n".join([self.label, *self._lines("")])

    def _lines(self, indent: str) -> list[str]:
        lines: list[str] = []
        for number, child in enumerate(self.children.values(), 1):
            last = number == len(self.children)
            lines.append(f"{indent}{'└── ' if last else '├── '}{child.label}")
            lines.extend(child._lines(indent + ("    " if last else "│   ")))
        return lines

    def __rich__(self) -> "RichTree":
        from rich.markup import escape as plain
        from rich.tree import Tree as RichTree

        def grow(node: Tree) -> "RichTree":
            details = (
                f" [cyan]{node.shape}[/] [magenta]{node.dtype}[/] [dim]{_size(node.nbytes)}[/]" if node.shape is not None else ""
            )
            branch = RichTree(f"[bold]{plain(node.name)}[/]{details}")
            for child in node.children.values():
                branch.children.append(grow(child))
            return branch

        return grow(self)

    def _repr_html_(self) -> str:
        def row(node: Tree) -> str:
            if not node.children:
                return f"<li>{escape(node.label)}</li>"
            inner = "".join(map(row, node.children.values()))
            return f"<li><details open><summary>{escape(node.label)}</summary><ul>{inner}</ul></details></li>"

        return f"<ul>{row(self)}</ul>"


def _size(nbytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if nbytes < 1024 or unit == "TiB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    raise AssertionError("unreachable")


def read_tree(store: "Store", name: str, path: str = "", depth: int | None = None) -> Tree:
    """Read the hierarchy below a group.

    Parameters
    ----------
    store
        A zarr store.
    name
        What the root is called.
    path
        The group to start at; "" is the root.
    depth
        How many levels below it; None reads all.

    Raises
    ------
    NotFoundError
        There is no group at the path.
    """
    import zarr
    from zarr.errors import GroupNotFoundError

    try:
        group = zarr.open_group(store, path=path, mode="r", use_consolidated=False)
    except GroupNotFoundError:
        if path:
            raise NotFoundError(f"{name} has no group {shown(path)}") from None
        return Tree(name=name)
    root = Tree(name=f"{name}/{path}" if path else name)
    levels = None if depth is None else max(depth - 1, 0)
    members = group.members(max_depth=levels) if depth is None or depth > 0 else ()
    for key, node in sorted(members):
        parent, ancestors = root, [root]
        *above, last = key.split("/")
        for part in above:
            parent = parent.children.setdefault(part, Tree(name=part))
            ancestors.append(parent)
        if isinstance(node, zarr.Array):
            nbytes = prod(node.shape) * node.dtype.itemsize
            parent.children[last] = Tree(name=last, shape=node.shape, dtype=str(node.dtype), nbytes=nbytes)
            for ancestor in ancestors:
                ancestor.nbytes += nbytes
        else:
            parent.children.setdefault(last, Tree(name=last))
    return root


def open_xarray(store: "Store", group: str | None = None, **options: object) -> "Dataset":
    """Open a group of a store as an xarray Dataset; the options go to ``xarray.open_zarr``."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError('to_xarray needs xarray: pip install "arraylake-core[xarray]"') from error
    open_zarr = cast("Callable[..., Dataset]", xarray.open_zarr)
    return open_zarr(store, group=group, **{"consolidated": False, **options})
