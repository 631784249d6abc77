//! In what a licence is paid: the native coin, or a token that the asset's owner chose.

use alloy_primitives::{Address, B256, U256};
use sahara_market::abi::Token;
use sahara_market::{LICENCES, permit};

use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::wallet::amount::{Amount, SYMBOL};

/// Most letters of a token's symbol that are shown: it says of itself what it likes.
const MAX_SYMBOL: usize = 11;
/// Most decimals that a token may say: more digits than any amount has.
const MAX_DECIMALS: u8 = 36;
/// Decimals of the native coin, and of amounts as people write them.
const NATIVE: u8 = 18;

/// A coin or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The token's contract; zero for the native coin.
    pub token: Address,
    symbol: String,
    decimals: u8,
}

impl Coin {
    /// The native coin.
    pub fn native() -> Self {
        Self { token: Address::ZERO, symbol: SYMBOL.to_owned(), decimals: NATIVE }
    }

    /// What is at this address, as it says of itself; the native coin for zero. A token that says nothing is counted in its
    /// smallest unit.
    ///
    /// # Errors
    /// When no node answers, or they say different things.
    pub fn of(chain: &Chain, token: Address) -> Result<Self> {
        if token.is_zero() {
            return Ok(Self::native());
        }
        let doing = "asking for the token";
        // A price is written with them: no node alone says how many there are, nor that there are none.
        let decimals = chain.known_alike(doing, token, &Token::decimalsCall {})?;
        let symbol = known(chain.call(doing, token, &Token::symbolCall {}))?;
        let letters = symbol.unwrap_or_default();
        let letters: String = letters.chars().filter(char::is_ascii_alphanumeric).take(MAX_SYMBOL).collect();
        // A token is not the coin of the chain, whatever it is called.
        let symbol = match letters.is_empty() || letters.eq_ignore_ascii_case(SYMBOL) {
            true => format!("of token {token}"),
            false => letters,
        };
        Ok(Self { token, symbol, decimals: decimals.filter(|decimals| *decimals <= MAX_DECIMALS).unwrap_or_default() })
    }

    /// Whether it is the chain's own.
    pub fn is_native(&self) -> bool {
        self.token.is_zero()
    }

    /// An amount in the smallest unit, for people.
    pub fn words(&self, units: u128) -> String {
        if self.is_native() {
            return Amount::from(units).to_string();
        }
        let decimals = usize::from(self.decimals);
        let digits = format!("{units:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        let part = part.trim_end_matches('0');
        let point = if part.is_empty() { "" } else { "." };
        format!("{whole}{point}{part} {}", self.symbol)
    }

    /// An amount as a person wrote it, in this coin's smallest unit.
    ///
    /// # Errors
    /// When it has more decimals than the coin, or is more than there is.
    pub fn units(&self, written: Amount) -> Result<u128> {
        let scale = |exponent: u8| U256::from(10).pow(U256::from(exponent));
        let units = match self.decimals.checked_sub(NATIVE) {
            Some(more) => written.0.checked_mul(scale(more)),
            None => {
                let (units, rest) = written.0.div_rem(scale(NATIVE - self.decimals));
                if !rest.is_zero() {
                    return Err(Error::user(format!("{} has {} decimals only", self.symbol, self.decimals)));
                }
                Some(units)
            }
        };
        let small = units.and_then(|units| u128::try_from(units).ok());
        small.ok_or_else(|| Error::user(format!("that is more {} than there is", self.symbol)))
    }

    /// What an account has of a token.
    ///
    /// # Errors
    /// When no node answers, or the token does not say.
    pub fn balance(&self, chain: &Chain, account: Address) -> Result<U256> {
        chain.call("asking for the token's balance", self.token, &Token::balanceOfCall { account })
    }

    /// What the licences' contract may take of an account's tokens now.
    ///
    /// # Errors
    /// When no node answers, or the token does not say.
    pub fn allowance(&self, chain: &Chain, owner: Address) -> Result<U256> {
        chain.call("asking for the token's allowance", self.token, &Token::allowanceCall { owner, spender: LICENCES })
    }

    /// What the holder signs so that the licences' contract may take `value` until `deadline`, and nothing else; none if the
    /// token takes no permits whose meaning is known.
    ///
    /// # Errors
    /// When no node answers.
    pub fn permit(&self, chain: &Chain, owner: Address, value: u128, deadline: u64) -> Result<Option<B256>> {
        let doing = "asking for the token's permits";
        let separator = known(chain.call(doing, self.token, &Token::DOMAIN_SEPARATORCall {}))?;
        let nonce = known(chain.call(doing, self.token, &Token::noncesCall { owner }))?;
        let name = known(chain.call(doing, self.token, &Token::nameCall {}))?;
        let (Some(separator), Some(nonce), Some(name)) = (separator, nonce, name) else { return Ok(None) };
        // A separator that is not this token's on this chain would be a permit for something else.
        let version = ["1", "2"]
            .into_iter()
            .find(|version| permit::separator(&name, version, chain.id(), self.token) == separator);
        let permit = permit::permit(owner, LICENCES, value, nonce, deadline);
        Ok(version.map(|version| permit::digest(&permit, &name, version, chain.id(), self.token)))
    }
}

/// An answer, if the contract has one: what it does not know is no fault.
fn known<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.exit_code() == 2 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_a_token_have_its_decimals() {
        let coin = |decimals| Coin { token: Address::repeat_byte(1), symbol: "TT".to_owned(), decimals };
        let written = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(coin(6).units(written("1.5")).unwrap(), 1_500_000);
        assert_eq!(coin(6).words(1_500_000), "1.5 TT");
        assert_eq!(coin(0).units(written("7")).unwrap(), 7);
        assert_eq!(coin(0).words(7), "7 TT");
        assert_eq!(coin(20).units(written("0.01")).unwrap(), 1_000_000_000_000_000_000);
        assert_eq!(coin(6).units(written("0.0000001")).unwrap_err().exit_code(), 2);
        assert!(coin(36).units(written("999999999999999999999")).is_err());
        assert_eq!(Coin::native().words(4_000_000_000_000_000), "0.004 SAH");
        assert_eq!(Coin::native().units(written("0.004")).unwrap(), 4_000_000_000_000_000);
    }
}
