"""LangChain's embeddings over a client of Sahara.

    from sahara.langchain import SaharaEmbeddings

    store = InMemoryVectorStore(SaharaEmbeddings(sahara.connect()))
"""

from __future__ import annotations

from typing import Optional

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise ImportError("sahara.langchain needs langchain-core: pip install langchain-core") from error

from .client import Client, as_lists


class SaharaEmbeddings(Embeddings):
    """``query_prompt`` and ``document_prompt`` name the model's prompts for either, if its authors gave it some."""

    def __init__(
        self, client: Client, *, query_prompt: Optional[str] = None, document_prompt: Optional[str] = None
    ) -> None:
        self.client = client
        self.query_prompt = query_prompt
        self.document_prompt = document_prompt

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each document."""
        return as_lists(self.client.embed(texts, prompt=self.document_prompt))

    def embed_query(self, text: str) -> list[float]:
        """A vector for a question."""
        return as_lists(self.client.embed([text], prompt=self.query_prompt))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As ``embed_documents``; a task that is cancelled stops the work on the nodes."""
        return as_lists(await self.client.aembed(texts, prompt=self.document_prompt))

    async def aembed_query(self, text: str) -> list[float]:
        """As ``embed_query``; a task that is cancelled stops the work on the nodes."""
        return as_lists(await self.client.aembed([text], prompt=self.query_prompt))[0]
