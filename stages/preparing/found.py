"""A data set when every image was looked at and its place decided."""

from collections import Counter
from dataclasses import dataclass

from stages.preparing.findings import REPORT, USED, Finding
from stages.preparing.pack import Part


@dataclass(frozen=True)
class Found:
    """Its splits for packing, and what metrics/data.json counts."""

    parts: dict[str, Part]
    shape: tuple[int, int, int]  # H, W, C of the packed images
    seen: int  # files or images, whatever became of them
    findings: list[Finding]
    sizes: list[tuple[int, int]]  # (width, height) of each image used as it came, or one for all
    modes: Counter[str]  # Pillow's words for their kinds of pixels

    def words(self) -> str:
        """What there is to say of what was not used; empty if all was."""
        used = sum(len(part.labels) for part in self.parts.values())
        remarks = sum(finding.action == USED for finding in self.findings)
        parts = [f"{self.seen - used:,} not used"] * (self.seen > used)
        parts += [f"{remarks:,} remark{'s' * (remarks > 1)}"] * (remarks > 0)
        where = f": see {REPORT}" if self.findings else ""
        return f" ({', '.join(parts)}{where})" if parts else ""
