//! What a proposal carries first, before its transactions: the proposer's preimage, and now and then its next chain.

use alloy_primitives::{B256, Bytes};

use super::commitment::Commitment;

/// First byte: no transaction begins with it. A typed one begins with at most 0x7f, any other with 0xc0 at least.
const TAG: u8 = 0xb5;
const VERSION: u8 = 1;

/// The most bytes that an item has.
pub const MAX_BYTES: u64 = 2 + 32 + 32 + 8;

/// The first item of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Of the proposer's tip.
    pub preimage: B256,
    /// The chain that will replace its chain.
    pub next: Option<Commitment>,
}

impl Item {
    /// The bytes in a block.
    pub fn encode(&self) -> Bytes {
        let mut bytes = vec![TAG, VERSION];
        bytes.extend(self.preimage);
        if let Some(next) = self.next {
            bytes.extend(next.tip);
            bytes.extend(next.length.to_be_bytes());
        }
        bytes.into()
    }

    /// Reads bytes of a block: an item, if they are one. There is one way to write each.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ([TAG, VERSION], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (preimage, rest) = rest.split_first_chunk::<32>()?;
        let next = match rest.len() {
            0 => None,
            40 => {
                let (tip, length) = rest.split_first_chunk::<32>()?;
                let length = u64::from_be_bytes(*length.first_chunk::<8>()?);
                Some(Commitment { tip: tip.into(), length }).filter(Commitment::is_sound).map(Some)?
            }
            _ => return None,
        };
        Some(Self { preimage: preimage.into(), next })
    }
}

/// The item of a block, if it begins with one, and the rest of it.
pub fn split(txs: &[Bytes]) -> (Option<Item>, &[Bytes]) {
    match txs.split_first().and_then(|(first, rest)| Some((Item::decode(first)?, rest))) {
        Some((item, rest)) => (Some(item), rest),
        None => (None, txs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_written_in_one_way_and_is_no_transaction() {
        let next = Commitment { tip: B256::repeat_byte(2), length: 9 };
        for next in [None, Some(next)] {
            let item = Item { preimage: B256::repeat_byte(1), next };
            let bytes = item.encode();
            assert_eq!(Item::decode(&bytes), Some(item));
            assert!(bytes.len() as u64 <= MAX_BYTES);
            assert!(crate::tx::TxCache::new(1 << 20).decode(&bytes, 1).is_err());
            for cut in 0..bytes.len() {
                assert!(cut == 34 || Item::decode(&bytes[..cut]).is_none(), "{cut}");
            }
            assert_eq!(Item::decode(&[&bytes[..], &[0]].concat()), None);
        }
        let unsound = Commitment { length: 0, ..next };
        assert_eq!(Item::decode(&Item { preimage: B256::ZERO, next: Some(unsound) }.encode()), None);
    }
}
