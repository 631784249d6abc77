//! Whatever bytes a decided block contains, execution gives one result for each and the chain goes on; an honest node
//! neither proposes nor accepts such a block.

use crate::common::{Chain, transfer};
use alloy_primitives::{Address, Bytes};
use proptest::prelude::*;
use sahara_chain::application::{Application, DecidedBlock, Proposal, Verdict};

fn finalize(chain: &Chain, txs: Vec<Bytes>) -> Vec<u32> {
    let height = chain.ledger.info().height + 1;
    let block = DecidedBlock { height, time: 1_800_000_000, txs, ..DecidedBlock::default() };
    let answer = chain.ledger.finalize(&block).unwrap();
    chain.ledger.commit().unwrap();
    answer.results.iter().map(|r| r.code).collect()
}

#[test]
fn junk_in_a_block_gets_a_result_and_halts_nothing() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let good = transfer(0, 0, Address::repeat_byte(1), 1);
    let other_chain = {
        let wallet = sahara_chain::wallet::Wallet::new(sahara_chain::genesis::DEV_ACCOUNTS[1].1, 5).unwrap();
        wallet.pay(&Default::default()).unwrap()
    };
    let mut broken = good.to_vec();
    broken[20] ^= 0xff;
    let longer = [good.as_ref(), &[0]].concat();
    let txs: Vec<Bytes> = vec![
        Bytes::new(),
        vec![0xff; 200_000].into(),
        other_chain,
        broken.into(),
        longer.into(),
        good.clone(),
        good.clone(),
        transfer(1, 5, Address::ZERO, 1),
    ];
    for tx in &txs[..5] {
        let proposal =
            Proposal { height: 2, time: 0, txs: std::slice::from_ref(tx), max_bytes: u64::MAX, ..Proposal::default() };
        assert_eq!(chain.ledger.process(&proposal), Verdict::Reject);
        assert!(chain.ledger.prepare(&proposal).is_empty());
    }
    let codes = finalize(&chain, txs);
    // Flipping a byte may leave a valid transaction of an account without funds: refused either way.
    assert_eq!(codes[..3], [2, 2, 2]);
    assert!(codes[3] >= 2);
    assert_eq!(codes[4..], [2, 0, 3, 3]);
    assert_eq!(chain.ledger.info().height, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_prepare_makes_process_accepts(
        txs in proptest::collection::vec((0usize..4, 0u64..4, 1u64..3, proptest::option::of(any::<u8>())), 0..20),
        max_bytes in 0u64..3000,
    ) {
        let mut chain = Chain::new();
        chain.block(&[]);
        let txs: Vec<Bytes> = txs
            .into_iter()
            .map(|(from, nonce, value, damage)| {
                let mut tx = transfer(from, nonce, Address::repeat_byte(5), value).to_vec();
                if let Some(at) = damage {
                    let at = usize::from(at) % tx.len();
                    tx[at] ^= 0x10;
                }
                tx.into()
            })
            .collect();
        let offer = Proposal { height: 2, time: 0, txs: &txs, max_bytes, ..Proposal::default() };
        let chosen = chain.ledger.prepare(&offer);
        prop_assert!(chosen.iter().map(|tx| tx.len() as u64).sum::<u64>() <= max_bytes);
        prop_assert_eq!(chain.ledger.process(&Proposal { txs: &chosen, ..offer }), Verdict::Accept);
        let count = chosen.len();
        let codes = finalize(&chain, chosen);
        prop_assert_eq!(codes, vec![0; count]);
    }
}
