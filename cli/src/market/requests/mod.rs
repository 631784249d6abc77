//! What contracts ask share nodes: an input that is sealed to a committee's evaluators lies in a block, they compute on it as on any
//! consumer's, and hand the receipt in, with the answer if everybody may read it.
//!
//! `seal` seals and opens (HPKE), `half` is what one evaluator opens, `keys` are a node's sealing keys, `slip` is what travels in the
//! place of a voucher and a receipt, `book` is what a node knows of requests and what it signs, `hear` hears of them, `learn` proves
//! them, `watch` hands answers in, `work` computes, in the order of `turns`. Who asks is in `ask`.

pub mod ask;
pub mod book;
pub mod half;
pub mod hear;
pub mod keys;
pub mod learn;
pub mod seal;
pub mod slip;
pub mod turns;
pub mod watch;
pub mod work;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sahara_light::Light;
use sahara_mpc::config::Config;
use sahara_mpc::market::Market;

use self::book::{Book, Both};
use self::keys::SealingKeys;
use self::watch::Watch;
use self::work::Work;
use super::node::NodeMarket;
use super::operator::{Settings, folder, for_ever};
use super::settler::Settler;
use crate::error::{Blame, Error, Result};
use crate::moment::now;

/// How often the chain is listened to, and how often it is looked whether something is to be computed.
const LISTEN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(500);

/// Has a node answer contracts, beside its consumers: two threads, one that watches and one that computes, for as long as the process
/// lives. The market of both.
///
/// # Errors
/// When the node's key, committees or folders cannot be used.
pub fn serve(
    config: &Config,
    settings: &Settings,
    sessions: Arc<NodeMarket<Light>>,
    settler: Arc<Mutex<Settler>>,
) -> Result<Arc<dyn Market>> {
    let unusable = |e: sahara_mpc::config::ConfigError| Error::wrap("reading the node's configuration", Blame::User, e);
    let identity = config.load_identity().map_err(unusable)?;
    let node = identity.public();
    let committees = config.load_committees().map_err(unusable)?.into_iter().map(|served| served.committee).collect();
    let (domain, home) = (settings.network.domain(), folder(&config.home));
    let keys = SealingKeys::open(home.join("sealing"), domain.chain_id, identity, now)?;
    let book = Arc::new(Book::open(domain, home.join("requests"), keys, settings.max_age(), now)?);
    let secret = settings.secret()?;
    let mut watch = Watch::new(&settings.network.chain(), node, book.clone(), settler);
    let proving = sessions.clone();
    for_ever("requests", LISTEN, move || watch.round(proving.words(), secret.as_ref(), now()))?;
    let mut work = Work::new(node, committees, book.clone());
    for_ever("answering", LOOK, move || work.round(now()))?;
    Ok(Arc::new(Both { sessions, requests: book }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sahara_market::request::{Part, Request, Sealed, read_answer};
    use sahara_market::{Domain, INFERENCE_MARKET};
    use sahara_mpc::identity::from_secret;

    use super::keys::SealingKey;
    use super::{half, slip};

    const DOMAIN: Domain = Domain { chain_id: 7, market: INFERENCE_MARKET };

    /// Whatever the bytes are, they are read or refused.
    fn reads(bytes: &[u8]) {
        drop(half::decode(bytes));
        drop(slip::Slip::decode(&DOMAIN, bytes));
        let node = from_secret(&[1; 32]).public();
        drop(SealingKey::read(bytes, 7, &node, 0));
        let _ = (slip::named(bytes), Request::decode(bytes), read_answer(bytes));
        if let Ok(sealed) = Sealed::decode(bytes) {
            assert_eq!(sealed.encode(), bytes, "a sealed input has one form");
        }
    }

    proptest! {
        #[test]
        fn bytes_from_outside_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            magic in prop::sample::select(vec![&b"SHASKED\0"[..], b"SHHALF\0\0", b"SHREQRC\0", b"SHSEALK\0", b"SHREQST\0", b""]),
        ) {
            reads(&[magic, &[1, 0], &bytes].concat());
        }

        #[test]
        fn a_sealed_input_with_a_byte_changed_is_read_or_refused(
            parts in prop::array::uniform2(prop::collection::vec(any::<u8>(), 0..64)),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let parts = parts.map(|bytes| Part { epoch: 3, bytes });
            let sealed = Sealed { asker: [1; 32], reader: [2; 32], inputs: [[3; 32]; 2], parts };
            let mut bytes = sealed.encode();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            reads(&bytes);
        }
    }
}
