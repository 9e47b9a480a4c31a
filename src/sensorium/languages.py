"""Languages as files name them ("eng", "en-US", "English") to ISO 639-1 codes."""

import re

_THREE = dict(
    pair.split(":")
    for pair in (
        "eng:en ger:de deu:de fre:fr fra:fr spa:es ita:it por:pt dut:nl nld:nl rus:ru ukr:uk pol:pl cze:cs ces:cs "
        "slo:sk slk:sk slv:sl hrv:hr srp:sr bul:bg ron:ro rum:ro hun:hu gre:el ell:el tur:tr ara:ar heb:he per:fa "
        "fas:fa hin:hi ben:bn tam:ta tel:te urd:ur tha:th vie:vi ind:id may:ms msa:ms chi:zh zho:zh jpn:ja kor:ko "
        "swe:sv dan:da nor:no nob:no nno:nn fin:fi est:et lav:lv lit:lt ice:is isl:is cat:ca glg:gl baq:eu eus:eu "
        "wel:cy cym:cy gle:ga lat:la afr:af swa:sw tgl:tl"
    ).split()
)
_TWO = frozenset(_THREE.values())
_NAMES = {
    "english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt",
    "dutch": "nl", "russian": "ru", "chinese": "zh", "japanese": "ja", "korean": "ko", "arabic": "ar",
    "polish": "pl", "turkish": "tr", "swedish": "sv", "danish": "da", "norwegian": "no", "finnish": "fi",
    "hindi": "hi", "ukrainian": "uk", "czech": "cs", "hungarian": "hu", "greek": "el", "hebrew": "he",
}  # fmt: skip


def language_code(name: str) -> str:
    """ISO 639-1 code of a language; empty when it is none that is known.

    Args:
        name: "en", "eng", "en-US", "English", ...
    """
    first = re.split(r"[-_]", name.strip().casefold())[0]
    if first in _TWO:
        return first
    return _THREE.get(first) or _NAMES.get(first, "")
