//! `sahara licence`: what this wallet may use, and what others may use of what is its own.

mod buy;
mod delivery;
mod escrow;
mod partnership;
mod show;

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use clap::Subcommand;
use sahara_market::LICENCES;
use sahara_market::abi::{Licences, Terms};

use super::Context;
use crate::chain_client::{Chain, Key};
use crate::error::{Error, Result};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
`licence buy ASSET` shows the price, pays it, and opens a session: a deposit
from which calls are paid, one by one. After that `sahara embed --model ASSET`
is paid by itself, within the caps that you set here.

A full-access licence sells the key of a ciphertext: `asset publish`, `asset
offer --kind full-access`, then the buyer's `licence buy`, the owner's `licence
deliver`, the buyer's `licence unpack`, or `dispute`. A partnership has terms
that both signed: the owner's `licence propose`, the holder's `licence accept`.
`licence sales ASSET` tells an owner who bought, and what is to be done.")]
pub enum LicenceCommand {
    /// Buy a licence, and open a session with it
    Buy(Box<buy::BuyArgs>),
    /// Sign terms for one holder, as the asset's owner
    Propose(Box<partnership::ProposeArgs>),
    /// Sign a proposal as its holder, pay, and open a session
    Accept(Box<partnership::AcceptArgs>),
    /// Open the ciphertext that was sold, as its owner: its key becomes public
    Deliver(escrow::OneArgs),
    /// Open the ciphertext that was bought, once its owner has delivered
    Unpack(escrow::UnpackArgs),
    /// Show that the key is wrong, and take the price back
    Dispute(escrow::DisputeArgs),
    /// Say that a long-term licence is not served
    Complain(escrow::OneArgs),
    /// Take the price back: it was not delivered in time, or a complaint stayed unanswered
    Refund(escrow::OneArgs),
    /// Take what of a price is the owner's by now
    Collect(escrow::OneArgs),
    /// End a licence as the asset's owner, and pay back what is owed for it
    Withdraw(escrow::OneArgs),
    /// List this wallet's licences, and those that ended whose money waits
    Ls(show::LsArgs),
    /// Show a licence: its terms, until when it is good, and what its money does
    Show(show::ShowArgs),
    /// List who bought licences of an asset
    Sales(show::SalesArgs),
}

pub fn run(command: LicenceCommand, context: &mut Context) -> Result<()> {
    match command {
        LicenceCommand::Buy(args) => buy::buy(&args, context),
        LicenceCommand::Propose(args) => partnership::propose(&args, context),
        LicenceCommand::Accept(args) => partnership::accept(&args, context),
        LicenceCommand::Deliver(args) => escrow::deliver(&args, context),
        LicenceCommand::Unpack(args) => escrow::unpack(&args, context),
        LicenceCommand::Dispute(args) => escrow::dispute(&args, context),
        LicenceCommand::Complain(args) => escrow::complain(&args, context),
        LicenceCommand::Refund(args) => escrow::refund(&args, context),
        LicenceCommand::Collect(args) => escrow::collect(&args, context),
        LicenceCommand::Withdraw(args) => escrow::withdraw(&args, context),
        LicenceCommand::Ls(args) => show::ls(&args, context),
        LicenceCommand::Show(args) => show::show(&args, context),
        LicenceCommand::Sales(args) => show::sales(&args, context),
    }
}

/// The licences that `who` holds, or is the user of, for `asset` or any.
pub(super) fn licences(chain: &Chain, who: Address, asset: Option<B256>) -> Result<Vec<U256>> {
    let mut good = Vec::new();
    for licence in all_of(chain, who)? {
        let call = Licences::isUserCall { licence, who };
        let is_for = |wanted| facts(chain, licence).map(|facts| facts.asset == wanted);
        if chain.call("asking whose a licence is", LICENCES, &call)? && asset.map_or(Ok(true), is_for)? {
            good.push(licence);
        }
    }
    Ok(good)
}

/// Of licences that others gave to an account or lend it, so many are looked at, the newest: anybody may give some away.
const GIFTS: usize = 64;

/// The licences that ever came to `who` or were lent to it: all that it bought itself, and the newest that others gave or lend it.
fn all_of(chain: &Chain, who: Address) -> Result<BTreeSet<U256>> {
    let doing = "asking for the licences";
    let came = [Some(Licences::Transfer::SIGNATURE_HASH), None, Some(who.into_word())];
    let lent = [Some(Licences::UpdateUser::SIGNATURE_HASH), None, Some(who.into_word())];
    let mut all = BTreeSet::new();
    for (key, most) in [(Key::Account(who), usize::MAX), (Key::Others(who), GIFTS)] {
        let came = chain.logs(doing, LICENCES, key, &came)?;
        let lent = chain.logs(doing, LICENCES, key, &lent)?;
        let came = came.iter().rev().filter_map(|log| log.topics.get(3).copied());
        let lent = lent.iter().rev().filter_map(|log| log.topics.get(1).copied());
        all.extend(came.take(most).chain(lent.take(most)).map(|licence| U256::from_be_bytes(licence.0)));
    }
    Ok(all)
}

fn facts(chain: &Chain, licence: U256) -> Result<Licences::licenceOfReturn> {
    chain.call("asking for the licence", LICENCES, &Licences::licenceOfCall { licence })
}

/// Asset, terms and end of a licence.
pub(super) fn licence_of(chain: &Chain, licence: U256) -> Result<(B256, Terms, u64)> {
    let facts = facts(chain, licence)?;
    if facts.withdrawnAt != 0 {
        return Err(Error::user(format!("licence {licence} was withdrawn")));
    }
    if facts.ends <= chain.time()? {
        let since = super::output::moment(facts.ends.saturating_mul(1000));
        return Err(Error::user(format!(
            "licence {licence} is over since {since}: buy another with `sahara licence buy {}`",
            facts.asset
        )));
    }
    Ok((facts.asset, facts.terms, facts.ends))
}
