"""The hierarchy of a zarr store, read once and shown as text, in a terminal or in a notebook; shared by all repo kinds."""

from math import prod
from typing import TYPE_CHECKING, cast

import msgspec

from arraylake_core.display import markup, one_line
from arraylake_core.errors import NotFoundError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.tree import Tree as RichTree
    from xarray import Dataset
    from zarr import Array
    from zarr.abc.store import Store
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

__all__ = ["Tree", "open_xarray", "read_tree"]


class Tree(msgspec.Struct, kw_only=True):
    """A node of a hierarchy and what is below it.

    Parameters
    ----------
    name
        The node's name; the repo's name at the root.
    shape, dtype
        Of an array; None for a group.
    chunks
        Of an array whose chunks are all of one shape: that shape. Of one with shards, the shape of the chunks in them.
    nbytes
        The size in memory of an array, or of all arrays below a group.
    children
        By name.
    """

    name: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    chunks: tuple[int, ...] | None = None
    nbytes: int = 0
    children: dict[str, "Tree"] = msgspec.field(default_factory=dict)

    @property
    def label(self) -> str:
        """One line: the name, and an array's shape, type and size, and its chunks where it has more than one."""
        return " ".join([one_line(self.name), *self._details().values()])

    def _details(self) -> dict[str, str]:
        if self.shape is None:
            return {}
        details = {"shape": str(self.shape), "dtype": one_line(self.dtype or ""), "size": _size(self.nbytes)}
        if self.chunks is None or self.chunks == self.shape or not prod(self.chunks):
            return details
        # The size of a chunk, from that of the array: the type alone need not say it.
        one = f" ({_size(self.nbytes / prod(self.shape) * prod(self.chunks))})" if prod(self.shape) and self.nbytes else ""
        return {**details, "chunks": f"in chunks of {self.chunks}{one}"}

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
        from rich.text import Text
        from rich.tree import Tree as RichTree

        def grow(node: Tree) -> "RichTree":
            text = Text(one_line(node.name), style="bold")
            for what, detail in node._details().items():
                text.append(f" {detail}", style=f"not bold {_STYLES[what]}")
            if node.children and node.nbytes:
                text.append(f" {_size(node.nbytes)}", style="not bold dim")
            branch = RichTree(text)
            branch.children.extend(map(grow, node.children.values()))
            return branch

        return grow(self)

    def _repr_html_(self) -> str:
        def row(node: Tree, level: int) -> str:
            name = f"<b>{markup(one_line(node.name))}</b>"
            if node.shape is not None:
                return f'<div style="padding-left:1.2em">{name} <span style="opacity:0.75">{markup(" · ".join(node._details().values()))}</span></div>'
            size = f' <span style="opacity:0.75">{_size(node.nbytes)}</span>' if node.nbytes else ""
            if not node.children:
                return f'<div style="padding-left:1.2em">{name}{size or _EMPTY}</div>'
            inner = "".join(row(child, level + 1) for child in node.children.values())
            opened = " open" if level < _OPEN_LEVELS else ""
            return f'<details{opened}><summary>{name}{size}</summary><div style="padding-left:1.2em">{inner}</div></details>'

        return f'<div style="line-height:1.6">{row(self, 0)}</div>'


_STYLES = {"shape": "cyan", "dtype": "magenta", "size": "dim", "chunks": "dim"}
_EMPTY = ' <span style="opacity:0.75">empty</span>'
# What lies deeper is folded, so that a big hierarchy doesn't fill the page.
_OPEN_LEVELS = 3


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
            chunks = _chunks(node)
            parent.children[last] = Tree(name=last, shape=node.shape, dtype=_dtype(node), chunks=chunks, nbytes=nbytes)
            for ancestor in ancestors:
                ancestor.nbytes += nbytes
        else:
            parent.children.setdefault(last, Tree(name=last))
    return root


def _dtype(array: "Array[ArrayV2Metadata] | Array[ArrayV3Metadata]") -> str:
    # Zarr's name of what numpy calls StringDType().
    return "string" if array.dtype.kind == "T" else str(array.dtype)


def _chunks(array: "Array[ArrayV2Metadata] | Array[ArrayV3Metadata]") -> tuple[int, ...] | None:
    try:
        return tuple(array.chunks)
    except NotImplementedError:
        # Its chunks are not all of one shape.
        return None


def open_xarray(store: "Store", group: str | None = None, **options: object) -> "Dataset":
    """Open a group of a store as an xarray Dataset; the options go to ``xarray.open_zarr``."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError('to_xarray needs xarray: pip install "arraylake-core[xarray]"') from error
    open_zarr = cast("Callable[..., Dataset]", xarray.open_zarr)
    return open_zarr(store, group=group, **{"consolidated": False, **options})
