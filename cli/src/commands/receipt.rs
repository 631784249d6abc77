//! `sahara receipt ls | show | verify`: what was paid for, and what that proves.

use alloy_primitives::{B256, hex};
use clap::{Args, Subcommand};
use sahara_light::{Light, Options};
use sahara_market::slots::{self, CommitteeState, SessionState};
use sahara_market::{LICENCES, Receipt};
use serde_json::{Value, json};

use super::Context;
use super::output::moment;
use crate::error::{Error, Result};
use crate::market::bill::Bill;
use crate::market::content::{identity, registered};
use crate::market::network;
use crate::market::purse::short;
use crate::market::receipts::{self, Kept};
use crate::wallet::amount::Amount;
use sahara::models::SharedStore;
use sahara::network::SharingRef;
use sahara_mpc::market::ManifestId;

/// What no receipt says. Each is said with every verification that asks for it.
const NOT_PROVEN: [&str; 6] = [
    "that the answer is right: three operators say so together, nothing recomputes it",
    "that no two of the three operators put their shares together: two of them can read everything",
    "what was asked or answered: only salted commitments to shares are in it",
    "that the weights are what their owner describes: only that they are what was registered (see `content`)",
    "when the job ran to the second: the time is the consumer's, within a quarter of an hour of the nodes' clocks",
    "that it was paid: the market pays when somebody shows it this receipt (see `settled`)",
];

#[derive(Subcommand, Debug)]
pub enum ReceiptCommand {
    /// List the receipts that are kept here, the oldest first
    Ls(LsArgs),
    /// Show what a receipt says
    Show(ShowArgs),
    /// Check a receipt: three signatures, the voucher, and what the chain says of its session
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub struct LsArgs {
    /// Only the newest so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// 'last', the beginning of an id, or a file
    receipt: String,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// 'last', the beginning of an id, or a file
    receipt: String,
    /// Say what each check means, and what a receipt does not prove
    #[arg(long)]
    explain: bool,
    /// Check what needs no chain
    #[arg(long)]
    offline: bool,
}

/// One thing that was checked.
struct Check {
    what: &'static str,
    /// Nothing if it could not be checked.
    holds: Option<bool>,
    found: String,
}

pub fn run(command: ReceiptCommand, context: &mut Context) -> Result<()> {
    match command {
        ReceiptCommand::Ls(args) => ls(&args, context),
        ReceiptCommand::Show(args) => show(&args, context),
        ReceiptCommand::Verify(args) => verify(&args, context),
    }
}

fn read_bill(kept: &Kept) -> Result<Bill> {
    Bill::decode(&kept.domain(), &kept.complete.receipt)
        .map_err(|e| Error::user(format!("the receipt does not hold: {e}")))
}

/// The receipts of this home; those that cannot be read are told.
pub(super) fn all(context: &Context) -> Result<receipts::Receipts> {
    let (all, damaged) = receipts::all(&context.home)?;
    damaged.iter().for_each(|error| context.progress.note(&format!("skipped: {}", error.report())));
    Ok(all)
}

fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let all = all(context)?;
    let newest = &all[all.len().saturating_sub(args.last as usize)..];
    if context.out.json() {
        let list: Vec<Value> = newest
            .iter()
            .map(|(id, kept)| {
                Ok(json!({
                    "receipt": id,
                    "at": kept.at / 1000,
                    "answered": kept.answered,
                    "price": read_bill(kept)?.receipt.price.to_string(),
                }))
            })
            .collect::<Result<_>>()?;
        return context.out.value(&list);
    }
    if newest.is_empty() {
        return context.out.line("no receipt is here yet");
    }
    newest.iter().try_for_each(|(id, kept)| {
        let receipt = read_bill(kept)?.receipt;
        let lost = if kept.answered { "" } else { ", no answer" };
        let id = &format!("{id:x}")[..16];
        context.out.line(&format!("{id}  {}  {}{lost}", moment(kept.at), Amount::from(receipt.price)))
    })
}

/// Fields that are small numbers in JSON; amounts and the licence are text, as everywhere.
const NUMBERS: [&str; 5] = ["epoch", "helper", "number", "time", "height"];

