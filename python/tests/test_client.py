"""Vectors and scores are those of the program, whichever way they are asked for."""

import asyncio
import logging
import os
import pickle
import sys
import threading

import numpy
import pytest

import sahara


def test_vectors_are_those_of_sahara_embed(client, texts, vectors):
    ours = client.embed(texts)
    assert ours.dtype == numpy.float32 and ours.shape == (len(texts), client.dimensions)
    assert ours.tobytes() == vectors.tobytes()
    assert ours.flags.c_contiguous and ours.flags.writeable


def test_this_machine_computes_the_same_bytes(texts, vectors):
    with sahara.local(threads=2) as here:
        assert here.embed(texts).tobytes() == vectors.tobytes()
        assert here.sharing is None and here.status() == [] and "on this machine" in repr(here)


def test_faithful_is_near_and_open_weights_are_exact(texts, vectors):
    with sahara.connect(mode="faithful") as client:
        near, exact = client.embed(texts[:2]), vectors[:2]
        assert (near * exact).sum(axis=1).min() > 0.98 and near.tobytes() != exact.tobytes()
    with sahara.connect(weights="open", jobs=2) as client:
        assert client.embed(texts[:2]).tobytes() == vectors[:2].tobytes()
        assert client.sharing.endswith(".open")


def test_a_loop_asks_many_things_at_once(texts, vectors):
    async def ask():
        async with await sahara.aconnect() as client:
            one_by_one = asyncio.gather(*(client.aembed([text]) for text in texts))
            rows, status = await asyncio.gather(one_by_one, client.astatus())
            return numpy.concatenate(rows), status

    rows, status = asyncio.run(ask())
    assert rows.tobytes() == vectors.tobytes()
    assert len(status) == 3


def test_threads_share_a_client(client, texts, vectors):
    found = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: client.embed([texts[at]])})) for at in range(len(texts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numpy.concatenate([found[at] for at in range(len(texts))]).tobytes() == vectors.tobytes()


def test_scores_are_those_of_sahara_classify(classifier, expected):
    text, pair = expected["pair"]
    for answer in (
        classifier.classify([text], pair),
        classifier.classify([text], [pair]),
        asyncio.run(classifier.aclassify([text], pair)),
    ):
        (one,) = answer
        assert one.label == expected["classify"]["label"] == classifier.labels[0]
        assert one.outputs.tolist() == numpy.float32(expected["classify"]["outputs"]).tolist()
        scores = {score["label"]: numpy.float32(score["score"]) for score in expected["classify"]["scores"]}
        assert one.scores == scores and one.score == max(scores.values())
    assert classifier.classify([]) == []


def test_no_text_is_no_row(client):
    assert client.embed([]).shape == (0, 384)
    assert client.embed(()).dtype == numpy.float32


def test_what_a_model_is(client):
    assert (client.model, client.dimensions, client.max_tokens, client.labels) == ("all-MiniLM-L6-v2", 384, 256, None)
    assert client.prompts == {} and client.default_prompt is None
    assert client.sharing.endswith("/all-MiniLM-L6-v2") and client.sharing in repr(client)


def test_three_nodes_say_how_they_are(client):
    nodes = client.status()
    assert len(nodes) == 3 and len({node.name for node in nodes}) == 3
    for node in nodes:
        assert node.ready and node.error is None and node.version == sahara.__version__
        assert node.cpu_seconds > 0
    assert sum(node.jobs_done for node in nodes) > 0


def test_a_text_that_is_cut_is_told():
    with sahara.local() as here, pytest.warns(sahara.TruncationWarning, match="256 tokens count: text 1$") as seen:
        here.embed(["short", "long " * 300])
    assert seen[0].filename == __file__, "it points at the call"


def test_progress_is_shown_if_asked(client, texts, capfd):
    pytest.importorskip("tqdm")
    client.embed(texts[:2])
    assert capfd.readouterr() == ("", "")
    client.embed(texts[:2], progress=True)
    assert "2/2" in capfd.readouterr().err
    asyncio.run(client.aembed(texts[:2], progress=True))
    assert "answering" in capfd.readouterr().err


def test_progress_without_tqdm_goes_on(client, texts, vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.warns(UserWarning, match="pip install tqdm"):
        assert client.embed(texts[:1], progress=True).tobytes() == vectors[:1].tobytes()


def test_what_should_be_remembered_is_logged(expected, caplog):
    name = f"told-{os.getpid()}"
    sahara.models.pull(expected["folder"], name=name)
    with caplog.at_level(logging.INFO, logger="sahara"), sahara.connect(name) as client:
        client.classify(["hello"], "you")
    assert [record.name for record in caplog.records if f"the nodes hold {name} now" in record.message] == ["sahara"]
    assert sahara.models.rm(name) > 0


def test_a_closed_client_and_one_of_another_process_say_so(client):
    with sahara.local() as closed:
        pass
    assert repr(closed) == "<sahara.Client, closed>"
    with pytest.raises(sahara.InputError, match="closed: connect again"):
        closed.embed(["hello"])
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(client)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client.embed(["hello"])
        except sahara.InputError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as said:
        assert "connect after the fork" in said.read()


def test_models_are_listed_and_somebody_elses_are_found(client):
    assert "all-MiniLM-L6-v2" in [model.name for model in sahara.models.ls() if model.whole and model.bytes > 0]
    shared = [model for model in sahara.models.shared() if model.name == client.sharing]
    assert [(model.version, model.weights) for model in shared] == [(1, "private")]
    assert len(bytes.fromhex(sahara.whoami())) == 32
