//! The field: honest senders, attackers, and whoever watches the blocks.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use sahara_chain::{
    comet::{Client, quantity},
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, TOKEN},
    wallet::{Payment, Wallet},
};
use serde_json::{Value, json};

use super::{
    Options, Result,
    attacks::{AttackKind, Attackers, Draw, Facts, SWEEPER, account},
    report::{Report, Tried},
};

const HONEST: u64 = 100;
const ATTACKERS: u64 = 200;
/// What an honest sender offers: enough for any base fee here.
const MAX_FEE: u128 = 1_000_000_000_000;
const TIP: u128 = 1_000_000_000;
/// After the last block of the attack, stragglers have so long.
const GRACE: Duration = Duration::from_secs(15);

/// Everything that happens at once.
pub struct Field {
    nodes: Vec<Client>,
    seed: u64,
    begun: Instant,
    /// What was handed in: when, if it is honest, or as part of what.
    sent: RefCell<BTreeMap<B256, Sent>>,
    /// Base fee and height of the last block that was seen.
    last: RefCell<(u64, u64)>,
    over: RefCell<bool>,
}

enum Sent {
    Honest(Duration),
    Attack(AttackKind),
}

impl Field {
    /// A field with the JSON-RPC of these nodes.
    pub fn new(targets: &[SocketAddr], seed: u64) -> Self {
        Self {
            nodes: targets.iter().copied().map(Client::new).collect(),
            seed,
            begun: Instant::now(),
            sent: RefCell::default(),
            last: RefCell::default(),
            over: RefCell::new(false),
        }
    }

    /// Attacks for so many blocks.
    pub async fn battle(&self, options: &Options) -> Result<Report> {
        let sweeper = self.set_up().await?;
        let attackers = Attackers::new(self.seed, ATTACKERS, DEV_CHAIN_ID, sweeper);
        let (honest, tried, seen) = tokio::join!(
            self.honest(options.rate),
            self.attack(options.attacks, attackers),
            self.watch(options.blocks)
        );
        let mut report = seen?;
        report.seed = self.seed;
        report.honest_refused = honest?;
        for (kind, tried) in tried? {
            let counted = report.tried.entry(kind).or_default();
            (counted.offered, counted.refused) = (tried.offered, tried.refused);
        }
        report.honest_sent = self.sent.borrow().values().filter(|sent| matches!(sent, Sent::Honest(_))).count();
        Ok(report)
    }

