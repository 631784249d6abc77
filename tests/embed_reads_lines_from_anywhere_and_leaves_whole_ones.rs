//! `sahara embed` takes its lines from arguments, a file or a pipe; a blank line is a blank text; an interrupted run
//! says how far it came and has printed whole lines only.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Home, PATIENCE, embeddings, interrupt};
use serde_json::Value;

#[test]
fn a_pipe_a_file_and_arguments_are_the_same_lines_and_a_blank_one_is_a_text() {
    let home = Home::with_model();
    let from_arguments = home.output(&["embed", "--plain", "--json", "one", "", "three"]);
    let file = home.path().join("lines.txt");
    fs::write(&file, "one\n\nthree\n").expect("a writable home");
    let from_file = home.output(&["embed", "--plain", "--json", "--file", &file.display().to_string()]);
    let mut piped = home.sahara(&["embed", "--plain", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let piped = piped.as_mut().expect("the program starts");
    piped.stdin.take().expect("a pipe").write_all(b"one\n\nthree\n").expect("it reads");
    let from_pipe = std::io::read_to_string(piped.stdout.take().expect("a pipe")).expect("it prints");
    assert!(piped.wait().is_ok_and(|status| status.success()));
    assert_eq!(from_file, from_arguments);
    assert_eq!(from_pipe, from_arguments);

    let second: Value = serde_json::from_str(from_arguments.lines().nth(1).expect("three lines")).expect("JSON");
    assert_eq!(second["tokens"], 2, "a blank text is the two special tokens");
    let float = embeddings(&home.output(&["embed", "--float", "--json", " \t "]));
    assert!(common::cosine(&embeddings(&from_arguments)[1], &float[0]) > 0.99, "as the float model answers it");

    let nothing = home.run(&["embed", "-q", "--plain"]);
    assert!(nothing.code == Some(2) && nothing.stderr.contains("standard input is empty"), "{nothing}");
}

#[test]
fn an_interrupted_run_says_how_far_it_came() {
    let home = Home::with_model();
    let file = home.path().join("many.txt");
    fs::write(&file, "a sentence of some length that is embedded again and again\n".repeat(100_000)).expect("a home");
    let mut child = home
        .sahara(&["embed", "--plain", "--json", "--file", &file.display().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut printed = String::new();
    for _ in 0..3 {
        stdout.read_line(&mut printed).expect("an answer");
    }
    interrupt(child.id());
    let limit = std::time::Instant::now() + PATIENCE;
    printed += &std::io::read_to_string(stdout).expect("whole text");
    assert!(std::time::Instant::now() < limit);
    let said = std::io::read_to_string(child.stderr.take().expect("a pipe")).expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(130), "{said}");
    let whole = embeddings(&printed).len();
    assert!(said.contains(&format!("interrupted: {whole} of 100000 texts are done and printed")), "{said}");
}

#[test]
fn whoever_does_not_read_the_progress_gets_the_answer_all_the_same() {
    let home = Home::with_model();
    let gone = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        writer
    };
    let answered = home.sahara(&["embed", "--plain", "--json", "one"]).stderr(gone()).output().expect("an end");
    assert_eq!(answered.status.code(), Some(0));
    assert_eq!(embeddings(&String::from_utf8_lossy(&answered.stdout)).len(), 1);
    let refused = home.sahara(&["embed", "--plain", "--model", "none", "one"]).stderr(gone()).output().expect("an end");
    assert_eq!(refused.status.code(), Some(2), "and the code of an error");
}