/// The fields of a receipt by name. A committee is called by its id here as everywhere; Solidity calls that the lane, and the hash
/// of its three members the committee.
fn fields(receipt: &Receipt) -> Vec<(&'static str, String)> {
    vec![
        ("job", format!("0x{}", hex::encode(&receipt.job[..16]))),
        ("session", receipt.session.to_string()),
        ("committee", receipt.lane.to_string()),
        ("asset", receipt.asset.to_string()),
        ("licence", receipt.licence.to_string()),
        ("sharing", receipt.sharing.to_string()),
        ("graph", receipt.graph.to_string()),
        ("parameters", receipt.parameters.to_string()),
        ("request", receipt.request.to_string()),
        ("output", receipt.output.to_string()),
        ("transcript", receipt.transcript.to_string()),
        ("previous", receipt.previous.to_string()),
        ("members", receipt.committee.to_string()),
        ("epoch", receipt.epoch.to_string()),
        ("helper", receipt.helper.to_string()),
        ("number", receipt.number.to_string()),
        ("total", receipt.total.to_string()),
        ("price", receipt.price.to_string()),
        ("time", receipt.time.to_string()),
        ("height", receipt.height.to_string()),
    ]
}

fn field_value(name: &str, text: String) -> Value {
    match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&name) => json!(number),
        _ => json!(text),
    }
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let kept = receipts::find(&context.home, &args.receipt)?;
    let bill = read_bill(&kept)?;
    let id = bill.digest(&kept.domain());
    if context.out.json() {
        let mut value: Value =
            fields(&bill.receipt).into_iter().map(|(name, text)| (name.to_owned(), field_value(name, text))).collect();
        value["receipt"] = json!(id);
        value["chain"] = json!(kept.chain);
        value["answered"] = json!(kept.answered);
        value["operators"] = bill.deal.committee().operators.iter().map(|one| json!(one.to_checksum(None))).collect();
        value["voucher"] = json!(hex::encode_prefixed(bill.voucher));
        value["signatures"] =
            kept.complete.signatures.iter().map(|signature| json!(hex::encode_prefixed(signature))).collect();
        return context.out.value(&value);
    }
    context.out.line(&format!("receipt {id}"))?;
    context.out.line(&format!("on chain {}", kept.chain))?;
    fields(&bill.receipt).into_iter().try_for_each(|(name, text)| context.out.line(&format!("{name:12}{text}")))?;
    let session = bill.deal.session();
    context.out.line(&format!(
        "paid {}: {} to the asset, {} to the operators",
        Amount::from(bill.receipt.price),
        Amount::from(session.royalty),
        Amount::from(session.compute)
    ))
}

fn verify(args: &VerifyArgs, context: &mut Context) -> Result<()> {
    let kept = receipts::find(&context.home, &args.receipt)?;
    let mut checks = Vec::new();
    let decoded = Bill::decode(&kept.domain(), &kept.complete.receipt);
    let id = decoded.as_ref().ok().map(|bill| bill.digest(&kept.domain()));
    match &decoded {
        Ok(bill) => {
            by_itself(&kept, bill, &mut checks);
            if !args.offline {
                context.progress.step("asking the chain, and proving what it says");
                on_chain(&kept, bill, context, &mut checks);
                checks.push(content_of(&kept, bill, context));
                context.progress.clear();
            }
        }
        Err(error) => checks.push(Check { what: "terms", holds: Some(false), found: error.to_string() }),
    }
    let verified = checks.iter().all(|check| check.holds == Some(true));
    if context.out.json() {
        let list: Vec<Value> = checks
            .iter()
            .map(|check| json!({"check": check.what, "holds": check.holds, "found": check.found}))
            .collect();
        let mut value = json!({"receipt": id, "verified": verified, "offline": args.offline, "checks": list});
        if args.explain {
            value["not_proven"] = json!(NOT_PROVEN);
        }
        context.out.value(&value)?;
    } else {
        if let Some(id) = id {
            context.out.line(&format!("receipt {id}"))?;
        }
        for check in &checks {
            let mark = match check.holds {
                Some(true) => "holds",
                Some(false) => "FAILS",
                None => "open",
            };
            context.out.folded(&format!("{mark:6} {:11} ", check.what), &check.found)?;
            if let Some(meaning) = meaning(check.what).filter(|_| args.explain) {
                context.out.folded(&" ".repeat(19), meaning)?;
            }
        }
        if args.explain {
            context.out.line("")?;
            context.out.line("It does not prove")?;
            NOT_PROVEN.iter().try_for_each(|words| context.out.folded("- ", words))?;
        }
    }
    context.out.flush()?;
    match (verified, checks.iter().any(|check| check.holds == Some(false))) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::fault("the receipt does not hold")),
        (false, false) => Err(Error::user("not all of the receipt could be checked: is the network known and up?")),
    }
}

