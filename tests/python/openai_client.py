"""Drives the unmodified OpenAI client against a gateway; prints what it saw as one JSON object.

usage: openai_client.py BASE_URL MODEL < JSON list of texts
"""

import base64
import json
import struct
import sys

import openai


def refusal(call):
    """Status, parameter and message of the error that a call must end in."""
    try:
        call()
    except openai.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return {"status": error.status_code, "param": body.get("param"), "message": error.message,
                "kind": type(error).__name__}
    return {"status": 200, "param": None, "message": "the call was accepted", "kind": None}


def main():
    base_url, model = sys.argv[1:]
    texts = json.load(sys.stdin)
    client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=300)
    create = client.embeddings.create

    floats = create(model=model, input=texts, encoding_format="float")
    default = create(model=model, input=texts)  # the client asks for base64 and decodes it
    coded = client.post("/embeddings", cast_to=object,
                        body={"model": model, "input": texts[0], "encoding_format": "base64"})
    one = create(model=model, input=texts[0], encoding_format="float")
    ignored = client.embeddings.with_raw_response.create(model=model, input="x", extra_body={"temperature": 1})
    raw = base64.b64decode(coded["data"][0]["embedding"])
    print(json.dumps({
        "models": [entry.id for entry in client.models.list()],
        "retrieved": client.models.retrieve(model).id,
        "floats": [entry.embedding for entry in floats.data],
        "indices": [entry.index for entry in floats.data],
        "usage": floats.usage.model_dump(),
        "model": floats.model,
        "default": [entry.embedding for entry in default.data],
        "base64": list(struct.unpack(f"<{len(raw) // 4}f", raw)),
        "spaces": create(model=model, input=["  "]).usage.prompt_tokens,
        "dimensions": len(create(model=model, input="x", dimensions=384).data[0].embedding),
        "warning": ignored.headers.get("x-sahara-warning"),
        "one": [entry.embedding for entry in one.data],
        "refusals": {
            "dimensions": refusal(lambda: create(model=model, input="x", dimensions=64)),
            "empty": refusal(lambda: create(model=model, input="")),
            "blank_among_others": refusal(lambda: create(model=model, input=["fine", ""])),
            "empty_list": refusal(lambda: create(model=model, input=[])),
            "tokens": refusal(lambda: create(model=model, input=[1, 2, 100_277])),
            "long": refusal(lambda: create(model=model, input=["fine", "word " * 600])),
            "model": refusal(lambda: create(model="no-such-model", input="x")),
            "format": refusal(lambda: create(model=model, input="x", encoding_format="int8")),
            "prompt": refusal(lambda: create(model=model, input="x", extra_body={"prompt_name": "query"})),
            "chat": refusal(lambda: client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "hello"}])),
        },
    }))


if __name__ == "__main__":
    main()
