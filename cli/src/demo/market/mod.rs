//! The demo of the market: a model is sold, asked in private, paid and accounted for, while one of its operators dies.
//!
//! Everything is done by commands of this program in homes of their own (`stage`), as people would type them; only the end
//! of the session is reached by moving the time of the development chain.

mod money;
mod stage;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::itself::word;
use crate::progress::Indicator;
use crate::wallet::amount::Amount;
use money::Books;
use sahara::home::Home;
use stage::{OPERATORS, Stage, Who};

/// What the owner and the three operators get for a call.
const ROYALTY: &str = "0.002";
const COMPUTE: &str = "0.003";
/// What each operator asks.
const QUOTE: &str = "0.0009";
/// The part of a derived model's revenue that each dataset asks, in hundredths of a percent.
const SHARES: [&str; 2] = ["1000", "500"];
/// Which operator dies.
const VICTIM: usize = 2;
/// Texts that are asked while it dies.
const TEXTS: usize = 8;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the market's part of the demo found.
#[derive(Clone, Debug, Serialize)]
pub struct MarketReport {
    /// Whether the consumer had the model's weights at the end.
    pub consumer_holds_model: bool,
    /// What a call costs, in coins.
    pub price: String,
    /// What was paid for all answers, in coins.
    pub paid: String,
    /// Answers that were paid for.
    pub answers: usize,
    /// Who got what of it.
    pub payees: Vec<Payee>,
    /// Whether what was paid is what they got and what was burnt, and the rest of the deposit came back.
    pub books_balance: bool,
    /// The last receipt.
    pub receipt: String,
    /// Whether it holds against the chain.
    pub receipt_verified: bool,
    /// Whether all answers are those of a plain run of the model, number for number.
    pub answers_equal_plain: bool,
    /// Who was killed in the middle.
    pub operator_killed: String,
    /// Whether the answers went on.
    pub served_after_kill: bool,
    /// Whether an answer was paid for twice.
    pub charged_twice: bool,
    /// Seconds of all of it.
    pub wall_seconds_market: f64,
}

/// Somebody who was paid.
#[derive(Clone, Debug, Serialize)]
pub struct Payee {
    /// Their account.
    pub account: String,
    /// Why.
    pub role: String,
    /// How much, in coins.
    pub amount: String,
}

impl MarketReport {
    /// The table for people.
    pub fn table(&self) -> String {
        let yes = |holds: bool| if holds { "yes" } else { "NO" };
        let mut lines = vec![
            String::new(),
            "The market: a model sold, asked in private, and paid".to_owned(),
            format!("  the consumer has the model           {}", if self.consumer_holds_model { "YES" } else { "no" }),
            format!("  answers that were paid for           {}, {} each", self.answers, self.price),
            format!("  as a plain run, number for number    {}", yes(self.answers_equal_plain)),
            format!("  the receipt holds against the chain  {}", yes(self.receipt_verified)),
            format!("  killed in the middle                 {}", self.operator_killed),
            format!("  the standby committee went on        {}", yes(self.served_after_kill)),
            format!("  an answer was paid for twice         {}", if self.charged_twice { "YES" } else { "no" }),
            String::new(),
            format!("Who got what of {} and the licence's price", self.paid),
        ];
        for Payee { account, role, amount } in &self.payees {
            lines.push(format!("  {:34} {amount:>20}  {}", role, account.chars().take(12).collect::<String>()));
        }
        lines.push(format!("  all of it is accounted for: {}", yes(self.books_balance)));
        lines.join("\n")
    }
}

/// Plays it all. `model` is one of this home's; what happens is told as it does.
///
/// # Errors
/// When a command fails, or an answer does not come.
pub fn run(home: &Home, model: &str, program: PathBuf, progress: &Indicator) -> Result<MarketReport> {
    let began = Instant::now();
    let mut stage = Stage::new(home, program)?;
    progress.step("a chain, and a wallet for each of nine people");
    stage.open(home)?;
    progress.step("five operators start their nodes");
    stage.start_nodes()?;
    let asset = sell(&stage, model, progress)?;
    progress.step("a consumer, who has no model, buys a licence");
    let lanes = seated(&stage, &asset)?;
    let bought = stage.run(
        Who::Consumer,
        &["licence", "buy", &asset, "--deposit", "0.5", "--with", &lanes[0], "--with", &lanes[1]],
    )?;
    let session = bought["session"]["session"].as_str().unwrap_or_default().to_owned();
    let listen = stage.gateway().to_string();
    let consumer = stage.home(Who::Consumer);
    stage.start("gateway", &consumer, &["gateway", "--model", &asset, "--listen", &listen])?;
    stage.wait_for(stage.gateway())?;

    progress.step("an OpenAI client asks the consumer's gateway, in private");
    let texts = super::sentences::choose(1 + TEXTS);
    let (first, rest) = texts.split_at(1);
    let (head, mut answers) = asked(&stage, &asset, first)?;
    let receipt = header(&head, "x-sahara-receipt").unwrap_or_default();
    let verified = stage.run(Who::Consumer, &["receipt", "verify", "last"])?["verified"] == Value::Bool(true);
    progress.note(&format!("private answer, receipt {}", receipt.chars().take(14).collect::<String>()));

    progress.step(&format!("{TEXTS} more; operator {VICTIM} dies in the middle"));
    let victim = Who::Operator(VICTIM).name();
    let before = receipts(&stage)?.len();
    let later = thread::scope(|scope| {
        let asking = scope.spawn(|| asked(&stage, &asset, rest));
        let waiting = Instant::now();
        while receipts(&stage).is_ok_and(|all| all.len() < before + 2)
            && waiting.elapsed() < PATIENCE
            && !asking.is_finished()
        {
            thread::sleep(Duration::from_millis(5));
        }
        stage.kill(&victim);
        asking.join().unwrap_or_else(|_| Err(Error::fault("the thread that asked died")))
    });
    let served = later.as_ref().is_ok_and(|(_, more)| more.len() == rest.len());
    if let Ok((_, more)) = later {
        answers.extend(more);
    }
    progress.note(&format!("operator {VICTIM} was killed; the standby committee answered the rest: {served}"));

    progress.step("the same texts in the clear, to compare");
    let plain = plain(&stage, home, model, &texts)?;
    let paid_for = receipts(&stage)?;
    progress.step("the session is closed and settled; a day passes on the chain");
    let books = Books::close(&stage, &asset, &session, &paid_for)?;
    progress.clear();
    // Somebody else's models have no weights, and lie elsewhere.
    let own = stage.home(Who::Consumer).join("models");
    Ok(MarketReport {
        consumer_holds_model: own.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        price: Amount::from(books.price).to_string(),
        paid: Amount::from(books.paid).to_string(),
        answers: paid_for.len(),
        payees: books.payees,
        books_balance: books.balance,
        receipt,
        receipt_verified: verified,
        answers_equal_plain: answers == plain,
        operator_killed: victim,
        served_after_kill: served,
        charged_twice: paid_for.len() > answers.len(),
        wall_seconds_market: began.elapsed().as_secs_f64(),
    })
}

