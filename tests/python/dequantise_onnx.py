"""Turns an int8 ONNX file of a BERT model, as registry packages ship them, into a model folder in f32.

    dequantise_onnx.py SOURCE FOLDER [--pooling cls]

SOURCE holds model.onnx and tokenizer.json; without --pooling, the model is taken for a cross-encoder with one output.
For measuring on real weights where the hub is out of reach; needs the packages onnx, numpy and safetensors.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

PARTS = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
         "intermediate.dense", "output.dense"]


def tensors(path):
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}

    def real(stem):
        values = stored[f"{stem}_quantized"].astype(numpy.float32)
        return (values - stored[f"{stem}_zero_point"].astype(numpy.float32)) * stored[f"{stem}_scale"]

    out, products = {}, []
    for name, values in stored.items():
        if name.endswith("_quantized"):
            stem = name[: -len("_quantized")]
            if stem.startswith("onnx::"):
                products.append(real(stem))
            else:
                # Embeddings are tables; the others are stored inputs first.
                out[stem] = real(stem) if "embeddings" in stem else real(stem).T
        elif name.split(".")[-1] in ("weight", "bias"):
            out[name] = values.astype(numpy.float32)
    prefix = "bert." if any(name.startswith("bert.") for name in out) else ""
    for place, values in enumerate(products):
        layer, part = divmod(place, len(PARTS))
        out[f"{prefix}encoder.layer.{layer}.{PARTS[part]}.weight"] = values.T
    return {name: numpy.ascontiguousarray(values) for name, values in out.items()}, len(products) // len(PARTS)


def main():
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    pooling = sys.argv[4] if len(sys.argv) > 4 else None
    folder.mkdir(parents=True, exist_ok=True)
    stored, layers = tensors(source / "model.onnx")
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    words = next(values for name, values in stored.items() if name.endswith("word_embeddings.weight"))
    config = {
        "architectures": ["BertModel" if pooling else "BertForSequenceClassification"], "model_type": "bert",
        "hidden_act": "gelu", "hidden_size": words.shape[1], "num_hidden_layers": layers,
        "num_attention_heads": words.shape[1] // 32, "intermediate_size": 4 * words.shape[1],
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": words.shape[0],
    }
    if not pooling:
        config["id2label"] = {"0": "LABEL_0"}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder / name)
    if pooling:
        modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
        listed = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
                  for i, (kind, path) in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "1_Pooling").mkdir(exist_ok=True)
        mode = {"word_embedding_dimension": words.shape[1], f"pooling_mode_{pooling}_token": True,
                "pooling_mode_mean_tokens": False}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(mode))


if __name__ == "__main__":
    main()
