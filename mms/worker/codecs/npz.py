"""``.npz`` bodies: named arrays in, named arrays out; SciPy's ``save_npz`` is one sparse matrix.

A zip file from outside: its end is looked at before its directory is read, and nothing is unpacked
beyond what the request may hold. Each member is a ``.npy`` file, read as those are.
"""

from __future__ import annotations

import io
import zipfile
from struct import Struct
from typing import Final

from loaders.base import Form, InputError, Outputs, Payload
from mms.errors import PayloadTooLarge
from mms.media import Spec
from mms.worker.codecs import npy
from mms.worker.codecs.sparse import is_sparse, matrix_of

MAX_MEMBERS: Final = 1000
_MAX_DIRECTORY: Final = MAX_MEMBERS * 512
_SUFFIX: Final = ".npy"
_END = Struct("<4sHHHHIIH")  # the end of the central directory, up to its comment
_UNNAMED: Final = "arr_0"
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def decode(body: bytes, spec: Spec) -> Payload:
    files = _files(body, spec.max_body)
    if is_sparse(files):
        arrays = {name: npy.array_of(file, _label(name)) for name, file in files.items()}
        return Payload(form="inputs", sparse=matrix_of(arrays, spec.max_body))
    tensors = {name: npy.filled_array_of(file, _label(name)) for name, file in files.items()}
    if tensors.keys() == {_UNNAMED}:
        return Payload(form="inputs", tensors={"": tensors[_UNNAMED]})
    return Payload(form="inputs", tensors={**tensors})


def _label(name: str) -> str:
    return f"array {ascii(name)[:60]} of the body"


def _files(body: bytes, limit: int) -> dict[str, bytes]:
    """The members' contents by the names of their arrays; raises InputError, PayloadTooLarge."""
    _check_end(body)
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            members = _members(file, limit)
            return {name: _content(file, member) for name, member in members.items()}
    except (MemoryError, InputError, PayloadTooLarge):
        raise
    except Exception:  # noqa: BLE001 - zipfile raises a dozen kinds for a damaged file
        raise InputError("the body is no .npz file, or it is damaged") from None


def _content(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with file.open(member) as content:  # by its size: ZipFile.read() inflates first and cuts then
        return content.read(max(1, member.file_size))


def _check_end(body: bytes) -> None:
    """Raise InputError unless the file ends in a directory of a size that one may read."""
    at = len(body) - _END.size
    if at < 0 or body[at : at + 4] != b"PK\5\6":
        raise InputError("the body is no .npz file: send what numpy.savez writes")
    _, disk, first, here, members, size, start, _ = _END.unpack_from(body, at)
    is_zip64 = body[at - 20 : at - 16] == b"PK\6\7"  # that would have other sizes in its place
    if disk or first or here != members or start + size != at or is_zip64:
        raise InputError("the body is no .npz file, or it is damaged")
    if members > MAX_MEMBERS or size > _MAX_DIRECTORY:
        raise InputError(f"the body is a .npz file of more than {MAX_MEMBERS} arrays")


def _members(file: zipfile.ZipFile, limit: int) -> dict[str, zipfile.ZipInfo]:
    """The arrays by name, all of them such as may be unpacked."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in file.infolist():
        name, shown = member.filename[: -len(_SUFFIX)], ascii(member.filename)[:60]
        if not member.filename.endswith(_SUFFIX):
            raise InputError(f"the .npz body holds {shown}, which is no array")
        if name in members:
            raise InputError(f"the .npz body holds {shown} twice")
        if member.flag_bits & 1 or member.compress_type not in _COMPRESSIONS:
            raise InputError(f"{shown} of the .npz body is packed in a way that isn't read here")
        members[name] = member
    if not members:
        raise InputError("the .npz body is empty: send at least one array")
    if sum(member.file_size for member in members.values()) > limit:
        raise PayloadTooLarge(
            f"The arrays have over {limit} bytes when they are unpacked (MMS_MAX_BODY)."
        )
    return members


# --- Answers ---


def encode(outputs: Outputs, form: Form) -> bytes:  # noqa: ARG001 - arrays have names in any form
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, array in outputs.arrays.items():
            file.writestr(zipfile.ZipInfo(f"{name}{_SUFFIX}"), npy.bytes_of(array))
    return out.getvalue()
