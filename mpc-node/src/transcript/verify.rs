//! Whether two evaluators' records of a job agree, where they part, and whom a signature of its own contradicts.

use super::file::JobRecord;
use super::{DIRECTIONS, DealtRecord, SignedRecord};
use crate::identity::PublicKey;

/// The first frame of which two records tell different stories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parted {
    /// Which round, from 1.
    pub round: u32,
    /// Which direction: an index of [`DIRECTIONS`].
    pub direction: usize,
}

/// Somebody who has signed two stories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradicted {
    /// What it was in the job: `first evaluator`, `second evaluator`, `helper` or `consumer`.
    pub role: &'static str,
    /// Its key.
    pub key: PublicKey,
    /// Which signatures contradict each other, in words.
    pub by: String,
}

/// What two records of a job say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Both tell the same story as far as both tell one, and every signature holds.
    pub agree: bool,
    /// Signatures and digests that do not hold within a record: such a record is no evidence.
    pub faults: Vec<String>,
    /// What of the openings differs.
    pub openings: Vec<&'static str>,
    /// Where the frames part.
    pub parted: Option<Parted>,
    /// Rounds that each record lists: of the first and of the second evaluator.
    pub rounds: [u32; 2],
    /// The last round that both have signed, as far as either record proves it.
    pub signed_by_both: u32,
    /// Who has signed two stories.
    pub contradicted: Vec<Contradicted>,
}

const ROLES: [&str; 2] = ["first evaluator", "second evaluator"];

/// Compares the records of both evaluators of a job, in any order, and what the helper kept of the pack, if given.
///
/// # Errors
/// When the records are not of one job and its two evaluators: then there is nothing to compare.
pub fn verify(records: [&JobRecord; 2], dealt: Option<&DealtRecord>) -> Result<Verdict, String> {
    let records = if records[0].owner() == 0 { records } else { [records[1], records[0]] };
    if records[1].owner() == 0 || records[0].owner() == 1 {
        return Err("both records are of the same evaluator: one of each is needed".into());
    }
    let sessions = records.map(|r| r.end.record.opening.session);
    if !sessions[0].is_same_job(&sessions[1]) {
        let named = sessions.map(|s| format!("{} of consumer {}", s.job, s.consumer));
        return Err(format!("the records are of two jobs, {} and {}", named[0], named[1]));
    }
    if dealt.is_some_and(|dealt| sessions.iter().all(|s| s.pack != dealt.pack)) {
        return Err("the dealing record is of another pack than the job's".into());
    }
    let mut verdict = Verdict { rounds: records.map(|r| r.rounds.len() as u32), ..Verdict::default() };
    for (record, role) in records.iter().zip(ROLES) {
        verdict.faults.extend(record.faults().into_iter().map(|fault| format!("record of the {role}: {fault}")));
    }
    verdict.signed_by_both = records.iter().map(|r| r.signed_by_both()).max().unwrap_or(0);
    if let Some(dealt) = dealt {
        compare_dealing(records, dealt, &mut verdict);
    }
    // A signature proves something only where it holds.
    if verdict.faults.is_empty() {
        compare_openings(records, &mut verdict);
        if verdict.openings.is_empty() {
            compare_rounds(records, &mut verdict);
            compare_ends(records, &mut verdict);
        }
    }
    let quiet = verdict.openings.is_empty() && verdict.parted.is_none() && verdict.contradicted.is_empty();
    verdict.agree = quiet && verdict.faults.is_empty() && differing_secrets(records).is_none();
    Ok(verdict)
}

fn differing_secrets([a, b]: [&JobRecord; 2]) -> Option<()> {
    // Before the second evaluator has answered there is no secret to agree on.
    (a.end.record.secret != b.end.record.secret && !a.rounds.is_empty() && !b.rounds.is_empty()).then_some(())
}

fn compare_dealing(records: [&JobRecord; 2], dealt: &DealtRecord, verdict: &mut Verdict) {
    if !dealt.is_signed() {
        verdict.faults.push("record of the helper: it is not signed by its owner".into());
        return;
    }
    for (record, role) in records.iter().zip(ROLES) {
        let opening = &record.end.record.opening;
        let same = (opening.session.committee, opening.session.pack, opening.session.task)
            == (dealt.committee, dealt.pack, dealt.task);
        let signed = dealt.helper.verifies(&opening.seal_digest(), &record.signatures.helper);
        if same && signed && opening.session.helper == dealt.helper && opening.seal != dealt.seal.seal {
            verdict.contradicted.push(Contradicted {
                role: "helper",
                key: dealt.helper,
                by: format!("its seal of the pack in its own record, and the one in that of the {role}"),
            });
        }
    }
}

