import pytest

from xmodctl import model


@pytest.fixture(scope="module")
def source(tiny_model):
    return model.find(str(tiny_model))


@pytest.fixture(scope="module")
def tokenizer(source):
    return model.load_tokenizer(source)
