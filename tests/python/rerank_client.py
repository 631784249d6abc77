"""Drives the unmodified rerankers of Cohere's client (both versions) and of LlamaIndex for Jina; prints what each saw as
one JSON object of lists [index, score].

usage: rerank_client.py BASE_URL MODEL < JSON list of texts, the query first
"""

import json
import sys

import cohere
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.jinaai_rerank import JinaRerank


def main():
    base_url, model = sys.argv[1:]
    query, *documents = json.load(sys.stdin)
    root = base_url.removesuffix("/v1")
    seen = {}
    for name, client in [("cohere", cohere.Client), ("cohere_v2", cohere.ClientV2)]:
        answer = client(api_key="none", base_url=root).rerank(model=model, query=query, documents=documents, top_n=2)
        seen[name] = [[result.index, result.relevance_score] for result in answer.results]
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(documents)]
    jina = JinaRerank(base_url=base_url, api_key="none", model=model, top_n=2)
    ranked = jina.postprocess_nodes(nodes, query_str=query)
    seen["jina"] = [[int(result.node.id_), result.score] for result in ranked]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