fn compare_openings(records: [&JobRecord; 2], verdict: &mut Verdict) {
    let [a, b] = records.map(|r| &r.end.record.opening);
    verdict.openings = a.differences(b);
    let mut contradicted = |role, key, by: &str| verdict.contradicted.push(Contradicted { role, key, by: by.into() });
    if a.session.consumer == b.session.consumer && a.request_digest() != b.request_digest() {
        contradicted("consumer", a.session.consumer, "its signatures on two requests for one job");
    }
    let same_pack =
        (a.session.committee, a.session.pack, a.session.task) == (b.session.committee, b.session.pack, b.session.task);
    if same_pack && a.session.helper == b.session.helper && a.seal != b.seal {
        contradicted("helper", a.session.helper, "its signatures on two seals of one pack");
    }
    for (index, role) in ROLES.into_iter().enumerate() {
        let (own, other) = (records[index], records[1 - index]);
        let key = own.end.record.signer_key();
        let (mine, theirs) = (&own.end.record.opening, &other.end.record.opening);
        let end = other.other.map(|end| end.record).filter(|end| end.signer_key() == key);
        let named = theirs.session.evaluators[index] == key;
        // The first offers a job with one pack after the other until the second takes one, and signs rounds and an end
        // with that one only; the second signs one opening only.
        let offered = named && other.signatures.evaluators[index].is_some();
        let taken = named
            && (other.checkpoints.iter().any(|c| c.other.is_some()) || end.is_some_and(|end| end.opening == *theirs));
        let retried = index == 0 && a.session.pack != b.session.pack;
        if mine != theirs && (taken || offered && !retried) || end.is_some_and(|end| end.opening != *mine) {
            contradicted(role, key, "its signatures on two openings of one job");
        }
    }
}

fn compare_rounds(records: [&JobRecord; 2], verdict: &mut Verdict) {
    let pairs = records[0].rounds.iter().zip(&records[1].rounds).enumerate();
    verdict.parted = pairs
        .flat_map(|(round, (a, b))| (0..2).map(move |d| (round, d, a[d] != b[d])))
        .find(|(_, _, differs)| *differs)
        .map(|(round, direction, _)| Parted { round: round as u32 + 1, direction });
    let heads = records.map(JobRecord::heads);
    for (index, role) in ROLES.into_iter().enumerate() {
        let (own, other) = (records[index], records[1 - index]);
        // What the other holds of this one's signatures, against what this one shows.
        let checkpoints = other.checkpoints.iter().filter(|c| c.other.is_some()).map(|c| c.rounds);
        let end = end_of(other).map(|end| (end.record.rounds, end.record.heads));
        let signed = checkpoints.map(|rounds| (rounds, heads[1 - index][rounds as usize])).chain(end);
        let broken = signed.into_iter().find(|(rounds, signed)| heads[index].get(*rounds as usize) != Some(signed));
        if let Some((rounds, _)) = broken {
            let by = if own.rounds.len() < rounds as usize {
                format!("its signature on {rounds} rounds, of which its record shows {}", own.rounds.len())
            } else {
                format!("its signature after round {rounds}, which its own record does not lead to")
            };
            verdict.contradicted.push(Contradicted { role, key: own.end.record.signer_key(), by });
        }
    }
}

fn compare_ends(records: [&JobRecord; 2], verdict: &mut Verdict) {
    for (index, role) in ROLES.into_iter().enumerate() {
        let (own, other) = (records[index], records[1 - index]);
        let Some(end) = end_of(other) else { continue };
        let (a, b) = (&own.end.record, &end.record);
        if a.output.is_some() && (a.output, a.secret) != (b.output, b.secret) {
            let by = "its signatures on two commitments to its answer".to_owned();
            verdict.contradicted.push(Contradicted { role, key: a.signer_key(), by });
        }
    }
}

/// The other evaluator's end that a record shows, if it is of the record's opening: heads of another cannot be compared.
fn end_of(record: &JobRecord) -> Option<SignedRecord> {
    record.other.filter(|end| end.record.opening == record.end.record.opening)
}

impl Parted {
    /// The direction in words.
    pub fn direction_name(&self) -> &'static str {
        DIRECTIONS[self.direction]
    }
}
