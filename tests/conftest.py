"""Four CPU devices, no silent broadcasting, `--all`, `--slow`, and the folder of prepared TFDS sets."""

import atexit
import gc
import os
import shutil
import signal
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What one test compiled, all later ones, of the other worker and in processes of their own too, read back.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="gan_jax-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import pytest
from selection import FEW, experiment
from xdist.scheduler import LoadScopeScheduling

# Nothing here runs long enough to be worth optimising: compiling is most of a test's time, and this quarters it.
FLAGS = ["--xla_force_host_platform_device_count=4", "--xla_backend_optimization_level=0"]
FLAGS += ["--xla_llvm_disable_expensive_passes=true"]
FLAGS += ["--xla_cpu_use_fusion_emitters=false"] * (jax.__version_info__ < (0, 11))
FLAGS += ["--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE"] * (jax.__version_info__ >= (0, 12))
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])

# A shell makes its background jobs deaf to Ctrl-C, and the programs that the tests start would be so, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tracing makes many objects, and few cycles: to look for them less often saves a twentieth of the time.
gc.freeze()
gc.set_threshold(10_000, 10, 10)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="also run all tests of all experiments")
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; runs with --slow only")
    config.addinivalue_line("markers", "long: takes many seconds; runs with --all, or by its name")
    config.addinivalue_line("markers", "each: takes a second; runs for every experiment without --all, too")


def scope(nodeid):
    """Return what the tests that share what they compile have in common: a file; of the contract, an experiment."""
    file = nodeid.partition("::")[0]
    return experiment(nodeid) if file.endswith("test_contract.py") and experiment(nodeid) else file


def named(config):
    """Return whether the command line says which tests to run."""
    return bool(config.option.keyword) or any("experiments" in a or ".py" in a for a in config.args)


class Scheduling(LoadScopeScheduling):
    """Tests of one scope go to one worker."""

    def _split_scope(self, nodeid):
        return scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)  # `--dist loadgroup` with marks does nothing from pytest 9.2 on (pytest-xdist 3.8)


def pytest_collection_modifyitems(config, items):
    scopes = {name: i for i, name in enumerate(dict.fromkeys(scope(item.nodeid) for item in items))}
    items.sort(key=lambda item: scopes[scope(item.nodeid)])  # one after the other
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: give --slow"))
    if not (config.getoption("--all") or named(config)):
        chosen = {*FEW, "", "vanilla_dcgan"}
        for item in items:
            if experiment(item.nodeid) not in chosen and "each" not in item.keywords:
                item.add_marker(pytest.mark.skip(reason="an experiment of many: give --all, or name its tests"))
            elif "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="long: give --all, or name it"))


@pytest.fixture(scope="module", autouse=True)
def few_curves(request):
    """Curves take a third of a tiny run's time: only the tests of runs and of pictures draw them."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.stem not in ("test_fit", "test_curves", "test_draw"):
            patch.setattr("gan_jax.run.plots.curves", lambda *_, **__: None)
        yield


@pytest.fixture
def tfds_dir():
    """The folder of prepared TFDS sets."""
    if not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("TFDS_DATA_DIR is unset: no folder of prepared TFDS sets")
    return os.environ["TFDS_DATA_DIR"]
