"""Caption files (.srt, .vtt) of which the recording is elsewhere; those beside one are read with it."""

from collections.abc import Iterator
from typing import ClassVar

from sensorium.errors import EvidenceError, LoadError, SkippedError
from sensorium.languages import language_code
from sensorium.loaders._media.captions import read_file, same_name
from sensorium.loaders._media.passages import passage_node, passages
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.loaders.sniff import sniff
from sensorium.nodes import Evidence
from sensorium.speech_types import Segment


class CaptionsLoader(Loader):
    """Loads captions whose recording does not lie beside them, as `caption` nodes with their times."""

    name: ClassVar[str] = "captions"

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read the whole file, which is small.

        Raises:
            SkippedError: the recording lies beside it, and is indexed with these captions.
            LoadError: it holds no caption.
        """
        if recording := _recording(file):
            raise SkippedError(f"belongs to {recording}, and is read with it")
        cues, bad = read_file(file.path)
        if not cues:
            raise LoadError("holds no caption" + (f": {bad} have no time that can be read" if bad else ""))
        if bad:
            yield Fault(f"{bad} captions without a time that can be read were left out")
        language = language_code(file.path.stem.rpartition(".")[2])
        maker = NodeMaker(file)
        end = max(cue.end_s for cue in cues)
        segments = (Segment(c.text, c.start_s, c.end_s, language=language, speaker=c.speaker) for c in cues)
        for run in passages(segments):
            yield passage_node("caption", run, (), maker, end, captions=file.path.name)

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """There is none.

        Raises:
            EvidenceError: always.
        """
        raise EvidenceError(f"{file.source} holds captions alone: there is no recording to show.")


def _recording(file: SourceFile) -> str:
    """Name of the recording beside a caption file; empty where there is none."""
    for entry in sorted(file.path.parent.iterdir()):
        named = entry != file.path and same_name(entry, file.path) and entry.is_file()
        if named and entry.stat().st_size and sniff(entry).startswith(("audio/", "video/")):
            return entry.name
    return ""
