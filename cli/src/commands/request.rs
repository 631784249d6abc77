//! `sahara request make | seal | show | ls | answer | refund`: what contracts ask, and people as contracts do.

use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, hex};
use alloy_sol_types::SolEvent;
use clap::{Args, Subcommand};
use sahara_market::INFERENCE_MARKET;
use sahara_market::abi::InferenceMarket;
use sahara_market::request::{ANSWER_TIME, Request};
use sahara_market::slots::RequestState;
use serde_json::{Value, json};

use super::Context;
use super::money::{MoneyArgs, id};
use super::network::NetworkArgs;
use super::session::{examined, standings};
use crate::chain_client::{Chain, Key, Order};
use crate::error::{Error, Result};
use crate::market::network::Network;
use crate::market::operators::{self, Accepted};
use crate::market::requests::ask::{self, Fetched};
use crate::market::requests::hear;
use crate::moment::{moment, now};
use crate::wallet::amount::Amount;
use sahara::home::{Home, write_atomic};

/// Seconds within which what is in a block is proven, if the chain goes on.
const PROVEN_WITHIN: u64 = 120;
/// Between two looks for an answer.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Subcommand, Debug)]
#[command(after_help = "\
A contract asks with an input that is sealed to the evaluators of a committee:
`request seal` makes those bytes for a contract, `request make` makes them and
asks itself. What comes back is a receipt, and with --public the answer for
everybody. Nobody answers within an hour: `request refund ID`.")]
pub enum RequestCommand {
    /// Ask as a contract does, once, without a licence
    Make(MakeArgs),
    /// Seal an input with which a contract is to ask
    Seal(SealArgs),
    /// Show a request, and its answer if everybody may read it
    Show(IdArgs),
    /// List the requests that were sealed here
    Ls(LsArgs),
    /// Fetch an answer that only you may read
    Answer(AnswerArgs),
    /// Take the price of a request back that nobody answered
    Refund(RefundArgs),
}

/// What is asked.
#[derive(Args, Debug)]
struct What {
    /// The asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// The text
    #[arg(long)]
    text: String,
    /// Name of the asset's model here; it encodes the text [default: what its nodes gave, or give, to your licence]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Everybody may read the answer: it is given to the chain
    #[arg(long)]
    public: bool,
    /// Contract that is told
    #[arg(long, value_name = "ADDRESS")]
    callback: Option<Address>,
    /// The committee that you mean, whoever sits on it
    #[arg(long, value_name = "COMMITTEE", value_parser = id)]
    with: Option<B256>,
}