fn meaning(check: &str) -> Option<&'static str> {
    Some(match check {
        "terms" => "session, committee, asset, version, price and total in it fit each other",
        "voucher" => "the session's own key promised this total for this job and this request",
        "signatures" => "all three nodes of the committee signed exactly this",
        "session" => "the chain knows the session by its hash, so its terms are what was agreed",
        "committee" => "the chain knows the committee by its hash: these operators, keys and version",
        "content" => {
            "the version that was asked has the weights that are registered as the asset, and the graph that was run"
        }
        "height" => "the chain had that height when the nodes signed",
        "licence" => "the licence was not withdrawn",
        "settled" => "what the market has paid to this committee in this session so far",
        _ => return None,
    })
}

/// Whether a committee was seated when its receipt was signed, in seconds since 1970.
fn seated(state: Option<CommitteeState>, time: u64) -> (bool, String) {
    let until = |state: &CommitteeState| moment(state.ended.saturating_mul(1000));
    match state.filter(|state| state.from > 0 && state.from <= time) {
        Some(state) if state.ended == 0 => (true, "seated".to_owned()),
        Some(state) if state.ended >= time => (true, format!("seated until {}", until(&state))),
        Some(state) => (false, format!("seated until {}, which is before the receipt", until(&state))),
        None => (false, "the chain knows no such committee at that time".to_owned()),
    }
}

/// What needs nobody else.
fn by_itself(kept: &Kept, bill: &Bill, checks: &mut Vec<Check>) {
    let good = |what, found| Check { what, holds: Some(true), found };
    checks.push(good(
        "terms",
        format!("job {} of this session, {}", bill.receipt.number, Amount::from(bill.receipt.price)),
    ));
    checks.push(good("voucher", format!("signed by {}", bill.deal.session().signer)));
    let digest = bill.digest(&kept.domain());
    let keys = bill.deal.keys();
    let signed =
        keys.iter().zip(&kept.complete.signatures).filter(|(key, signature)| key.verifies(&digest.0, signature));
    let count = signed.count();
    checks.push(Check { what: "signatures", holds: Some(count == 3), found: format!("{count} of 3 members") });
}

/// What the chain says, proven from its headers.
fn on_chain(kept: &Kept, bill: &Bill, context: &Context, checks: &mut Vec<Check>) {
    let deal = &bill.deal;
    let market = kept.domain().market;
    let wanted = [
        (market, slots::session(deal.id)),
        (market, slots::committee(deal.lane)),
        (LICENCES, slots::withdrawn(deal.session().licence)),
        (market, slots::settled(deal.id, deal.lane)),
    ];
    let proven = network::of_chain(&context.home, kept.chain).and_then(|network| {
        Light::words(&network.light(Options::default()), &wanted).map_err(|e| Error::fault(e.to_string()))
    });
    let proven = match proven {
        Ok(proven) => proven,
        Err(error) => {
            checks.push(Check { what: "session", holds: None, found: error.report() });
            return;
        }
    };
    let [session, committee, withdrawn, settled]: [B256; 4] = match proven.words.try_into() {
        Ok(words) => words,
        Err(_) => return,
    };
    let state = SessionState::read(session.into());
    let known = matches!(state, SessionState::Open | SessionState::Closing(_) | SessionState::Finished);
    let words = match state {
        SessionState::None => "the chain knows no such session",
        SessionState::Open => "open",
        SessionState::Closing(_) => "closing",
        SessionState::Finished => "over",
        SessionState::Unknown(_) => "in a state that this program does not know",
    };
    checks.push(Check { what: "session", holds: Some(known), found: words.to_owned() });
    let (holds, words) = seated(CommitteeState::read(committee.into()), bill.receipt.time);
    checks.push(Check { what: "committee", holds: Some(holds), found: words });
    let height = bill.receipt.height;
    let found = format!("{height}, and the chain is at {}", proven.height);
    checks.push(Check { what: "height", holds: Some(height <= proven.height), found });
    let at = alloy_primitives::U256::from_be_bytes(withdrawn.0);
    let good = at.is_zero() || at >= alloy_primitives::U256::from(bill.receipt.time);
    let words = if at.is_zero() { "not withdrawn" } else { "withdrawn" };
    checks.push(Check { what: "licence", holds: Some(good), found: words.to_owned() });
    let paid = Amount(alloy_primitives::U256::from_be_bytes(settled.0));
    let whole = paid >= Amount::from(bill.receipt.total);
    let words = format!("{paid} paid{}", if whole { ", this receipt within" } else { ", this receipt not yet" });
    checks.push(Check { what: "settled", holds: Some(true), found: words });
}

