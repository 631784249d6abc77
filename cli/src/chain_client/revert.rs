//! What a contract says when it refuses, in words.

use alloy_primitives::{U256, hex};
use alloy_sol_types::{Panic, Revert, SolError, SolInterface};
use sahara_market::abi::AssetRegistry::AssetRegistryErrors;
use sahara_market::abi::Attribution::AttributionErrors;
use sahara_market::abi::InferenceMarket::InferenceMarketErrors;
use sahara_market::abi::Licences::LicencesErrors;
use sahara_market::abi::Operators::OperatorsErrors;
use sahara_market::abi::PrivacyBudget::PrivacyBudgetErrors;

use crate::moment::moment;
use crate::wallet::amount::Amount;

/// Most bytes of a refusal that nobody knows.
const SHOWN: usize = 68;
/// Most characters of one.
const MAX_WORDS: usize = 300;

/// A refusal's data in words: its reason, or the contract's own error by its name and what it says.
pub fn words(data: &[u8]) -> String {
    let words = if let Ok(reason) = Revert::abi_decode_validate(data) {
        reason.reason
    } else if let Ok(panic) = Panic::abi_decode_validate(data) {
        panic.to_string()
    } else {
        named(data).unwrap_or_else(|| format!("0x{}", hex::encode(&data[..data.len().min(SHOWN)])))
    };
    words.chars().take(MAX_WORDS).collect()
}

fn named(data: &[u8]) -> Option<String> {
    // Errors that two contracts have in common look alike in both.
    of::<InferenceMarketErrors>(data)
        .or_else(|| of::<LicencesErrors>(data))
        .or_else(|| of::<OperatorsErrors>(data))
        .or_else(|| of::<AssetRegistryErrors>(data))
        .or_else(|| of::<AttributionErrors>(data))
        .or_else(|| of::<PrivacyBudgetErrors>(data))
}

fn of<E: SolInterface + std::fmt::Debug>(data: &[u8]) -> Option<String> {
    let error = E::abi_decode_validate(data).ok()?;
    // `Variant(Name { field: value, … })`: what is within says it.
    let text = format!("{error:?}");
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'))?;
    let name = inner.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let said = match inner.split_once(" { ") {
        Some((_, fields)) => {
            let fields = fields.strip_suffix(" }").unwrap_or(fields).split(", ");
            let fields: Vec<String> = fields.map(|field| readable(name, field)).collect();
            format!("{name}({})", fields.join(", "))
        }
        None => inner.to_owned(),
    };
    Some(match advice(name, &said) {
        Some(advice) => format!("{said}: {advice}"),
        None => said,
    })
}

/// A field with its amount in coins, or its time as a date.
fn readable(name: &str, field: &str) -> String {
    let Some((what, value)) = field.split_once(": ") else { return field.to_owned() };
    // Registry and market call the address differently under one selector: which it is cannot be told.
    if (name, what) == ("NotTheOwner", "caller") {
        return value.to_owned();
    }
    let Ok(number) = value.parse::<U256>() else { return field.to_owned() };
    // A request says its state, no amount.
    if name == "Replayed" && number < U256::from(10) {
        return field.to_owned();
    }
    let shares = ["SharesAreNotAll", "SharesExceedAll", "RevenueShareAbove"].contains(&name);
    // ε in nano.
    let budget = ["OverBudget", "OverAllowance", "NoChange"].contains(&name);
    match what {
        "epsilon" | "granted" | "allowed" if budget => match u128::try_from(number) {
            Ok(nano) => format!("{what}: {}", nano as f64 / 1e9),
            Err(_) => field.to_owned(),
        },
        "bond" | "least" | "asked" | "offered" | "value" | "sum" | "total" | "cap" | "paid" | "price" | "most"
        | "balance" | "needed" | "amount" | "expected" | "got"
            if !shares =>
        {
            format!("{what}: {}", Amount(number))
        }
        "until" | "due" | "time" | "ends" | "from" | "deadline" => match u64::try_from(number) {
            Ok(seconds) => format!("{what}: {}", moment(seconds.saturating_mul(1000))),
            Err(_) => field.to_owned(),
        },
        _ => field.to_owned(),
    }
}

