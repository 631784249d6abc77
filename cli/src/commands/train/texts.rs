//! Texts with labels, and the vectors of texts.

use std::path::Path;
use std::sync::Arc;

use sahara::embedding::{Engine, FloatEngine, Query, check_queries};
use sahara::models;
use sahara_privacy::train::Examples;
use sahara_privacy::train::table::Description;
use serde::Deserialize;

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::classifier::Encoder;
use crate::error::{Error, Result};

/// Largest file of rows or texts.
const MOST_BYTES: u64 = 1 << 30;

/// A line of a .jsonl file.
#[derive(Deserialize)]
struct Line {
    text: String,
    label: String,
}

/// All of a file of at most so many bytes.
pub fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |error| Error::io("reading", path, error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(Error::user(format!("{} is larger than {most} bytes", path.display()))),
        false => Ok(bytes),
    }
}

/// All of a file of text.
pub fn file(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path, MOST_BYTES)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::user(format!("{} is not UTF-8 text (byte {at}): convert it first", path.display()))
    })
}

/// What embeds texts here, in the clear.
pub fn engine(model: &str, context: &Context) -> Result<(Encoder, FloatEngine)> {
    let model = Arc::new(models::open_whole(&context.home, model, &context.progress.events())?);
    Ok((Encoder::of(&model)?, FloatEngine::new(model)?))
}

/// The texts of a file, and their vectors with the classes of their labels. Each has length 1, or is scaled to it.
pub fn embedded(
    path: &Path,
    labels: &Description,
    engine: &FloatEngine,
    context: &Context,
) -> Result<(Vec<String>, Examples)> {
    let (texts, classes) = labelled(path, &file(path)?, labels)?;
    let queries: Vec<Query> = texts.iter().map(Query::from).collect();
    check_queries(&queries)?;
    let mut values = Vec::with_capacity(texts.len() * engine.dimensions());
    context.progress.count("embedding", texts.len() as u64);
    let stop = stop_when_interrupted();
    engine.answer_until(&queries, &stop, &mut |answer| {
        let norm = answer.vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
        values.extend(answer.vector.iter().map(|value| value / norm));
        context.progress.tick();
        Ok(())
    })?;
    let examples = Examples::new(engine.dimensions(), values, classes)
        .map_err(|error| Error::fault_from(format!("embedding {}", path.display()), error))?;
    Ok((texts, examples))
}

/// The texts of a file, and the classes of their labels.
pub fn labelled(path: &Path, text: &str, labels: &Description) -> Result<(Vec<String>, Vec<u32>)> {
    let wrong = |line: usize, reason: &str| Error::user(format!("{}: line {line}: {reason}", path.display()));
    let jsonl = match path.extension().and_then(|extension| extension.to_str()) {
        Some("tsv") => false,
        Some("jsonl") => true,
        _ => {
            return Err(Error::user(format!(
                "{}: the name of a file of texts ends with .tsv or .jsonl",
                path.display()
            )));
        }
    };
    let (mut texts, mut classes) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let (text, label) = if jsonl {
            let line: Line = serde_json::from_str(line)
                .map_err(|error| wrong(number, &format!("no object with text and label: {error}")))?;
            (line.text, line.label)
        } else {
            let (text, label) = line.rsplit_once('\t').ok_or_else(|| wrong(number, "no tab between text and label"))?;
            (text.to_owned(), label.to_owned())
        };
        let class =
            labels.class(&label, number).map_err(|error| Error::user(format!("{}: {error}", path.display())))?;
        texts.push(text);
        classes.push(class);
    }
    Ok((texts, classes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_others_are_refused_with_their_line() {
        let labels = Description { columns: vec![], labels: vec!["bad".into(), "good".into()] };
        let read = |name: &str, text: &str| labelled(Path::new(name), text, &labels);
        let expected = (vec!["a\tb".to_owned(), "c".to_owned()], vec![1, 0]);
        assert_eq!(read("x.tsv", "a\tb\tgood\r\n\nc\tbad").unwrap(), expected);
        let json = "{\"text\": \"a\\tb\", \"label\": \"good\"}\n{\"text\": \"c\", \"label\": \"bad\"}";
        assert_eq!(read("x.jsonl", json).unwrap(), expected);
        for (name, text) in [("x.tsv", "a\n"), ("x.tsv", "a\tugly"), ("x.jsonl", "{}"), ("x.csv", "")] {
            let error = read(name, text).unwrap_err();
            assert!(error.exit_code() == 2 && error.report().contains(name), "{}", error.report());
        }
    }
}
