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
label, scores and outputs, and dp where answers leave with noise.

Answers of a vote (`sahara model ensemble`) leave with noise, and cost of a
privacy budget that its owner has set. What one costs and what is left is said
before the first is asked for and after the last, with --dp-epsilon or without;
texts for which the budget does not suffice are refused before any is asked.")]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    dp: Option<Spent>,
}

/// What an answer with noise costs, and how it stands with the budget after it: nothing of that where the nodes do not say it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spent {
    epsilon: f64,
    spent: Option<f64>,
    left: Option<f64>,
    answers_left: Option<u64>,
    budget: f64,
    delta: f64,
}

impl Spent {
    fn new(one: Privacy, now: Option<Privacy>) -> Self {
        Self {
            epsilon: one.epsilon,
            spent: now.map(|now| now.spent),
            left: now.map(|now| now.left()),
            answers_left: now.map(|now| now.answers),
            budget: one.budget,
            delta: one.delta,
        }
    }
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
    // Said before it is spent, whether or not somebody has set a limit.
    let privacy = engine.privacy()?;
    if let Some(before) = &privacy {
        context.progress.note(&costs(before));
    }
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
                // What was answered stays answered, whether or not the nodes say what all have cost by now.
                dp: privacy.map(|one| Spent::new(one, engine.privacy().ok().flatten())),
            })?;
        } else {
            out.line(&shown(answer.index, &scores, &texts[answer.index]))?;
        }
        out.flush()?;
        progress.tick();
        Ok(())
    });
    paid.iter().for_each(|tally| tally.tell(progress));
    if privacy.is_some() {
        match engine.privacy() {
            Ok(now) => now.iter().for_each(|now| progress.note(&stands(now))),
            Err(error) => {
                progress.note(&format!("what is left of the budget is not known: {}", Error::from(error).report()))
            }
        }
    }
    done.map_err(|error| how_far(error.into(), progress.done(), texts.len()))
}

/// What an answer costs, before any is asked for.
fn costs(privacy: &Privacy) -> String {
    let Privacy { epsilon, delta, .. } = privacy;
    format!("an answer costs ε = {epsilon:.4} at δ = {delta:e} of the privacy budget of the data: {}", stands(privacy))
}

/// How it stands with the budget.
fn stands(privacy: &Privacy) -> String {
    let Privacy { spent, budget, answers, .. } = privacy;
    let more = match *answers {
        1 => "one answer".to_owned(),
        Privacy::COUNTED => format!("at least {} answers", Privacy::COUNTED),
        answers => format!("{answers} answers"),
    };
    format!("ε = {spent:.4} of {budget} is spent by all, {:.4} is left, enough for {more} more", privacy.left())
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
    fn what_is_left_is_said_in_answers() {
        let one = Privacy { epsilon: 0.5, spent: 3.25, answers: 1, budget: 4.0, delta: 1e-5 };
        assert_eq!(
            costs(&one),
            "an answer costs ε = 0.5000 at δ = 1e-5 of the privacy budget of the data: ε = 3.2500 of 4 is spent by all, 0.7500 is left, \
             enough for one answer more"
        );
        assert!(stands(&Privacy { answers: 0, ..one }).ends_with("enough for 0 answers more"));
        assert!(stands(&Privacy { answers: Privacy::COUNTED, ..one }).contains("at least 1000000 answers"));
    }

    #[test]
    fn the_best_label_comes_first_and_nothing_reaches_the_terminal_raw() {
        let scores = [Score { label: "good", score: 0.75 }, Score { label: "bad\u{1b}", score: 0.25 }];
        let line = shown(3, &scores, "a\u{1b}[31mb");
        assert!(line.starts_with("   3  good 0.750, bad  0.250") && !line.contains('\u{1b}'), "{line}");
    }
}
