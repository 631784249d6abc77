//! Sessions of a wallet whose purse is not here any more: nothing can be spent from them, but what was locked comes back. Their
//! terms are in the receipts of this home, or in what the market logged when they were opened; a hash says that they are theirs.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolEvent;
use sahara_market::abi::InferenceMarket;
use sahara_market::{Domain, INFERENCE_MARKET, Session};

use super::receipts;
use crate::chain_client::{Chain, Key, Log};
use crate::error::{Error, Result};
use sahara::home::Home;

/// Most sessions that are looked at, the newest: their states are proven in one question.
pub const MOST: usize = 128;

/// The terms of a consumer's session by its whole id.
///
/// # Errors
/// When no receipt of this home is of it and the chain's nodes do not answer; when neither knows it.
pub fn find(home: &Home, chain: &Chain, domain: &Domain, consumer: Address, id: B256) -> Result<Session> {
    let bills = receipts::list(home)?.into_iter().filter(|(_, kept)| kept.domain() == *domain);
    let deals = bills.filter_map(|(_, kept)| kept.bill().ok()).map(|bill| bill.deal);
    if let Some(deal) = deals.into_iter().find(|deal| deal.id == id) {
        return Ok(deal.session().clone());
    }
    let topics = [Some(InferenceMarket::Opened::SIGNATURE_HASH), Some(id)];
    let key = Key::Account(consumer);
    let logs = chain.logs("asking how the session was opened", INFERENCE_MARKET, key, &topics)?;
    let found = logs.iter().filter_map(|log| opened(domain, log)).find(|(known, _)| *known == id);
    found.map(|(_, session)| session).ok_or_else(|| {
        Error::user(format!("session {id} is not kept here, no receipt is of it, and the chain's nodes do not know it"))
    })
}

/// The newest sessions that a consumer opened and that are not among `known`, as the chain's nodes say.
///
/// # Errors
/// When no node answers, or none has that much.
pub fn of(chain: &Chain, domain: &Domain, consumer: Address, known: &BTreeSet<B256>) -> Result<Vec<(B256, Session)>> {
    let topics = [Some(InferenceMarket::Opened::SIGNATURE_HASH), None, Some(consumer.into_word())];
    let key = Key::Account(consumer);
    let logs = chain.logs("asking what sessions this wallet has opened", INFERENCE_MARKET, key, &topics)?;
    let newest = logs.iter().rev().filter_map(|log| opened(domain, log));
    let its = newest.filter(|(id, session)| session.consumer == consumer && !known.contains(id));
    let mut found: Vec<_> = its.take(MOST).collect();
    found.dedup_by_key(|(id, _)| *id);
    Ok(found)
}

/// The session that an entry is about: what it says is what its id is the hash of.
fn opened(domain: &Domain, log: &Log) -> Option<(B256, Session)> {
    let event = InferenceMarket::Opened::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()?;
    let id = event.s.id(domain);
    (id == event.session).then_some((id, event.s))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;
    use serde_json::{Value, json};

    use super::super::bill::{Last, tests::*};
    use super::super::receipts::Kept;
    use super::*;
    use crate::chain_client::{entries, nodes};

    /// What the market logs of a session, under an id.
    fn log(session: &Session, id: B256) -> Value {
        let event = InferenceMarket::Opened { session: id, consumer: session.consumer, s: session.clone() };
        let log = event.encode_log_data();
        json!({"topics": log.topics(), "data": hex::encode_prefixed(&log.data), "blockNumber": "0x5"})
    }

    fn chain(logs: Vec<Value>) -> Chain {
        Chain::new(
            1337,
            [nodes::node(move |method, _| match method {
                "eth_call" => Ok(entries(&[5])),
                _ => Ok(json!(logs)),
            })],
        )
    }

    #[test]
    fn what_was_opened_is_found_by_its_hash_and_what_is_made_up_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let (one, two, three) = (session(1), session(2), session(3));
        let id = |session: &Session| session.id(&HERE);
        let made_up = Session { caps: vec![1], ..two.clone() };
        let said = chain(vec![
            log(&one, id(&one)),
            log(&made_up, id(&two)),
            log(&three, id(&three)),
            json!({
                "topics": [], "data": "0x", "blockNumber": "0x5"
            }),
        ]);
        assert_eq!(find(&home, &said, &HERE, one.consumer, id(&one)).unwrap(), one);
        assert_eq!(find(&home, &said, &HERE, one.consumer, id(&two)).unwrap_err().exit_code(), 2);
        let known = [id(&three)].into();
        assert_eq!(of(&said, &HERE, one.consumer, &known).unwrap(), [(id(&one), one.clone())]);
        assert!(of(&said, &HERE, Address::ZERO, &known).unwrap().is_empty(), "another's");
        assert_eq!(of(&said, &HERE, one.consumer, &BTreeSet::new()).unwrap()[0].0, id(&three), "the newest first");
        let away = Chain::new(1337, [nodes::nobody()]);
        assert_eq!(find(&home, &away, &HERE, one.consumer, id(&one)).unwrap_err().exit_code(), 1);
        // A receipt of this home says it, too.
        let bill = bill(1, &Last::default());
        let kept = Kept { chain: 1337, at: 1, answered: true, complete: complete(&bill) };
        receipts::keep(&home, bill.digest(&HERE), &kept).unwrap();
        assert_eq!(find(&home, &away, &HERE, one.consumer, id(&one)).unwrap(), one);
    }
}
