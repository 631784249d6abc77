//! Every kind of refusal that the EVM knows, with an input for each that can occur on this chain: execution refuses it
//! for that very reason, and the ledger's admission refuses it before.

use std::sync::Arc;

use alloy_consensus::{Signed, TxEip1559, TxEip4844, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, Signature, TxKind, U256};
use revm::context_interface::result::{EVMError, InvalidTransaction};

use crate::{
    application::{Application, ChainStart, Check, DecidedBlock, Proposal, Verdict},
    evm::{
        BlockContext, FORK, Machine, TX_GAS_CAP,
        refusal::{Refusal, Rule},
    },
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisAccount, GenesisValidator},
    ledger::Ledger,
    store::MemoryStore,
    tx::{Tx, TxError},
    validator::ConsensusKey,
    wallet::Wallet,
};

/// Where a kind of refusal can come from.
enum Origin {
    /// This transaction: the EVM refuses it so, and admission does before.
    Input(Bytes),
    /// This transaction, which is refused for its form before the EVM sees it.
    Form(Bytes, TxError),
    /// Right for now, but for what comes before it: it may wait and is not proposed.
    Waits(Bytes),
    /// None: why it cannot occur.
    Never(&'static str),
}

const BASE_FEE: u128 = 1_000_000_000;
const INIT_CODE_LIMIT: usize = 49_152;
/// Development accounts with a special fate in this test's genesis.
const CONTRACT: usize = 3;
const WORN: usize = 4;

fn wallet(i: usize) -> Wallet {
    Wallet::new(DEV_ACCOUNTS[i].1, DEV_CHAIN_ID).unwrap()
}

fn transfer() -> TxEip1559 {
    TxEip1559 {
        chain_id: DEV_CHAIN_ID,
        gas_limit: 21_000,
        max_fee_per_gas: 2 * BASE_FEE,
        to: TxKind::Call(DEV_ACCOUNTS[9].0),
        ..TxEip1559::default()
    }
}

fn sign(change: impl FnOnce(&mut TxEip1559)) -> Bytes {
    let mut tx = transfer();
    change(&mut tx);
    wallet(0).sign(tx).unwrap()
}

fn sign_as(i: usize, change: impl FnOnce(&mut TxEip1559)) -> Bytes {
    let mut tx = transfer();
    change(&mut tx);
    wallet(i).sign(tx).unwrap()
}

fn delegating(authorized: bool) -> Bytes {
    let authorization =
        alloy_eips::eip7702::Authorization { chain_id: U256::from(DEV_CHAIN_ID), address: DEV_ACCOUNTS[9].0, nonce: 0 };
    let signature = wallet(2).sign_hash(authorization.signature_hash()).unwrap();
    let tx = TxEip7702 {
        chain_id: DEV_CHAIN_ID,
        gas_limit: 100_000,
        max_fee_per_gas: 2 * BASE_FEE,
        to: DEV_ACCOUNTS[9].0,
        authorization_list: if authorized { vec![authorization.into_signed(signature)] } else { vec![] },
        ..TxEip7702::default()
    };
    wallet(1).sign(tx).unwrap()
}

fn blob() -> Bytes {
    let tx = TxEip4844 { chain_id: DEV_CHAIN_ID, ..TxEip4844::default() };
    let tx = Signed::new_unhashed(tx, Signature::test_signature());
    TxEnvelope::Eip4844(tx.map(Into::into)).encoded_2718().into()
}

/// The kinds, one of each.
fn kinds() -> Vec<InvalidTransaction> {
    use InvalidTransaction as I;
    let boxed = || Box::new(U256::ZERO);
    vec![
        I::PriorityFeeGreaterThanMaxFee,
        I::GasPriceLessThanBasefee,
        I::CallerGasLimitMoreThanBlock,
        I::CallGasCostMoreThanGasLimit { initial_gas: 0, gas_limit: 0 },
        I::GasFloorMoreThanGasLimit { gas_floor: 0, gas_limit: 0 },
        I::RejectCallerWithCode,
        I::LackOfFundForMaxFee { fee: boxed(), balance: boxed() },
        I::OverflowPaymentInTransaction,
        I::NonceOverflowInTransaction,
        I::NonceTooHigh { tx: 0, state: 0 },
        I::NonceTooLow { tx: 0, state: 0 },
        I::CreateInitCodeSizeLimit,
        I::InvalidChainId,
        I::MissingChainId,
        I::TxGasLimitGreaterThanCap { gas_limit: 0, cap: 0 },
        I::AccessListNotSupported,
        I::MaxFeePerBlobGasNotSupported,
        I::BlobVersionedHashesNotSupported,
        I::BlobGasPriceGreaterThanMax { block_blob_gas_price: 0, tx_max_fee_per_blob_gas: 0 },
        I::EmptyBlobs,
        I::BlobCreateTransaction,
        I::TooManyBlobs { max: 0, have: 0 },
        I::BlobVersionNotSupported,
        I::AuthorizationListNotSupported,
        I::AuthorizationListInvalidFields,
        I::EmptyAuthorizationList,
        I::Eip2930NotSupported,
        I::Eip1559NotSupported,
        I::Eip4844NotSupported,
        I::Eip7702NotSupported,
        I::Eip7873NotSupported,
        I::Eip7873MissingTarget,
        I::Str("".into()),
    ]
}

/// An input of `kind`. Without a wildcard: a kind that a new revm adds does not compile until it has its line here and
/// in [`kinds`].
fn origin(kind: &InvalidTransaction) -> Origin {
    use InvalidTransaction as I;
    use Origin::{Form, Input, Never, Waits};
    const OLD: &str = "the fork of this chain supports it";
    match kind {
        I::PriorityFeeGreaterThanMaxFee => Input(sign(|tx| tx.max_priority_fee_per_gas = tx.max_fee_per_gas + 1)),
        I::GasPriceLessThanBasefee => Waits(sign(|tx| tx.max_fee_per_gas = BASE_FEE / 2)),
        I::CallerGasLimitMoreThanBlock => Input(sign(|tx| tx.gas_limit = 10_000_001)),
        I::CallGasCostMoreThanGasLimit { .. } => Input(sign(|tx| tx.gas_limit = 20_999)),
        I::GasFloorMoreThanGasLimit { .. } => Input(sign(|tx| {
            // 1,000 bytes: 16 gas each to begin, but 40 gas each at least.
            tx.input = vec![1; 1_000].into();
            tx.gas_limit = 21_000 + 16_000 + 1_000;
        })),
        I::RejectCallerWithCode => Input(sign_as(CONTRACT, |_| {})),
        I::LackOfFundForMaxFee { .. } => Input(sign(|tx| tx.value = U256::MAX >> 10)),
        I::OverflowPaymentInTransaction => Input(sign(|tx| tx.value = U256::MAX)),
        I::NonceOverflowInTransaction => Input(sign_as(WORN, |tx| tx.nonce = u64::MAX)),
        I::NonceTooHigh { .. } => Waits(sign(|tx| tx.nonce = 1)),
        I::NonceTooLow { .. } => Input(sign_as(WORN, |_| {})),
        I::CreateInitCodeSizeLimit => Input(sign(|tx| {
            tx.to = TxKind::Create;
            tx.input = vec![0; INIT_CODE_LIMIT + 1].into();
            tx.gas_limit = 5_000_000;
        })),
        I::InvalidChainId => {
            let have = DEV_CHAIN_ID + 1;
            Form(sign(|tx| tx.chain_id = have), TxError::ChainId { have, want: DEV_CHAIN_ID })
        }
        I::MissingChainId => {
            let to = TxKind::Call(DEV_ACCOUNTS[9].0);
            let tx = TxLegacy { chain_id: None, gas_price: 2 * BASE_FEE, gas_limit: 21_000, to, ..TxLegacy::default() };
            Form(wallet(0).sign(tx).unwrap(), TxError::Unprotected)
        }
        I::TxGasLimitGreaterThanCap { .. } => Input(sign(|tx| tx.gas_limit = TX_GAS_CAP + 1)),
        I::EmptyAuthorizationList => Input(delegating(false)),
        I::BlobGasPriceGreaterThanMax { .. }
        | I::EmptyBlobs
        | I::BlobCreateTransaction
        | I::TooManyBlobs { .. }
        | I::BlobVersionNotSupported => Form(blob(), TxError::Type(3)),
        I::AccessListNotSupported
        | I::MaxFeePerBlobGasNotSupported
        | I::BlobVersionedHashesNotSupported
        | I::AuthorizationListNotSupported
        | I::Eip2930NotSupported
        | I::Eip1559NotSupported
        | I::Eip4844NotSupported
        | I::Eip7702NotSupported => Never(OLD),
        I::AuthorizationListInvalidFields => Never("a transaction of type 4 cannot be decoded without its fields"),
        I::Eip7873NotSupported | I::Eip7873MissingTarget => Never("type 6 cannot be decoded"),
        I::Str(_) => Never("for chains with rules of their own"),
    }
}

fn ledger() -> Ledger {
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
    let validator =
        GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key: ConsensusKey(key.into()), power: 10 };
    let mut genesis = Genesis::development(vec![validator]);
    // So that the limit of the block is met before the cap of a transaction.
    genesis.fees.block_gas_limit = 10_000_000;
    let account = |i: usize, genesis: &mut Genesis, change: &dyn Fn(&mut GenesisAccount)| {
        change(genesis.accounts.entry(DEV_ACCOUNTS[i].0).or_default());
    };
    account(CONTRACT, &mut genesis, &|account| account.code = vec![0].into());
    account(WORN, &mut genesis, &|account| account.nonce = 7);
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
    let app_state = serde_json::to_vec(&genesis).unwrap();
    let start = ChainStart { chain_id: "kinds".into(), time: 1, app_state, initial_height: 1, evidence: None };
    ledger.init_chain(&start).unwrap();
    ledger.finalize(&DecidedBlock { height: 1, time: 2, ..DecidedBlock::default() }).unwrap();
    ledger.commit().unwrap();
    ledger
}

