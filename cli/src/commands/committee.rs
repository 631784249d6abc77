//! `sahara model share --committee auto`: a committee that nobody has picked. It is drawn by the chain's rule, which is computed again
//! here; its owner sees who it is, and agrees before the nodes get anything.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use alloy_primitives::{Address, B256, U256};
use clap::Args;
use sahara_market::abi::{AssetRegistry, Beacon, Operators};
use sahara_market::draw::{self, Policy, Verdict, Volunteer};
use sahara_market::{ASSET_REGISTRY, BEACON, OPERATORS};
use sahara_mpc::client::Member;
use serde_json::{Value, json};

use super::Context;
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::market::operators::{insiders, not_independent};
use crate::wallet::amount::Amount;
use sahara::keys::{self, Role};
use sahara::network::{Committee, PublicKey};

/// Operators among whom is drawn at most: each costs some questions.
const MAX_VOLUNTEERS: usize = 1000;
/// Candidates for whom the chance is computed exactly.
const EXACT: usize = 12;
/// The chance that a third of the stake under very many names holds two of three seats.
const IN_MANY_NAMES: f64 = 7.0 / 27.0;

/// How a committee is drawn.
#[derive(Args, Clone, Debug)]
pub struct DrawArgs {
    /// With --committee auto: draw as in this epoch of the chain's beacon [default: the present one]
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// With --committee auto: days for which the committee is seated [default: 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=700))]
    days: Option<u64>,
    /// With --committee auto: agree to whoever is drawn
    #[arg(long)]
    yes: bool,
}

impl DrawArgs {
    /// Days for which it is seated.
    pub fn days(&self) -> u64 {
        self.days.unwrap_or(90)
    }

    /// What was given of it, which says nothing about a committee that was picked.
    pub fn given(&self) -> Option<&'static str> {
        let given = [(self.epoch.is_some(), "--epoch"), (self.days.is_some(), "--days"), (self.yes, "--yes")];
        given.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }
}

/// An operator that was drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    operator: Address,
    key: B256,
    /// What counted for the draw, in the smallest unit.
    stake: u128,
    endpoint: String,
    region: String,
}

/// Who was drawn.
#[derive(Clone, Debug)]
pub struct Drawn {
    epoch: u64,
    seats: [Seat; 3],
    standby: Vec<Seat>,
    candidates: usize,
    /// The greatest chance that candidates with a third of the stake together hold two of three seats.
    chance: f64,
}

