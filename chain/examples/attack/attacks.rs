//! What strangers try against the pool, drawn from a seed: the same seed on the same chain tries the same.

use std::fmt;

use alloy_consensus::{TxEip7702, TxLegacy};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, bytes, keccak256};
use sahara_chain::wallet::{Payment, Wallet};

/// Deploys a contract that sends everything it owns to whoever calls it.
pub const SWEEPER: Bytes = bytes!("685f5f5f5f47335af1005f5260096017f3");

/// The largest transaction that a node takes.
const LARGEST: u64 = 128 * 1024;
/// The largest creation code.
const INIT_CODE_LIMIT: u64 = 49_152;
const GWEI: u128 = 1_000_000_000;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttackKind {
    /// Creation code that execution refuses at no cost.
    OversizedCreation,
    /// Large transactions that cannot pay the base fee.
    BelowBaseFee,
    /// Later nonces without the first.
    Gaps,
    /// Many of which only the first can be paid for.
    Overdraft,
    /// Cheap calls that ask for all the gas there is.
    HugeGasLimits,
    /// Accounts whose code lets others take what would pay for their transactions.
    Delegation,
    /// As much call data as fits, paid for.
    CallData,
    /// The same nonce again and again.
    Replacements,
    /// What breaks a rule or is no transaction.
    Junk,
}

/// All of them.
pub const KINDS: [AttackKind; 9] = [
    AttackKind::OversizedCreation,
    AttackKind::BelowBaseFee,
    AttackKind::Gaps,
    AttackKind::Overdraft,
    AttackKind::HugeGasLimits,
    AttackKind::Delegation,
    AttackKind::CallData,
    AttackKind::Replacements,
    AttackKind::Junk,
];

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OversizedCreation => "creation code over the limit",
            Self::BelowBaseFee => "large, below the base fee",
            Self::Gaps => "gapped nonces",
            Self::Overdraft => "overdrafts",
            Self::HugeGasLimits => "huge gas limits",
            Self::Delegation => "delegated accounts",
            Self::CallData => "128 KB of call data",
            Self::Replacements => "replacements",
            Self::Junk => "junk",
        })
    }
}

/// What an attacker knows of an account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub nonce: u64,
    pub balance: U256,
    pub delegated: bool,
}

/// Numbers from a seed (SplitMix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `from..to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }
}

/// Accounts that attack, and the seed that says how.
pub struct Attackers {
    pub draw: Draw,
    pub accounts: Vec<(Wallet, Address)>,
    /// Where [`SWEEPER`] was deployed.
    pub sweeper: Address,
    chain_id: u64,
}

/// The account with `number` under `name`.
pub fn account(name: &str, number: u64, chain_id: u64) -> (Wallet, Address) {
    let secret = keccak256([name.as_bytes(), &number.to_be_bytes()].concat());
    let wallet = Wallet::new(secret, chain_id).expect("a hash is a secret key, but for one in 2^128");
    let signature = wallet.sign_hash(B256::ZERO).expect("it has signed before");
    let address = signature.recover_address_from_prehash(&B256::ZERO).expect("a signature has a signer");
    (wallet, address)
}

impl Attackers {
    pub fn new(seed: u64, count: u64, chain_id: u64, sweeper: Address) -> Self {
        let accounts = (0..count).map(|n| account("attacker", n, chain_id)).collect();
        Self { draw: Draw(seed), accounts, sweeper, chain_id }
    }

    /// One of the accounts.
    fn any(&mut self) -> (Wallet, Address) {
        let place = self.draw.within(0, self.accounts.len() as u64);
        self.accounts[usize::try_from(place).unwrap_or(0)].clone()
    }

