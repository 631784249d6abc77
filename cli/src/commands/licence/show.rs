//! `sahara licence ls | show | sales`: licences of a wallet, one licence, and who bought those of an asset.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use clap::Args;
use sahara_market::abi::{AssetRegistry, Licences};
use sahara_market::{ASSET_REGISTRY, LICENCES};
use serde_json::{Value, json};

use super::escrow::{ANSWER_TIME, DISPUTE_TIME, OPENING_TIME, PAID, SEALED, VESTING};
use super::{all_of, facts};
use crate::chain_client::{Chain, Key};
use crate::commands::Context;
use crate::commands::money::id;
use crate::commands::network::NetworkArgs;
use crate::commands::output::moment;
use crate::commands::terms::{FULL_ACCESS, LONG_TERM, terms_value, terms_words};
use crate::commands::wallet::FileArgs;
use crate::error::{Error, Result};
use crate::market::coin::Coin;
use crate::market::content::registration;

#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    wallet: FileArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Its number
    licence: U256,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct SalesArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// Look through so many of the newest blocks only [default: all since the asset was registered]
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// What a licence's money does, as the contract counts it.
const MONEY: [&str; 4] = ["paid", "vesting", "sealed", "refunded"];

/// A licence as the chain's node shows it.
struct Licence {
    number: U256,
    facts: Licences::licenceOfReturn,
    holder: Address,
    money: Licences::moneyOfReturn,
    /// When its ciphertext was opened, and whether the key was shown to be wrong; zero if it was not, or there is none.
    opened: (u64, bool),
    /// What came back to its holder in this coin, from this licence or another, and was not taken.
    takeable: U256,
    coin: Coin,
}

/// Lists the licences of a wallet: those that are good, and those that ended whose money waits.
pub fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let who = crate::wallet::address(&args.wallet.path(context))?;
    let mut all = Vec::new();
    for number in all_of(&chain, who)? {
        let licence = Licence::read(&chain, number)?;
        let call = Licences::isUserCall { licence: number, who };
        let waits = licence.holder == who && licence.facts.withdrawnAt != 0 && !licence.takeable.is_zero();
        if waits || chain.call("asking whose a licence is", LICENCES, &call)? {
            all.push(licence);
        }
    }
    if context.out.json() {
        return context.out.value(&all.iter().map(Licence::json).collect::<Vec<_>>());
    }
    if all.is_empty() {
        return context.out.line("this wallet has no licence on this chain");
    }
    all.iter().try_for_each(|licence| {
        context.out.folded("", &format!("licence {} of {}", licence.number, licence.facts.asset))?;
        licence.lines()?.iter().try_for_each(|line| context.out.folded("    ", line))
    })
}

/// Shows one.
pub fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let licence = Licence::read(&chain, args.licence)?;
    if context.out.json() {
        return context.out.value(&licence.json());
    }
    context.out.folded("", &format!("licence {} of {}", args.licence, licence.facts.asset))?;
    context.out.line(&format!("held by {}", licence.holder))?;
    licence.lines()?.iter().try_for_each(|line| context.out.folded("", line))
}

/// Lists who bought licences of an asset. No journal names the blocks, so that all of them are looked through.
pub fn sales(args: &SalesArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let asset = args.asset;
    let (owner, _) = registration(&chain, asset)?;
    let doing = "asking for the sales";
    let topics = [Some(AssetRegistry::Registered::SIGNATURE_HASH), Some(asset)];
    let registered = chain.logs(doing, ASSET_REGISTRY, Key::Account(owner), &topics)?;
    let height = chain.height()?;
    let first = registered.iter().map(|log| log.block).min().unwrap_or_default();
    let first = args.blocks.map_or(first, |blocks| first.max(height.saturating_sub(blocks)));
    context.progress.step(&format!("looking through the blocks {first} to {height}"));
    let topics = [Some(Licences::Bought::SIGNATURE_HASH), None, Some(asset)];
    let logs = chain.logs_between(doing, LICENCES, (first, height), &topics)?;
    let bought = logs.iter().filter_map(|log| {
        Licences::Bought::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok().map(|event| event.licence)
    });
    let numbers: BTreeSet<U256> = bought.collect();
    let all = numbers.into_iter().map(|number| Licence::read(&chain, number)).collect::<Result<Vec<_>>>()?;
    // A node may show another asset's.
    let all: Vec<_> = all.into_iter().filter(|licence| licence.facts.asset == asset).collect();
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&all.iter().map(Licence::json).collect::<Vec<_>>());
    }
    if all.is_empty() {
        return context.out.line(&format!("no licence was bought in the blocks {first} to {height}"));
    }
    all.iter().try_for_each(|licence| {
        let bought = moment(licence.facts.boughtAt.saturating_mul(1000));
        context.out.folded("", &format!("licence {} of {}, bought {bought}", licence.number, licence.holder))?;
        licence.lines()?.iter().try_for_each(|line| context.out.folded("    ", line))
    })
}

