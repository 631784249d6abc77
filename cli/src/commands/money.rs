//! What commands that move money have in common: whose wallet, which network, and whether it is only tried.

use alloy_primitives::{Address, B256};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::network::NetworkArgs;
use super::wallet::WalletArgs;
use crate::chain_client::{Chain, Done, Order};
use crate::error::Result;
use crate::market::network::Network;
use crate::wallet::Secret;
use crate::wallet::amount::Amount;

/// Who pays, where.
#[derive(Args, Clone, Debug, Default)]
pub struct MoneyArgs {
    #[command(flatten)]
    pub wallet: WalletArgs,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Say what would be paid, and send nothing
    #[arg(long)]
    dry_run: bool,
}

/// A wallet on a network, for one command.
pub struct Payer {
    /// The network.
    pub network: Network,
    /// Its chain.
    pub chain: Chain,
    /// Who pays.
    pub address: Address,
    /// The open wallet; none when nothing is to be sent.
    secret: Option<Secret>,
    spent: Vec<Done>,
}

impl MoneyArgs {
    /// What was given that a command which moves no money has no use for.
    pub fn given(&self) -> Option<&'static str> {
        match (self.dry_run, self.wallet.is_given()) {
            (true, _) => Some("--dry-run"),
            (false, true) => Some("--wallet or --password-file"),
            (false, false) => None,
        }
    }

    /// Who pays, where, as it is typed again.
    pub fn typed(&self) -> String {
        let network = self.network.named().map(|name| format!(" --network {name}"));
        let wallet = self.wallet.named().map(|file| format!(" --wallet '{}'", file.display()));
        [network, wallet].into_iter().flatten().collect()
    }

    /// The wallet on the network, which is verified to be the one that is trusted; opened unless nothing is to be sent.
    pub fn payer(&self, context: &Context) -> Result<Payer> {
        let network = self.network.find(context)?;
        let address = self.wallet.address(context)?;
        context.progress.step("verifying the newest header");
        network.verify()?;
        context.progress.clear();
        let secret = if self.dry_run { None } else { Some(self.wallet.open(context)?) };
        Ok(Payer { chain: network.chain(), network, address, secret, spent: Vec::new() })
    }
}

impl Payer {
    /// Whether nothing is sent.
    pub fn only_tries(&self) -> bool {
        self.secret.is_none()
    }

    /// Carries an order out, or says what it would cost: then there is nothing that was done.
    pub fn carry_out(&mut self, order: &Order, context: &mut Context) -> Result<Option<Done>> {
        let Some(secret) = &self.secret else {
            context.progress.step(order.doing);
            let preview = self.chain.preview(self.address, order)?;
            context.progress.clear();
            if context.out.json() {
                let mut value = preview.json();
                value["doing"] = order.doing.into();
                value["from"] = json!(self.address);
                value["to"] = json!(order.to);
                context.out.value(&value)?;
            } else {
                let words = format!(
                    "{} would pay {} and at most {} for gas; nothing was sent",
                    order.doing, preview.value, preview.fee
                );
                context.out.folded("", &words)?;
            }
            return Ok(None);
        };
        let done = self.chain.send(secret, order, &context.progress)?;
        self.spent.push(done.clone());
        Ok(Some(done))
    }

    /// Says what was done, in words or with all transactions as JSON.
    pub fn tell(&self, words: &str, mut value: Value, context: &mut Context) -> Result<()> {
        context.progress.clear();
        let fee = self.spent.iter().fold(Amount::default(), |sum, done| Amount(sum.0 + done.fee.0));
        if context.out.json() {
            value["transactions"] = self.spent.iter().map(Done::json).collect();
            return context.out.value(&value);
        }
        context.out.folded("", words)?;
        self.spent.iter().try_for_each(|done| {
            context.out.folded("", &format!("transaction {}{}", done.transaction, done.rests_on()))
        })?;
        context.out.line(&format!("gas cost {fee}"))
    }
}

/// An id in hexadecimal.
pub fn id(text: &str) -> std::result::Result<B256, String> {
    text.parse().map_err(|_| format!("'{}' is no id: 0x and 64 hexadecimal digits", text.escape_debug()))
}
