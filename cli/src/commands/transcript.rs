//! `sahara transcript show` and `verify`: what share nodes have written down of a job, and whether it fits together.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sahara_mpc::bytes::hex;
use sahara_mpc::transcript::{DIRECTIONS, DealtRecord, JobRecord, Verdict, verify};
use serde_json::{Value, json};

use super::Context;
use super::output::{grouped, moment};
use crate::error::{Error, Result};

/// A record is a few dozen kilobytes; nothing longer is read.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Subcommand, Debug)]
pub enum TranscriptCommand {
    /// Show a record: who, what, how far, and whether its signatures hold
    Show(ShowArgs),
    /// Compare both evaluators' records of a job, and say who is contradicted
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Records lie in `transcripts` in a node's home: JOB-CONSUMER.transcript of a job
at each evaluator, PACK.dealt of a pack at its helper (what is named .openings
there is for the node itself). Exit code 1 when a signature does not hold.")]
pub struct ShowArgs {
    /// JOB-CONSUMER.transcript or PACK.dealt
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Give JOB-CONSUMER.transcript of both evaluators, in any order, and PACK.dealt
of the helper if there is one. The answer names the round and the direction from
which the records part, and whoever has signed two stories. What one record says
and no signature of the other side confirms blames nobody.

Exit codes: 0 they agree, 1 they do not, 2 they cannot be compared.")]
pub struct VerifyArgs {
    /// Records of one job
    #[arg(value_name = "FILE", num_args = 2..=3, required = true)]
    files: Vec<PathBuf>,
}

pub fn run(command: TranscriptCommand, context: &mut Context) -> Result<()> {
    match command {
        TranscriptCommand::Show(args) => show(&args.file, context),
        TranscriptCommand::Verify(args) => compare(&args.files, context),
    }
}

/// A record of either kind.
enum Record {
    Job(Box<JobRecord>),
    Dealt(Box<DealtRecord>),
}

fn read(path: &Path) -> Result<Record> {
    let io = |e| Error::io("reading", path, e);
    // Not by what the file says of its length: a pipe or a device says nothing.
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("{} has more than {MAX_BYTES} bytes: too many for a record of a job", path.display());
        return Err(Error::user(text));
    }
    let record = if DealtRecord::is_one(&bytes) {
        DealtRecord::decode(&bytes).map(|record| Record::Dealt(Box::new(record)))
    } else {
        JobRecord::decode(&bytes).map(|record| Record::Job(Box::new(record)))
    };
    record.map_err(|e| Error::user(format!("{}: {e}", path.display())))
}

fn show(path: &Path, context: &mut Context) -> Result<()> {
    match read(path)? {
        Record::Job(record) => show_job(&record, context),
        Record::Dealt(record) => show_dealt(&record, context),
    }
}

fn show_job(record: &JobRecord, context: &mut Context) -> Result<()> {
    let faults = record.faults();
    let end = &record.end.record;
    let session = &end.opening.session;
    let out = &mut context.out;
    if out.json() {
        let mut value = described(record);
        value["faults"] = json!(faults);
        out.value(&value)?;
    } else {
        out.line(&format!("job        {}", session.job))?;
        out.line(&format!("record of  {}", role(record.owner())))?;
        out.folded("outcome    ", record.failure.as_deref().unwrap_or("answered"))?;
        out.line(&format!("ended      {}", moment(record.at_millis)))?;
        out.line(&format!("manifest   {}", session.task.manifest))?;
        out.line(&format!("graph      {}", session.task.graph))?;
        out.line(&format!("committee  {}", hex(&session.committee)))?;
        out.line(&format!("consumer   {}", session.consumer))?;
        for (i, key) in session.evaluators.iter().enumerate() {
            out.line(&format!("{:<10} {key}", ["first", "second"][i]))?;
        }
        out.line(&format!("helper     {}", session.helper))?;
        out.line(&format!("pack       {}", session.pack))?;
        out.line(&format!("rounds     {}, of which both have signed {}", end.rounds, record.signed_by_both()))?;
        for (direction, name) in DIRECTIONS.iter().enumerate() {
            out.line(&format!("{name:<16} {} bytes", grouped(end.bytes[direction])))?;
            out.line(&format!("  head     {}", hex(&end.heads[direction])))?;
        }
        let verdict = if faults.is_empty() { "all hold".to_owned() } else { faults.join("; ") };
        out.folded("signatures ", &verdict)?;
    }
    out.flush()?;
    holds(&faults)
}

fn show_dealt(record: &DealtRecord, context: &mut Context) -> Result<()> {
    let faults: Vec<String> =
        if record.is_signed() { vec![] } else { vec!["it is not signed by the helper that it names".into()] };
    let out = &mut context.out;
    if out.json() {
        out.value(&json!({
            "kind": "dealt", "pack": record.pack.to_string(), "manifest": record.task.manifest.to_string(),
            "graph": record.task.graph.to_string(), "committee": hex(&record.committee),
            "helper": record.helper.to_string(), "seeds": record.seal.seal.seeds.map(|s| hex(&s)),
            "corrections": hex(&record.seal.seal.corrections), "faults": faults,
        }))?;
    } else {
        out.line(&format!("pack       {}", record.pack))?;
        out.line(&format!("manifest   {}", record.task.manifest))?;
        out.line(&format!("graph      {}", record.task.graph))?;
        out.line(&format!("committee  {}", hex(&record.committee)))?;
        out.line(&format!("helper     {}", record.helper))?;
        out.folded("signature  ", faults.first().map_or("holds", String::as_str))?;
    }
    out.flush()?;
    holds(&faults)
}

fn holds(faults: &[String]) -> Result<()> {
    match faults.first() {
        None => Ok(()),
        Some(fault) => Err(Error::fault(format!("the record is no evidence: {fault}"))),
    }
}

fn described(record: &JobRecord) -> Value {
    let end = &record.end.record;
    let session = &end.opening.session;
    json!({
        "kind": "job", "job": session.job.to_string(), "role": role(record.owner()), "failure": record.failure,
        "ended_millis": record.at_millis, "manifest": session.task.manifest.to_string(),
        "graph": session.task.graph.to_string(), "committee": hex(&session.committee),
        "consumer": session.consumer.to_string(), "evaluators": session.evaluators.map(|k| k.to_string()),
        "helper": session.helper.to_string(), "pack": session.pack.to_string(),
        "inputs": end.opening.inputs.map(|c| hex(&c)), "output": end.output.map(|c| hex(&c)),
        "seeds": end.opening.seal.seeds.map(|c| hex(&c)), "corrections": hex(&end.opening.seal.corrections),
        "secret": hex(&end.secret), "rounds": end.rounds, "signed_by_both": record.signed_by_both(),
        "bytes": end.bytes, "heads": end.heads.map(|h| hex(&h)),
    })
}

fn role(owner: usize) -> &'static str {
    ["first evaluator", "second evaluator"][owner]
}

