from __future__ import annotations

import pytest
from policy_samples import BEHAVIOUR, HEAD


@pytest.fixture
def write(tmp_path):
    """Writes a policy (text or bytes) and returns its path."""

    def write(content, name="policy.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def policy_with(write):
    """Writes a valid policy of one behaviour in which `old` is replaced by `new`."""

    def policy_with(old="", new="", more=""):
        assert old in BEHAVIOUR
        return write(HEAD + (BEHAVIOUR.replace(old, new) if old else BEHAVIOUR) + more)

    return policy_with
