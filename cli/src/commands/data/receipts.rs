//! Receipts: what was asked and answered, each signed by the owner's key and holding the hash of the one before.
//!
//! A receipt is a file of two lines: the receipt, as JSON, and who signed the bytes of that line.

use std::path::{Path, PathBuf};

use clap::Args;
use sahara::home::write_atomic;
use sahara::keys::{self, Role};
use sahara_circuits::bytes::unhex;
use sahara_mpc::identity::{Identity, PublicKey};
use sahara_privacy::budget::JobState;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::Context;
use super::dataset::{Dataset, entries};
use super::draw::Draw;
use super::query::hex;
use crate::error::{Error, Result};
use crate::moment::{moment, now};

/// Before the bytes that are signed.
const DOMAIN: &[u8] = b"sahara data receipt 1\0";
/// Longest receipt.
const MOST_BYTES: u64 = 1 << 28;

#[derive(Args, Debug)]
#[command(after_help = "\
Each receipt is checked: that the owner's key of this machine signed it, that it
holds the hash of the one before, and that the budget has its hash. A budget's
jobs without a receipt were spent by a command that was stopped.")]
pub struct ReceiptsArgs {
    /// The dataset
    #[arg(value_name = "NAME")]
    dataset: String,
    /// One receipt, with its answer
    #[arg(long, value_name = "N")]
    number: Option<u64>,
}

/// What a receipt says, but for its place.
#[derive(Serialize)]
pub struct Asked<'a> {
    /// The question.
    pub question: &'a str,
    /// SHA-256 of the description of the table.
    pub description: String,
    /// What neighbours are.
    pub neighbours: &'a str,
    /// Its name in the budget.
    pub job: String,
    /// What it cost.
    pub epsilon: f64,
    /// The chance that a group was told that is not declared.
    pub delta: f64,
    /// All noise.
    pub noise: Value,
    /// The answer.
    pub answer: Value,
    /// Where the budgets stand after it.
    pub budget: Value,
}

/// A receipt's place.
pub struct Receipt {
    /// From 1.
    pub number: u64,
    /// SHA-256 of its line.
    pub hash: [u8; 32],
}

/// Who signed the line above.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    owner: String,
    signature: String,
}

/// The place of the next receipt, and who signs it.
pub struct Next {
    folder: PathBuf,
    number: u64,
    previous: [u8; 32],
    owner: Identity,
}

/// Where the next receipt goes, before anything is spent: on one that is not the owner's own nothing can follow.
pub fn next(dataset: &Dataset, context: &Context) -> Result<Next> {
    let folder = dataset.folder("receipts")?;
    let owner = keys::load(&context.home, Role::Owner)?;
    let (number, previous) = match all(&folder)?.pop() {
        None => (1, [0; 32]),
        Some((number, path)) => {
            let wrong = |why: &str| Error::user(format!("no receipt can follow on {}: {why}", path.display()));
            let (line, seal) = lines(&path)?;
            let value = check(&line, &seal, Some(&owner.public())).map_err(|why| wrong(&why))?;
            let next = number.checked_add(1).filter(|_| value["number"] == json!(number));
            let next = next.filter(|_| value["dataset"] == json!(dataset.name));
            (next.ok_or_else(|| wrong("it is another one than its name says"))?, Sha256::digest(&line).into())
        }
    };
    Ok(Next { folder, number, previous, owner })
}

/// Writes a receipt down, before anybody sees the answer.
pub fn write(next: Next, asked: &Asked<'_>, draw: &Draw) -> Result<Receipt> {
    let Next { folder, number, previous, owner } = next;
    let mut value = json!(asked);
    value["format"] = json!("sahara-data-receipt-1");
    value["dataset"] = json!(draw.dataset().name);
    value["number"] = json!(number);
    value["previous"] = json!(hex(&previous));
    value["time"] = json!(now());
    let line = value.to_string();
    let seal =
        Seal { owner: owner.public().to_string(), signature: hex(&owner.sign(&[DOMAIN, line.as_bytes()].concat())) };
    let seal = serde_json::to_string(&seal).map_err(|error| Error::fault_from("signing the receipt", error))?;
    write_atomic(&folder.join(format!("{number:08}.jsonl")), format!("{line}\n{seal}\n").as_bytes())?;
    Ok(Receipt { number, hash: Sha256::digest(line.as_bytes()).into() })
}