/// Draws a committee for an asset by the chain's rule, from what the chain's nodes say of its operators, and compares that with what
/// they say is drawn.
///
/// # Errors
/// When there are too few operators, the epoch is not frozen, or the chain's nodes contradict the rule.
pub fn draw(chain: &Chain, asset: B256, args: &DrawArgs) -> Result<Drawn> {
    let doing = "asking who can be drawn";
    let now = chain.call(doing, BEACON, &Beacon::currentCall {})?;
    let now = u64::try_from(now.epoch).map_err(|_| Error::fault("the chain's node names an epoch that cannot be"))?;
    let epoch = args.epoch.unwrap_or(now);
    if epoch > now || epoch < draw::FREEZE {
        return Err(Error::user(format!(
            "nobody can be drawn in epoch {epoch}: the chain is in epoch {now}, and who is drawn was willing {} epochs before, so \
             the first are drawn in epoch {}",
            draw::FREEZE,
            draw::FREEZE
        )));
    }
    let value = chain.call(doing, BEACON, &Beacon::valueOfCall { epoch: U256::from(epoch) })?;
    let policy = chain.call(doing, OPERATORS, &Operators::policyOfCall { scope: asset })?;
    let policy = Policy { least_bond: policy.leastBond, only_allowed: policy.onlyAllowed };
    let names = chain.call(doing, OPERATORS, &Operators::volunteersCall { asset })?;
    if names.len() > MAX_VOLUNTEERS {
        return Err(Error::user(format!(
            "{} operators have been willing to hold the asset, more than the {MAX_VOLUNTEERS} that are looked at: pick a \
             committee and name its file",
            names.len()
        )));
    }
    let frozen = U256::from(epoch - draw::FREEZE);
    let volunteers = names.into_iter().map(|operator| {
        let then = chain.call(doing, OPERATORS, &Operators::frozenCall { operator, asset, epoch: frozen })?;
        let verdict = chain.call(doing, OPERATORS, &Operators::verdictOfCall { scope: asset, operator })?;
        let verdict = match verdict {
            0 => Verdict::None,
            1 => Verdict::Allowed,
            _ => Verdict::Denied,
        };
        let bond = u128::try_from(then.bond).unwrap_or_default();
        Ok(Volunteer { operator, bond, willing: then.willing, verdict })
    });
    let volunteers = volunteers.collect::<Result<Vec<_>>>()?;
    let candidates: Vec<&Volunteer> = volunteers.iter().filter(|one| one.is_candidate(&policy)).collect();
    let drawn = draw::draw(value, asset, epoch, &policy, &volunteers).ok_or_else(|| {
        Error::user(format!(
            "{} operators can be drawn for the asset in epoch {epoch}, three are needed: each is bonded, says `sahara operator \
             allow {asset}`, is not ruled out by you, and was so {} epochs before",
            candidates.len(),
            draw::FREEZE
        ))
    })?;
    let said = chain.call(doing, OPERATORS, &Operators::proposeCall { asset, epoch: U256::from(epoch) })?;
    if said != drawn {
        return Err(Error::fault(
            "the chain's node says that others are drawn than follow from what it says of the operators: ask another node",
        ));
    }
    let stakes: Vec<u128> = candidates.iter().map(|one| one.bond).collect();
    let seats = drawn.into_iter().map(|operator| {
        let stake = candidates.iter().find(|one| one.operator == operator).map_or(0, |one| one.bond);
        let standing = chain.call(doing, OPERATORS, &Operators::standingCall { operator, asset })?;
        let place = chain.call(doing, OPERATORS, &Operators::placeOfCall { operator })?;
        Ok(Seat { operator, key: standing.node, stake, endpoint: place.endpoint, region: place.region })
    });
    let mut seats = seats.collect::<Result<Vec<_>>>()?;
    let standby = seats.split_off(3.min(seats.len()));
    let seats = seats.try_into().map_err(|_| Error::fault("fewer than three were drawn"))?;
    Ok(Drawn { epoch, seats, standby, candidates: stakes.len(), chance: chance(&stakes) })
}

