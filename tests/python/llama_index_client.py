"""Drives the unmodified OpenAI-like embedding class of LlamaIndex; prints what it saw as one JSON object.

usage: llama_index_client.py BASE_URL MODEL < JSON list of texts
"""

import json
import sys

from llama_index.embeddings.openai_like import OpenAILikeEmbedding


def main():
    base_url, model = sys.argv[1:]
    texts = json.load(sys.stdin)
    embedding = OpenAILikeEmbedding(model_name=model, api_base=base_url)
    print(json.dumps({"documents": embedding.get_text_embedding_batch(texts),
                      "query": embedding.get_query_embedding(texts[0])}))


if __name__ == "__main__":
    main()