impl Licence {
    fn read(chain: &Chain, number: U256) -> Result<Self> {
        let facts = facts(chain, number)?;
        let holder = chain.call("asking whose it is", LICENCES, &Licences::ownerOfCall { licence: number })?;
        let money = chain.call("asking for its money", LICENCES, &Licences::moneyOfCall { licence: number })?;
        let mut opened = (0, false);
        if facts.terms.kind == FULL_ACCESS {
            let call = Licences::openingOfCall { asset: facts.asset, root: facts.terms.details };
            let opening = chain.call("asking for the opening", LICENCES, &call)?;
            opened = (opening.openedAt, opening.wrong);
        }
        let takeable = Licences::takeableCall { account: holder, token: facts.terms.token };
        let takeable = chain.call("asking for what came back", LICENCES, &takeable)?;
        let coin = Coin::of(chain, facts.terms.token)?;
        Ok(Self { number, facts, holder, money, opened, takeable, coin })
    }

    /// For other programs.
    fn json(&self) -> Value {
        let time = |seconds: u64| if seconds == 0 { Value::Null } else { json!(seconds) };
        let mut value = terms_value(&self.facts.terms);
        value["licence"] = json!(self.number.to_string());
        value["asset"] = json!(self.facts.asset);
        value["bought"] = json!(self.facts.boughtAt);
        value["ends"] = if self.facts.ends == u64::MAX { Value::Null } else { json!(self.facts.ends) };
        value["withdrawn"] = time(self.facts.withdrawnAt);
        value["holder"] = json!(self.holder.to_checksum(None));
        value["money"] = json!(MONEY.get(usize::from(self.money.state)));
        value["paid"] = json!(self.money.paid.to_string());
        value["collected"] = json!(self.money.collected.to_string());
        value["complained"] = time(self.money.complainedAt);
        value["delivered"] = time(self.opened.0);
        value["takeable"] = json!(self.takeable.to_string());
        value
    }

    /// For people: its terms, until when it is good, and what its money does.
    fn lines(&self) -> Result<Vec<String>> {
        let mut lines = vec![terms_words(&self.facts.terms, &self.coin)];
        let date = |seconds: u64| moment(seconds.saturating_mul(1000));
        if self.facts.withdrawnAt == 0 && self.facts.ends != u64::MAX {
            lines.push(format!("good until {}", date(self.facts.ends)));
        }
        if [LONG_TERM, FULL_ACCESS].contains(&self.facts.terms.kind) || self.facts.withdrawnAt != 0 {
            lines.push(self.price());
        }
        let number = self.number;
        if self.money.complainedAt != 0 {
            let (since, until) = (self.money.complainedAt, self.money.complainedAt.saturating_add(ANSWER_TIME));
            lines.push(format!(
                "its holder complained {}: unless somebody is served by then, `sahara licence refund {number}` gives back what \
                 had not vested, after {}",
                date(since),
                date(until)
            ));
        }
        if self.facts.withdrawnAt != 0 && !self.takeable.is_zero() {
            let units = u128::try_from(self.takeable)
                .map_err(|_| Error::fault("more came back than there is: ask another node (`sahara network`)"))?;
            lines.push(format!("{} wait for its holder: `sahara licence refund {number}`", self.coin.words(units)));
        }
        Ok(lines)
    }

