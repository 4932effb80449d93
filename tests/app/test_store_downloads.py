"""Downloads of the store: only on request, one at a time, cancelled only by who began them."""

import threading

import pytest
import stores
from stores import a_store

from app import store as store_module
from gpt2_core.checkpoints import CheckpointError

loads = pytest.fixture(stores.loads)


def test_downloads_only_where_allowed_and_only_of_what_is_missing(loads, monkeypatch):
    fetched = []
    monkeypatch.setattr(store_module, "fetch", lambda name, progress: fetched.append(name))
    with pytest.raises(ValueError, match="Downloads are switched off"):
        a_store(downloads=False).download("e", print)
    with pytest.raises(ValueError, match="already on this machine"):
        a_store().download("a", print)
    with pytest.raises(ValueError, match="No model is called"):
        a_store().download("someone/else", print)
    assert fetched == []
    a_store().download("e", print)
    assert fetched == ["e"]


def a_download(store, monkeypatch, owner="a person"):
    """A download of 100 bytes under way: its thread, the event that lets it go on, and where its error will be."""
    started, go, said = threading.Event(), threading.Event(), []

    def fetch(name, progress):
        progress(0, 100)
        started.set()
        assert go.wait(10)
        progress(100, 100)

    def run():
        try:
            store.download("e", lambda done, total: said.append(done), owner)
        except ValueError as error:
            said.append(str(error))

    monkeypatch.setattr(store_module, "fetch", fetch)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    return thread, go, said


def test_a_model_is_downloaded_once_at_a_time(loads, monkeypatch):
    store = a_store()
    thread, go, said = a_download(store, monkeypatch)
    with pytest.raises(ValueError, match="already being downloaded"):
        store.download("e", print)
    go.set()
    thread.join(10)
    assert said == [0, 100]
    store.download("e", lambda done, total: said.append(total))  # the first one is over
    assert said[2:] == [100, 100]


def test_a_cancelled_download_ends_and_can_be_begun_again(loads, monkeypatch):
    store = a_store()
    thread, go, said = a_download(store, monkeypatch)
    store.cancel_download("e", "a person")
    go.set()
    thread.join(10)
    assert said == [0, "The download of e was cancelled; it continues where it stopped next time."]
    thread, go, said = a_download(store, monkeypatch)
    go.set()
    thread.join(10)
    assert said == [0, 100]


def test_a_download_is_cancelled_only_by_who_began_it(loads, monkeypatch):
    store = a_store()
    thread, go, said = a_download(store, monkeypatch)
    store.cancel_download("e", "someone else")
    store.cancel_download("d", "a person")
    go.set()
    thread.join(10)
    assert said == [0, 100]


def test_a_failed_download_can_be_begun_again(loads, monkeypatch):
    def fetch(name, progress):
        raise CheckpointError("The hub cannot be reached.")

    store = a_store()
    monkeypatch.setattr(store_module, "fetch", fetch)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="cannot be reached"):
            store.download("e", print)