pub fn run(args: &ReceiptsArgs, context: &mut Context) -> Result<()> {
    let known = Dataset::known(&args.dataset, &context.home, &context.progress)?;
    let dataset = known.ok_or_else(|| {
        let name = &args.dataset;
        Error::user(format!(
            "{name} is no dataset that was asked here: `sahara data budget show` has those with a budget"
        ))
    })?;
    let folder = dataset.folder("receipts")?;
    let mut book = dataset.book()?;
    let owner = keys::existing(&context.home, Role::Owner)?.map(|owner| owner.public());
    let mut previous = [0; 32];
    let mut found: Vec<Value> = Vec::new();
    let mut told = Vec::new();
    for (expected, (number, path)) in (1..).zip(all(&folder)?) {
        let (line, seal) = lines(&path)?;
        let wrong = |why: &str| Error::user(format!("{}: {why}", path.display()));
        let value = check(&line, &seal, owner.as_ref()).map_err(|why| wrong(&why))?;
        if number != expected || value["number"] != json!(number) || value["previous"] != json!(hex(&previous)) {
            return Err(wrong("it does not follow on the one before: receipts were removed or put in"));
        }
        let hash: [u8; 32] = Sha256::digest(&line).into();
        if let (Some(book), Some(job)) = (&mut book, job(&value)) {
            match book.job(&job).map(|job| job.state) {
                Some(JobState::Settled(settled)) if settled == hash => {}
                // Written by a command that was stopped right after.
                Some(JobState::Begun) => book.settle(&job, &hash).map_err(super::dataset::budget_error)?,
                _ => return Err(wrong("the budget has not this receipt's job with this hash")),
            }
            told.push(job);
        }
        previous = hash;
        found.push(value);
    }
    let lost = book.map_or(0, |book| {
        let spent = |state: JobState| !matches!(state, JobState::Reserved | JobState::Released);
        book.jobs().filter(|(name, job)| spent(job.state) && !told.contains(name)).count()
    });
    show(args, &found, lost, context)
}

fn show(args: &ReceiptsArgs, found: &[Value], lost: usize, context: &mut Context) -> Result<()> {
    if let Some(number) = args.number {
        let one = number.checked_sub(1).and_then(|at| found.get(usize::try_from(at).ok()?));
        let one = one
            .ok_or_else(|| Error::user(format!("{} has no receipt {number}: it has {}", args.dataset, found.len())))?;
        return match context.out.json() {
            true => context.out.value(one),
            false => {
                let pretty =
                    serde_json::to_string_pretty(one).map_err(|error| Error::fault_from("showing it", error))?;
                pretty.lines().try_for_each(|line| context.out.line(line))
            }
        };
    }
    if context.out.json() {
        return context.out.value(&json!({"dataset": args.dataset, "receipts": found, "jobs_without_receipt": lost}));
    }
    for one in found {
        let time = moment(one["time"].as_u64().unwrap_or_default().saturating_mul(1000));
        let epsilon = one["epsilon"].as_f64().unwrap_or_default();
        let question = one["question"].as_str().unwrap_or_default();
        context.out.folded(&format!("{}  {time}  ε {epsilon}  ", one["number"]), question)?;
    }
    if lost > 0 {
        context.out.line(&format!(
            "{lost} jobs of the budget have no receipt here: training, or commands that were stopped"
        ))?;
    }
    if found.is_empty() {
        context.out.line(&format!("nothing was asked of {}", args.dataset))?;
    }
    Ok(())
}

/// What a line says, if the owner signed it.
fn check(line: &[u8], seal: &[u8], owner: Option<&PublicKey>) -> std::result::Result<Value, String> {
    let seal: Seal = serde_json::from_slice(seal).map_err(|error| format!("its second line: {error}"))?;
    let signature: [u8; 64] = bytes(&seal.signature).ok_or("its signature is no 64 bytes")?;
    let key = PublicKey(bytes(&seal.owner).ok_or("its owner is no key")?);
    if !key.verifies(&[DOMAIN, line].concat(), &signature) {
        return Err("its signature is wrong: it was changed".to_owned());
    }
    if owner != Some(&key) {
        return Err(format!("it was signed by {key}, which is not the owner's key of this machine"));
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

fn job(value: &Value) -> Option<[u8; 32]> {
    bytes(value["job"].as_str()?)
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    unhex(digits)
}

/// All receipts by number.
fn all(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let names = entries(folder)?.into_iter();
    let numbered = names.filter_map(|name| Some((name.strip_suffix(".jsonl")?.parse().ok()?, folder.join(&name))));
    let mut all: Vec<(u64, PathBuf)> = numbered.collect();
    all.sort();
    Ok(all)
}

/// The two lines of a file.
fn lines(path: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    use std::io::Read;
    let failed = |error| Error::io("reading", path, error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let mut lines = bytes.split(|byte| *byte == b'\n');
    match (lines.next(), lines.next(), lines.next(), lines.next()) {
        (Some(line), Some(seal), Some([]), None) => Ok((line.to_vec(), seal.to_vec())),
        _ => Err(Error::user(format!("{}: a receipt is two lines, and this is another file", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_owner_signed_is_a_receipt() {
        let owner = sahara_mpc::identity::from_secret(&[7; 32]);
        let other = sahara_mpc::identity::from_secret(&[8; 32]);
        let line = br#"{"number":1}"#;
        let seal = |by: &sahara_mpc::identity::Identity, line: &[u8]| {
            let signature = hex(&by.sign(&[DOMAIN, line].concat()));
            serde_json::to_vec(&Seal { owner: by.public().to_string(), signature }).unwrap()
        };
        let good = seal(&owner, line);
        assert_eq!(check(line, &good, Some(&owner.public())).unwrap()["number"], 1);
        assert!(check(br#"{"number":2}"#, &good, Some(&owner.public())).unwrap_err().contains("changed"));
        assert!(check(line, &seal(&other, line), Some(&owner.public())).unwrap_err().contains("not the owner's"));
        assert!(check(line, b"{}", Some(&owner.public())).is_err() && check(line, &good, None).is_err());
    }
}