    /// Gives everybody money and deploys what the attackers need.
    async fn set_up(&self) -> Result<Address> {
        let node = &self.nodes[0];
        for _ in 0..600 {
            if self.height(node).await.is_some_and(|height| height > 0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let rich = Wallet::new(DEV_ACCOUNTS[0].1, DEV_CHAIN_ID)?;
        let pay = |nonce, payment: Payment| {
            rich.pay(&Payment { nonce, max_fee: MAX_FEE / 10, tip: TIP, ..payment }).map(|tx| json!([tx]))
        };
        let mut txs = vec![pay(0, Payment { input: SWEEPER, gas_limit: 200_000, ..Payment::default() })?];
        for (name, count, tokens) in [("honest", HONEST, 100), ("attacker", ATTACKERS, 100)] {
            for number in 0..count {
                let to = Some(account(name, number, DEV_CHAIN_ID).1);
                let value = TOKEN * U256::from(tokens);
                txs.push(pay(txs.len() as u64, Payment { to, value, gas_limit: 21_000, ..Payment::default() })?);
            }
        }
        for batch in txs.chunks(100) {
            for answer in node.ask_all("eth_sendRawTransaction", batch).await? {
                answer?;
            }
        }
        for _ in 0..600 {
            if self.facts(node, DEV_ACCOUNTS[0].0).await.nonce == txs.len() as u64 {
                return Ok(DEV_ACCOUNTS[0].0.create(0));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("waited a minute for the funds".into())
    }

    /// One transfer after the other, by all nodes in turn. How many a node refused.
    async fn honest(&self, rate: u64) -> Result<u64> {
        let senders: Vec<(Wallet, Address)> = (0..HONEST).map(|n| account("honest", n, DEV_CHAIN_ID)).collect();
        let mut refused = 0;
        let begun = Instant::now();
        for number in 0u64.. {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            if *self.over.borrow() {
                break;
            }
            let place = usize::try_from(number % HONEST)?;
            let payment = Payment {
                nonce: number / HONEST,
                to: Some(Address::from_word(keccak256(number.to_be_bytes()))),
                value: U256::from(1),
                gas_limit: 21_000,
                max_fee: MAX_FEE,
                tip: TIP,
                ..Payment::default()
            };
            let tx = senders[place].0.pay(&payment)?;
            let at = self.begun.elapsed();
            self.sent.borrow_mut().insert(keccak256(&tx), Sent::Honest(at));
            // A sender stays with its node, so that its nonces arrive in order.
            let node = &self.nodes[place % self.nodes.len()];
            if let Err(why) = node.ask("eth_sendRawTransaction", json!([tx])).await {
                eprintln!("an honest transfer was refused: {why}");
                refused += 1;
            }
        }
        Ok(refused)
    }

    async fn attack(&self, rate: u64, mut attackers: Attackers) -> Result<BTreeMap<AttackKind, Tried>> {
        let mut tried: BTreeMap<AttackKind, Tried> = BTreeMap::new();
        let mut choose = Draw(self.seed ^ 1);
        while !*self.over.borrow() {
            let node = &self.nodes[choose.within(0, self.nodes.len() as u64) as usize];
            let base_fee = self.last.borrow().0.max(1);
            let (kind, txs) = attackers.next(base_fee, |address| self.facts(node, address)).await;
            let counted = tried.entry(kind).or_default();
            let params: Vec<Value> = txs.iter().map(|tx: &Bytes| json!([tx])).collect();
            self.sent.borrow_mut().extend(txs.iter().map(|tx| (keccak256(tx), Sent::Attack(kind))));
            counted.offered += txs.len();
            // By ones: the largest do not fit into one request together.
            for param in params {
                counted.refused += usize::from(node.ask("eth_sendRawTransaction", param).await.is_err());
            }
            tokio::time::sleep(Duration::from_millis(1_000 / rate.max(1))).await;
        }
        Ok(tried)
    }

    /// Follows the blocks, and what is in them.
    async fn watch(&self, blocks: u64) -> Result<Report> {
        let node = &self.nodes[0];
        let first = self.height(node).await.ok_or("no height")?;
        let mut report = Report::default();
        let (mut height, mut ended) = (first, None);
        let begun = Instant::now();
        loop {
            while height < self.height(node).await.unwrap_or(height) {
                height += 1;
                self.look(node, height, &mut report).await?;
                self.last.borrow_mut().1 = height;
            }
            if height - first >= blocks && ended.is_none() {
                report.seconds = begun.elapsed().as_secs_f64();
                report.blocks = height - first;
                *self.over.borrow_mut() = true;
                ended = Some(Instant::now());
            }
            if ended.is_some_and(|at| at.elapsed() > GRACE) {
                let status = node.ask("txpool_status", json!([])).await?;
                let count = |name: &str| quantity(&status[name]).unwrap_or_default();
                (report.pending, report.queued) = (count("pending"), count("queued"));
                return Ok(report);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn look(&self, node: &Client, height: u64, report: &mut Report) -> Result<()> {
        let number = format!("{height:#x}");
        let block = node.ask("eth_getBlockByNumber", json!([number, false])).await?;
        let receipts = node.ask("eth_getBlockReceipts", json!([number])).await?;
        let base_fee = quantity(&block["baseFeePerGas"]).ok_or("no base fee")?;
        self.last.borrow_mut().0 = base_fee;
        report.base_fee(base_fee);
        report.gas_used.push(quantity(&block["gasUsed"]).unwrap_or_default());
        let now = self.begun.elapsed();
        for receipt in receipts.as_array().into_iter().flatten() {
            let hash: B256 = serde_json::from_value(receipt["transactionHash"].clone())?;
            let paid = quantity(&receipt["gasUsed"]).unwrap_or_default() as f64
                * quantity(&receipt["effectiveGasPrice"]).unwrap_or_default() as f64
                / 1e18;
            match self.sent.borrow().get(&hash) {
                Some(Sent::Honest(at)) => {
                    report.finality.push((now - *at).as_secs_f64());
                    report.honest_paid += paid;
                }
                Some(Sent::Attack(kind)) => {
                    let counted = report.tried.entry(*kind).or_default();
                    counted.executed += 1;
                    counted.paid += paid;
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn height(&self, node: &Client) -> Option<u64> {
        node.quantity("eth_blockNumber", json!([])).await
    }

    async fn facts(&self, node: &Client, address: Address) -> Facts {
        let at = json!([address, "latest"]);
        let ask = async |method| node.ask(method, at.clone()).await.unwrap_or_default();
        let balance = ask("eth_getBalance").await;
        let balance = balance.as_str().and_then(|text| U256::from_str_radix(text.trim_start_matches("0x"), 16).ok());
        Facts {
            nonce: node.quantity("eth_getTransactionCount", at.clone()).await.unwrap_or_default(),
            balance: balance.unwrap_or_default(),
            delegated: ask("eth_getCode").await.as_str().is_some_and(|code| code.len() > 2),
        }
    }
}
