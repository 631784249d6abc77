//! `sahara classify`: texts, or pairs of texts, in; a score for each label of a classifier out.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Context;
use super::embed::{EngineArgs, Opened, given, how_far};
use super::signals::stop_when_interrupted;
use crate::error::{Error, Result};
use sahara::embedding::{Classes, Privacy, Query, check_queries};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara classify --model sentiment \"a very good film\"
  sahara classify --model reranker \"is it open?\" --pair \"It opens at nine.\"
  sahara classify --model sentiment --file reviews.txt --json > labels.jsonl
  sahara classify --model OWNER/vote --dp-epsilon 0.3 \"a very good film\"

The model is one with a classifier, such as BertForSequenceClassification:
bring it in with `sahara model pull FOLDER`. The share nodes see neither the
text nor the scores; what makes scores of the classifier's outputs (softmax or
sigmoid) runs here. With --json, each line is an object with index, tokens,
label, scores and outputs.")]
pub struct ClassifyArgs {
    /// Texts; without any, standard input is read, one a line
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    texts: Vec<String>,
    /// Read texts from a file, one a line ('-' for standard input)
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A second text that each is read together with
    #[arg(long, value_name = "TEXT")]
    pair: Option<String>,
    /// The most ε of the data's privacy budget that each answer may cost; one without noise is refused
    #[arg(long, value_name = "E", value_parser = above_zero)]
    dp_epsilon: Option<f64>,
    #[command(flatten)]
    engine: EngineArgs,
}

fn above_zero(text: &str) -> std::result::Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number > 0.0 { Ok(number) } else { Err("not above 0".into()) }
}

/// One line of the JSON output.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    tokens: usize,
    truncated: bool,
    label: &'a str,
    scores: Vec<Score<'a>>,
    outputs: &'a [f32],
}

/// A label and its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Score<'a> {
    label: &'a str,
    score: f32,
}

pub fn run(args: ClassifyArgs, context: &mut Context) -> Result<()> {
    let texts = given(&args.texts, args.file.as_deref())?;
    let query = |text: &String| Query {
        pair: args.pair.as_deref().map(Into::into),
        most_epsilon: args.dp_epsilon,
        ..Query::from(text)
    };
    let queries: Vec<Query> = texts.iter().map(query).collect();
    check_queries(&queries)?;
    let Opened { model, engine, paid } = args.engine.open(context)?;
    let Some(classes) = model.compiled.frontend.classes().cloned() else {
        return Err(Error::user(format!(
            "{} is no classifier: use `sahara embed`, or name a classifier with --model",
            model.info.name
        )));
    };
    let stop = stop_when_interrupted();
    context.progress.count("classifying", texts.len() as u64);
    let (out, progress) = (&mut context.out, &context.progress);
    let done = engine.answer_until(&queries, &stop, &mut |answer| {
        if answer.truncated {
            progress.note(&format!(
                "text {} is longer than the model reads: only {} of its tokens count",
                answer.index, answer.tokens
            ));
        }
        let scores = scored(&classes, &answer.vector);
        if out.json() {
            out.value(&Line {
                index: answer.index,
                tokens: answer.tokens,
                truncated: answer.truncated,
                label: scores.first().map_or("", |best| best.label),
                scores,
                outputs: &answer.vector,
            })?;
        } else {
            out.line(&shown(answer.index, &scores, &texts[answer.index]))?;
        }
        out.flush()?;
        progress.tick();
        Ok(())
    });
    paid.iter().for_each(|tally| tally.tell(progress));
    // What was answered stays answered, whether or not the nodes say what it has cost by now.
    if let Ok(Some(privacy)) = engine.privacy() {
        let Privacy { epsilon, spent, budget, delta } = privacy;
        progress.note(&format!(
            "each answer costs ε = {epsilon:.4} of the data's budget; ε = {spent:.4} of {budget} is spent by all so far, {:.4} is \
             left (δ = {delta:e})",
            privacy.left()
        ));
    }
    done.map_err(|error| how_far(error.into(), progress.done(), texts.len()))
}

/// The labels with their scores, highest first.
fn scored<'a>(classes: &'a Classes, outputs: &[f32]) -> Vec<Score<'a>> {
    let scores = classes.labels.iter().zip(classes.scores(outputs));
    let mut scores: Vec<Score<'a>> = scores.map(|(label, score)| Score { label: &label.0, score }).collect();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    scores
}

/// The best labels for people, and the beginning of the text.
fn shown(index: usize, scores: &[Score<'_>], text: &str) -> String {
    let clean = |text: &str, most: usize| -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
    };
    let best: Vec<String> = scores.iter().take(3).map(|s| format!("{} {:.3}", clean(s.label, 12), s.score)).collect();
    format!("{index:>4}  {}  {}", best.join(", "), clean(text, 24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_label_comes_first_and_nothing_reaches_the_terminal_raw() {
        let scores = [Score { label: "good", score: 0.75 }, Score { label: "bad\u{1b}", score: 0.25 }];
        let line = shown(3, &scores, "a\u{1b}[31mb");
        assert!(line.starts_with("   3  good 0.750, bad  0.250") && !line.contains('\u{1b}'), "{line}");
    }
}
