//! Names of a node's connections. The node knows them from others' after it was started again, so that it can say that such a
//! connection is gone; and gives none twice, because the proof with which it says so is told to whoever asks about that name
//! (RFC 9000, section 10.3.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Bytes of what tells a name from all others, and of what shows that it is this node's.
const HALF: usize = 8;

/// Makes names.
#[derive(Clone)]
pub(super) struct Names {
    /// Of this node, the same after each start.
    key: [u8; 32],
    /// Of this start.
    seed: [u8; 32],
    given: Arc<AtomicU64>,
}

impl Names {
    /// Names that whoever has `key` knows again.
    pub(super) fn new(key: [u8; 32]) -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self { key, seed, given: Arc::default() })
    }

    fn shown(&self, name: &[u8]) -> [u8; HALF] {
        first_of(&blake3::keyed_hash(&self.key, name))
    }
}

fn first_of(hash: &blake3::Hash) -> [u8; HALF] {
    let mut first = [0; HALF];
    first.copy_from_slice(&hash.as_bytes()[..HALF]);
    first
}

impl ConnectionIdGenerator for Names {
    fn generate_cid(&mut self) -> ConnectionId {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        let name = first_of(&blake3::keyed_hash(&self.seed, &number.to_le_bytes()));
        ConnectionId::new(&[name, self.shown(&name)].concat())
    }

    fn validate(&self, name: &ConnectionId) -> Result<(), InvalidCid> {
        match name.split_first_chunk::<HALF>() {
            Some((name, shown)) if *shown == self.shown(name) => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        2 * HALF
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_is_given_once_and_known_after_a_start_and_by_nobody_else() {
        let mut before = Names::new([1; 32]).unwrap();
        let (mut again, other) = (Names::new([1; 32]).unwrap(), Names::new([2; 32]).unwrap());
        let mut same = before.clone();
        let mut given = BTreeSet::new();
        for _ in 0..2_000 {
            for names in [&mut before, &mut same, &mut again] {
                let name = names.generate_cid();
                assert!(name.len() == names.cid_len() && given.insert(name.to_vec()), "given twice");
                assert!(again_knows(&Names::new([1; 32]).unwrap(), &name) && !again_knows(&other, &name));
            }
        }
        let mut forged = before.generate_cid().to_vec();
        forged[0] ^= 1;
        assert!(
            !again_knows(&before, &ConnectionId::new(&forged)) && !again_knows(&before, &ConnectionId::new(&[7; 8]))
        );
    }

    fn again_knows(names: &Names, name: &ConnectionId) -> bool {
        names.validate(name).is_ok()
    }
}