fn executed(ledger: &Ledger, bytes: &Bytes) -> InvalidTransaction {
    let head = ledger.head().unwrap();
    let tx = Tx::stored(bytes.clone(), Tx::decode(bytes, DEV_CHAIN_ID).unwrap().sender).unwrap();
    let block = BlockContext {
        chain_id: DEV_CHAIN_ID,
        number: 2,
        time: 3,
        beneficiary: DEV_ACCOUNTS[9].0,
        gas_limit: head.params.fees.block_gas_limit,
        base_fee: head.next_base_fee(),
        random: B256::ZERO,
        spec: FORK,
    };
    let mut view = head.view();
    match Machine::new(&mut view, &block).begin(&tx) {
        Err(EVMError::Transaction(why)) => why,
        other => panic!("the EVM does not refuse it: {other:?}"),
    }
}

fn same_kind(a: &InvalidTransaction, b: &InvalidTransaction) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

#[test]
fn what_the_evm_refuses_is_refused_before_it_waits() {
    let ledger = ledger();
    let height = ledger.info().height + 1;
    let kinds = kinds();
    for (i, kind) in kinds.iter().enumerate() {
        assert!(kinds[..i].iter().all(|other| !same_kind(kind, other)), "{kind:?} is there twice");
        let (bytes, waits) = match origin(kind) {
            Origin::Never(why) => {
                assert!(!why.is_empty());
                continue;
            }
            Origin::Form(bytes, error) => {
                assert_eq!(Tx::decode(&bytes, DEV_CHAIN_ID).map(|tx| tx.hash), Err(error));
                (bytes, false)
            }
            Origin::Input(bytes) => {
                let found = executed(&ledger, &bytes);
                assert!(same_kind(&found, kind), "meant {kind:?}, the EVM says {found:?}");
                (bytes, false)
            }
            Origin::Waits(bytes) => {
                let found = executed(&ledger, &bytes);
                assert!(same_kind(&found, kind), "meant {kind:?}, the EVM says {found:?}");
                (bytes, true)
            }
        };
        let verdict = ledger.check_tx(&bytes, Check::New);
        assert_ne!(verdict.code, 0, "{kind:?} enters the queue of the engine");
        assert!(!verdict.reason.is_empty());
        let waiting = ledger.pool().find(alloy_primitives::keccak256(&bytes));
        assert_eq!(waiting.is_some(), waits, "{kind:?}: {}", verdict.reason);
        let txs = [bytes];
        let proposal = Proposal { height, time: 3, txs: &txs, max_bytes: u64::MAX, ..Proposal::default() };
        assert_eq!(ledger.prepare(&proposal), Vec::<Bytes>::new(), "{kind:?} is proposed");
        assert_eq!(ledger.process(&proposal), Verdict::Reject, "{kind:?} is voted for");
        if let Some(tx) = waiting {
            ledger.pool().remove(&tx);
        }
    }
    // And what nothing is wrong with is taken.
    for bytes in [sign(|_| {}), delegating(true)] {
        assert_eq!(ledger.check_tx(&bytes, Check::New).code, 0);
    }
}

