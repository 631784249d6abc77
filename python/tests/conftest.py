"""What the tests share: a network that is up, and what `sahara embed` and `sahara classify` print for the same texts.

The test of the project that runs them (tests/the_python_package_….rs) sets SAHARA_HOME and SAHARA_EXPECTED.
"""

import json
import os
import pathlib

import numpy
import pytest

import sahara


@pytest.fixture(scope="session")
def expected():
    return json.loads(pathlib.Path(os.environ["SAHARA_EXPECTED"]).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def texts(expected):
    return expected["texts"]


@pytest.fixture(scope="session")
def vectors(expected):
    """What `sahara embed --json` printed, as the numbers that it printed them from."""
    return numpy.array([line["embedding"] for line in expected["embed"]], dtype=numpy.float32)


@pytest.fixture(scope="session")
def client():
    with sahara.connect() as client:
        yield client


@pytest.fixture(scope="session")
def classifier(expected):
    with sahara.connect(expected["classifier"]) as client:
        yield client
