//! The terms of licences: how they are said, and how they are shown.

use alloy_primitives::{Address, B256};
use clap::Args;
use sahara_market::abi::Terms;
use serde_json::{Value, json};

use super::money::{span, span_words};
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::market::coin::Coin;
use crate::wallet::amount::Amount;

/// Kinds of licences, as the contract counts them.
pub const LONG_TERM: u8 = 1;
/// One payment for the key of a ciphertext.
pub const FULL_ACCESS: u8 = 2;
/// Terms that both signed.
pub const PARTNERSHIP: u8 = 3;

/// What is asked for a licence.
#[derive(Args, Clone, Debug)]
pub struct PriceArgs {
    /// Paid once, at the purchase
    #[arg(long, value_name = "AMOUNT", default_value = "0", allow_hyphen_values = true)]
    price: Amount,
    /// The token in which the price is paid (ERC-20) [default: the native coin]
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// Yours, for each call
    #[arg(long, value_name = "AMOUNT", default_value = "0", allow_hyphen_values = true)]
    royalty: Amount,
    /// The three operators' together, for each call
    #[arg(long, value_name = "AMOUNT", default_value = "0", allow_hyphen_values = true)]
    compute: Amount,
    /// Days from the purchase, or 12h, 90m, 45s [default: for ever]
    #[arg(long, value_name = "N", value_parser = span)]
    days: Option<u64>,
    /// Part of a derived asset's revenue, in hundredths of a percent; 0: nothing may be derived
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    revenue_share: u16,
    /// The holder may pass it on
    #[arg(long)]
    transferable: bool,
}

impl PriceArgs {
    /// As the contract keeps them, and the coin of their price.
    pub fn terms(&self, chain: &Chain, kind: u8, details: B256) -> Result<(Terms, Coin)> {
        let coin = Coin::of(chain, self.token.unwrap_or_default())?;
        let small = |amount: Amount| amount.small().map_err(Error::user);
        let terms = Terms {
            kind,
            token: coin.token,
            price: coin.units(self.price)?,
            royalty: small(self.royalty)?,
            compute: small(self.compute)?,
            duration: self.days.unwrap_or_default(),
            revenueShare: self.revenue_share,
            transferable: self.transferable,
            allowance: 0,
            details,
        };
        Ok((terms, coin))
    }
}

/// What a call costs under these terms.
pub fn call_price(terms: &Terms) -> u128 {
    terms.royalty.saturating_add(terms.compute)
}

/// What is wrong with an offer of a model under which no call can be paid: share nodes answer for money alone. None if calls are
/// paid, or something else is sold.
pub fn unusable(terms: &Terms) -> Option<&'static str> {
    let other = terms.kind == FULL_ACCESS || terms.revenueShare > 0;
    (!other && call_price(terms) == 0).then_some(
        "nobody could ask the model under these terms, as share nodes answer only calls that are paid: name what the three \
         operators get a call with --compute, and yours with --royalty",
    )
}

/// Terms for other programs: amounts are text, the price in the smallest unit of its token, the others in that of the native coin.
pub fn terms_value(terms: &Terms) -> Value {
    json!({
        "kind": terms_kind(terms.kind),
        "token": terms.token.to_checksum(None),
        "price": terms.price.to_string(),
        "royalty": terms.royalty.to_string(),
        "compute": terms.compute.to_string(),
        "duration": terms.duration,
        "revenue_share": terms.revenueShare,
        "transferable": terms.transferable,
        "allowance": terms.allowance,
        "details": terms.details,
    })
}

/// Terms for people, with the coin of their price.
pub fn terms_words(terms: &Terms, coin: &Coin) -> String {
    let call = Amount::from(call_price(terms));
    let token = if coin.is_native() { String::new() } else { format!(" (token {})", coin.token) };
    let time = match terms.duration {
        0 => "for ever".to_owned(),
        seconds => format!("for {}", span_words(seconds)),
    };
    let mut words =
        format!("{}, {} once{token}, {call} a call, {time}", terms_kind(terms.kind), coin.words(terms.price));
    if terms.revenueShare > 0 {
        let (whole, part) = (terms.revenueShare / 100, terms.revenueShare % 100);
        words.push_str(&format!(", {whole}.{part:02} % of what is derived"));
    }
    if terms.transferable {
        words.push_str(", may be passed on");
    }
    words
}

/// The same, asking the chain for the coin.
pub fn terms_of(chain: &Chain, terms: &Terms) -> Result<String> {
    Ok(terms_words(terms, &Coin::of(chain, terms.token)?))
}

fn terms_kind(kind: u8) -> &'static str {
    ["api", "long-term", "full-access", "partnership"].get(usize::from(kind)).copied().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::DAY;

    #[test]
    fn a_model_is_sold_by_the_call_unless_something_else_is() {
        let terms = |kind, compute, revenue_share| Terms {
            kind,
            token: Address::ZERO,
            price: 2,
            royalty: 0,
            compute,
            duration: DAY,
            revenueShare: revenue_share,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        for kind in [0, LONG_TERM, PARTNERSHIP] {
            assert!(unusable(&terms(kind, 0, 0)).is_some_and(|why| why.contains("--compute")), "{kind}");
            assert!(unusable(&terms(kind, 1, 0)).is_none() && unusable(&terms(kind, 0, 5)).is_none(), "{kind}");
        }
        assert!(unusable(&terms(FULL_ACCESS, 0, 0)).is_none());
    }

    #[test]
    fn terms_are_told_in_words() {
        let terms = Terms {
            kind: 1,
            token: Address::ZERO,
            price: 3_000_000_000_000_000_000,
            royalty: 1_000_000_000_000_000,
            compute: 2_000_000_000_000_000,
            duration: 30 * DAY,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        let coin = Coin::native();
        assert_eq!(terms_words(&terms, &coin), "long-term, 3 SAH once, 0.003 SAH a call, for 30 days");
        let more = Terms { kind: 9, revenueShare: 205, transferable: true, duration: 0, ..terms };
        let words = terms_words(&more, &coin);
        assert!(
            words.starts_with("unknown") && words.ends_with("for ever, 2.05 % of what is derived, may be passed on")
        );
    }
}
