"""Models: bundled ones and LlamaIndex's by provider name. New ones are registered here."""

from sensorium.registry import Registry

TEXT_EMBEDDERS = Registry("text embedder", supplied=("threads",))
TEXT_EMBEDDERS.add("minilm", "sensorium.models.text:MiniLM", summary="all-MiniLM-L6-v2, int8, English, bundled")
TEXT_EMBEDDERS.add(
    "multilingual-e5-small", "sensorium.models.text:MultilingualE5", summary="100 languages, extra [multilingual]"
)

OCR_ENGINES = Registry("OCR engine", supplied=("threads",))
OCR_ENGINES.add("tiny", "sensorium.models.ocr:tiny", summary="PP-OCRv6 tiny, about 1 s a page")
OCR_ENGINES.add("small", "sensorium.models.ocr:small", summary="PP-OCRv6 small, about 4 s a page")

SPEECH_ENGINES = Registry("speech engine", supplied=("threads",))
SPEECH_ENGINES.add(
    "whisper", "sensorium.models.speech:Whisper", "model", summary="Whisper on this machine, extra [speech]"
)
SPEECH_ENGINES.add(
    "openai", "sensorium.models._speech.openai:OpenAISpeech", "model",
    summary="OpenAI and compatible transcription endpoints",
)  # fmt: skip
SPEECH_ENGINES.add("off", "sensorium.models.speech:off", summary="speech is not recognised; captions are still read")
