"""LangChain and LlamaIndex get the same vectors. Their packages may be missing: then importing an adapter says so."""

import asyncio
import subprocess
import sys

import numpy
import pytest


def test_langchain(client, texts, vectors):
    langchain = pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore

    from sahara.langchain import SaharaEmbeddings

    embeddings = SaharaEmbeddings(client)
    assert numpy.float32(embeddings.embed_documents(texts)).tobytes() == vectors.tobytes()
    assert numpy.float32(embeddings.embed_query(texts[0])).tobytes() == vectors[0].tobytes()
    assert numpy.float32(asyncio.run(embeddings.aembed_documents(texts))).tobytes() == vectors.tobytes()
    assert numpy.float32(asyncio.run(embeddings.aembed_query(texts[1]))).tobytes() == vectors[1].tobytes()
    assert embeddings.embed_documents([]) == []
    store = InMemoryVectorStore(embeddings)
    store.add_documents([Document(text) for text in texts])
    assert store.similarity_search(texts[1], k=1)[0].page_content == texts[1], langchain


def test_llama_index(client, texts, vectors):
    pytest.importorskip("llama_index.core")
    from sahara.llama_index import SaharaEmbedding

    model = SaharaEmbedding(client)
    assert numpy.float32(model.get_text_embedding_batch(texts)).tobytes() == vectors.tobytes()
    assert numpy.float32(model.get_text_embedding(texts[0])).tobytes() == vectors[0].tobytes()
    assert numpy.float32(model.get_query_embedding(texts[0])).tobytes() == vectors[0].tobytes()
    batch = asyncio.run(model.aget_text_embedding_batch(texts))
    assert numpy.float32(batch).tobytes() == vectors.tobytes()
    assert numpy.float32(asyncio.run(model.aget_query_embedding(texts[1]))).tobytes() == vectors[1].tobytes()
    assert model.model_name == client.model and model.class_name() == "SaharaEmbedding"
    with pytest.raises(ValueError, match="other"):
        SaharaEmbedding(client, query_prompt="other").get_query_embedding("hello")


@pytest.mark.parametrize(
    "adapter, package", [("langchain", "langchain_core"), ("llama_index", "llama_index.core")]
)
def test_a_missing_package_is_named(adapter, package):
    code = f"import sys; sys.modules['{package.split('.')[0]}'] = None; import sahara.{adapter}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    name = package.replace("_", "-").replace(".", "-")
    assert done.returncode == 1 and f"pip install {name}" in done.stderr, done.stderr
