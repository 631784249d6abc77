//! `sahara train lora`: adapters of an encoder, or all of it, trained on texts.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use sahara::embedding::FloatEngine;
use sahara::models::{self, Model};
use sahara_circuits::trainable::Trainable;
use sahara_privacy::train::table::Description;
use sahara_privacy::train::transformer::{Adapters, Classifier, Reading, Sizes, Target, Texts, Tuning, Weights};
use sahara_privacy::train::{Ledger, Model as _, Plan, Rule, Run, Schedule, measure};

use super::super::Context;
use super::args::{RuleArg, RunArgs};
use super::folder::Folder;
use super::release::Release;
use super::report::{Report, say};
use super::run::trained;
use super::spending::{cost, spent_error};
use super::{texts, train_error};
use crate::error::{Blame, Error, Result};

pub const HELP: &str = "\
Examples:
  sahara train lora --data reviews.tsv --labels bad,good --epsilon 3 \\
    --delta 1e-5 --out trained
  sahara train lora --data mails.jsonl --labels ham,spam --epsilon 8 \\
    --delta 1e-5 --all --batch 512 --out trained

A line is TEXT<tab>LABEL in a .tsv file, and {\"text\": …, \"label\": …} in a .jsonl
file. The classifier reads the first token through the model's pooler, as
BertForSequenceClassification does. Trained are low-rank adapters of attention
and the classifier's layer, or with --all everything but the tables of
embeddings.

--out gets a folder `release`, which is what ε bounds: `adapter`, which Hugging
Face's peft loads over the model (not with --all), `merged`, a whole model that
`sahara model pull` compiles and `sahara classify` asks, and a report. Before
that, the merged model was read again: it gave the trained one's outputs and, as
an integer graph, its labels. What else lies in --out, what is spent and
--resume are as in `sahara train table`.";

#[derive(Args, Debug)]
pub struct LoraArgs {
    /// The texts with their labels, .tsv or .jsonl
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Model to begin with
    #[arg(long, value_name = "NAME", default_value = models::DEFAULT_MODEL)]
    model: String,
    /// Rank of the adapters
    #[arg(long, value_name = "R", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    rank: u16,
    /// Scale of the adapters, times the rank [default: twice the rank]
    #[arg(long, value_name = "A")]
    alpha: Option<f32>,
    /// Matrices of attention that get adapters
    #[arg(long, value_name = "T,…", value_enum, value_delimiter = ',', default_values = ["query", "value"])]
    targets: Vec<TargetArg>,
    /// Train everything but the tables of embeddings, without adapters
    #[arg(long, conflicts_with_all = ["rank", "alpha", "targets"])]
    all: bool,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum TargetArg {
    /// That of queries
    #[value(alias = "q")]
    Query,
    /// That of keys
    #[value(alias = "k")]
    Key,
    /// That of values
    #[value(alias = "v")]
    Value,
}

pub fn lora(args: &LoraArgs, context: &mut Context) -> Result<()> {
    args.run.check_labels()?;
    let refused = [(args.run.without_privacy, "--without-privacy"), (args.run.provable, "--provable")];
    if let Some((_, option)) = refused.iter().find(|(given, _)| *given) {
        let todo = "use it with `sahara train classify`";
        return Err(Error::user(format!("{option} is for linear models, not for adapters: {todo}")));
    }
    let model = Arc::new(models::open_whole(&context.home, &args.model, &context.progress.events())?);
    // Its files are as they were pulled.
    FloatEngine::new(Arc::clone(&model))?;
    let mut base = Trainable::load(&model.folder)
        .map_err(|error| Error::wrap(&format!("reading {}", model.info.name), Blame::User, error))?;
    let (own, read) = args.texts(&args.data, &base)?;
    let test = args.run.test.as_ref().map(|test| args.texts(test, &base)).transpose()?.map(|(test, _)| test);
    let classifier = args.classifier(&mut base)?;
    drop(base);
    let plan = args.plan(&classifier, &own)?;
    let begun = classifier.begin(args.run.seed);
    let release = Release { classifier: &classifier, parameters: &begun, labels: &args.run.labels, base: &model };
    release.try_merged()?;
    let name = |folder: &Folder| Ok(folder.name_of_texts(&args.settings(&plan, &classifier, &model), &own));
    let Some((folder, run)) = args.run.spend(Some(&cost(&plan)?), name, context)? else { return Ok(()) };
    let (rule, rate) = args.ways();
    let (schedule, ledger) = (args.run.schedule(), folder.ledger(&run));
    let mut run = if args.run.resume {
        let state = folder.checkpoint(&run, classifier.parameters(), rule)?;
        let ledger = Ledger::open(&ledger, &run).map_err(|error| spent_error(&error, &run))?;
        Run::resume(&classifier, &own, plan, (schedule, rate), ledger, state)
    } else {
        let ledger = Ledger::create(&ledger, &run).map_err(|error| spent_error(&error, &run))?;
        Run::begin(&classifier, &own, plan, (rule, schedule, rate), args.run.seed, ledger, run)
    }
    .map_err(train_error)?;
    let epsilon = trained(&mut run, &folder, context)?;
    let (parameters, report) = (&run.state().parameters, Report::of(run.plan(), epsilon));
    let release = Release { parameters, ..release };
    release.check_changes(&begun)?;
    folder.put(&report, |to| release.write(to, &read, &context.progress))?;
    let right = |texts: &Texts| {
        let outcome = measure(&classifier, parameters, texts).map_err(train_error)?;
        Ok::<_, Error>(outcome.right as f64 / texts.len().max(1) as f64)
    };
    let test = test.as_ref().map(right).transpose()?;
    say(&args.run.out, report, right(&own)?, test, context)
}

/// A classifier, its texts, the plan for them, and how it learns.
type Subject = (Classifier, Texts, Plan, (Rule, Schedule, f32));

impl LoraArgs {
    /// What is trained on the texts of this file, by which plan and ways.
    pub fn subject(&self, data: &std::path::Path, context: &Context) -> Result<Subject> {
        let model = models::open_whole(&context.home, &self.model, &context.progress.events())?;
        let mut base = Trainable::load(&model.folder)
            .map_err(|error| Error::wrap(&format!("reading {}", model.info.name), Blame::User, error))?;
        let (texts, _) = self.texts(data, &base)?;
        let classifier = self.classifier(&mut base)?;
        let plan = self.plan(&classifier, &texts)?;
        let (rule, rate) = self.ways();
        Ok((classifier, texts, plan, (rule, self.run.schedule(), rate)))
    }

    /// The tokens of a file's texts with their classes, and the texts.
    fn texts(&self, path: &std::path::Path, base: &Trainable) -> Result<(Texts, Vec<String>)> {
        let labels = Description { columns: Vec::new(), labels: self.run.labels.clone() };
        let (texts, classes) = texts::labelled(path, &texts::file(path)?, &labels)?;
        let wrong = |place: usize, error: &dyn std::fmt::Display| {
            Error::user(format!("{}: text {}: {error}", path.display(), place + 1))
        };
        let tokens = texts.iter().enumerate().map(|(i, text)| base.tokens(text).map_err(|error| wrong(i, &error)));
        let tokens = tokens.collect::<Result<Vec<_>>>()?;
        let tokens = Texts::new(tokens.iter().map(Vec::as_slice), classes)
            .map_err(|error| Error::fault_from(format!("reading {}", path.display()), error))?;
        Ok((tokens, texts))
    }

    fn classifier(&self, base: &mut Trainable) -> Result<Classifier> {
        let sizes = Sizes {
            hidden: base.sizes.hidden,
            heads: base.sizes.heads,
            inner: base.sizes.inner,
            layers: base.sizes.layers,
            vocabulary: base.sizes.vocabulary,
            places: base.sizes.positions,
            types: base.sizes.types,
            epsilon: base.sizes.epsilon as f32,
            pooler: base.has("pooler.dense.weight"),
        };
        let wrong = |error: &dyn std::fmt::Display| Error::user(format!("{} cannot be trained: {error}", self.model));
        let mut weights = Weights::empty(&sizes);
        weights
            .visit(&mut |name, shape, values| base.tensor(name, shape).map(|tensor| *values = tensor))
            .map_err(|error| wrong(&error))?;
        let mut targets: Vec<Target> = self
            .targets
            .iter()
            .map(|target| match target {
                TargetArg::Query => Target::Query,
                TargetArg::Key => Target::Key,
                TargetArg::Value => Target::Value,
            })
            .collect();
        targets.sort();
        let rank = usize::from(self.rank);
        let alpha = self.alpha.unwrap_or(2.0 * f32::from(self.rank));
        let tuning = if self.all { Tuning::All } else { Tuning::Adapters(Adapters { rank, alpha, targets }) };
        Classifier::new(weights, Reading::First, tuning, self.run.labels.len()).map_err(|error| wrong(&error))
    }

    fn plan(&self, classifier: &Classifier, texts: &Texts) -> Result<Plan> {
        let wish = self.run.wish(texts.len(), classifier.parameters(), 10.0)?;
        Plan::with_rounding(wish, classifier.rounding())
            .map_err(|error| Error::wrap("planning the run", Blame::User, error))
    }

    fn ways(&self) -> (Rule, f32) {
        let rate = self.run.rate.unwrap_or(if self.all { 1e-4 } else { 1e-3 });
        match self.run.optimizer.unwrap_or(RuleArg::Adamw) {
            RuleArg::Sgd => (Rule::Sgd { momentum: 0.0 }, rate),
            RuleArg::Adamw => (Rule::ADAM, rate),
        }
    }

    /// All that makes a run what it is, but for the data.
    fn settings(&self, plan: &Plan, classifier: &Classifier, model: &Model) -> String {
        format!(
            "{plan:?} {:?} {:?} {:?} {:?} {:?} {} {:?}",
            self.ways(),
            self.run.schedule(),
            classifier.tuning(),
            classifier.reading(),
            self.run.labels,
            self.run.seed,
            model.info.files
        )
    }
}
