"""What sentence-transformers and transformers themselves answer for the folders of `test_models`.

    model_vectors.py FOLDER > vectors.json

FOLDER is what `cargo run --release -p sahara-circuits --example test_models -- FOLDER` wrote.
"""

import json
import sys
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline


def rounded(values):
    return [float(f"{value:.7g}") for value in values]


def embeddings(folder, texts, prompt):
    model = SentenceTransformer(str(folder), device="cpu")
    return [rounded(model.encode(text, prompt_name=prompt, show_progress_bar=False).tolist()) for text in texts]


def classes(folder, texts, pairs):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def logits(*inputs):
        tokens = tokenizer(*inputs, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            return rounded(model(**tokens).logits[0].tolist())

    answers = {"texts": [logits(text) for text in texts], "pairs": [logits(*pair) for pair in pairs]}
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None, device="cpu")
    scored = classify(texts, truncation=True, max_length=64)
    answers["scores"] = [{entry["label"]: float(f"{entry['score']:.7g}") for entry in one} for one in scored]
    if model.config.num_labels == 1:
        relevance = CrossEncoder(str(folder), max_length=64, device="cpu").predict([list(pair) for pair in pairs])
        answers["relevance"] = rounded(relevance.tolist())
    return answers


def main():
    root = Path(sys.argv[1])
    described = json.loads((root / "cases.json").read_text())
    answers = {}
    for case in described["cases"]:
        folder = root / case["name"]
        if case["classifies"]:
            answers[case["name"]] = classes(folder, described["texts"], described["pairs"])
        else:
            answers[case["name"]] = {"texts": embeddings(folder, described["texts"], case["prompt"])}
    # One case a line, so that a change shows where it is.
    lines = [f"{json.dumps(name)}: {json.dumps(answer, separators=(',', ':'))}" for name, answer in answers.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
