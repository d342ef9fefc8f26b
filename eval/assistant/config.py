"""What `scripts.app` is told."""

from __future__ import annotations

from dataclasses import dataclass, fields

from data.errors import UserError
from eval.inspection.config import InspectConfig
from eval.inspection.sources import SourceConfig

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(kw_only=True, slots=True)
class AppConfig(SourceConfig):
    """Who looks, where the page is, and how much it takes; fields that are not listed are those of `SourceConfig`.

    Attributes:
        threshold: Where the page's threshold begins; None takes the calibration's, else the expert's gate, else 0.5 of
            a probability.
        pixel_threshold: Where outlines begin, at that threshold; None likewise.
        doubt: How far EDDM's answer outweighs a score that it contradicts; see `scripts.inspect`.
        min_area: Regions smaller than this share of the image are specks.
        familiar: Warns of photos that look like nothing the model was trained on.
        judgements: Folder of the log that judgements are added to; made with the first one.
        user: Who judges, unless the page is told otherwise; empty takes the name of the login.
        host: Address that the page is served on; by default nobody but this machine reaches it.
        port: Port of the page; 0 takes one that is free.
        photos: Most photos of one tab.
        megapixels: Most pixels of one tab's photos together, in millions; their anomaly maps are kept in memory, 4 MB
            each million.
        megabytes: Largest file that is taken.
        waiting: Requests that may wait; more are turned away with a message.
    """

    threshold: float | None = None
    pixel_threshold: float | None = None
    doubt: float = 0.5
    min_area: float = 0.0001
    familiar: bool = True
    judgements: str = "outputs/judgements"
    user: str = ""
    host: str = "127.0.0.1"
    port: int = 7860
    photos: int = 100
    megapixels: int = 200
    megabytes: int = 50
    waiting: int = 32

    def check(self) -> None:
        """Refuses what does not go together.

        Raises:
            UserError: Naming the values.
        """
        if not 0 <= self.port <= 65535:
            raise UserError(f"port={self.port} is no port. Give one from 1024 to 65535, or 0 for any that is free.")
        bounds = {name: getattr(self, name) for name in ("photos", "megapixels", "megabytes", "waiting")}
        if min(bounds.values()) < 1:
            raise UserError(f"{', '.join(f'{name}={value}' for name, value in bounds.items())}: each at least 1.")
        self.inspection().check()

    def inspection(self) -> InspectConfig:
        """The same, as an inspection is told."""
        shared = {one.name for one in fields(InspectConfig)} & {one.name for one in fields(self)}
        return InspectConfig(images="", batch_size=4, **{name: getattr(self, name) for name in sorted(shared)})
