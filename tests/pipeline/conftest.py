"""One copy of the project for the tests of a file."""

import pytest

from tests.pipeline.repository import Repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("smoke"))