/// Two datasets, a model derived from them, five bonded operators, two committees and an offer: the model's asset.
fn sell(stage: &Stage, model: &str, progress: &Indicator) -> Result<String> {
    progress.step("two contributors register datasets; the model is derived from them");
    let mut parents = Vec::new();
    for (n, share) in (1..).zip(SHARES) {
        let who = Who::Contributor(n);
        let root = format!("0x{}", format!("{n:02x}").repeat(32));
        let dataset = stage.run(who, &["asset", "register", "--root", &root, "--kind", "dataset"])?;
        let dataset = word(&dataset, "asset")?;
        stage.run(who, &["asset", "offer", &dataset, "--price", "1", "--revenue-share", share])?;
        let licence = stage.run(Who::Owner, &["licence", "buy", &dataset, "--no-session"])?;
        parents.push(format!("{dataset}:{}", word(&licence, "licence")?));
    }
    let registered =
        stage.run(Who::Owner, &["asset", "register", model, "--parent", &parents[0], "--parent", &parents[1]])?;
    let asset = word(&registered, "asset")?;
    progress.step("five operators bond, quote a price and say what they hold");
    let operators: Vec<Who> = (1..=OPERATORS).map(Who::Operator).collect();
    stage.at_once(&operators, |stage, who| {
        stage.run(who, &["operator", "bond", "1000"])?;
        stage.run(who, &["operator", "quote", QUOTE])?;
        stage.run(who, &["operator", "allow", &asset]).map(drop)
    })?;
    progress.step("the owner hands the model to two committees, as shares");
    for which in [1, 0] {
        let file = stage.committee(which);
        let file = file.to_str().unwrap_or_default();
        stage.run(Who::Owner, &["model", "share", model, "--asset", &asset, "--as", "model", "--committee", file])?;
        stage.run(Who::Owner, &["asset", "seat", &asset, "--committee", file])?;
    }
    stage.run(
        Who::Owner,
        &["asset", "offer", &asset, "--price", "1", "--royalty", ROYALTY, "--compute", COMPUTE, "--days", "30"],
    )?;
    Ok(asset)
}

/// The committees of an asset, the one that was seated last first.
fn seated(stage: &Stage, asset: &str) -> Result<Vec<String>> {
    let shown = stage.run(Who::Consumer, &["asset", "show", asset])?;
    let list = shown["committees"].as_array().cloned().unwrap_or_default();
    let ids: Vec<String> = list.iter().filter_map(|entry| Some(entry["committee"].as_str()?.to_owned())).collect();
    if ids.len() == 2 {
        Ok(ids)
    } else {
        Err(Error::fault(format!("two committees were seated, the chain shows {}", ids.len())))
    }
}

/// Asks the gateway; the head of its answer, and the vectors as they are written.
fn asked(stage: &Stage, asset: &str, texts: &[String]) -> Result<(String, Vec<String>)> {
    let (status, head, body) = stage.ask(asset, texts)?;
    if status != 200 {
        return Err(Error::fault(format!("the gateway answers {status}: {}", body["error"]["message"])));
    }
    let list = body["data"].as_array().cloned().unwrap_or_default();
    Ok((head, list.iter().map(|entry| entry["embedding"].to_string()).collect()))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// What a plain run of the model answers.
fn plain(stage: &Stage, home: &Home, model: &str, texts: &[String]) -> Result<Vec<String>> {
    let words = [&["embed", "--plain", "--json", "--quiet", "--model", model][..]].concat();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let printed = stage.output(home.path(), &[&words[..], &texts].concat())?;
    let line = |line: &str| -> Result<String> {
        let value: Value = serde_json::from_str(line).map_err(|e| Error::fault_from("reading a plain answer", e))?;
        Ok(value["embedding"].to_string())
    };
    printed.lines().map(line).collect()
}

/// The receipts that the consumer has.
fn receipts(stage: &Stage) -> Result<Vec<Value>> {
    let list = stage.run(Who::Consumer, &["receipt", "ls"])?;
    Ok(list.as_array().cloned().unwrap_or_default())
}
