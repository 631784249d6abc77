//! `sahara request make | seal | show | ls | answer | refund`: what contracts ask, and people as contracts do.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, Bytes, hex};
use alloy_sol_types::SolEvent;
use clap::{Args, Subcommand};
use sahara_market::INFERENCE_MARKET;
use sahara_market::abi::InferenceMarket;
use sahara_market::request::Request;
use sahara_market::slots::RequestState;
use serde_json::{Value, json};

use super::Context;
use super::money::{MoneyArgs, id};
use super::network::NetworkArgs;
use crate::chain_client::{Chain, Key, Order};
use crate::error::{Error, Result};
use crate::market::network::Network;
use crate::market::requests::{ask, watch};
use crate::moment::moment;
use crate::wallet::amount::Amount;
use sahara::home::write_atomic;
use sahara::models::{self, DEFAULT_MODEL};

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
    Answer(IdArgs),
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
    /// Name of the asset's model here
    #[arg(long, value_name = "NAME", default_value = DEFAULT_MODEL)]
    model: String,
    /// Everybody may read the answer: it is given to the chain
    #[arg(long)]
    public: bool,
    /// Contract that is told
    #[arg(long, value_name = "ADDRESS")]
    callback: Option<Address>,
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
    let model = models::open(&context.home, &what.model, None, &context.progress.events())?;
    context.progress.step("sealing the text to the evaluators");
    let binding = (asker, what.callback.unwrap_or_default(), what.public);
    let sealed = ask::sealed(&context.home, network, &offered, &model, &what.text, binding)?;
    Ok((offered, sealed))
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
    let next = if what.public { "show" } else { "answer" };
    payer.tell(
        &format!("asked: `sahara request {next} {}` has the answer, in a minute or so", event.request),
        value,
        context,
    )
}

fn seal(args: &SealArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let (offered, input) = sealed(&args.what, &network, args.asker, context)?;
    write_atomic(&args.out, &input.bytes)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({
            "asset": args.what.asset,
            "lane": offered.ask.lane,
            "price": input.price.to_string(),
            "bytes": input.bytes.len(),
            "input": alloy_primitives::keccak256(&input.bytes),
            "asker": args.asker,
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

fn state_word(state: RequestState) -> &'static str {
    match state {
        RequestState::None => "unknown",
        RequestState::Waiting => "waiting",
        RequestState::Answered => "answered",
        RequestState::GivenBack => "given back",
        RequestState::Unknown(_) => "in a state that this program does not know",
    }
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

fn value(network: &Network, request: B256) -> Result<(Value, RequestState, Option<Vec<i32>>)> {
    let (chain, domain) = (network.chain(), network.domain());
    let (details, _) = watch::requested(&chain, &domain, request)?;
    let state = network.request_state(request)?;
    let answered = match state {
        RequestState::Answered => event::<InferenceMarket::Answered>(&chain, request)?,
        _ => None,
    };
    let words = answered.as_ref().filter(|_| details.isPublic);
    let words = words.and_then(|answered| ask::public_words(&answered.answer, answered.output));
    let price = details.price().unwrap_or_default().to_string();
    let Request { asset, ask, asker, callback, isPublic, until, .. } = details;
    let value = json!({
        "request": request,
        "state": state_word(state),
        "asset": asset,
        "lane": ask.lane,
        "asker": asker,
        "callback": callback,
        "public": isPublic,
        "price": price,
        "until": until,
        "receipt": answered.as_ref().map(|answered| answered.receipt),
        "output": answered.as_ref().map(|answered| answered.output),
        "told": answered.as_ref().map(|answered| answered.told),
        "answer": words,
        "bytes": answered.as_ref().filter(|answered| !answered.answer.is_empty()).map(|a| hex::encode_prefixed(&a.answer)),
    });
    Ok((value, state, words))
}

fn show(args: &IdArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    let (value, state, words) = value(&network, args.request)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&value);
    }
    context.out.line(&format!("{}: {} (proven)", args.request, state_word(state)))?;
    let until = value["until"].as_u64().unwrap_or_default();
    context.out.folded("    ", &format!("asset {}, asked by {}", text(&value["asset"]), text(&value["asker"])))?;
    match (state, words) {
        (RequestState::Waiting, _) => {
            context.out.folded("    ", &format!("may be answered until {}", moment(until.saturating_mul(1000))))
        }
        (RequestState::Answered, Some(words)) => {
            let shown: Vec<String> = words.iter().take(8).map(i32::to_string).collect();
            context.out.folded(
                "    ",
                &format!("receipt {}; {} integers: {} …", text(&value["receipt"]), words.len(), shown.join(", ")),
            )
        }
        (RequestState::Answered, None) => context.out.folded("    ", &format!("receipt {}", text(&value["receipt"]))),
        _ => Ok(()),
    }
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
    let all = ours.iter().map(|request| value(&network, *request)).collect::<Result<Vec<_>>>()?;
    context.progress.clear();
    if context.out.json() {
        let values: Vec<Value> = all.into_iter().map(|(value, ..)| value).collect();
        return context.out.value(&values);
    }
    if all.is_empty() {
        return context.out.line("no request of this home's is on this chain");
    }
    all.iter().try_for_each(|(value, state, _)| {
        context.out.line(&format!("{}: {}", text(&value["request"]), state_word(*state)))
    })
}

fn answer(args: &IdArgs, context: &mut Context) -> Result<()> {
    let network = args.network.find(context)?;
    context.progress.step("fetching both halves of the answer");
    let answer = ask::fetch(&context.home, &network, args.request)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({
            "request": args.request,
            "receipt": answer.receipt,
            "answer": answer.words,
        }));
    }
    let shown: Vec<String> = answer.words.iter().map(i32::to_string).collect();
    context.out.line(&format!("receipt {}", answer.receipt))?;
    context.out.folded("", &shown.join(" "))
}

fn refund(args: &RefundArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (q, _) = watch::requested(&payer.chain, &payer.network.domain(), args.request)?;
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
    payer.tell(&words, json!({"request": args.request, "price": price.to_string(), "asker": asker}), context)
}
