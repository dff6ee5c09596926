"""The first bytes of an HDF5 file, read with the standard library alone.

They tell whether it is HDF5 and whether it was cut short. What it holds is `hdf5_content`'s to
check, in the child that has h5py.
"""

from __future__ import annotations

HEADER_BYTES = 96
"""Enough for every superblock."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# Offset of the end-of-file address, by the superblock's version (HDF5 File Format Specification
# 3.0, section II.A); addresses are the 8 bytes that every library writes.
_END_ADDRESS = {0: 40, 1: 44, 2: 28, 3: 28}
_ADDRESS_BYTES = {0: 13, 1: 13, 2: 9, 3: 9}


def fault(header: bytes, size: int) -> str:
    """What is wrong with an HDF5 file of `size` bytes that begins with `header`; "" if nothing."""
    if not header.startswith(_SIGNATURE):
        return "is not an HDF5 file"
    version = header[8] if len(header) > 8 else -1
    if version not in _END_ADDRESS or len(header) < _END_ADDRESS[version] + 8:
        return "is damaged or cut short: its HDF5 header is not one"
    if header[_ADDRESS_BYTES[version]] != 8:
        return "is damaged or cut short: its HDF5 addresses are not of 8 bytes"
    begin = _END_ADDRESS[version]
    end = int.from_bytes(header[begin : begin + 8], "little")
    if end > size:
        return f"is damaged or cut short: it should have {end} bytes and has {size}"
    return ""