    /// The next attack: its kind and its transactions. `facts` tells of accounts, `base_fee` is that of the last block.
    pub async fn next<F: Future<Output = Facts>>(
        &mut self,
        base_fee: u64,
        facts: impl Fn(Address) -> F,
    ) -> (AttackKind, Vec<Bytes>) {
        let place = self.draw.within(0, KINDS.len() as u64);
        let kind = KINDS[usize::try_from(place).unwrap_or(0)];
        let (wallet, address) = self.any();
        let own = facts(address).await;
        let base = u128::from(base_fee);
        let tip = u128::from(self.draw.within(0, 3_000_000_000));
        let payment = Payment {
            nonce: own.nonce,
            to: Some(Address::repeat_byte(0xee)),
            gas_limit: 21_000,
            max_fee: 2 * base + tip,
            tip,
            ..Payment::default()
        };
        let pay = |payment: &Payment| wallet.pay(payment).unwrap_or_default();
        let count = self.draw.within(1, 20);
        let txs = match kind {
            AttackKind::OversizedCreation => {
                let length = self.draw.within(INIT_CODE_LIMIT + 1, LARGEST - 300);
                let input = self.bytes(length);
                let gas_limit = self.draw.within(5_500_000, 1 << 24);
                let create = Payment { to: None, input, gas_limit, ..payment };
                (0..count.min(6)).map(|n| pay(&Payment { nonce: own.nonce + n, ..create.clone() })).collect()
            }
            AttackKind::BelowBaseFee => {
                let length = self.draw.within(100_000, LARGEST - 300);
                let input = self.bytes(length);
                let max_fee = base * u128::from(self.draw.within(10, 100)) / 100;
                let low = Payment { input, gas_limit: 5_500_000, max_fee, tip: max_fee.min(tip), ..payment };
                (0..count.min(8)).map(|n| pay(&Payment { nonce: own.nonce + n, ..low.clone() })).collect()
            }
            AttackKind::Gaps => {
                let first = own.nonce + self.draw.within(1, 40);
                (0..count * 3).map(|n| pay(&Payment { nonce: first + n, ..payment.clone() })).collect()
            }
            AttackKind::Overdraft => {
                // All of it goes to another of them, who goes on; the rest is promised from nothing.
                let (_, heir) = self.any();
                let cost = U256::from(21_000) * U256::from(payment.max_fee);
                let all = Payment { to: Some(heir), value: own.balance.saturating_sub(cost), ..payment };
                (0..count * 3).map(|n| pay(&Payment { nonce: own.nonce + n, ..all.clone() })).collect()
            }
            AttackKind::HugeGasLimits => {
                let gas_limit = self.draw.within(10_000_000, (1 << 24) + 1);
                let huge = Payment { gas_limit, tip: tip * 3, max_fee: payment.max_fee + tip * 3, ..payment };
                (0..count).map(|n| pay(&Payment { nonce: own.nonce + n, ..huge.clone() })).collect()
            }
            AttackKind::Delegation => self.delegation(payment, own, &facts).await,
            AttackKind::CallData => {
                let length = self.draw.within(100_000, LARGEST - 300);
                let input = self.bytes(length);
                let large = Payment { input, gas_limit: 5_500_000, ..payment };
                (0..count.min(4)).map(|n| pay(&Payment { nonce: own.nonce + n, ..large.clone() })).collect()
            }
            AttackKind::Replacements => {
                let bump = |n: u64, fee: u128| fee + fee * u128::from(n) / 9 + u128::from(n);
                (0..count)
                    .map(|n| {
                        let (max_fee, tip) = (bump(n, payment.max_fee), bump(n, payment.tip));
                        pay(&Payment { max_fee, tip, value: U256::from(n), ..payment.clone() })
                    })
                    .collect()
            }
            AttackKind::Junk => self.junk(&wallet, payment, own),
        };
        (kind, txs)
    }

    /// Call data: zeros are cheap, others are not.
    fn bytes(&mut self, length: u64) -> Bytes {
        let byte = [0, 0xff][usize::try_from(self.draw.within(0, 2)).unwrap_or(0)];
        vec![byte; usize::try_from(length).unwrap_or(0)].into()
    }

