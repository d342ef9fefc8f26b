"""A histogram on disk or on the wire: safetensors with its non-empty bins, and a note of what was counted."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from data.errors import UserError
from data.files import write_bytes
from eval.metrics.histogram import TABLES, End, PixelHistogram
from eval.metrics.keys import BINS

_COUNTS = ("pixels", "defect_pixels", "regions", "images", "flagged", "hits")
_ENDS = ("least", "greatest")


def pack_histogram(histogram: PixelHistogram, note: str = "") -> bytes:
    """A histogram as safetensors; equal histograms give equal bytes.

    Args:
        histogram: What to pack.
        note: Any text to keep beside it, for example what it was counted from.
    """
    arrays = {f"{name}_places": histogram.cells(name)[0] for name in TABLES}
    arrays |= {f"{name}_counts": histogram.cells(name)[1] for name in TABLES}
    arrays |= {f"{name}_end": getattr(histogram, name).counts for name in _ENDS}
    facts = {name: getattr(histogram, name) for name in (*_COUNTS, "shift", "rounded", "threshold")}
    facts |= {f"{name}_key": getattr(histogram, name).key for name in _ENDS}
    # All facts are one metadata entry, because safetensors does not fix the order of several.
    return save(arrays, metadata={"state": json.dumps({**facts, "note": note}, sort_keys=True)})


def unpack_histogram(data: bytes) -> tuple[PixelHistogram, str]:
    """The histogram and the note of `pack_histogram`.

    Raises:
        UserError: If the bytes are damaged.
    """
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["state"])
        histogram = PixelHistogram(**{name: facts[name] for name in (*_COUNTS, "shift", "rounded", "threshold")})
        for name in _ENDS:
            setattr(histogram, name, End(facts[f"{name}_key"], arrays[f"{name}_end"].copy()))
        for name in TABLES:
            places = arrays[f"{name}_places"] & (BINS - 1)
            getattr(histogram, name)[places] = arrays[f"{name}_counts"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"A stored histogram is damaged ({error}). Delete it and run again.") from error
    return histogram, str(facts["note"])


def save_histogram(path: Path, histogram: PixelHistogram, note: str) -> None:
    """Writes a histogram atomically."""
    write_bytes(path, pack_histogram(histogram, note), durable=False)


def load_histogram(path: Path, note: str) -> PixelHistogram | None:
    """The histogram of a file if it was written with this note; None if there is none, or it is of something else."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            state = json.loads((file.metadata() or {}).get("state", "{}"))
    except SafetensorError as error:
        raise UserError(f"Damaged histogram: {path} ({error}). Delete it and run again.") from error
    return unpack_histogram(path.read_bytes())[0] if state.get("note") == note else None