#[test]
fn clients_are_told_the_rule_that_the_words_are_about() {
    let number = Box::new(U256::from(1));
    let told = [
        (InvalidTransaction::NonceTooLow { tx: 1, state: 2 }, Rule::NonceTooLow, "nonce too low"),
        (InvalidTransaction::NonceTooHigh { tx: 2, state: 1 }, Rule::NonceTooHigh, "nonce too high"),
        (InvalidTransaction::GasPriceLessThanBasefee, Rule::BaseFee, "max fee per gas less than block base fee"),
        (
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas: 2, gas_limit: 1 },
            Rule::IntrinsicGas,
            "intrinsic gas too low",
        ),
        (
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor: 2, gas_limit: 1 },
            Rule::IntrinsicGas,
            "insufficient gas for floor",
        ),
        (
            InvalidTransaction::LackOfFundForMaxFee { fee: number.clone(), balance: number },
            Rule::Funds,
            "insufficient funds",
        ),
        (InvalidTransaction::OverflowPaymentInTransaction, Rule::Funds, "insufficient funds"),
        (InvalidTransaction::CreateInitCodeSizeLimit, Rule::InitCodeSize, "max initcode size exceeded"),
        (InvalidTransaction::RejectCallerWithCode, Rule::SenderIsContract, "sender not an eoa"),
        (InvalidTransaction::NonceOverflowInTransaction, Rule::Other, "nonce has max value"),
        (InvalidTransaction::PriorityFeeGreaterThanMaxFee, Rule::Other, "max priority fee"),
    ];
    for (why, rule, words) in told {
        let refusal = Refusal::new(&why, DEV_ACCOUNTS[0].0, 7);
        assert!(refusal.rule == rule && refusal.to_string().starts_with(words), "{refusal:?}");
    }
}
