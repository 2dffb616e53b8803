"""`doctor` imports torch only where a GPU may be."""

import platform

import pytest

from xmodctl.model.machine import has_accelerator_files


@pytest.mark.parametrize("file", ["nvidia0", "dxg", "kfd", "dri/renderD128", "accel0"])
def test_a_device_file_shows_an_accelerator(file, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    (tmp_path / "null").touch()
    assert not has_accelerator_files(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert has_accelerator_files(tmp_path)


def test_a_system_without_device_files_is_looked_at_with_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert has_accelerator_files(tmp_path)
