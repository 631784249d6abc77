//! `sahara train`: models of private data, trained on this machine within a privacy budget.

mod audit;
pub(super) mod classifier;
pub(super) mod folder;
mod lora;
mod provable;
mod release;
pub(super) mod rows;
pub(super) mod texts;
mod value;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use sahara_privacy::accounting::{AccountingError, Composition, Mechanism, rdp};
use sahara_privacy::budget::Cost;
use sahara_privacy::train::Model as Trainable;
use sahara_privacy::train::table::{Column, Description, TableError};
use sahara_privacy::train::{
    Clip, Examples, Layer, Ledger, Network, Outcome, Plan, Progress, Rule, Run, Schedule, TrainError, Wish, measure,
};
use serde::Serialize;

use super::Context;
use super::data::{DrawArgs, Reserved};
use super::signals::stop_when_interrupted;
use crate::error::{Blame, Error, Result};
pub use audit::{AuditArgs, audit};
use classifier::Encoder;
use folder::{Folder, Model};

#[derive(Subcommand, Debug)]
pub enum TrainCommand {
    /// Train a classifier of table rows, with differential privacy
    #[command(after_help = TABLE_HELP, override_usage = "\
sahara train table --data <FILE> --label <COLUMN> --labels <A,B,…>
                          --epsilon <E> --delta <D> --out <DIR> [OPTIONS]")]
    Table(TableArgs),
    /// Train a classifier of texts over frozen embeddings, with differential privacy
    #[command(after_help = CLASSIFY_HELP, override_usage = "\
sahara train classify --data <FILE> --labels <A,B,…> --epsilon <E>
                             --delta <D> --out <DIR> [OPTIONS]")]
    Classify(ClassifyArgs),
    /// Train adapters of an encoder, or all of it, with differential privacy
    #[command(after_help = lora::HELP, override_usage = "\
sahara train lora --data <FILE> --labels <A,B,…> --epsilon <E>
                         --delta <D> --out <DIR> [OPTIONS]")]
    Lora(lora::LoraArgs),
    /// What each contributor's rows are worth, as shares of revenue
    Value(value::ValueArgs),
    /// Make the steps of a --provable run again, and name the first that differs
    Verify(provable::VerifyArgs),
}

const TABLE_HELP: &str = "\
Examples:
  sahara train table --data patients.csv --label ill --labels no,yes \\
    --range age=0:120 --range 'rate=30:220' --values sex=F,M --ignore id \\
    --epsilon 3 --delta 1e-5 --out trained
  sahara train table --data digits.csv --label digit \\
    --labels 0,1,2,3,4,5,6,7,8,9 --range '*=0:16' --hidden 64 --epsilon 3 \\
    --delta 1e-5 --out trained

Ranges, values and labels are given because to read them from the rows would
publish something of single rows. What is outside a range is taken to its
bound, what is missing to its middle.

--out gets a folder `release`, which is what ε bounds: the model and a report.
`sahara model pull` brings it in, and `sahara classify` asks it with a row, its
cells between commas in the order of the table, without label and ignored ones.
Beside it lie the checkpoint and the learning curve, which are for the owner of
the data alone: losses are not private. Ctrl-C leaves a checkpoint, and the same
command with --resume goes on. What was spent stays spent: it is written down
in Sahara's folder before it is spent; an older checkpoint has fewer steps left.
Neighbours differ by one row more or less; how many rows there are is public.

--provable trains a linear model in integers and commits to each step, in
`release/transcript`; `sahara train verify` makes the steps again from `rows`
and `secret` in --out, which are for the owner alone.";

const CLASSIFY_HELP: &str = "\
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
pub struct TableArgs {
    /// The rows, as comma-separated values with a line of names
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    columns: ColumnsArgs,
    /// Sizes of hidden layers [default: none, a linear model]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    hidden: Vec<u16>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// The texts with their labels, .tsv or .jsonl
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Model that embeds the texts
    #[arg(long, value_name = "NAME", default_value = sahara::models::DEFAULT_MODEL)]
    model: String,
    #[command(flatten)]
    run: RunArgs,
}

/// What the columns of a table are.
#[derive(Args, Debug)]
struct ColumnsArgs {
    /// The column that has the label
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// Range of a column of numbers, `*` for every column not named
    #[arg(long = "range", value_name = "COLUMN=LOW:HIGH", value_parser = range, allow_hyphen_values = true)]
    ranges: Vec<(String, Column)>,
    /// Words of a column of words
    #[arg(long = "values", value_name = "COLUMN=A,B,…", value_parser = values)]
    values: Vec<(String, Column)>,
    /// A column that is not looked at
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
}

