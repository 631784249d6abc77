//! Where the money of the demo went: the session is ended, and everybody's part is read from the chain.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent};
use sahara_light::Url;
use sahara_market::abi::{AssetRegistry, Attribution, InferenceMarket, Operators, Session};
use sahara_market::{ASSET_REGISTRY, ATTRIBUTION, INFERENCE_MARKET, OPERATORS as STANDINGS};
use serde_json::{Value, json};

use super::Payee;
use super::stage::{OPERATORS, Stage, Who};
use crate::chain_client::{AskError, Chain, Rpc};
use crate::error::{Error, Result};
use crate::wallet::amount::Amount;

/// Development chains.
const CHAIN: u64 = 1337;
/// Seconds that nothing can be taken out of what a settlement pays, and then some.
const RIPE: u64 = 3 * 24 * 3600;
/// Blocks of a closing session.
const BLOCKS: u64 = 700;
/// The coin, where a token is meant.
const COIN: Address = Address::ZERO;

/// What was paid, and where it is.
pub struct Books {
    /// Of a call, in the smallest unit.
    pub price: u128,
    /// In all, in the smallest unit.
    pub paid: u128,
    /// Who got it.
    pub payees: Vec<Payee>,
    /// Whether that is all of it.
    pub balance: bool,
}

impl Books {
    /// Closes and settles the session, lets the time pass, and reads what everybody has.
    ///
    /// # Errors
    /// When a command or the chain fails.
    pub fn close(stage: &Stage, asset: &str, session: &str, receipts: &[Value]) -> Result<Self> {
        let price = number(receipts.first(), "price")?;
        let paid: u128 = receipts.iter().map(|receipt| number(Some(receipt), "price")).sum::<Result<u128>>()?;
        let url: Url = stage.rpc().parse().map_err(|e| Error::fault_from("naming the chain of the demo", e))?;
        let chain = Chain::new(CHAIN, [url.clone()]);
        let rpc = Rpc::new([url]);
        stage.run(Who::Consumer, &["session", "close", session])?;
        // The third operator sits in both committees.
        stage.run(Who::Operator(3), &["operator", "settle"])?;
        pass(&rpc, RIPE)?;
        // By call: to the program, this chain is now one whose clock runs ahead, of which it believes nothing.
        send(&rpc, INFERENCE_MARKET, &InferenceMarket::finishCall { s: opened(&chain, session)? })?;
        let question = InferenceMarket::balanceOfCall { account: Who::Consumer.address() };
        let returned = chain.call("reading what came back", INFERENCE_MARKET, &question)?;
        send(&rpc, INFERENCE_MARKET, &InferenceMarket::withdrawCall {})?;
        pass(&rpc, RIPE)?;
        let assets = lineage(&chain, asset)?;
        for asset in &assets {
            let release = Attribution::releaseCall { asset: *asset, token: COIN, most: U256::from(1000) };
            send(&rpc, ATTRIBUTION, &release)?;
        }
        for asset in &assets {
            send(&rpc, ATTRIBUTION, &Attribution::divideCall { asset: *asset, token: COIN })?;
        }
        let mut payees = Vec::new();
        let mut sum = 0u128;
        let mut pay = |who: Who, role: String, amount: U256| -> Result<()> {
            let amount = u128::try_from(amount).map_err(|_| Error::fault("an amount is out of range"))?;
            sum += amount;
            let account = who.address().to_string();
            payees.push(Payee { account, role, amount: Amount::from(amount).to_string() });
            Ok(())
        };
        for n in 1..=OPERATORS {
            let question = Operators::earningsOfCall { operator: Who::Operator(n).address() };
            let earned = chain.call("reading what an operator has earned", STANDINGS, &question)?;
            pay(Who::Operator(n), format!("operator {n}"), earned.ripe + earned.ripening)?;
        }
        let claimable = |who: Who, before: u128| -> Result<U256> {
            let question = Attribution::claimableCall { payee: who.address() };
            let amount = chain.call("reading royalties", ATTRIBUTION, &question)?;
            Ok(amount.saturating_sub(U256::from(before)))
        };
        pay(Who::Owner, "owner of the model".into(), claimable(Who::Owner, 0)?)?;
        let coin = 1_000_000_000_000_000_000;
        for n in 1..=2 {
            // Each has also sold one licence, for one coin.
            pay(
                Who::Contributor(n),
                format!("contributor {n}, by the lineage"),
                claimable(Who::Contributor(n), coin)?,
            )?;
        }
        // The price of the consumer's own licence, one coin, went the same way as the royalties.
        let licence = coin;
        let market = chain.balance(INFERENCE_MARKET)?;
        let burnt = u128::try_from(market.0).map_err(|_| Error::fault("an amount is out of range"))?;
        payees.push(Payee {
            account: INFERENCE_MARKET.to_string(),
            role: "burnt (1 % of the operators' part)".into(),
            amount: Amount::from(burnt).to_string(),
        });
        let came_back = u128::try_from(returned).map_err(|_| Error::fault("an amount is out of range"))?;
        let deposit = coin / 2;
        let balance = sum + burnt == paid + licence && came_back + paid == deposit;
        Ok(Self { price, paid, payees, balance })
    }
}