fn compare(files: &[PathBuf], context: &mut Context) -> Result<()> {
    let (mut jobs, mut dealt) = (Vec::new(), Vec::new());
    for file in files {
        match read(file)? {
            Record::Job(record) => jobs.push(record),
            Record::Dealt(record) => dealt.push(record),
        }
    }
    let [a, b] = &jobs[..] else {
        let text = format!("{} records of evaluators were given: the two of one job are needed", jobs.len());
        return Err(Error::user(text));
    };
    let verdict = verify([a, b], dealt.first().map(Box::as_ref)).map_err(Error::user)?;
    let out = &mut context.out;
    if out.json() {
        out.value(&judged(a, &verdict))?;
    } else {
        for line in told(&verdict) {
            out.folded("", &line)?;
        }
    }
    out.flush()?;
    if verdict.agree { Ok(()) } else { Err(Error::fault("the records do not agree")) }
}

fn judged(record: &JobRecord, verdict: &Verdict) -> Value {
    let parted = verdict.parted.map(|p| json!({"round": p.round, "direction": p.direction_name()}));
    let contradicted: Vec<Value> =
        verdict.contradicted.iter().map(|c| json!({"role": c.role, "key": c.key.to_string(), "by": c.by})).collect();
    json!({
        "job": record.end.record.opening.session.job.to_string(), "agree": verdict.agree, "faults": verdict.faults,
        "openings": verdict.openings, "parted": parted, "rounds": verdict.rounds,
        "signed_by_both": verdict.signed_by_both, "contradicted": contradicted,
    })
}

/// The verdict in sentences.
fn told(verdict: &Verdict) -> Vec<String> {
    let mut lines = Vec::new();
    let [a, b] = verdict.rounds;
    if verdict.agree {
        let rounds = if a == b { format!("all {a} rounds") } else { format!("the {} rounds that both list", a.min(b)) };
        lines.push(format!("The records agree on {rounds}; both have signed {}.", verdict.signed_by_both));
    }
    lines.extend(verdict.faults.iter().map(|fault| format!("No evidence: {fault}.")));
    if !verdict.openings.is_empty() {
        lines.push(format!("They part before the first round: {}.", verdict.openings.join(", ")));
    }
    if let Some(parted) = verdict.parted {
        lines.push(format!(
            "They part in round {}, {}; both have signed {} rounds.",
            parted.round,
            parted.direction_name(),
            verdict.signed_by_both
        ));
    }
    for c in &verdict.contradicted {
        lines.push(format!("Contradicted: {} {} by {}.", c.role, c.key, c.by));
    }
    if !verdict.agree && verdict.contradicted.is_empty() && verdict.faults.is_empty() {
        lines.push("No signature contradicts anybody: it is one word against another, and blames nobody.".into());
    }
    lines
}
