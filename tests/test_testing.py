import subprocess
import sys

import numpy as np

from sensorium.testing import FakeEmbedding


def test_fake_embedding_is_the_same_in_every_process() -> None:
    here = FakeEmbedding(dimension=5).get_text_embedding("Salt water")
    code = "from sensorium.testing import FakeEmbedding as F; print(F(dimension=5).get_query_embedding('salt  WATER'))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert str(here) == there.strip()


def test_fake_embedding_puts_texts_with_common_words_together() -> None:
    one, near, far = (
        np.array(v) for v in FakeEmbedding(dimension=64).get_text_embedding_batch(["a b c", "c b x", "y z"])
    )
    assert np.allclose([one @ one, near @ near, far @ far], 1.0)
    assert one @ near > 0.4 > abs(one @ far)


def test_testing_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import sensorium.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
