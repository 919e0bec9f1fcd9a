"""What every message keeps to."""

import pytest

from blinddps.core import BlinddpsError, InputError, PriorError


@pytest.mark.parametrize("kind", [BlinddpsError, InputError, PriorError])
def test_a_message_is_one_line_that_a_terminal_shows(kind):
    assert str(kind("'naïve 日本.png' is empty; get a fresh copy")) == "'naïve 日本.png' is empty; get a fresh copy"
    assert str(kind("'a\nb\x1b[2J\ud800\0'; rename it")) == r"'a\nb\x1b[2J\ud800\x00'; rename it"