impl ColumnsArgs {
    fn description(&self, labels: &[String]) -> Result<Description> {
        let mut columns = vec![(self.label.clone(), Column::Label)];
        columns.extend(self.ignore.iter().map(|name| (name.clone(), Column::Ignored)));
        columns.extend(self.ranges.iter().chain(&self.values).cloned());
        if let Some(twice) = (1..columns.len()).find(|&i| columns[..i].iter().any(|(name, _)| *name == columns[i].0)) {
            return Err(Error::user(format!("column {:?} is described twice", columns[twice].0)));
        }
        Ok(Description { columns, labels: labels.to_vec() })
    }
}

/// The rows of a table, and a name for each of their numbers.
fn rows(path: &Path, description: &Description) -> Result<(Examples, Vec<String>)> {
    let text = texts::file(path)?;
    description.read(&text).map_err(|error| table_error(path, &error))
}

/// What every run is told.
#[derive(Args, Debug)]
struct RunArgs {
    /// The labels, all of them
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    labels: Vec<String>,
    /// What the run may cost
    #[arg(long, value_name = "E", required_unless_present = "without_privacy")]
    epsilon: Option<f64>,
    /// The δ beside it; below 1 in the number of rows
    #[arg(long, value_name = "D", required_unless_present = "without_privacy")]
    delta: Option<f64>,
    /// Train a linear model in integers, and commit to each step
    #[arg(long)]
    provable: bool,
    /// Add no noise: what comes out then bounds nothing (with --provable)
    #[arg(long, requires = "provable", conflicts_with_all = ["epsilon", "delta"])]
    without_privacy: bool,
    /// Times that a row is seen on average [default: 60; 10 for lora]
    #[arg(long, value_name = "N")]
    epochs: Option<f64>,
    /// Rows in a batch on average [default: an 8th of all, at most 1024]
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// How far a row may move the model in a step
    #[arg(long, value_name = "C", default_value_t = 1.0)]
    clip: f64,
    /// Scale the gradient of every row to the bound, not only the longer ones
    #[arg(long)]
    automatic: bool,
    /// Learning rate [default: what the plan's noise allows for sgd, 0.01 for
    /// adamw; 0.001 for lora, 0.0001 with --all]
    #[arg(long, value_name = "R")]
    rate: Option<f32>,
    /// How the model is changed [default: sgd; adamw for lora]
    #[arg(long, value_enum)]
    optimizer: Option<RuleArg>,
    /// How the learning rate changes
    #[arg(long, value_enum, default_value_t = ScheduleArg::Linear)]
    schedule: ScheduleArg,
    /// Seed of the first weights; batches and noise come from the system
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Rows to try the result on; what that says of them is not private
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Folder for the result
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with a run that was stopped
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    draw: DrawArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RuleArg {
    /// Stochastic gradient descent
    Sgd,
    /// Adam with decoupled weight decay
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScheduleArg {
    /// Not at all
    Constant,
    /// Down to 0 on a line
    Linear,
    /// Down to 0 on half a cosine
    Cosine,
}

/// The object printed at the end, and released beside the model.
#[derive(Serialize)]
struct Report {
    /// What was spent, at `delta`; never above what was wished.
    epsilon: f64,
    delta: f64,
    neighbours: &'static str,
    noise_multiplier: f64,
    sample_rate: f64,
    steps: u64,
    batch: usize,
    clip: f64,
    examples: usize,
    parameters: usize,
}

impl Report {
    fn of(plan: &Plan, epsilon: f64) -> Self {
        Self {
            epsilon,
            delta: plan.wish.delta,
            neighbours: "one row more or less",
            noise_multiplier: plan.noise,
            sample_rate: plan.rate.probability(),
            steps: plan.wish.steps,
            batch: plan.wish.batch,
            clip: plan.wish.clip.bound(),
            examples: plan.wish.examples,
            parameters: plan.wish.parameters,
        }
    }
}

pub fn run(command: TrainCommand, context: &mut Context) -> Result<()> {
    match command {
        TrainCommand::Table(args) => table(&args, context),
        TrainCommand::Classify(args) => classify(&args, context),
        TrainCommand::Lora(args) => lora::lora(&args, context),
        TrainCommand::Value(args) => value::value(&args, context),
        TrainCommand::Verify(args) => provable::check(&args, context),
    }
}

fn table(args: &TableArgs, context: &mut Context) -> Result<()> {
    let task = args.task(&args.data)?;
    args.run.go(task, context)
}

fn classify(args: &ClassifyArgs, context: &mut Context) -> Result<()> {
    let task = args.task(&args.data, context)?;
    args.run.go(task, context)
}

impl TableArgs {
    /// The network and its examples, from this file.
    fn task(&self, data: &Path) -> Result<Task> {
        let description = self.columns.description(&self.run.labels)?;
        let (examples, features) = rows(data, &description)?;
        let test = self.run.test.as_deref().map(|test| rows(test, &description)).transpose()?.map(|(test, _)| test);
        let hidden: Vec<usize> = self.hidden.iter().map(|&size| size.into()).collect();
        let network = Network::perceptron(examples.width(), &hidden, self.run.labels.len());
        let network = network.map_err(|error| Error::user(error.to_string()))?;
        let columns = rows::columns(&description, &features);
        let columns = columns.ok_or_else(|| Error::fault("the features are not those of the described columns"))?;
        Ok(Task { network, examples, test, kind: Kind::Rows { columns, features } })
    }
}

impl ClassifyArgs {
    /// The network and its examples, from this file.
    fn task(&self, data: &Path, context: &Context) -> Result<Task> {
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

/// What is trained on what.
struct Task {
    network: Network,
    examples: Examples,
    test: Option<Examples>,
    kind: Kind,
}

/// What examples are made of.
enum Kind {
    /// Rows with these columns, which became these features.
    Rows { columns: Vec<rows::Read>, features: Vec<String> },
    /// Texts, of which these are the first, by the encoder of the model that was asked for.
    Texts { embedder: String, encoder: Encoder, texts: Vec<String> },
}

impl Task {
    /// Writes the result and whatever `more` adds to it, reads it again, and releases it.
    fn release(
        &self,
        folder: &Folder,
        (labels, parameters): (&[String], &[f32]),
        report: &impl Serialize,
        more: &dyn Fn(&Path) -> Result<()>,
        context: &Context,
    ) -> Result<()> {
        folder.put(report, |to| {
            self.write(to, labels, parameters)?;
            more(to)?;
            context.progress.note("reading the classifier again");
            let again;
            let asked = match &self.kind {
                Kind::Rows { columns, .. } => {
                    again = rows::some(columns, &self.examples, classifier::TRIED);
                    &again
                }
                Kind::Texts { texts, .. } => texts,
            };
            if let Some(why) = classifier::check(to, &self.network, parameters, asked, &self.examples)? {
                context.progress.note(&format!("the classifier can be asked here alone, not on share nodes: {why}"));
            }
            Ok(())
        })
    }

    fn write(&self, to: &Path, labels: &[String], parameters: &[f32]) -> Result<()> {
        let network = &self.network;
        match &self.kind {
            Kind::Rows { columns, features } => Model { network, parameters, labels, features, columns }.write(to),
            Kind::Texts { encoder, .. } => encoder.write(to, network, parameters, labels),
        }
    }

    /// Refuses, before anything is spent, what could not be read once it is trained.
    fn try_release(&self, labels: &[String]) -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("creating", &std::env::temp_dir(), error))?;
        self.write(folder.path(), labels, &vec![0.0; self.network.parameters()])?;
        let read = sahara_circuits::float::FloatModel::load(folder.path());
        read.map(drop).map_err(|error| Error::wrap("trying what will be released", Blame::User, error))
    }
}

impl RunArgs {
    fn go(&self, task: Task, context: &mut Context) -> Result<()> {
        self.check_labels()?;
        task.try_release(&self.labels)?;
        if self.provable {
            if self.draw.is_given() {
                return Err(Error::user("a --provable run draws on no budget: leave out --dataset and --asset"));
            }
            return provable::go(self, &task, context);
        }
        let plan = self.plan(&task)?;
        let (rule, schedule, rate) = self.ways(&task, &plan);
        if self.draw.only_tries() {
            return self.spend([0; 32], &plan, context).map(drop);
        }
        let folder = Folder::new(&self.out, &context.home, self.resume)?;
        let run = folder.name(&self.settings(&task, &plan), &task.examples)?;
        if let Err(refused) = self.spend(run, &plan, context) {
            if !self.resume {
                folder.forget();
            }
            return Err(refused);
        }
        let mut run = if self.resume {
            let state = folder.checkpoint(&run, task.network.parameters(), rule)?;
            let ledger = Ledger::open(&folder.ledger(&run), &run).map_err(|error| spent_error(&error, &run))?;
            Run::resume(&task.network, &task.examples, plan, (schedule, rate), ledger, state)
        } else {
            let ledger = Ledger::create(&folder.ledger(&run), &run).map_err(|error| spent_error(&error, &run))?;
            Run::begin(&task.network, &task.examples, plan, (rule, schedule, rate), self.seed, ledger, run)
        }
        .map_err(train_error)?;
        let whole = trained(&mut run, &folder, context)?;
        self.finish(&run, &task, &folder, whole, context)
    }

    /// Spends the whole run of the dataset's budgets, before its first step; a run that goes on has spent it.
    fn spend(&self, run: [u8; 32], plan: &Plan, context: &mut Context) -> Result<()> {
        if let Some(option) = self.draw.without_budget() {
            return Err(Error::user(format!("{option} means nothing without --dataset or --asset")));
        }
        if !self.draw.is_given() {
            return Ok(());
        }
        let accounting = |error: AccountingError| Error::fault(error.to_string());
        let step = Mechanism::sampled_gaussian(plan.noise, plan.rate.probability()).map_err(accounting)?;
        let steps = Composition::new().and(step, plan.wish.steps);
        let cost = Cost::of(|order| rdp::divergence(&steps, order), plan.distance(plan.wish.steps));
        match self.draw.reserve_for_rows(run, &cost, context)? {
            Reserved::Tried => Ok(()),
            Reserved::Draw(mut draw) => {
                let begun = draw.begin(context);
                if begun.is_err() {
                    draw.release(context);
                }
                begun
            }
        }
    }

    /// Tries the result, releases it, and says what it is.
    fn finish(&self, run: &Run<'_>, task: &Task, folder: &Folder, epsilon: f64, context: &mut Context) -> Result<()> {
        let parameters = &run.state().parameters;
        if parameters.iter().any(|value| !value.is_finite()) {
            return Err(Error::user("the weights have grown beyond all bounds: take a smaller --rate; ε is spent"));
        }
        changed(&task.network, &task.network.begin(self.seed), parameters)?;
        let plan = run.plan();
        let report = Report::of(plan, epsilon);
        task.release(folder, (&self.labels, parameters), &report, &|_| Ok(()), context)?;
        let tried = |examples: &Examples| measure(&task.network, parameters, examples).map_err(train_error);
        let accuracy = |outcome: Outcome, of: &Examples| outcome.right as f64 / of.len().max(1) as f64;
        let test = task.test.as_ref().map(|test| Ok::<_, Error>(accuracy(tried(test)?, test))).transpose()?;
        let own = accuracy(tried(&task.examples)?, &task.examples);
        self.say(report, own, test, context)
    }

    /// Says what came of it: the part of the rows, and of those of `--test`, that are sorted into their class.
    fn say(&self, report: Report, own: f64, test: Option<f64>, context: &mut Context) -> Result<()> {
        let (epsilon, delta) = (report.epsilon, report.delta);
        if context.out.json() {
            return context.out.value(&Done { out: &self.out, report, own_accuracy: own, test_accuracy: test });
        }
        context.out.line(&format!("trained: ε = {epsilon:.4} at δ = {delta:e}, in {}", self.out.display()))?;
        if let Some(test) = test {
            context.out.line(&format!("right on --test: {:.2} % (not private)", 100.0 * test))?;
        }
        context.out.line(&format!("right on the rows themselves: {:.2} % (not private)", 100.0 * own))
    }

    fn plan(&self, task: &Task) -> Result<Plan> {
        let wish = self.wish(task.examples.len(), task.network.parameters(), Wish::EPOCHS)?;
        Plan::new(wish).map_err(|error| Error::wrap("planning the run", Blame::User, error))
    }

    fn wish(&self, examples: usize, parameters: usize, epochs: f64) -> Result<Wish> {
        let (batch, steps) = self.steps(examples, epochs)?;
        let (Some(epsilon), Some(delta)) = (self.epsilon, self.delta) else {
            return Err(Error::user("give --epsilon and --delta: only a --provable run can do without"));
        };
        let clip = if self.automatic { Clip::Automatic(self.clip) } else { Clip::Flat(self.clip) };
        Ok(Wish { epsilon, delta, examples, batch, steps, clip, parameters })
    }

    /// Rows in a batch on average, and steps.
    fn steps(&self, examples: usize, epochs: f64) -> Result<(usize, u64)> {
        let batch = self.batch.map_or(Wish::usual_batch(examples), |batch| batch as usize);
        let epochs = self.epochs.unwrap_or(epochs);
        if !(epochs > 0.0 && epochs <= 1e6) {
            return Err(Error::user("--epochs is a number above 0, at most a million"));
        }
        Ok((batch, Wish::steps(epochs, examples, batch)))
    }

    fn check_labels(&self) -> Result<()> {
        let twice = self.labels.iter().enumerate().any(|(i, label)| self.labels[..i].contains(label));
        if twice { Err(Error::user("a label is given twice")) } else { Ok(()) }
    }

    fn schedule(&self) -> Schedule {
        match self.schedule {
            ScheduleArg::Constant => Schedule::Constant,
            ScheduleArg::Linear => Schedule::Linear,
            ScheduleArg::Cosine => Schedule::Cosine,
        }
    }

    fn ways(&self, task: &Task, plan: &Plan) -> (Rule, Schedule, f32) {
        let (rule, rate) = match self.optimizer.unwrap_or(RuleArg::Sgd) {
            RuleArg::Sgd => (
                Rule::Sgd { momentum: 0.0 },
                self.rate.unwrap_or_else(|| plan.rate(task.network.inputs(), task.network.layers().len())),
            ),
            RuleArg::Adamw => (Rule::ADAM, self.rate.unwrap_or(0.01)),
        };
        (rule, self.schedule(), rate)
    }

    /// All that makes a run what it is, but for the data.
    fn settings(&self, task: &Task, plan: &Plan) -> String {
        let Plan { wish, rate, cap, grid, sigma, .. } = plan;
        let (rule, schedule, learning) = self.ways(task, plan);
        format!(
            "{:?} {:?} {:?} {wish:?} {} {cap} {grid:?} {sigma} {rule:?} {schedule:?} {learning} {}",
            task.network.layers(),
            self.labels,
            match &task.kind {
                Kind::Rows { .. } => None,
                Kind::Texts { embedder, .. } => Some(embedder),
            },
            rate.bits(),
            self.seed
        )
    }
}

/// Goes on with a run until its end, and says what it has cost.
fn trained<M: Trainable>(run: &mut Run<'_, M>, folder: &Folder, context: &Context) -> Result<f64> {
    let plan = *run.plan();
    let stop = stop_when_interrupted();
    let whole = plan.epsilon(plan.wish.steps).map_err(|error| Error::fault(error.to_string()))?;
    context.progress.note(&format!(
        "{} rows, {} parameters, {} steps of about {} rows: noise {:.3}, ε = {whole:.4} at δ = {:e}",
        plan.wish.examples, plan.wish.parameters, plan.wish.steps, plan.wish.batch, plan.noise, plan.wish.delta
    ));
    let progress = context.progress.clone();
    let mut told = 0;
    let told_every = plan.wish.steps.div_ceil(20).max(1);
    run.train(
        |now: Progress| {
            let line = line(&now);
            if now.spent >= told + told_every || now.spent == now.steps {
                told = now.spent;
                progress.note(&line);
            } else {
                progress.percent("training", now.spent * 100 / now.steps);
            }
            !stop.is_set()
        },
        |state| folder.save(state).map_err(Failed::Saving),
    )
    .map_err(|failed| match failed {
        Failed::Saving(error) => error,
        Failed::Training(error) => train_error(error),
    })?;
    folder.draw(&run.state().curve)?;
    if !run.is_done() {
        let spent = run.state().spent;
        let said = format!("interrupted: {spent} of {} steps are spent; --resume goes on", plan.wish.steps);
        return Err(Error::interrupted().saying(said));
    }
    Ok(whole)
}

/// What is printed at the end.
#[derive(Serialize)]
struct Done<'a> {
    out: &'a PathBuf,
    #[serde(flatten)]
    report: Report,
    /// Of the rows that were trained on; not private.
    own_accuracy: f64,
    /// Of the rows of `--test`; not private.
    test_accuracy: Option<f64>,
}

enum Failed {
    Training(TrainError),
    Saving(Error),
}

impl From<TrainError> for Failed {
    fn from(error: TrainError) -> Self {
        Self::Training(error)
    }
}

/// Refuses to call done what left a layer as it was: whatever else a run says of itself, it has not trained that.
fn changed(network: &Network, begun: &[f32], parameters: &[f32]) -> Result<()> {
    let mut from = 0;
    for (index, layer) in network.layers().iter().enumerate() {
        let Layer::Dense { inputs, outputs } = layer else { continue };
        let own = from..from + (inputs + 1) * outputs;
        if begun.get(own.clone()) == parameters.get(own.clone()) {
            return Err(Error::fault(format!("the weights of layer {index} are those from before the first step")));
        }
        from = own.end;
    }
    Ok(())
}

fn line(now: &Progress) -> String {
    let loss = now.loss.map_or("none seen".to_owned(), |loss| format!("{loss:.4}"));
    let left = now.left.as_secs();
    format!("step {} of {}: loss {loss}, ε so far {:.3}, {left} s left", now.spent, now.steps, now.epsilon)
}

fn train_error(error: TrainError) -> Error {
    match &error {
        TrainError::Checkpoint(_) | TrainError::Misfit(_) => Error::user(error.to_string()),
        _ => Error::wrap("training", Blame::Fault, error),
    }
}

fn spent_error(error: &sahara_privacy::train::LedgerError, run: &[u8; 32]) -> Error {
    use sahara_privacy::train::LedgerError;
    match error {
        LedgerError::File { path, source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::user(format!(
                "what run {} has spent is not known here: bring the ledger {} from where it began",
                folder::hex(&run[..8]),
                path.display()
            ))
        }
        LedgerError::File { path, source, doing } => {
            Error::io(doing, path, std::io::Error::new(source.kind(), source.to_string()))
        }
        other => Error::user(other.to_string()),
    }
}

fn table_error(path: &Path, error: &TableError) -> Error {
    let todo = match error {
        TableError::Undescribed(name) => format!(" (--range '{name}=LOW:HIGH', --values, or --ignore '{name}')"),
        _ => String::new(),
    };
    Error::user(format!("{}: {error}{todo}", path.display()))
}

pub(super) fn range(text: &str) -> Result<(String, Column), String> {
    let split = text.rsplit_once('=').and_then(|(name, bounds)| Some((name, bounds.split_once(':')?)));
    let (name, (low, high)) = split.ok_or("a range is COLUMN=LOW:HIGH")?;
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or(format!("{text:?} is no number"));
    let (low, high) = (number(low)?, number(high)?);
    if low >= high {
        return Err(format!("{low} is not below {high}"));
    }
    Ok((name.to_owned(), Column::Range { low, high }))
}

pub(super) fn values(text: &str) -> Result<(String, Column), String> {
    let (name, values) = text.split_once('=').ok_or("values are COLUMN=A,B,…")?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    match values.iter().any(String::is_empty) {
        true => Err("a value is empty".to_owned()),
        false => Ok((name.to_owned(), Column::Values(values))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn columns_are_described_in_words() {
        assert_eq!(range("a=b=-1:2.5").unwrap(), ("a=b".to_owned(), Column::Range { low: -1.0, high: 2.5 }));
        assert!(range("a=2:1").is_err() && range("a").is_err() && range("a=x:1").is_err() && range("a=0:inf").is_err());
        assert_eq!(values("a=b, c").unwrap(), ("a".to_owned(), Column::Values(vec!["b".into(), "c".into()])));
        assert!(values("a=b,,c").is_err() && values("a").is_err());
    }

    #[test]
    fn a_layer_that_no_step_changed_is_not_called_trained() {
        let network = Network::perceptron(2, &[3], 2).unwrap();
        let begun = network.begin(1);
        let with = |places: &[usize]| {
            let mut parameters = begun.clone();
            places.iter().for_each(|&place| parameters[place] += 1.0);
            changed(&network, &begun, &parameters).map_err(|error| error.report())
        };
        assert!(with(&[]).unwrap_err().contains("layer 0"));
        assert!(with(&[8]).unwrap_err().contains("layer 2"));
        assert!(with(&[9]).unwrap_err().contains("layer 0"));
        assert!(with(&[8, 16]).is_ok());
    }

    #[test]
    fn progress_says_loss_budget_and_time() {
        let now = Progress { spent: 5, steps: 10, loss: Some(0.5), epsilon: 1.25, left: Duration::from_millis(3999) };
        assert_eq!(line(&now), "step 5 of 10: loss 0.5000, ε so far 1.250, 3 s left");
    }
}