/// What can be done about a refusal, where that is plain.
fn advice(name: &str, said: &str) -> Option<&'static str> {
    Some(match name {
        "WrongState" if said.contains("licence: ") => {
            "its price is not in the state for that any more: see `sahara licence show NUMBER`"
        }
        "WrongState" if said.contains("session: ") => {
            "its state has changed in the meantime: see `sahara session ls`, and come back when it says that it closes"
        }
        "WrongComplaint" => "there is a complaint already, or none yet: see `sahara licence show NUMBER`",
        "MadeBefore" => "this partnership is made already: see `sahara licence ls`",
        "NoSuchLicence" => {
            "no such licence was bought on this chain: see `sahara licence ls`, or `sahara licence sales ASSET`"
        }
        "NotLicensed" => {
            "it takes a licence of your own for that parent that allows to derive from it: see `sahara licence ls`"
        }
        "NotPaidYet" => "its price could still come back: its owner collects it first (`sahara licence collect`)",
        "MoreThanBonded" => "unbond what is bonded at most: see `sahara operator earnings`",
        "StillGood" => {
            "the committee is good still, and only the asset's owner may unseat it: sign with the owner's wallet (--wallet)"
        }
        "Over" => "the licence is over: see `sahara licence show NUMBER`",
        "NothingToTake" => "nothing waits there for this wallet",
        "RegisteredBefore" => "see `sahara asset ls`",
        "OpenedBefore" if said.contains("root: ") => {
            "its key is public: seal anew with `sahara asset publish` to sell it again"
        }
        "NotYet" | "NotDue" | "TooEarly" => "come back after that time",
        "QuoteTooHigh" => {
            "the operator asks more than the offer pays: offer more with `sahara asset offer --compute`, or it lowers its \
             quote with `sahara operator quote`"
        }
        "NoQuote" => "the operator says what it asks with `sahara operator quote`",
        "NotBonded" | "NotAnOperator" | "BondTooSmall" => "the operator bonds enough with `sahara operator bond`",
        "NotWilling" => "the operator agrees with `sahara operator allow`",
        "OverCap" => "the deposit is used up: open another session with `sahara session open`",
        "WrongDeposit" => "what is paid has to be the sum of what is locked: try again",
        "NotTheOwner" => "only the asset's owner may: sign with the owner's wallet (--wallet)",
        "NotTheConsumer" => "sign with the wallet that opened the session (--wallet)",
        "NotAUser" | "NotTheHolder" => {
            "sign with the wallet that holds the licence (--wallet), see `sahara licence ls`"
        }
        "NotSeated" => "choose another committee with --with, or ask the asset's owner to seat one",
        "PriceAbove" => "allow more with --max-price",
        "NotOffered" => "see `sahara asset show` for what is offered",
        "NoSuchAsset" => "no such asset is on this chain: see `sahara asset ls --all`",
        "LicenceOver" => "the licence ends first: buy another with `sahara licence buy`",
        "NothingToPay" => "nothing is ripe now: see `sahara operator earnings`",
        "Replayed" => "it is paid already",
        "OverBudget" => "ask with less --epsilon, or raise the budget: see `sahara data budget show --asset ASSET`",
        "OverAllowance" | "NotAllowed" => {
            "ask with less --epsilon; the dataset's owner allows more with `sahara data budget allow`"
        }
        "NotGranted" => "the dataset's owner grants one with `sahara data budget grant`",
        "GrantedBefore" => "a budget is granted once: `sahara data budget raise` or `lower`",
        "NotRaised" => "announce it with --epsilon, and come back after that time and block",
        "FailureAbove" => "the part of δ that is for failures is spent: ask with a smaller δ, or declare the groups",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, U256};
    use sahara_market::abi::{AssetRegistry, InferenceMarket, Licences, Operators};

    use super::*;

    #[test]
    fn the_contracts_own_errors_are_told_by_name_with_what_they_say() {
        let over = InferenceMarket::OverCap { total: U256::from(12), cap: U256::from(10) }.abi_encode();
        assert!(words(&over).starts_with("OverCap(total: 0.000000000000000012 SAH, cap: 0.00000000000000001 SAH): "));
        assert!(words(&over).contains("sahara session open"));
        let early = InferenceMarket::NotYet { until: U256::from(1_795_948_858) }.abi_encode();
        assert_eq!(words(&early), "NotYet(until: 2026-11-29 10:40:58 UTC): come back after that time");
        let until = InferenceMarket::NotYet { until: U256::MAX }.abi_encode();
        assert!(words(&until).starts_with(&format!("NotYet(until: {})", U256::MAX)));
        let owner = InferenceMarket::NotTheOwner { asset: B256::ZERO, caller: Address::ZERO }.abi_encode();
        assert!(!words(&owner).contains("caller") && words(&owner).contains("--wallet"));
        assert!(words(&InferenceMarket::WrongLanes {}.abi_encode()).starts_with("WrongLanes"));
        let above = Licences::PriceAbove { price: U256::from(3), most: U256::from(2) }.abi_encode();
        assert!(
            words(&above).starts_with("PriceAbove(price: 0.000000000000000003 SAH, most: 0.000000000000000002 SAH)")
        );
        let bonded = InferenceMarket::NotBonded { operator: Address::ZERO, bond: U256::ZERO }.abi_encode();
        assert!(words(&bonded).starts_with("NotBonded(operator: 0x0000"), "{}", words(&bonded));
        let twice = InferenceMarket::SeatedBefore { committee: B256::repeat_byte(0xab) }.abi_encode();
        assert!(words(&twice).contains("abababab"));
    }

    #[test]
    fn refusals_that_people_meet_say_what_to_type() {
        let session = InferenceMarket::WrongState { session: B256::ZERO, state: U256::from(2) }.abi_encode();
        assert!(words(&session).contains("sahara session ls"), "{}", words(&session));
        let licence = Licences::WrongState { licence: U256::from(3), state: 2 }.abi_encode();
        assert!(words(&licence).contains("sahara licence show"), "{}", words(&licence));
        let number = U256::from(3);
        for (data, command) in [
            (Licences::WrongComplaint { licence: number }.abi_encode(), "sahara licence show"),
            (Licences::MadeBefore { partnership: B256::ZERO }.abi_encode(), "sahara licence ls"),
            (Licences::NoSuchLicence { licence: number }.abi_encode(), "sahara licence sales"),
            (AssetRegistry::NoSuchAsset { asset: B256::ZERO }.abi_encode(), "sahara asset ls --all"),
            (Operators::MoreThanBonded { amount: number, bond: number }.abi_encode(), "sahara operator earnings"),
            (InferenceMarket::StillGood { committee: B256::ZERO }.abi_encode(), "--wallet"),
        ] {
            assert!(words(&data).contains(command), "{}", words(&data));
        }
        let request = InferenceMarket::Replayed { total: U256::ONE, paid: U256::ONE }.abi_encode();
        assert!(!words(&request).contains("SAH"), "a state is no amount: {}", words(&request));
    }

    #[test]
    fn other_refusals_are_told_as_they_are() {
        assert_eq!(words(&Revert::from("no").abi_encode()), "no");
        assert!(words(&Panic::from(alloy_sol_types::PanicKind::UnderOverflow).abi_encode()).contains("overflow"));
        assert_eq!(words(&[1, 2, 3, 4]), "0x01020304");
        assert_eq!(words(&[9; 5000]).len(), 2 + 2 * SHOWN);
        assert!(words(&Revert::from("x".repeat(5000)).abi_encode()).len() == MAX_WORDS);
    }
}
