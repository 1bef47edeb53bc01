"""Compiled programs are code: whose folder is used, and what becomes of one that is damaged."""

import json
import os
import stat
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import pytest

import gan_jax.data.cache
from gan_jax.run import compiled


@pytest.fixture
def settings(monkeypatch):
    """JAX's settings and the way of warnings, put back afterwards."""
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_our_own(settings, tmp_path, monkeypatch, capsys):
    """It is made for its owner alone; others may not have been able to write into it, whoever named it."""
    monkeypatch.setattr(gan_jax.data.cache, "FOLDER", tmp_path / "cache")
    compiled.keep()
    folder = tmp_path / "cache" / "xla"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and jax.config.jax_compilation_cache_dir == str(folder)
    for mode in (0o770, 0o707, 0o777):
        folder.chmod(mode)
        compiled.keep()
        assert jax.config.jax_compilation_cache_dir is None
        assert "may be written by others" in capsys.readouterr().err
    folder.chmod(0o755)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == str(folder) and not capsys.readouterr().err
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None and "belongs to somebody else" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "named"))
    compiled.keep()
    assert stat.S_IMODE((tmp_path / "named").stat().st_mode) == 0o700


def test_what_jax_warns_of_is_removed(settings, tmp_path):
    """The program that can't be read or written, and no other one; other warnings are shown as ever."""
    for name in ("jit_step-12-cache", "jit_step-12-atime", "jit_init-34-cache"):
        (tmp_path / name).write_bytes(b"half")
    shown = []
    warnings.showwarning = lambda message, *_, **__: shown.append(str(message))
    compiled.mend(tmp_path)
    for act in ("reading", "writing"):
        (tmp_path / "jit_step-12-cache").write_bytes(b"half")
        warnings.warn(f"Error {act} persistent compilation cache entry for 'jit_step': ValueError: x", stacklevel=1)
        assert {f.name for f in tmp_path.iterdir()} == {"jit_step-12-atime", "jit_init-34-cache"}
    warnings.filterwarnings("always", message="other")
    warnings.warn("other", stacklevel=1)
    assert shown == ["other"]


@pytest.mark.slow
def test_a_damaged_program_is_written_anew(tmp_path):
    """It is compiled without a word, and the next process reads it."""
    program = """
import jax, json, sys
from gan_jax.run import compiled
compiled.keep()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
print(json.dumps(float(jax.jit(lambda x: (x * 3 + 1).sum())(jax.numpy.arange(5.0)))))
"""
    places = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"), "PYTHONPATH": str(Path(compiled.__file__).parents[2])}
    start = lambda: subprocess.run(
        [sys.executable, "-c", program], env=os.environ | places, capture_output=True, text=True
    )
    assert json.loads(start().stdout) == 35
    whole = {file: file.stat().st_size for file in (tmp_path / "xla").glob("*-cache")}
    for file, size in whole.items():
        file.write_bytes(file.read_bytes()[: size // 2])
    again = start()
    assert json.loads(again.stdout) == 35 and "persistent compilation cache" not in again.stderr
    mended = {file: file.stat().st_size for file in (tmp_path / "xla").glob("*-cache")}
    assert whole and mended.keys() == whole.keys() and all(mended[f] > whole[f] // 2 for f in whole)
