"""The word pieces of bert-base-uncased; importing this loads neither ONNX Runtime nor LlamaIndex."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from sensorium.models._files import check_sha256

VOCABULARY = Path(__file__).parent / "data" / "bert-base-uncased.vocab.txt"
SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
MAX_PIECES = 256
CLS, SEP = 101, 102  # lines of the vocabulary


@lru_cache(maxsize=1)
def word_pieces() -> Tokenizer:
    """The tokenizer, lower case, without truncation.

    Its special pieces are not matched in the text: a document that contains "[SEP]" is only text.
    """
    check_sha256(VOCABULARY, SHA256)
    model = WordPiece.from_file(str(VOCABULARY), unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return tokenizer


def token_counter() -> Callable[[str], int]:
    """A function that counts the word pieces of a text, without the two special ones (about 1 µs a word)."""
    tokenizer = word_pieces()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count
