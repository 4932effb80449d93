"""Threads for the whole test run, and which optional tests can run here."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several workers share the cores
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "browser" in item.keywords:  # one worker a file, so that its page is served once
            item.add_marker(pytest.mark.xdist_group(item.path.name))
            item.add_marker(pytest.mark.flaky(reruns=1))  # a busy machine can outlast a browser's patience; a fault fails twice
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
