//! `sahara embed`: sentences in, vectors out, in input order.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::paying::{self, Tally};
use super::signals::stop_when_interrupted;
use super::{Context, ModeArg, WeightsArg};
use crate::error::{Blame, Error, Result};
use sahara::embedding::{Embedding, Engine, FloatEngine, PlainEngine, Query, check_queries};
use sahara::models::{self, DEFAULT_MODEL, Model};
use sahara::network::{NetworkEngine, NetworkOptions};

/// Largest file of sentences.
const MAX_FILE_BYTES: u64 = 256 << 20;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara embed \"good morning\" \"see you tomorrow\"
  sahara embed --file sentences.txt --json > vectors.jsonl
  echo \"good morning\" | sahara embed            a sentence a line
  sahara embed \"good morning\" --json --plain    the same bytes, computed here
  sahara embed \"good morning\" --json --float    the float model, to compare
  sahara embed --prompt query \"is it late?\"     the authors' prompt of this name

The network must be up (`sahara devnet up`) unless --plain or --float is given.
A model of your own that the nodes do not have under its name is shared under
it first, for your own key; one that you shared --as another name is asked with
--model OWNER/NAME (`sahara model shared`).
With --json, each line is an object with index, tokens and embedding. The share
nodes learn the length class of a text (16, 32, 64, … tokens) and the time, not
the text. The client knows the embedding table
even of a model with private weights.")]
pub struct EmbedArgs {
    /// Sentences; without any, standard input is read, one a line
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    texts: Vec<String>,
    /// Read sentences from a file, one a line ('-' for standard input)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Put the model's prompt of this name before each text [default: the model's own]
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Which model answers, and where.
#[derive(Args, Debug)]
pub(super) struct EngineArgs {
    /// Name of the model, OWNER/NAME of somebody else's on the share nodes, or the
    /// id of an asset for which you have a session
    #[arg(long, default_value = DEFAULT_MODEL)]
    pub(super) model: String,
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
    /// Whether the share nodes may know the weights [default: private; for somebody else's model, its owner's choice]
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
    let texts = given(&args.texts, args.file.as_deref())?;
    let query = |text: &String| Query { prompt: args.prompt.clone(), ..Query::from(text) };
    let queries: Vec<Query> = texts.iter().map(query).collect();
    check_queries(&queries)?;
    let Opened { model, engine, paid } = args.engine.open(context)?;
    if model.compiled.frontend.classes().is_some() {
        return Err(Error::user(format!("{} is a classifier: use `sahara classify`", model.info.name)));
    }
    let stop = stop_when_interrupted();
    context.progress.count("embedding", texts.len() as u64);
    let (out, progress) = (&mut context.out, &context.progress);
    let done = engine.answer_until(&queries, &stop, &mut |answer| {
        if answer.truncated {
            progress.note(&format!(
                "text {} is longer than the model reads: only {} of its tokens count",
                answer.index, answer.tokens
            ));
        }
        if out.json() {
            out.value(&Line {
                index: answer.index,
                tokens: answer.tokens,
                truncated: answer.truncated,
                embedding: &answer.vector,
            })?;
        } else {
            out.line(&shown(&answer, &texts[answer.index]))?;
        }
        // Whatever ends this program later, this answer is with its reader.
        out.flush()?;
        progress.tick();
        Ok(())
    });
    paid.iter().for_each(|tally| tally.tell(progress));
    done.map_err(|error| how_far(error.into(), progress.done(), texts.len()))
}

/// A model and what answers.
pub(super) struct Opened {
    /// With its weights if it is to run here.
    pub(super) model: Arc<Model>,
    pub(super) engine: Box<dyn Engine>,
    /// What is paid, if anything is.
    pub(super) paid: Option<Tally>,
}

/// Says of an interruption how far it had come.
pub(super) fn how_far(error: Error, done: u64, all: usize) -> Error {
    match error.blame() {
        Blame::Stopped => {
            error.saying(format!("interrupted: {done} of {all} texts are done and printed, go on from text {done}"))
        }
        _ => error,
    }
}

impl EngineArgs {
    /// The model and what answers.
    pub(super) fn open(&self, context: &Context) -> Result<Opened> {
        let progress = context.progress.events();
        if self.plain || self.float {
            let model = Arc::new(models::open_whole(&context.home, &self.model, &progress)?);
            let engine: Box<dyn Engine> = match self.plain {
                true => Box::new(PlainEngine::new(model.clone(), self.threads.unwrap_or(0).into())),
                false => Box::new(FloatEngine::new(model.clone())?),
            };
            return Ok(Opened { model, engine, paid: None });
        }
        let options = self.options();
        if self.committee.is_none()
            && let Some((engine, tally)) = paying::engine(&context.home, &self.model, &options, &context.progress)?
        {
            return Ok(Opened { model: engine.model().clone(), engine: Box::new(engine), paid: Some(tally) });
        }
        let model = Arc::new(models::open(&context.home, &self.model, self.committee.as_deref(), &progress)?);
        let committee = self.committee.as_deref();
        let engine = NetworkEngine::connect(&context.home, committee, model.clone(), options, &progress)?;
        Ok(Opened { model, engine: Box::new(engine), paid: None })
    }

