"""The digits, in a cache folder of each test file's own."""

import pytest

import gan_jax.data.cache
from gan_jax import data


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of this module's own, with nothing loaded before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_jax.data.cache, "FOLDER", tmp_path_factory.mktemp("cache"))
        data.load.cache_clear()
        yield gan_jax.data.cache.FOLDER
    data.load.cache_clear()


@pytest.fixture(scope="module")
def digits(cache):
    """The digits and their arrays."""
    source = data.load("digits")
    return source, data.resident(source)
