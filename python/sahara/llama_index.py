"""LlamaIndex's embedding model over a client of Sahara.

    from sahara.llama_index import SaharaEmbedding

    Settings.embed_model = SaharaEmbedding(sahara.connect())
"""

from __future__ import annotations

from typing import Any, Optional

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
except ImportError as error:
    raise ImportError("sahara.llama_index needs llama-index-core: pip install llama-index-core") from error

from .client import Client, as_lists


class SaharaEmbedding(BaseEmbedding):  # type: ignore[misc]
    """``query_prompt`` and ``text_prompt`` name the model's prompts for either, if its authors gave it some."""

    query_prompt: Optional[str] = None
    text_prompt: Optional[str] = None
    _client: Client = PrivateAttr()

    def __init__(self, client: Client, *, embed_batch_size: int = 256, **settings: Any) -> None:
        super().__init__(model_name=client.model, embed_batch_size=embed_batch_size, **settings)
        self._client = client

    @classmethod
    def class_name(cls) -> str:
        return "SaharaEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return as_lists(self._client.embed([query], prompt=self.query_prompt))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(self._client.embed(texts, prompt=self.text_prompt))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return as_lists(await self._client.aembed([query], prompt=self.query_prompt))[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(await self._client.aembed(texts, prompt=self.text_prompt))
