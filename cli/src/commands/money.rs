//! What commands that move money have in common: whose wallet, which network, and whether it is only tried.

use alloy_primitives::{Address, B256};
use clap::Args;
use sahara_chain::genesis::DEV_CHAIN_ID;
use serde_json::{Value, json};

use super::Context;
use super::network::NetworkArgs;
use super::wallet::WalletArgs;
use crate::chain_client::{Chain, Done, Order};
use crate::error::{Error, Result};
use crate::market::network::Network;
use crate::moment::DAY;
use crate::wallet::amount::Amount;
use crate::wallet::{self, Secret};

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

    /// Whether nothing is to be sent, nor anything else done.
    pub fn only_tries(&self) -> bool {
        self.dry_run
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
        if wallet::is_everybodys(address) && network.anchor().evm_chain != DEV_CHAIN_ID {
            return Err(Error::user(format!(
                "everybody knows the key of {address}, which is for development chains: make a wallet of your own with `sahara wallet \
                 new`"
            )));
        }
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

    /// The wallet's signature over a digest; none when nothing is to be sent.
    pub fn sign(&self, digest: B256) -> Result<Option<[u8; 65]>> {
        let Some(secret) = &self.secret else { return Ok(None) };
        let signed = secret.wallet(self.chain.id())?.sign_hash(digest);
        Ok(Some(signed.map_err(|e| Error::fault(e.to_string()))?.as_bytes()))
    }

    /// Carries an order out, or says what it would cost: then there is nothing that was done.
    pub fn carry_out(&mut self, order: &Order, context: &mut Context) -> Result<Option<Done>> {
        self.carry_out_first(order, 0, context)
    }

    /// The same for an order after which others come, which take so much gas: what it would cost is with theirs.
    pub fn carry_out_first(&mut self, order: &Order, gas: u64, context: &mut Context) -> Result<Option<Done>> {
        let Some(secret) = &self.secret else {
            context.progress.step(order.doing);
            let preview = self.chain.preview_with(self.address, order, Amount::default(), gas)?;
            context.progress.clear();
            if context.out.json() {
                let mut value = preview.json();
                value["doing"] = order.doing.into();
                value["from"] = json!(self.address.to_checksum(None));
                value["to"] = json!(order.to.to_checksum(None));
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

    /// The transactions that were sent so far, as JSON.
    pub fn transactions(&self) -> Vec<Value> {
        self.spent.iter().map(Done::json).collect()
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

/// A time: days, or seconds, minutes or hours by their letter. In seconds.
pub fn span(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("'{}' is no time: write 30 for days, or 12h, 90m, 45s", text.escape_debug());
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], DAY),
        _ => (text, DAY),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = number.parse::<u64>().ok().filter(|_| digits).and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| (1..=MAX_SPAN).contains(seconds)).ok_or_else(wrong)
}

/// The longest time: a hundred years.
const MAX_SPAN: u64 = 36_500 * DAY;

/// A time for people.
pub fn span_words(seconds: u64) -> String {
    let plural = |number: u64, unit: &str| if number == 1 { format!("1 {unit}") } else { format!("{number} {unit}s") };
    match seconds {
        seconds if seconds.is_multiple_of(DAY) => plural(seconds / DAY, "day"),
        seconds if seconds.is_multiple_of(3600) => plural(seconds / 3600, "hour"),
        seconds if seconds.is_multiple_of(60) => plural(seconds / 60, "minute"),
        seconds => plural(seconds, "second"),
    }
}

/// An id in hexadecimal.
pub fn id(text: &str) -> std::result::Result<B256, String> {
    text.parse().map_err(|_| format!("'{}' is no id: 0x and 64 hexadecimal digits", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_or_what_their_letter_says() {
        for (text, seconds, words) in [
            ("30", 30 * DAY, "30 days"),
            ("1d", DAY, "1 day"),
            ("12h", 43_200, "12 hours"),
            ("90m", 5400, "90 minutes"),
            ("1s", 1, "1 second"),
        ] {
            assert_eq!(span(text), Ok(seconds));
            assert_eq!(span_words(seconds), words);
        }
        for wrong in ["", "0", "s", "-1", "+1", "1.5", "1y", "36501", "99999999999999999999d", "1 d"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
