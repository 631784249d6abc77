//! `sahara embed`: sentences in, vectors out, in input order.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{Context, ModeArg, WeightsArg};
use crate::embedding::{Embedding, Engine, FloatEngine, PlainEngine, check_texts};
use crate::error::{Error, Result};
use crate::models::{DEFAULT_MODEL, Model, Store};
use crate::network::{NetworkEngine, NetworkOptions};

/// Largest file of sentences.
const MAX_FILE_BYTES: u64 = 256 << 20;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara embed \"good morning\" \"see you tomorrow\"
  sahara embed --file sentences.txt --json > vectors.jsonl
  sahara embed \"good morning\" --json --plain        the same bytes, computed here in the clear
  sahara embed \"good morning\" --json --float        the float model, for comparison

The network must be up (`sahara devnet up`) unless --plain or --float is given. With --json, each line is an object
with index, tokens and embedding. The share nodes learn the length class of a text (16, 32, 64, … tokens) and
the time, not the text. The client knows the embedding table even of a model with private weights.")]
pub struct EmbedArgs {
    /// Sentences
    #[arg(value_name = "TEXT", conflicts_with = "file", required_unless_present = "file")]
    texts: Vec<String>,
    /// Read sentences from a file, one a line ('-' for standard input)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = DEFAULT_MODEL)]
    model: String,
    /// Compute here in the clear with the reference executor
    #[arg(long, conflicts_with_all = ["float", "mode", "weights", "jobs", "committee"])]
    plain: bool,
    /// Compute here in the clear with the float model
    #[arg(long, conflicts_with_all = ["mode", "weights", "jobs", "committee", "threads"])]
    float: bool,
    /// Threads for --plain [default: all cores]
    #[arg(long, value_name = "N", requires = "plain", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// How exactly the network rounds [default: exact]
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Whether the share nodes may know the weights [default: private]
    #[arg(long, value_enum)]
    weights: Option<WeightsArg>,
    /// Sentences on the network at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// Committee file of the share nodes [default: the devnet's]
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
}

/// One line of the JSON output.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    tokens: usize,
    truncated: bool,
    embedding: &'a [f32],
}

pub fn run(args: EmbedArgs, context: &mut Context) -> Result<()> {
    let texts = match &args.file {
        Some(file) => read_lines(file)?,
        None => args.texts.clone(),
    };
    check_texts(&texts)?;
    let model = Arc::new(Store::new(&context.home).open(&args.model, &context.progress)?);
    let engine = engine(&args, model, context)?;
    context.progress.count("embedding", texts.len() as u64);
    let (out, progress) = (&mut context.out, &context.progress);
    engine.embed(&texts, &mut |answer| {
        if answer.truncated {
            progress.note(&format!(
                "text {} is longer than the model reads: only its first {} tokens count",
                answer.index, answer.tokens
            ));
        }
        progress.tick();
        if out.json() {
            out.value(&Line {
                index: answer.index,
                tokens: answer.tokens,
                truncated: answer.truncated,
                embedding: &answer.vector,
            })
        } else {
            out.line(&shown(&answer, &texts[answer.index]))
        }
    })
}

fn engine(args: &EmbedArgs, model: Arc<Model>, context: &Context) -> Result<Box<dyn Engine>> {
    if args.plain {
        return Ok(Box::new(PlainEngine::new(model, args.threads.unwrap_or(0).into())));
    }
    if args.float {
        return Ok(Box::new(FloatEngine::new(model)?));
    }
    let mut options = NetworkOptions {
        rounding: args.mode.unwrap_or(ModeArg::Exact).into(),
        visibility: args.weights.unwrap_or(WeightsArg::Private).into(),
        ..NetworkOptions::default()
    };
    if let Some(jobs) = args.jobs {
        options.jobs = jobs.into();
    }
    let engine = NetworkEngine::connect(&context.home, args.committee.as_deref(), model, options, &context.progress)?;
    Ok(Box::new(engine))
}

/// An embedding for people: a few numbers of it, and the beginning of its text.
fn shown(answer: &Embedding, text: &str) -> String {
    let numbers: Vec<String> = answer.vector.iter().take(4).map(|number| format!("{number:+.4}")).collect();
    let mut start: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(48).collect();
    if text.chars().count() > 48 {
        start.push('…');
    }
    format!(
        "{:>4}  {:>3} tokens  {} numbers [{}, …]  {start}",
        answer.index,
        answer.tokens,
        answer.vector.len(),
        numbers.join(", ")
    )
}

fn read_lines(file: &Path) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    let reading = |e| Error::io("reading", file, e);
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(reading)?;
    } else {
        let opened = std::fs::File::open(file).map_err(reading)?;
        opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(reading)?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::user(format!("{} is larger than {} MB: split it", file.display(), MAX_FILE_BYTES >> 20)));
    }
    lines(bytes, &file.display().to_string())
}

fn lines(bytes: Vec<u8>, name: &str) -> Result<Vec<String>> {
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::user(format!("{name} is not UTF-8 text (byte {}): convert it first", e.utf8_error().valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Error::user(format!("{name} is empty: put one sentence on each line")));
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match lines.iter().position(|line| line.trim().is_empty()) {
        Some(empty) => Err(Error::user(format!("line {} of {name} is empty: remove it or fill it", empty + 1))),
        None => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file_keep_their_order() {
        assert_eq!(lines(b"one\r\ntwo\n\n".to_vec(), "f").unwrap(), ["one", "two"]);
        assert!(lines(b"one\n\ntwo\n".to_vec(), "f").unwrap_err().report().contains("line 2 of f is empty"));
        assert!(lines(b"\n".to_vec(), "f").unwrap_err().report().contains("f is empty"));
        assert!(lines(b"ab\xff".to_vec(), "f").unwrap_err().report().contains("byte 2"));
    }

    #[test]
    fn a_missing_file_is_the_users_to_fix() {
        let error = read_lines(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains("/no/such/file"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let answer = Embedding { index: 0, tokens: 3, truncated: false, vector: vec![0.5], integers: vec![] };
        assert!(!shown(&answer, "a\u{1b}[31mb").contains('\u{1b}'));
    }
}
