//! Small tokenizers of both kinds: word pieces, and byte-level pairs.

use serde_json::{Value, json};

/// Words that the vocabularies have whole.
const WORDS: [&str; 24] = [
    "the", "quick", "brown", "fox", "hello", "world", "private", "network", "query", "passage", "good", "bad", "is",
    "it", "was", "a", "film", "bank", "river", "doctor", "cat", "dog", "not", "very",
];

fn special(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": content == "<mask>", "rstrip": false,
        "normalized": false, "special": true})
}

/// `<first> A <last>`, and the form for two texts.
fn template(first: (&str, usize), last: (&str, usize), double: bool) -> Value {
    let token = |name: &str, kind: u8| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let sequence = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let single = vec![token(first.0, 0), sequence("A", 0), token(last.0, 0)];
    let mut pair = single.clone();
    if double {
        pair.extend([token(last.0, 0), sequence("B", 0), token(last.0, 0)]);
    } else {
        pair.extend([sequence("B", 1), token(last.0, 1)]);
    }
    let entry = |(name, id): (&str, usize)| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({"type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": {(first.0): entry(first), (last.0): entry(last)}})
}

/// Vocabulary and tokenizer in the manner of BERT, with these first, padding and last tokens.
pub(super) fn word_pieces(tokens: [&str; 3], double: bool, lower_case: bool) -> (Vec<String>, Value) {
    let mask = if tokens[0] == "<s>" { "<mask>" } else { "[MASK]" };
    let mut vocabulary: Vec<String> = tokens.iter().chain(&["[UNK]", mask]).map(|t| (*t).to_owned()).collect();
    let letters = || ('a'..='z').chain(['é', 'ü']).map(String::from);
    vocabulary.extend(letters().chain(letters().map(|c| format!("##{c}"))));
    vocabulary.extend(('A'..='Z').map(String::from).chain(('A'..='Z').map(|c| format!("##{c}"))));
    vocabulary.extend([".", ",", "?", "!", ":", "-", "中"].map(String::from));
    vocabulary.extend(WORDS.iter().filter(|word| word.len() > 1).map(|word| (*word).to_owned()));
    let ids: serde_json::Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0",
        // Both are overruled: a model's own limit counts, and nothing is padded here.
        "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
            "pad_type_id": 0, "pad_token": tokens[1]},
        "added_tokens": (0..5).map(|id| special(id, &vocabulary[id])).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": lower_case},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template((tokens[0], 0), (tokens[2], 2), double),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids},
    });
    (vocabulary, tokenizer)
}

/// Vocabulary and tokenizer in the manner of RoBERTa.
pub(super) fn byte_level() -> (Vec<String>, Value) {
    // The printable stand-in of each byte.
    let plain = |b: &u32| (33..=126).contains(b) || (161..=172).contains(b) || (174..=255).contains(b);
    let mut letters: Vec<char> = (0..256).filter(plain).filter_map(char::from_u32).collect();
    letters.extend((0..256u32).filter(|b| !plain(b)).enumerate().filter_map(|(i, _)| char::from_u32(256 + i as u32)));
    let mut vocabulary: Vec<String> = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(String::from).to_vec();
    vocabulary.extend(letters.into_iter().map(String::from));
    let mut merges = Vec::new();
    for word in WORDS.iter().take(12) {
        let mut left = "Ġ".to_owned();
        for c in word.chars() {
            let pair = (left.clone(), c.to_string());
            left.push(c);
            if !vocabulary.contains(&left) {
                merges.push(json!([pair.0, pair.1]));
                vocabulary.push(left.clone());
            }
        }
    }
    let ids: serde_json::Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..5).map(|id| special(id, &vocabulary[id])).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
            "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": ids, "merges": merges},
    });
    (vocabulary, tokenizer)
}
