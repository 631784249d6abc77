"""Whoever stops waiting stops the work on the nodes; meanwhile Python goes on."""

import asyncio
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import sahara
from sahara import _native

MANY = ["a text of some length, and then some more of it " * 3] * 400
PROGRAM = """
import signal, sahara
# Whatever started the tests may have had this signal ignored, as shells do for what runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
with sahara.connect() as client:
    client.embed(["the model is there"])
    print("begun", flush=True)
    try:
        client.embed(["a text of some length, and then some more of it " * 3] * 400)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise
print("all done", flush=True)
"""


def jobs(client):
    nodes = client.status()
    return sum(node.jobs_running for node in nodes), sum(node.jobs_done for node in nodes)


def wait_for(what, seconds=60):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def nodes_have_stopped(client, before):
    """No job runs, and most were never done."""
    wait_for(lambda: jobs(client)[0] == 0)
    done = jobs(client)[1]
    assert done - before < 2 * len(MANY)
    time.sleep(0.3)
    assert jobs(client) == (0, done)


def test_ctrl_c_stops_the_nodes(client):
    before = jobs(client)[1]
    pipe = subprocess.PIPE
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=pipe, stderr=pipe, text=True)
    assert program.stdout.readline() == "begun\n"
    wait_for(lambda: jobs(client)[0] > 0)
    program.send_signal(signal.SIGINT)
    started = time.monotonic()
    out, err = program.communicate(timeout=60)
    assert time.monotonic() - started < 20
    assert out == "interrupted\n" and err.rstrip().endswith("KeyboardInterrupt"), (out, err)
    assert program.returncode == -signal.SIGINT
    nodes_have_stopped(client, before)


def test_a_cancelled_task_stops_the_nodes_and_the_loop_goes_on(client):
    before = jobs(client)[1]

    async def ask():
        task = asyncio.create_task(client.aembed(MANY))
        while not task.done() and (await client.astatus())[0].jobs_running == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())
    nodes_have_stopped(client, before)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(client.aembed(MANY), 0.2))
    nodes_have_stopped(client, before)


def test_python_goes_on_while_the_nodes_work(client):
    """Without the lock given up, a loop of Python's would stand still for as long as the job takes."""
    job = client._session.answer(MANY[:6], None, None)
    counted = 0
    while not job.wait(0):
        counted += 1
    assert counted > 100
    assert len(job.result()[2]) == 6
    with pytest.raises(RuntimeError, match="was taken"):
        job.result()


def test_closing_gives_up_what_other_threads_ask():
    with sahara.connect() as client, ThreadPoolExecutor() as pool:
        before = jobs(client)[1]
        asked = pool.submit(client.embed, MANY)
        wait_for(lambda: jobs(client)[0] > 0)
        client.close()
        assert isinstance(asked.exception(60), sahara.StoppedError)
    with sahara.connect() as client:
        nodes_have_stopped(client, before)


def test_a_listener_is_called_once(client):
    job, ends = client._session.answer(["hello"], None, None), []
    job.when_ended(lambda: ends.append("first"))
    assert job.wait(60)
    wait_for(lambda: ends)
    job.when_ended(lambda: ends.append("late"))
    assert ends == ["first", "late"]
    assert job.stop(), "it would have heeded it"


def test_what_cannot_be_stopped_halfway_is_not_waited_for(expected, tmp_path):
    job = _native.pull_model(expected["folder"], "tiny", None, False, tmp_path)
    assert not job.stop() and job.wait(60) and job.result()[0]["name"] == "tiny"