/// The session as the chain was told of it.
fn opened(chain: &Chain, session: &str) -> Result<Session> {
    let session: B256 = session.parse().map_err(|e| Error::fault_from("reading the session's id", e))?;
    let topics = [Some(InferenceMarket::Opened::SIGNATURE_HASH), Some(session)];
    let all = (0, chain.height()?);
    let logs = chain.logs_between("reading how the session was opened", INFERENCE_MARKET, all, &topics)?;
    let log = logs.first().ok_or_else(|| Error::fault("the chain does not know the session"))?;
    InferenceMarket::Opened::decode_raw_log(log.topics.iter().copied(), &log.data)
        .map(|event| event.s)
        .map_err(|_| Error::fault("the chain's entry about the session is none"))
}

/// An asset and all that it is derived from.
fn lineage(chain: &Chain, asset: &str) -> Result<Vec<B256>> {
    let asset = asset.parse().map_err(|e| Error::fault_from("reading the asset's id", e))?;
    let question = AssetRegistry::ancestorsCall { asset };
    let found = chain.call("reading what the model is derived from", ASSET_REGISTRY, &question)?;
    Ok(std::iter::once(asset).chain(found.assets).collect())
}

/// Lets blocks and time pass on the development chain.
fn pass(rpc: &Rpc, seconds: u64) -> Result<()> {
    develop(rpc, "anvil_mine", &json!([format!("{BLOCKS:#x}")]))?;
    develop(rpc, "evm_increaseTime", &json!([seconds]))?;
    develop(rpc, "anvil_mine", &json!(["0x1"])).map(drop)
}

/// A transaction that anybody may send, from the consumer's account, whose key the development chain knows.
fn send(rpc: &Rpc, to: Address, call: &impl SolCall) -> Result<()> {
    let from = Who::Consumer.address();
    let transaction = json!({"from": from, "to": to, "data": Bytes::from(call.abi_encode()), "gas": "0x4c4b40"});
    let hash = develop(rpc, "eth_sendTransaction", &json!([transaction]))?;
    for _ in 0..100 {
        let receipt = develop(rpc, "eth_getTransactionReceipt", &json!([hash]))?;
        match receipt["status"].as_str() {
            Some("0x1") => return Ok(()),
            Some(_) => return Err(Error::fault("a contract of the demo refused")),
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
    Err(Error::fault("a transaction of the demo is in no block"))
}

fn develop(rpc: &Rpc, method: &str, params: &Value) -> Result<Value> {
    rpc.ask(method, params).map_err(|error| {
        let why = match error {
            AskError::NoAnswer(why) => why,
            AskError::Refused { message, .. } => message,
        };
        Error::fault(format!("asking the development chain ({method}): {why}"))
    })
}

fn number(value: Option<&Value>, name: &str) -> Result<u128> {
    let text = value.and_then(|value| value[name].as_str());
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Error::fault(format!("a command of the demo did not say its {name}")))
}