    fn options(&self) -> NetworkOptions {
        let mut options = NetworkOptions {
            rounding: self.mode.unwrap_or(ModeArg::Exact).into(),
            visibility: self.weights.map(Into::into),
            ..NetworkOptions::default()
        };
        if let Some(jobs) = self.jobs {
            options.jobs = jobs.into();
        }
        options
    }
}

/// Characters of a text that are shown.
const STARTED: usize = 28;

/// An embedding for people: a few numbers of it, and the beginning of its text.
fn shown(answer: &Embedding, text: &str) -> String {
    let numbers: Vec<String> = answer.vector.iter().take(3).map(|number| format!("{number:+.3}")).collect();
    let mut start: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STARTED).collect();
    if text.chars().count() > STARTED {
        start.push('…');
    }
    format!("{:>4}  {:>3} tokens  [{}, …]  {start}", answer.index, answer.tokens, numbers.join(", "))
}

/// The texts of the command line, of a file, or of whatever is piped in.
pub(super) fn given(texts: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    match file {
        Some(file) => read_lines(file),
        None if !texts.is_empty() => Ok(texts.to_vec()),
        None if std::io::stdin().is_terminal() => {
            Err(Error::user("no text: give at least one, e.g. \"good morning\", or --file FILE"))
        }
        None => read_lines(Path::new("-")),
    }
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
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    lines(bytes, &name)
}

fn lines(bytes: Vec<u8>, name: &str) -> Result<Vec<String>> {
    let text = String::from_utf8(bytes).map_err(|e| {
        Error::user(format!("{name} is not UTF-8 text (byte {}): convert it first", e.utf8_error().valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.is_empty() {
        return Err(Error::user(format!("{name} is empty: put one sentence on each line")));
    }
    // A blank line is a blank text, so that the answers are as many as the lines.
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file_keep_their_order() {
        assert_eq!(lines(b"one\r\n\ntwo\n\n".to_vec(), "f").unwrap(), ["one", "", "two", ""]);
        assert_eq!(lines(b"\xef\xbb\xbf one".to_vec(), "f").unwrap(), [" one"]);
        assert!(lines(vec![], "f").unwrap_err().report().contains("f is empty"));
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
        let answer =
            Embedding { index: 0, tokens: 3, truncated: false, vector: vec![0.5], integers: vec![], receipt: None };
        assert!(!shown(&answer, "a\u{1b}[31mb").contains('\u{1b}'));
        let long = Embedding { index: 9999, tokens: 512, vector: vec![-0.123; 384], ..answer };
        assert!(shown(&long, &"x".repeat(100)).chars().count() <= super::super::output::WIDTH);
    }
}
