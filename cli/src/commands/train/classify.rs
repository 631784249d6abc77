//! `sahara train classify`: a classifier of texts over an encoder that stays as it is.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara_privacy::train::Network;
use sahara_privacy::train::table::Description;

use super::super::Context;
use super::args::RunArgs;
use super::task::{Kind, Task};
use super::{classifier, texts};
use crate::error::{Error, Result};

pub const HELP: &str = "\
Examples:
  sahara train classify --data reviews.tsv --labels bad,good --epsilon 3 \\
    --delta 1e-5 --out trained
  sahara train classify --data mails.jsonl --labels ham,spam --epsilon 1 \\
    --delta 1e-5 --test held-out.jsonl --out trained

A line is TEXT<tab>LABEL in a .tsv file, and {\"text\": …, \"label\": …} in a .jsonl
file. Texts are embedded here, in the clear, by a model that stays as it is; a
linear classifier is trained on the vectors. `release` in --out is a model
folder: `sahara model pull` brings it in, `sahara classify` asks it on the share
nodes. What else lies in --out, what is spent, --resume and --provable are as in
`sahara train table`.";

#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// The texts with their labels, .tsv or .jsonl
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Model that embeds the texts
    #[arg(long, value_name = "NAME", default_value = sahara::models::DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    pub run: RunArgs,
}

pub fn classify(args: &ClassifyArgs, context: &mut Context) -> Result<()> {
    let task = args.task(&args.data, context)?;
    args.run.go(task, context)
}

impl ClassifyArgs {
    /// The network and its examples, from this file.
    pub fn task(&self, data: &Path, context: &Context) -> Result<Task> {
        let description = Description { columns: Vec::new(), labels: self.run.labels.clone() };
        let (encoder, engine) = texts::engine(&self.model, context)?;
        let read = |path: &Path| texts::embedded(path, &description, &engine, context);
        let (mut texts, examples) = read(data)?;
        let test = self.run.test.as_deref().map(read).transpose()?.map(|(_, test)| test);
        texts.truncate(classifier::TRIED);
        let kind = Kind::Texts { embedder: self.model.clone(), encoder, texts };
        let network = Network::logistic(examples.width(), self.run.labels.len());
        let network = network.map_err(|error| Error::user(error.to_string()))?;
        Ok(Task { network, examples, test, kind })
    }
}