#[derive(Args, Debug)]
pub struct MakeArgs {
    #[command(flatten)]
    what: What,
    /// The most that it may cost [default: what it costs now]
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<Amount>,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
#[command(override_usage = "sahara request seal --asset ASSET --text TEXT --asker ADDRESS --out FILE")]
pub struct SealArgs {
    #[command(flatten)]
    what: What,
    /// Contract that will ask: for nobody else is it sealed
    #[arg(long, value_name = "ADDRESS")]
    asker: Address,
    /// File for the sealed bytes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct IdArgs {
    /// The request
    #[arg(value_parser = id)]
    request: B256,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct AnswerArgs {
    /// The request
    #[arg(value_parser = id)]
    request: B256,
    /// Wait for it, until nobody may answer any more
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct RefundArgs {
    /// The request
    #[arg(value_parser = id)]
    request: B256,
    #[command(flatten)]
    money: MoneyArgs,
}

pub fn run(command: RequestCommand, context: &mut Context) -> Result<()> {
    match command {
        RequestCommand::Make(args) => make(&args, context),
        RequestCommand::Seal(args) => seal(&args, context),
        RequestCommand::Show(args) => show(&args, context),
        RequestCommand::Ls(args) => ls(&args, context),
        RequestCommand::Answer(args) => answer(&args, context),
        RequestCommand::Refund(args) => refund(&args, context),
    }
}

/// Seals what is asked, for a contract or an account that will ask.
fn sealed(
    what: &What,
    network: &Network,
    asker: Address,
    context: &mut Context,
) -> Result<(ask::Offered, ask::SealedInput)> {
    context.progress.step("proving what contracts may ask");
    let offered = ask::offered(network, what.asset)?;
    agreed(what, network, &offered, context)?;
    let model = ask::model(&context.home, network, &offered, what.model.as_deref(), &context.progress.events())?;
    context.progress.step("sealing the text to the evaluators");
    let binding = (asker, what.callback.unwrap_or_default(), what.public);
    let sealed = ask::sealed(&context.home, network, &offered, &model, &what.text, binding)?;
    Ok((offered, sealed))
}

/// Who reads what is asked is looked at and agreed to, as where a session is opened: who sits there, that they hold what is registered,
/// and that they are whom this home's owner accepted for the asset, if others were.
fn agreed(what: &What, network: &Network, offered: &ask::Offered, context: &Context) -> Result<()> {
    let (committee, lane) = (&offered.committee, offered.ask.lane);
    let named = match what.with {
        Some(with) if with != lane => {
            return Err(Error::user(format!("contracts are answered by committee {lane}, not by {with}")));
        }
        with => with.is_some(),
    };
    let chain = network.chain();
    examined(&chain, committee, &standings(&chain, committee)?, named, context)?;
    let accepted = Accepted::load(&context.home)?;
    if !named && accepted.knows(what.asset) && !accepted.has(committee) {
        let who = operators::named(&committee.operators);
        return Err(Error::user(format!(
            "committee {lane} has other operators than you accepted ({who}): say --with {lane} if they may read what you ask"
        )));
    }
    Ok(())
}

/// From now on this home's owner has agreed to them.
fn accept(offered: &ask::Offered, context: &Context) -> Result<()> {
    Accepted::load(&context.home)?.accept(&offered.committee)
}

fn make(args: &MakeArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (network, asker, what) = (payer.network.clone(), payer.address, &args.what);
    let (offered, input) = sealed(what, &network, asker, context)?;
    let most = args.max_price.map_or(Ok(input.price), |most| most.small().map_err(Error::user))?;
    if input.price > most {
        return Err(Error::user(format!(
            "a request costs {} now, and you would pay {}",
            Amount::from(input.price),
            Amount::from(most)
        )));
    }
    let call = InferenceMarket::requestInferenceCall {
        asset: what.asset,
        lane: offered.ask.lane,
        sealedInput: Bytes::from(input.bytes),
        callback: what.callback.unwrap_or_default(),
        isPublic: what.public,
        maxPrice: most,
    };
    let order = Order::call("asking", INFERENCE_MARKET, &call).paying(Amount::from(input.price));
    if !payer.only_tries() {
        accept(&offered, context)?;
    }
    let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
    let event = done.event::<InferenceMarket::Requested>(INFERENCE_MARKET);
    let event = event.ok_or_else(|| Error::fault("the market did not say which request it took"))?;
    let value = json!({
        "request": event.request,
        "asset": what.asset,
        "price": input.price.to_string(),
        "public": what.public,
        "until": event.r.until,
        "tokens": input.tokens,
    });
    let next = if what.public { "show" } else { "answer --wait" };
    payer.tell(
        &format!("asked: `sahara request {next} {}` has the answer, in a minute or so", event.request),
        value,
        context,
    )
}

fn seal(args: &SealArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let (offered, input) = sealed(&args.what, &network, args.asker, context)?;
    accept(&offered, context)?;
    write_atomic(&args.out, &input.bytes)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({
            "asset": args.what.asset,
            "lane": offered.ask.lane,
            "price": input.price.to_string(),
            "bytes": input.bytes.len(),
            "input": alloy_primitives::keccak256(&input.bytes),
            "asker": args.asker.to_checksum(None),
        }));
    }
    let words = format!(
        "sealed for {} to ask committee {} with; {} bytes are in {}, good for an hour",
        args.asker,
        offered.ask.lane,
        input.bytes.len(),
        args.out.display()
    );
    context.out.folded("", &words)
}

/// A request's state, proven, by a word; what a node shows and the chain does not have (yet) comes with what that means.
fn state_word(state: RequestState, until: u64, now: u64) -> (&'static str, Option<&'static str>) {
    let word = match state {
        RequestState::None if now < until.saturating_sub(ANSWER_TIME).saturating_add(PROVEN_WITHIN) => {
            return (
                "pending",
                Some("it is not proven yet: the block that has it is newer than the last one that is proven"),
            );
        }
        RequestState::None => {
            return ("unknown", Some("a node of the chain shows it, and what is proven of the chain does not have it"));
        }
        RequestState::Waiting => "waiting",
        RequestState::Answered => "answered",
        RequestState::GivenBack => "given back",
        RequestState::Unknown(_) => "in a state that this program does not know",
    };
    (word, None)
}

/// The last event of a kind about a request.
fn event<E: SolEvent>(chain: &Chain, request: B256) -> Result<Option<E>> {
    let logs = chain.logs(
        "asking for the request",
        INFERENCE_MARKET,
        Key::Id(request),
        &[Some(E::SIGNATURE_HASH), Some(request)],
    )?;
    let read = logs.iter().rev().map(|log| E::decode_raw_log_validate(log.topics.iter().copied(), &log.data));
    Ok(read.filter_map(std::result::Result::ok).next())
}

/// What is shown of a request.
struct Shown {
    value: Value,
    state: RequestState,
    word: &'static str,
    words: Option<Vec<i32>>,
    values: Option<Vec<f32>>,
}

fn shown(home: &Home, network: &Network, request: B256) -> Result<Shown> {
    let (chain, domain) = (network.chain(), network.domain());
    let (details, _) = hear::requested(&chain, &domain, request)?;
    let state = network.request_state(request)?;
    let answered = match state {
        RequestState::Answered => event::<InferenceMarket::Answered>(&chain, request)?,
        _ => None,
    };
    let words = answered.as_ref().filter(|_| details.isPublic);
    let words = words.and_then(|answered| ask::public_words(&answered.answer, answered.output));
    let price = details.price().unwrap_or_default().to_string();
    let Request { asset, ask, asker, callback, isPublic, until, input, .. } = details;
    let (word, problem) = state_word(state, until, now());
    let values = words.as_ref().and_then(|words| ask::decoded(home, input, words));
    let value = json!({
        "request": request,
        "state": word,
        "problem": problem,
        "asset": asset,
        "lane": ask.lane,
        "asker": asker.to_checksum(None),
        "callback": callback.to_checksum(None),
        "public": isPublic,
        "price": price,
        "until": until,
        "receipt": answered.as_ref().map(|answered| answered.receipt),
        "output": answered.as_ref().map(|answered| answered.output),
        "told": answered.as_ref().map(|answered| answered.told),
        "answer": words,
        "values": values,
        "bytes": answered.as_ref().filter(|answered| !answered.answer.is_empty()).map(|a| hex::encode_prefixed(&a.answer)),
    });
    Ok(Shown { value, state, word, words, values })
}

fn show(args: &IdArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let Shown { value, state, word, words, values } = shown(&context.home, &network, args.request)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&value);
    }
    let proven = if state == RequestState::None { "not proven" } else { "proven" };
    context.out.line(&format!("{}: {word} ({proven})", args.request))?;
    if let Some(problem) = value["problem"].as_str() {
        context.out.folded("    ", problem)?;
    }
    let until = value["until"].as_u64().unwrap_or_default();
    context.out.folded("    ", &format!("asset {}, asked by {}", text(&value["asset"]), text(&value["asker"])))?;
    match (state, words) {
        (RequestState::Waiting, _) => {
            context.out.folded("    ", &format!("may be answered until {}", moment(until.saturating_mul(1000))))
        }
        (RequestState::Answered, Some(words)) => {
            context.out.folded("    ", &format!("receipt {}", text(&value["receipt"])))?;
            context.out.folded("    ", &in_brief(&words, values.as_deref()))
        }
        (RequestState::Answered, None) => context.out.folded("    ", &format!("receipt {}", text(&value["receipt"]))),
        _ => Ok(()),
    }
}

