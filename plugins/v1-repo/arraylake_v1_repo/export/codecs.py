"""What a chain of codecs of one Zarr format is in the other: the same bytes, where the other can say so; otherwise what comes nearest."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from numcodecs import Blosc, GZip, VLenBytes, VLenUTF8, Zstd
from zarr.abc.codec import ArrayArrayCodec, BytesBytesCodec, Codec
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ShardingCodec, TransposeCodec, VLenBytesCodec, VLenUTF8Codec, ZstdCodec
from zarr.core.dtype.common import HasEndianness
from zarr.registry import get_codec_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numcodecs.abc import Codec as Numcodec
    from zarr.core.dtype.wrapper import TBaseDType, TBaseScalar, ZDType
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    type DataType = ZDType[TBaseDType, TBaseScalar]

__all__ = ["OldChain", "chain_of_v2", "chain_of_v3"]

_PREFIX = "numcodecs."
# Filters that act element by element, or along the elements in C order, so that both formats make the same bytes of them.
_FILTERS = frozenset({"delta", "fixedscaleoffset", "quantize", "bitround"})
_COMPRESSORS = frozenset({"zlib", "lz4", "bz2", "lzma"})
_OBJECTS: dict[str, tuple[type[Codec], type]] = {
    "vlen-utf8": (VLenUTF8Codec, VLenUTF8),
    "vlen-bytes": (VLenBytesCodec, VLenBytes),
}
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
_AUTOSHUFFLE = -1


class OldChain(NamedTuple):
    """How chunks are encoded in Zarr 2.

    Parameters
    ----------
    dtype
        With its byte order.
    chunks
        The chunk shape.
    order
        "C" or "F".
    filters, compressor
        Of numcodecs.
    same
        Whether the chunks have the same bytes as before.
    """

    dtype: "DataType"
    chunks: tuple[int, ...]
    order: str
    filters: "list[Numcodec]"
    compressor: "Numcodec | None"
    same: bool


def chain_of_v3(metadata: "ArrayV3Metadata", chunks: tuple[int, ...]) -> OldChain:
    """Return how Zarr 2 encodes the chunks of an array of Zarr 3: shards become chunks of their own, what it has no word for is left out."""
    codecs: Sequence[Codec] = metadata.codecs
    same = True
    while any(isinstance(codec, ShardingCodec) for codec in codecs):
        shard = next(codec for codec in codecs if isinstance(codec, ShardingCodec))
        codecs, chunks, same = shard.codecs, shard.chunk_shape, False
    dtype, order = metadata.data_type, "C"
    filters: list[Numcodec] = []
    compressors: list[Numcodec] = []
    for codec in codecs:
        old = _numcodec(codec, dtype)
        match codec:
            case TransposeCodec():
                turned = tuple(range(len(chunks)))
                if codec.order == turned[::-1] and not filters and order == "C":
                    order = "F"
                elif codec.order != turned:
                    same = False
            case BytesCodec():
                if isinstance(dtype, HasEndianness) and codec.endian is not None:
                    order_of_bytes = str(getattr(codec.endian, "value", codec.endian))
                    dtype = replace(dtype, endianness=order_of_bytes)  # type: ignore[call-arg]  # a dataclass with that field
            case VLenUTF8Codec():
                filters.append(VLenUTF8())
            case VLenBytesCodec():
                filters.append(VLenBytes())
            case ArrayArrayCodec() if old is not None and old.codec_id in _FILTERS:
                filters.append(old)
            case BytesBytesCodec() if old is not None:
                compressors.append(old)
            case _:
                same = False
    if order == "F" and filters:
        same = False
    return OldChain(dtype, tuple(chunks), order, filters, compressors[0] if compressors else None, same and len(compressors) < 2)


def _numcodec(codec: Codec, dtype: "DataType") -> "Numcodec | None":
    """Return the codec of numcodecs that makes and takes the same bytes, or None where none is known to."""
    match codec:
        case GzipCodec():
            return GZip(level=codec.level)
        case ZstdCodec():
            return Zstd(level=codec.level, checksum=codec.checksum)
        case BloscCodec():
            name, shuffle = (str(getattr(word, "value", word)) for word in (codec.cname, codec.shuffle))
            return Blosc(cname=name, clevel=codec.clevel, shuffle=_SHUFFLES.index(shuffle), blocksize=codec.blocksize)
    name = getattr(codec, "codec_name", "")
    if name.removeprefix(_PREFIX) in _FILTERS | _COMPRESSORS:
        from numcodecs.registry import get_codec

        found: Numcodec = get_codec(dict(codec.codec_config))  # type: ignore[union-attr]  # those of that name have it
        return found
    return None


def chain_of_v2(metadata: "ArrayV2Metadata") -> tuple[list[Codec], bool]:
    """Return how Zarr 3 encodes the chunks of an array of Zarr 2, and whether their bytes are the same as before."""
    codecs: list[Codec] = []
    serializer: Codec | None = None
    same = True
    dtype = metadata.dtype
    if metadata.order == "F" and len(metadata.shape) > 1:
        codecs.append(TransposeCodec(order=tuple(range(len(metadata.shape)))[::-1]))
    for filter_ in metadata.filters or ():
        if filter_.codec_id in _OBJECTS:
            serializer = _OBJECTS[filter_.codec_id][0]()
        elif filter_.codec_id in _FILTERS and serializer is None:
            codecs.append(_wrapped(filter_))
            same = same and metadata.order == "C"
        else:
            same = False
    if serializer is None:
        object_codec = getattr(dtype, "object_codec_id", None)
        if object_codec in _OBJECTS:
            # Objects that were kept in another way, such as JSON.
            serializer, same = _OBJECTS[object_codec][0](), False
        else:
            serializer = BytesCodec(endian=dtype.endianness if isinstance(dtype, HasEndianness) else None)
    elif len(codecs) > 0:
        same = False
    codecs.append(serializer)
    compressor = metadata.compressor
    if compressor is not None:
        new = _compressor(compressor, dtype)
        same = same and new is not None
        if new is not None:
            codecs.append(new)
    return codecs, same


def _compressor(codec: "Numcodec", dtype: "DataType") -> Codec | None:
    match codec:
        case GZip():
            return GzipCodec(level=codec.level)
        case Zstd():
            return ZstdCodec(level=codec.level, checksum=codec.checksum)
        case Blosc():
            native = dtype.to_native_dtype()
            size = int(getattr(native, "itemsize", 1)) if getattr(native, "kind", "O") != "O" else 1
            shuffle = codec.shuffle
            if shuffle == _AUTOSHUFFLE:
                shuffle = 2 if size == 1 else 1
            # Blosc writes all that it needs for decoding into each chunk, the size of an element too.
            size = size if 1 <= size <= 255 else 1
            name = _SHUFFLES[shuffle]
            return BloscCodec(typesize=size, cname=codec.cname, clevel=codec.clevel, shuffle=name, blocksize=codec.blocksize)  # type: ignore[arg-type]
    return _wrapped(codec) if codec.codec_id in _COMPRESSORS else None


def _wrapped(codec: "Numcodec") -> Codec:
    name = f"{_PREFIX}{codec.codec_id}"
    configuration = {key: value for key, value in codec.get_config().items() if key != "id"}
    return get_codec_class(name).from_dict({"name": name, "configuration": configuration})
