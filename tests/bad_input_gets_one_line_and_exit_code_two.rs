//! Whatever the user can put right is said in one line that says what to do; exit code 2; nothing half-written.

mod common;

use std::fs;
use std::path::Path;

use common::{Finished, Home, MODEL, Started, files_under};

/// Fails unless the program said one line that contains all the words, with exit code 2.
fn refused(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code, Some(2), "{finished}");
    assert_eq!(finished.stdout, "", "{finished}");
    let lines: Vec<&str> = finished.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), 1, "one line: {finished}");
    for word in words {
        assert!(lines[0].contains(word), "the line says {word:?}: {finished}");
    }
    assert!(!finished.stderr.contains("panicked"), "{finished}");
}

#[test]
fn texts_and_files() {
    let home = Home::with_model();
    let path = |name: &str| home.path().join(name).display().to_string();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(home.path().join(name), bytes).expect("a writable home");
        path(name)
    };
    let huge = write("huge.txt", &vec![b'x'; 10 << 20]);
    let empty = write("empty.txt", b"");
    let latin = write("latin.txt", b"caf\xe9\n");
    let missing = path("missing.txt");

    refused(&home.run(&["embed", "-q", "--plain", "--file", &huge]), &["10485760 bytes"]);
    refused(&home.run(&["embed", "-q", "--plain", "--file", &empty]), &["empty.txt", "empty"]);
    refused(&home.run(&["embed", "-q", "--plain", "--file", &latin]), &["latin.txt", "UTF-8"]);
    refused(&home.run(&["embed", "-q", "--plain", "--file", &missing]), &["missing.txt", "not found"]);
}

#[test]
fn unknown_models_and_a_network_that_is_down() {
    let home = Home::with_model();
    refused(&home.run(&["embed", "-q", "--plain", "--model", "no-such-model", "x"]), &["no-such-model", "pull"]);
    refused(&home.run(&["embed", "-q", "--plain", "--model", "../../etc", "x"]), &["../../etc"]);
    refused(&home.run(&["model", "show", "-q", "no-such-model"]), &["no-such-model"]);
    refused(&home.run(&["embed", "-q", "x"]), &["devnet up"]);
}

#[test]
fn folders_that_are_no_model_leave_nothing_behind() {
    let source = Home::with_model();
    let original = source.path().join("models").join(MODEL);
    let home = Home::empty();
    let bad = |name: &str, change: &dyn Fn(&Path)| {
        let folder = home.path().join("sources").join(name);
        fs::create_dir_all(&folder).expect("a writable home");
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::copy(original.join(file), folder.join(file)).expect("the cached model");
        }
        change(&folder);
        folder.display().to_string()
    };
    let config = |folder: &Path, from: &str, to: &str| {
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).expect("config.json");
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).expect("a writable home");
    };
    let cut = |folder: &Path, keep: u64| {
        let file = fs::OpenOptions::new().write(true).open(folder.join("model.safetensors")).expect("the weights");
        file.set_len(keep).expect("a writable home");
    };

    let missing = home.path().join("sources").join("missing").display().to_string();
    let other_family = bad("family", &|folder| config(folder, "\"bert\"", "\"llama\""));
    let wrong_width = bad("width", &|folder| config(folder, "\"hidden_size\": 384", "\"hidden_size\": 432"));
    let not_json = bad("config", &|folder| fs::write(folder.join("config.json"), "{").expect("a writable home"));
    let cut_short = bad("short", &|folder| cut(folder, 5_000_000));
    let cut_in_header = bad("header", &|folder| cut(folder, 7));
    let no_tokenizer =
        bad("tokenizer", &|folder| fs::remove_file(folder.join("tokenizer.json")).expect("it was there"));
    let bad_tokenizer =
        bad("words", &|folder| fs::write(folder.join("tokenizer.json"), "[]").expect("a writable home"));

    let cases: [(&str, &[&str]); 8] = [
        (&missing, &["missing"]),
        (&other_family, &["llama"]),
        (&wrong_width, &["432"]),
        (&not_json, &["config.json"]),
        (&cut_short, &["model.safetensors"]),
        (&cut_in_header, &["model.safetensors"]),
        (&no_tokenizer, &["tokenizer.json"]),
        (&bad_tokenizer, &["tokenizer.json"]),
    ];
    for (folder, words) in cases {
        refused(&home.run(&["model", "pull", "-q", folder]), words);
    }
    let left: Vec<_> = files_under(&home.path().join("models"))
        .into_iter()
        .filter(|(path, bytes)| !(bytes.is_empty() && path.to_string_lossy().contains("lock")))
        .map(|(path, _)| path)
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert_eq!(home.json(&["model", "ls", "--json"]).as_array().map(Vec::len), Some(0));
}

#[test]
fn a_full_disk_under_the_answer() {
    let home = Home::with_model();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let finished = Started::new_with_stdout(&mut home.sahara(&["model", "ls", "-q"]), full).finish(common::PATIENCE);
    refused(&finished, &["full"]);
}

#[test]
fn a_full_disk_under_the_home() {
    let source = Home::with_model();
    let folder = source.path().join("models").join(MODEL);
    let home = Home::empty();
    let small = home.path().join("small");
    fs::create_dir(&small).expect("a writable home");
    // A file system of two megabytes in a name space of its own; it goes when the program ends.
    let script = "mount -t tmpfs -o size=2m none \"$1\" && \"$2\" --home \"$1\" model pull -q \"$3\"; code=$?; \
                  find \"$1\" -type f -size +0 >&2; exit $code";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    command.arg(&small).arg(env!("CARGO_BIN_EXE_sahara")).arg(&folder);
    let finished = Started::new(&mut command).finish(common::PATIENCE);
    if finished.stderr.contains("unshare:") || finished.stderr.contains("mount:") {
        println!("not tested: this machine does not let a test mount a small disk ({})", finished.stderr.trim());
        return;
    }
    refused(&finished, &["disk is full"]);
}