    /// An account is delegated to code that gives everything away; then it promises, and another takes.
    async fn delegation<F: Future<Output = Facts>>(
        &mut self,
        payment: Payment,
        own: Facts,
        facts: impl Fn(Address) -> F,
    ) -> Vec<Bytes> {
        let ((taker, _), (victim, address)) = (self.any(), self.any());
        let theirs = facts(address).await;
        let fee = 2 * GWEI + payment.max_fee;
        if !theirs.delegated {
            let authorization =
                Authorization { chain_id: U256::from(self.chain_id), address: self.sweeper, nonce: theirs.nonce };
            let Ok(signature) = victim.sign_hash(authorization.signature_hash()) else { return vec![] };
            let tx = TxEip7702 {
                chain_id: self.chain_id,
                nonce: own.nonce,
                gas_limit: 100_000,
                max_fee_per_gas: fee,
                max_priority_fee_per_gas: payment.tip,
                to: Address::repeat_byte(0xee),
                authorization_list: vec![authorization.into_signed(signature); 3],
                ..TxEip7702::default()
            };
            let promise = |n| victim.pay(&Payment { nonce: theirs.nonce + n, ..payment.clone() });
            let txs = [taker.sign(tx), promise(0), promise(1), promise(2)];
            return txs.into_iter().flatten().collect();
        }
        // Everything that it owns is promised; whoever takes it pays a better tip and comes first.
        let promise = Payment { nonce: theirs.nonce, max_fee: fee, ..payment.clone() };
        let take = Payment {
            nonce: own.nonce,
            to: Some(address),
            gas_limit: 100_000,
            max_fee: 2 * fee,
            tip: payment.tip + GWEI,
            ..payment
        };
        let next = Payment { nonce: theirs.nonce + 1, ..promise.clone() };
        // Signatures of nobody, in what never has its turn: whoever recovers them first has worked for nothing.
        let nobody = Authorization { chain_id: U256::ZERO, address: self.sweeper, nonce: 0 };
        let nobody = nobody.into_signed(Signature::new(U256::from(theirs.nonce + 1), U256::ONE, false));
        let idle = |count: usize| {
            victim.sign(TxEip7702 {
                chain_id: self.chain_id,
                nonce: theirs.nonce + 1,
                gas_limit: 1 << 24,
                max_fee_per_gas: fee,
                authorization_list: vec![nobody.clone(); count],
                ..TxEip7702::default()
            })
        };
        let idle = [idle(64), idle(660)].into_iter().flatten();
        idle.chain([victim.pay(&promise), victim.pay(&next), taker.pay(&take)].into_iter().flatten()).collect()
    }

    fn junk(&mut self, wallet: &Wallet, payment: Payment, own: Facts) -> Vec<Bytes> {
        let pay = |payment: &Payment| wallet.pay(payment).unwrap_or_default();
        let mut damaged = pay(&payment).to_vec();
        let place = usize::try_from(self.draw.within(0, damaged.len() as u64)).unwrap_or(0);
        damaged[place] ^= 0x40;
        let unprotected = TxLegacy {
            chain_id: None,
            nonce: own.nonce,
            gas_price: payment.max_fee,
            gas_limit: 21_000,
            to: TxKind::Call(Address::ZERO),
            ..TxLegacy::default()
        };
        let empty = TxEip7702 {
            chain_id: self.chain_id,
            nonce: own.nonce,
            gas_limit: 100_000,
            max_fee_per_gas: payment.max_fee,
            ..TxEip7702::default()
        };
        vec![
            self.bytes(LARGEST + 1),
            damaged.into(),
            wallet.sign(unprotected).unwrap_or_default(),
            wallet.sign(empty).unwrap_or_default(),
            pay(&Payment { gas_limit: 20_999, ..payment.clone() }),
            pay(&Payment { gas_limit: 1 << 25, ..payment.clone() }),
            pay(&Payment { input: vec![1; 1_000].into(), gas_limit: 40_000, ..payment.clone() }),
            pay(&Payment { tip: payment.max_fee + 1, ..payment.clone() }),
            pay(&Payment { value: U256::MAX, ..payment.clone() }),
            pay(&Payment { nonce: u64::MAX, ..payment.clone() }),
            pay(&Payment { nonce: own.nonce.wrapping_sub(1), ..payment }),
        ]
    }
}