/// The beginning of an answer.
fn in_brief(words: &[i32], values: Option<&[f32]>) -> String {
    const FIRST: usize = 8;
    let (what, shown): (_, Vec<String>) = match values {
        Some(values) => ("numbers", values.iter().take(FIRST).map(|value| format!("{value:.6}")).collect()),
        None => (
            "integers (the model that gives them a scale is not here)",
            words.iter().take(FIRST).map(i32::to_string).collect(),
        ),
    };
    let count = values.map_or(words.len(), <[f32]>::len);
    format!("{count} {what}: {}{}", shown.join(", "), if count > FIRST { " …" } else { "" })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("none")
}

fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let (chain, kept) = (network.chain(), ask::kept(&context.home)?);
    let mut logs = Vec::new();
    for input in &kept {
        let topics = [Some(InferenceMarket::Requested::SIGNATURE_HASH)];
        logs.extend(chain.logs("asking for the requests", INFERENCE_MARKET, Key::Id(*input), &topics)?);
    }
    let read = |log: &crate::chain_client::Log| {
        InferenceMarket::Requested::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()
    };
    let ours: Vec<B256> = logs
        .iter()
        .filter_map(read)
        .filter(|event| kept.contains(&event.r.input) && event.r.id(&network.domain()) == event.request)
        .map(|event| event.request)
        .collect();
    let all = ours.iter().map(|request| shown(&context.home, &network, *request)).collect::<Result<Vec<_>>>()?;
    context.progress.clear();
    if context.out.json() {
        let values: Vec<Value> = all.into_iter().map(|shown| shown.value).collect();
        return context.out.value(&values);
    }
    if all.is_empty() {
        return context.out.line("no request of this home's is on this chain");
    }
    all.iter().try_for_each(|shown| context.out.line(&format!("{}: {}", text(&shown.value["request"]), shown.word)))
}

