"""Which images DDQA asks about: all that the sources list, or, where errors are skipped, all that are not broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from data.content import content_files
from data.ddqa.config import OnError
from data.errors import UserError
from data.faults import Fault, collect_faults, reporting
from data.sample import Sample
from data.source import Listing, Source, check_ids, load_samples


def list_sources(sources: Sequence[Source], on_error: OnError) -> Listing:
    """Lists the sources; with `on_error=skip` what their readers report is left out, at worst a whole source.

    What is left out is named by the id of its sample; a file that belongs to no listed sample by `<reader>/<path>`; a
    source that cannot be read at all by `<reader>/*`.

    Raises:
        UserError: At the first fault with `on_error=stop`; if no source is usable with `on_error=skip`.
    """
    if on_error is OnError.stop:
        return load_samples(sources)
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for source in sources:
        listing = _list_whole(source)
        samples += listing.samples
        skipped += listing.skipped
    if not samples:
        raise UserError(f"No source is usable. First problem: {skipped[0][1]}")
    check_ids(samples)
    return Listing(samples, skipped)


def _list_whole(source: Source) -> Listing:
    """The samples of a source without the broken ones, and what was left out, by rule or as broken."""
    root, listing = Path(source.root), Listing([], [])
    with collect_faults() as faults, reporting("unusable-source", root):
        listing = load_samples([source])
    of_sample = dict(_match(faults, listing.samples)) if faults else {}
    told = {id(fault) for fault in of_sample.values()}
    skipped = [(_item(source, fault), fault.message) for fault in faults if id(fault) not in told]
    skipped += [(sample_id, fault.message) for sample_id, fault in of_sample.items()]
    return Listing([sample for sample in listing.samples if sample.id not in of_sample], [*skipped, *listing.skipped])


def _match(faults: Sequence[Fault], samples: Sequence[Sample]) -> Iterator[tuple[str, Fault]]:
    """The samples that a fault makes useless, by id: their image or a file of their mask is at fault, or lacks one."""
    by_file = {file: fault for fault in faults for file in (fault.file, fault.image) if file is not None}
    for sample in samples:
        fault = next((by_file[file] for file in content_files(sample) if file in by_file), None)
        if fault is not None:
            yield sample.id, fault


def _item(source: Source, fault: Fault) -> str:
    root = Path(source.root)
    if fault.file == root:
        return f"{source.reader}/*"
    name = fault.file.relative_to(root).as_posix() if fault.file.is_relative_to(root) else str(fault.file)
    return f"{source.reader}/{name}"