impl Drawn {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let seat = |seat: &Seat| {
            let Seat { operator, stake, endpoint, region, .. } = seat;
            let region = if region.is_empty() { String::new() } else { format!(", {}", region.escape_debug()) };
            format!("{operator} with {} at {}{region}", Amount::from(*stake), endpoint.escape_debug())
        };
        let mut lines = vec![format!("drawn in epoch {} among {} operators:", self.epoch, self.candidates)];
        lines.extend((1..).zip(&self.seats).map(|(n, one)| format!("node {n}: {}", seat(one))));
        lines.extend(self.standby.iter().map(|one| format!("stands by: {}", seat(one))));
        lines.push(format!(
            "two of the three together read what is asked, and the model; operators with a third of the stake together had two \
             of three seats with a chance of {:.1} % at most, and under very many names of {:.1} %",
            self.chance * 100.0,
            IN_MANY_NAMES * 100.0
        ));
        lines
    }

    /// For other programs: stakes are text, in the smallest unit.
    pub fn json(&self) -> Value {
        let seat = |seat: &Seat| {
            let Seat { operator, key, stake, endpoint, region } = seat;
            let stake = stake.to_string();
            json!({"operator": operator, "key": key, "stake": stake, "endpoint": endpoint, "region": region})
        };
        json!({
            "epoch": self.epoch,
            "candidates": self.candidates,
            "committee": self.seats.iter().map(seat).collect::<Vec<_>>(),
            "standby": self.standby.iter().map(seat).collect::<Vec<_>>(),
            "third_holds_two_seats": self.chance,
            "third_in_many_names_holds_two_seats": IN_MANY_NAMES,
        })
    }

    /// Shows who was drawn, and asks whether that is agreed to.
    ///
    /// # Errors
    /// When it is not, or nobody can be asked.
    pub fn agreed(&self, chain: &Chain, asset: B256, args: &DrawArgs, context: &Context) -> Result<()> {
        // Whoever is asked sees it, also where nothing else is told.
        let asks = !args.yes && std::io::stdin().is_terminal();
        let tell = |line: &str| match asks {
            true => drop(writeln!(std::io::stderr(), "{line}")),
            false => context.progress.note(line),
        };
        context.progress.clear();
        self.lines().iter().for_each(|line| tell(line));
        let operators = self.seats.each_ref().map(|seat| seat.operator);
        if let Some(why) = not_independent(&operators, &insiders(chain, asset)?) {
            tell(&format!("{why}: consumers refuse such a committee unless they name it"));
        }
        if args.yes {
            return Ok(());
        }
        let again = format!("--yes --epoch {} agrees to these", self.epoch);
        if !asks {
            return Err(Error::user(format!("nobody is here to agree to these operators: {again}")));
        }
        let mut answer = String::new();
        let asked = write!(std::io::stderr(), "Hand them the model and seat them? [y/N] ")
            .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        asked.map_err(|e| Error::fault_from("asking you", e))?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Error::user(format!("nothing was shared: {again}"))),
        }
    }

    /// The committee as its nodes serve it, kept in `file`: they may have its members in another order.
    ///
    /// # Errors
    /// When a node is not reached or does not let this owner in, or they do not serve this committee yet.
    pub fn reached(&self, file: &Path, context: &Context) -> Result<Committee> {
        let member = |seat: &Seat| Member {
            name: seat.operator.to_string().chars().take(10).collect(),
            address: seat.endpoint.clone(),
            key: PublicKey(seat.key.0),
        };
        let [a, b, c] = self.seats.each_ref().map(member);
        let orders = [[&a, &b, &c], [&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]];
        let mut drawn = None;
        context.progress.step("looking whether the nodes serve this committee");
        for order in orders {
            let committee = Committee::new(order.map(Clone::clone))
                .map_err(|why| Error::user(format!("the operators that were drawn are no committee: {why}")))?;
            let owner = keys::client(&context.home, Role::Owner, committee.clone())?;
            let others = owner.status().into_iter().filter_map(std::result::Result::err).collect::<Vec<_>>();
            match others.iter().find(|error| !error.is_other_committee()) {
                Some(error) => {
                    return Err(Error::fault(format!("a node that was drawn cannot be shared with: {error}")));
                }
                None if others.is_empty() => {
                    save(&committee, file)?;
                    return Ok(committee);
                }
                None => drawn = drawn.or(Some(committee)),
            }
        }
        let committee = drawn.ok_or_else(|| Error::fault("no committee was drawn"))?;
        save(&committee, file)?;
        Err(Error::user(format!(
            "the nodes that were drawn do not serve this committee yet: its file is {}; each of the operators adds it to \
             `committees` in node.toml and starts the node again, then type this again with --epoch {}",
            file.display(),
            self.epoch
        )))
    }
}

fn save(committee: &Committee, file: &Path) -> Result<()> {
    committee.save(file).map_err(|e| Error::user(format!("keeping the committee: {e}")))
}