/// Whether the version that was asked is what was registered as the asset, by what this machine was given of it.
fn content_of(kept: &Kept, bill: &Bill, context: &Context) -> Check {
    let open = |found: String| Check { what: "content", holds: None, found };
    let manifest = ManifestId(bill.receipt.sharing.0).to_string();
    let store = SharedStore::new(&context.home);
    let here = store.list().map(|all| all.into_iter().find(|info| info.manifest == manifest));
    let info = match here {
        Ok(Some(info)) => info,
        Ok(None) => return open(format!("version {manifest:.12}… is not on this machine, so nothing is compared")),
        Err(error) => return open(Error::from(error).report()),
    };
    let model = info.name.parse().map_err(Error::user).and_then(|name| {
        let (_, _, compiled) = store.here(&SharingRef::Named(info.owner, name))?;
        identity(&compiled)
    });
    let chain = network::of_chain(&context.home, kept.chain).map(|network| network.chain());
    let registered = chain.and_then(|chain| registered(&chain, bill.receipt.asset));
    match (model, registered) {
        (Ok((root, graphs)), Ok(registered)) => compared(&bill.receipt, (root, &graphs), registered),
        (Err(error), _) | (_, Err(error)) => open(error.report()),
    }
}

fn compared(receipt: &Receipt, (root, graphs): (B256, &[B256]), registered: B256) -> Check {
    let (holds, found) = match (root == registered, graphs.contains(&receipt.graph)) {
        (true, true) => (true, format!("weights {} as registered, and a graph of that model", short(root))),
        (false, _) => (false, format!("weights {root}, registered are {registered}")),
        (true, false) => (false, format!("the model has no graph {}", receipt.graph)),
    };
    Check { what: "content", holds: Some(holds), found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::bill::{Last, tests::*};

    #[test]
    fn a_committee_that_ended_before_the_receipt_does_not_hold() {
        let holds = |from, ended| seated(Some(CommitteeState { from, ended }), 100).0;
        assert!(holds(100, 0) && holds(1, 100) && holds(1, 101));
        assert!(!holds(1, 99) && !holds(101, 0) && !holds(0, 0) && !seated(None, 100).0);
    }

    #[test]
    fn each_signature_counts_and_every_field_is_shown() {
        let bill = bill(1, &Last::default());
        let mut complete = complete(&bill);
        let checked = |complete: &sahara_mpc::market::Complete| {
            let kept = Kept { chain: 1337, at: 0, answered: true, complete: complete.clone() };
            let mut checks = Vec::new();
            by_itself(&kept, &bill, &mut checks);
            checks.iter().all(|check| check.holds == Some(true))
        };
        assert!(checked(&complete));
        for member in 0..3 {
            complete.signatures[member][0] ^= 1;
            assert!(!checked(&complete), "member {member}");
            complete.signatures[member][0] ^= 1;
        }
        let fields = fields(&bill.receipt);
        assert_eq!(fields.len(), Receipt::BYTES / 32);
        for (name, text) in fields {
            let number = field_value(name, text).is_number();
            assert_eq!(number, NUMBERS.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_was_asked_is_compared_with_what_was_registered() {
        let receipt = bill(1, &Last::default()).receipt;
        let (root, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let holds = |root, graphs: &[B256]| compared(&receipt, (root, graphs), B256::repeat_byte(1)).holds;
        assert_eq!(holds(root, &[other, receipt.graph]), Some(true));
        assert_eq!(holds(other, &[receipt.graph]), Some(false), "other weights");
        assert_eq!(holds(root, &[other]), Some(false), "another model's graph");
        assert!(meaning("content").is_some());
    }

    #[test]
    fn each_check_is_explained() {
        let mut checks = Vec::new();
        let bill = bill(1, &Last::default());
        let kept = Kept { chain: 1337, at: 0, answered: true, complete: complete(&bill) };
        by_itself(&kept, &bill, &mut checks);
        assert!(checks.iter().all(|check| meaning(check.what).is_some()));
    }
}