fn answer(args: &AnswerArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    context.progress.step("fetching both halves of the answer");
    let answer = loop {
        match ask::fetch(&context.home, &network, args.request)? {
            Fetched::Answer(answer) => break answer,
            Fetched::NotYet { until, .. } if args.wait && now() <= until => {
                context.progress.step("waiting for the answer");
                std::thread::sleep(PAUSE);
            }
            Fetched::NotYet { why, until } => return Err(no_answer(args.request, &why, until, now())),
        }
    };
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({
            "request": args.request,
            "receipt": answer.receipt,
            "answer": answer.words,
            "values": answer.values,
        }));
    }
    context.out.line(&format!("receipt {}", answer.receipt))?;
    context.out.folded("", &in_brief(&answer.words, answer.values.as_deref()))
}

/// Says that there is no answer, and what to do.
fn no_answer(request: B256, why: &str, until: u64, now: u64) -> Error {
    Error::user(match now <= until {
        true => format!(
            "there is no answer yet: {why}; it may be answered until {}, and `sahara request answer --wait {request}` waits for it",
            moment(until.saturating_mul(1000))
        ),
        false => format!(
            "there is no answer to fetch: {why}, and its time is over: `sahara request show {request}` says whether it was answered \
             (evaluators keep an answer for an hour); if nobody did, `sahara request refund {request}` takes the price back"
        ),
    })
}

/// Why the price of a request cannot be taken back, if it cannot.
fn no_refund(request: B256, state: RequestState, until: u64, now: u64) -> Option<String> {
    match state {
        RequestState::Answered => {
            Some(format!("the request was answered, and paid: `sahara request show {request}` has its receipt"))
        }
        RequestState::GivenBack => Some("the request's price went back already".to_owned()),
        RequestState::Waiting | RequestState::None if now <= until => Some(format!(
            "the request may be answered until {}: its price can be taken back after that",
            moment(until.saturating_mul(1000))
        )),
        _ => None,
    }
}

fn refund(args: &RefundArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (q, _) = hear::requested(&payer.chain, &payer.network.domain(), args.request)?;
    let state = payer.network.request_state(args.request)?;
    if let Some(why) = no_refund(args.request, state, q.until, now()) {
        return Err(Error::user(why));
    }
    let (price, asker) = (q.price().unwrap_or_default(), q.asker);
    let order = Order::call("taking the price back", INFERENCE_MARKET, &InferenceMarket::refundRequestCall { q });
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    if asker == payer.address {
        let order = Order::call("withdrawing it", INFERENCE_MARKET, &InferenceMarket::withdrawCall {});
        payer.carry_out(&order, context)?;
    }
    let words = match asker == payer.address {
        true => format!("{} came back", Amount::from(price)),
        false => format!("{} are {asker}'s balance at the market now", Amount::from(price)),
    };
    payer.tell(
        &words,
        json!({"request": args.request, "price": price.to_string(), "asker": asker.to_checksum(None)}),
        context,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_proven_yet_is_told_apart_from_what_is_nowhere() {
        let until = 10_000 + ANSWER_TIME;
        let said = |state, now| state_word(state, until, now);
        assert!(matches!(said(RequestState::None, 10_001), ("pending", Some(_))));
        assert!(matches!(said(RequestState::None, 10_000 + PROVEN_WITHIN), ("unknown", Some(_))));
        assert_eq!(said(RequestState::Waiting, 10_001), ("waiting", None));
    }

    #[test]
    fn what_cannot_be_taken_back_is_said_in_words() {
        let why = |state, now| no_refund(B256::ZERO, state, 100, now);
        assert!(why(RequestState::Answered, 200).is_some_and(|why| why.contains("was answered")));
        assert!(why(RequestState::GivenBack, 200).is_some_and(|why| why.contains("already")));
        assert!(why(RequestState::Waiting, 100).is_some_and(|why| why.contains("may be answered until")));
        assert!(why(RequestState::Waiting, 101).is_none() && why(RequestState::None, 101).is_none());
        assert!(no_answer(B256::ZERO, "why", 100, 100).report().contains("--wait"));
        assert!(no_answer(B256::ZERO, "why", 100, 101).report().contains("refund"));
    }

    #[test]
    fn an_answer_is_shown_as_numbers_if_it_can_be() {
        assert_eq!(in_brief(&[5, -5], Some(&[0.5, -0.25])), "2 numbers: 0.500000, -0.250000");
        assert!(in_brief(&[7; 9], None).ends_with("7, 7, 7, 7, 7, 7, 7, 7 …"));
    }
}