    /// What becomes of the price.
    fn price(&self) -> String {
        let date = |seconds: u64| moment(seconds.saturating_mul(1000));
        let (paid, collected) = (self.coin.words(self.money.paid), self.coin.words(self.money.collected));
        let number = self.number;
        if self.facts.withdrawnAt != 0 {
            let at = date(self.facts.withdrawnAt);
            return format!("ended {at}: {paid} of its price stay with the owner, {collected} of it are collected");
        }
        match (self.money.state, self.opened) {
            (VESTING, _) => {
                format!("{paid} paid, which become the owner's day by day; {collected} of it are collected")
            }
            (SEALED, (_, true)) => {
                format!("its key was shown to be wrong: `sahara licence refund {number}` gives back {paid}")
            }
            (SEALED, (0, _)) => format!(
                "{paid} wait for the key, which its owner delivers until {} (`sahara licence deliver {number}`); after that \
                 `sahara licence refund {number}` gives them back",
                date(self.facts.boughtAt.saturating_add(OPENING_TIME))
            ),
            (SEALED, (at, _)) => format!(
                "delivered {}: {paid} are the owner's after {} (`sahara licence collect {number}`), unless somebody shows that \
                 the key is wrong",
                date(at),
                date(at.saturating_add(DISPUTE_TIME))
            ),
            (PAID, (at, _)) if at != 0 => {
                format!("delivered {}: {paid} are the owner's, {collected} of it are collected", date(at))
            }
            _ => format!("{paid} paid, {collected} of it are collected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sahara_market::abi::Terms;

    use super::*;

    fn licence(kind: u8, state: u8) -> Licence {
        let terms = Terms {
            kind,
            token: Address::ZERO,
            price: 2_000_000_000_000_000_000,
            royalty: 0,
            compute: 0,
            duration: 0,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        Licence {
            number: U256::from(4),
            facts: Licences::licenceOfReturn {
                asset: B256::ZERO,
                terms,
                boughtAt: 1_800_000_000,
                ends: u64::MAX,
                withdrawnAt: 0,
            },
            holder: Address::ZERO,
            money: Licences::moneyOfReturn { state, paid: 2_000_000_000_000_000_000, collected: 0, complainedAt: 0 },
            opened: (0, false),
            takeable: U256::ZERO,
            coin: Coin::native(),
        }
    }

    fn words(licence: &Licence) -> String {
        licence.lines().unwrap().join("\n")
    }

    #[test]
    fn a_complaint_a_delivery_and_an_end_are_told_with_the_next_command() {
        let mut long = licence(LONG_TERM, VESTING);
        assert!(words(&long).contains("day by day") && !words(&long).contains("complained"));
        long.money.complainedAt = 1_800_000_100;
        assert!(words(&long).contains("complained 2027-01-15") && words(&long).contains("licence refund 4"));
        assert_eq!(long.json()["complained"], 1_800_000_100);
        let mut ended = licence(LONG_TERM, 3);
        ended.facts.ends = 1_900_000_000;
        assert!(words(&ended).contains("good until"));
        ended.facts.withdrawnAt = 1_800_000_200;
        ended.takeable = U256::from(1_990_000_000_000_000_000u128);
        assert!(!words(&ended).contains("good until"), "it is good for nothing");
        assert!(words(&ended).contains("1.99 SAH wait for its holder: `sahara licence refund 4`"));
        let mut sealed = licence(FULL_ACCESS, SEALED);
        assert!(words(&sealed).contains("licence deliver 4") && sealed.json()["delivered"].is_null());
        sealed.opened = (1_800_000_300, false);
        assert!(words(&sealed).contains("delivered 2027-01-15") && words(&sealed).contains("licence collect 4"));
        sealed.opened = (1_800_000_300, true);
        assert!(words(&sealed).contains("wrong") && words(&sealed).contains("licence refund 4"));
    }
}
