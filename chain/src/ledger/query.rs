//! Answers questions about committed state by path, with proofs against the application hash.
//!
//! * `chain` or `/store/chain/key`: the value of a key of the chain's own store. With a proof: two ICS-23 proofs, of the
//!   key under the store's root and of that root, or that the key is absent.
//! * `/root/NAME`: the root of the store `NAME`. With a proof: one ICS-23 proof.
//! * `roots`: the roots of all stores, one after the other.
//!
//! The answer's height is H; the application hash after H stands in the header of H + 1.

use prost::Message;

use super::head::Head;
use crate::{
    application::{Answer, Proof, Query},
    error::StoreError,
    state::{
        chain_store,
        proof::{prove_key, prove_root},
    },
};

/// Names of the proofs, as other chains of this kind call theirs.
const KEY_PROOF: &str = "ics23:jmt";
const ROOT_PROOF: &str = "ics23:simple";

const PATHS: &str = "/store/chain/key, /root/chain, /root/evm, /root/ibc and roots";

/// The answer from the state that `head` has.
pub fn answer(head: &Head, query: &Query<'_>) -> Answer {
    let height = head.height;
    let refuse = |reason: String| Answer { code: 2, reason, height, ..Answer::default() };
    if query.height != 0 && query.height != height {
        return refuse(format!("this node answers for its newest block only, which is {height}: ask for height 0"));
    }
    let found = match query.path {
        "chain" | "/store/chain/key" if query.prove => proven_key(head, query.data),
        "chain" | "/store/chain/key" => match chain_store::get(head.reader.as_ref(), query.data) {
            Ok(Some(value)) => Ok(Answer { value, ..Answer::default() }),
            Ok(None) => return refuse("no such key".into()),
            Err(e) => Err(e),
        },
        "roots" => {
            let value = head.roots.named().iter().flat_map(|(_, root)| root.0).collect();
            Ok(Answer { value, ..Answer::default() })
        }
        path => match path.strip_prefix("/root/").and_then(|name| root(head, name, query.prove)) {
            Some(answer) => Ok(answer),
            None => return refuse(format!("unknown path {path:?}; known are {PATHS}")),
        },
    };
    found.map_or_else(|e| refuse(e.to_string()), |answer| Answer { height, ..answer })
}

fn proven_key(head: &Head, key: &[u8]) -> Result<Answer, StoreError> {
    let (value, proof) = prove_key(head.reader.as_ref(), head.height, key)?;
    let own = Proof { kind: KEY_PROOF, key: key.to_vec(), bytes: proof.encode_to_vec() };
    let store = root(head, "chain", true).map(|answer| answer.proof).unwrap_or_default();
    let proof = std::iter::once(own).chain(store).collect();
    Ok(Answer { value: value.unwrap_or_default(), proof, ..Answer::default() })
}

fn root(head: &Head, name: &str, prove: bool) -> Option<Answer> {
    let (_, root) = head.roots.named().into_iter().find(|(known, _)| *known == name)?;
    let proof = prove.then(|| prove_root(&head.roots, name)).flatten();
    let proof = proof.map(|p| Proof { kind: ROOT_PROOF, key: name.as_bytes().to_vec(), bytes: p.encode_to_vec() });
    Some(Answer { value: root.to_vec(), proof: proof.into_iter().collect(), ..Answer::default() })
}
