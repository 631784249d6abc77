//! Amounts of the native coin: exact integers of its smallest unit, written with 18 decimals for people.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;

/// The coin.
pub const SYMBOL: &str = "SAH";
/// Its decimals.
const DECIMALS: usize = 18;

/// So much of the native coin, in its smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub U256);

impl Amount {
    /// The amount as the contracts count calls and prices.
    ///
    /// # Errors
    /// When it is larger than there is.
    pub fn small(self) -> Result<u128, String> {
        u128::try_from(self.0).map_err(|_| format!("{self} is more than there is"))
    }
}

impl From<u128> for Amount {
    fn from(units: u128) -> Self {
        Self(U256::from(units))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:0>width$}", self.0.to_string(), width = DECIMALS + 1);
        let (whole, part) = digits.split_at(digits.len() - DECIMALS);
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        write!(f, "{whole}{point}{part} {SYMBOL}")
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{}' is no amount: write e.g. 0.25 for coins of {SYMBOL}, or 1000wei", text.escape_debug());
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let bare = text.strip_suffix(SYMBOL).map_or(text, str::trim_end);
        let (number, decimals) = match (bare.strip_suffix("gwei"), bare.strip_suffix("wei")) {
            (Some(number), _) => (number, 9),
            (None, Some(number)) => (number, 0),
            (None, None) => (bare, DECIMALS),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let part = part.trim_end_matches('0');
        if !digits(whole) || !(part.is_empty() || digits(part)) || part.len() > decimals || number.ends_with('.') {
            return Err(wrong());
        }
        let all = format!("{whole}{part}{}", "0".repeat(decimals - part.len()));
        U256::from_str_radix(&all, 10).map(Self).map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_in_both_directions() {
        for (text, units, shown) in [
            ("0.000000000000000002", 2_u128, "0.000000000000000002 SAH"),
            ("1", 1_000_000_000_000_000_000, "1 SAH"),
            ("0.25", 250_000_000_000_000_000, "0.25 SAH"),
            ("0.000000000000000001", 1, "0.000000000000000001 SAH"),
            ("1000wei", 1000, "0.000000000000001 SAH"),
            ("1.5gwei", 1_500_000_000, "0.0000000015 SAH"),
            ("12.50 SAH", 12_500_000_000_000_000_000, "12.5 SAH"),
            ("0", 0, "0 SAH"),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount, Amount::from(units), "{text}");
            assert_eq!(amount.to_string(), shown);
            assert_eq!(shown.parse(), Ok(amount));
        }
        let most = Amount(U256::MAX);
        assert_eq!(most.to_string().parse(), Ok(most));
        assert!(most.small().is_err());
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        let tiny = "0.0000000000000000001";
        let much = "9".repeat(80);
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.5wei", "wei", tiny, "1 ETH", "0x10", "1_0", &much]
        {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }
}