/// Whether an asset is this wallet's.
///
/// # Errors
/// When it is not: only its owner seats a committee.
pub fn owned(chain: &Chain, asset: B256, wallet: Address) -> Result<()> {
    let owner = chain.call("asking whose asset it is", ASSET_REGISTRY, &AssetRegistry::ownerOfCall { asset })?;
    match owner == wallet {
        true => Ok(()),
        false => Err(Error::user(format!(
            "asset {asset} is {owner}'s, and this wallet is {wallet}: only the owner seats a committee (--wallet FILE)"
        ))),
    }
}

/// The greatest chance that some of these who hold a third of the stake together, at most, are given two or more of the three seats: each
/// seat goes to one that is left with a chance in proportion to its stake. Exact for few; for many, what no more can be.
fn chance(stakes: &[u128]) -> f64 {
    if stakes.len() > EXACT {
        return IN_MANY_NAMES;
    }
    let all: f64 = stakes.iter().map(|stake| *stake as f64).sum();
    let holds = |some: u32| -> f64 {
        let of = |n: usize| some >> n & 1 == 1;
        (0..stakes.len()).filter(|n| of(*n)).map(|n| stakes[n] as f64).sum()
    };
    let third = (0..1u32 << stakes.len()).filter(|some| holds(*some) <= all / 3.0 * (1.0 + 1e-12));
    third.map(|some| two_of_three(stakes, all, some)).fold(0.0, f64::max)
}

fn two_of_three(stakes: &[u128], all: f64, some: u32) -> f64 {
    let stake = |n: usize| stakes[n] as f64;
    let count = |seats: [usize; 3]| seats.iter().filter(|n| some >> **n & 1 == 1).count();
    let mut sum = 0.0;
    for a in 0..stakes.len() {
        for b in (0..stakes.len()).filter(|b| *b != a) {
            for c in (0..stakes.len()).filter(|c| *c != a && *c != b && count([a, b, *c]) >= 2) {
                let (first, second) = (all - stake(a), all - stake(a) - stake(b));
                sum += stake(a) / all * stake(b) / first * stake(c) / second;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_of_a_third_is_exact_for_few_and_grows_with_their_names() {
        let near = |stakes: &[u128], expected: f64| {
            let found = chance(stakes);
            assert!((found - expected).abs() < 1e-9, "{stakes:?}: {found}, not {expected}");
        };
        near(&[1, 1, 1], 0.0); // one of three has one seat
        near(&[1; 5], 0.0); // a third of five is one
        near(&[1; 6], 4.0 / 20.0); // both of two, among all threes of six
        near(&[1; 9], (3.0 * 6.0 + 1.0) / 84.0);
        near(&[1; EXACT + 1], IN_MANY_NAMES);
        let twelve = chance(&[1; EXACT]);
        assert!(twelve > chance(&[1; 9]) && twelve < IN_MANY_NAMES, "{twelve}");
        // A small partner is rarely drawn.
        let lame = chance(&[100, 100, 99, 1]);
        assert!(lame > 0.0 && lame < 0.05, "{lame}");
    }

    #[test]
    fn who_was_drawn_is_named_with_stake_and_chance() {
        let seat = |n: u8| Seat {
            operator: Address::repeat_byte(n),
            key: B256::repeat_byte(n),
            stake: u128::from(n) * 100_000_000_000_000_000_000,
            endpoint: format!("node{n}.example:7700\u{1b}"),
            region: String::new(),
        };
        let seats = [1, 2, 3].map(seat);
        let drawn = Drawn { epoch: 7, seats, standby: vec![seat(4)], candidates: 9, chance: 0.2 };
        let lines = drawn.lines();
        assert!(lines[0].contains("epoch 7 among 9") && lines[4].starts_with("stands by"));
        assert!(lines[2].contains(&Address::repeat_byte(2).to_string()) && lines[2].contains("200 SAH"));
        assert!(lines[5].contains("20.0 %") && lines[5].contains("25.9 %"));
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        let value = drawn.json();
        assert_eq!(
            (value["committee"][0]["stake"].as_str(), &value["epoch"]),
            (Some("100000000000000000000"), &json!(7))
        );
    }
}
