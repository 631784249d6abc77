"""What peft and transformers answer for what `sahara train lora` releases.

    peft_logits.py BASE RELEASE TEXTS > logits.json

BASE is the folder of the model that was begun with, RELEASE what was released, TEXTS a JSON list. `adapter` has the logits of
the adapter over the base, `merged` those of the merged model.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer


def logits(model, tokenizer, texts):
    answers = []
    for text in texts:
        with torch.no_grad():
            answers.append(model(**tokenizer(text, truncation=True, return_tensors="pt")).logits[0].tolist())
    return answers


def main(base, release, texts):
    texts = json.loads(Path(texts).read_text())
    tokenizer = AutoTokenizer.from_pretrained(base)
    labels = AutoConfig.from_pretrained(release / "merged").num_labels
    whole = AutoModelForSequenceClassification.from_pretrained(release / "merged").eval()
    begun = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels, ignore_mismatched_sizes=True)
    adapted = PeftModel.from_pretrained(begun, release / "adapter").eval()
    print(json.dumps({"adapter": logits(adapted, tokenizer, texts), "merged": logits(whole, tokenizer, texts)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
