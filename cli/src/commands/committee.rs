//! `sahara model share --committee auto`: a committee that nobody has picked. It is drawn by the chain's rule, which is computed again
//! here; its owner sees who it is, and agrees before the nodes get anything.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use alloy_primitives::{Address, B256, U256};
use clap::Args;
use sahara_market::abi::{Beacon, Operators};
use sahara_market::draw::{self, Policy, Verdict, Volunteer};
use sahara_market::{BEACON, OPERATORS};
use sahara_mpc::client::Member;
use serde_json::{Value, json};

use super::Context;
use crate::chain_client::Chain;
use crate::error::{Error, Result};
use crate::market::node::Words;
use crate::market::operators::{insiders, not_independent, owner};
use crate::market::proven;
use crate::wallet::amount::Amount;
use sahara::keys::{self, Role};
use sahara::network::{Committee, PublicKey};

/// Operators among whom is drawn at most: each costs some questions.
const MAX_VOLUNTEERS: usize = 1000;
/// Nodes of the chain that have to say alike who can be drawn, where the network names as many.
const WITNESSES: usize = 2;
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
    /// What answers for it now, proven, in the smallest unit; nothing for who stands by.
    bond: Option<u128>,
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

/// Draws a committee for an asset by the chain's rule, from what two nodes of the chain say alike of its operators (or its only one),
/// and compares that with what they say is drawn. That each seat's key, operator and bond belong together is proven: whoever has the
/// three keys gets the model.
///
/// # Errors
/// When there are too few operators, the epoch is not frozen, the chain's nodes contradict the rule or each other, or a key is not proven
/// to be that of its operator's node.
pub fn draw(chain: &Chain, asset: B256, args: &DrawArgs) -> Result<Drawn> {
    drawn_by(chain, chain.light()?, asset, args)
}

fn drawn_by(chain: &Chain, words: &impl Words, asset: B256, args: &DrawArgs) -> Result<Drawn> {
    let doing = "asking who can be drawn";
    let now = chain.call_alike(doing, BEACON, &Beacon::currentCall {}, WITNESSES)?;
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
    let value = chain.call_alike(doing, BEACON, &Beacon::valueOfCall { epoch: U256::from(epoch) }, WITNESSES)?;
    let policy = chain.call_alike(doing, OPERATORS, &Operators::policyOfCall { scope: asset }, WITNESSES)?;
    let policy = Policy { least_bond: policy.leastBond, only_allowed: policy.onlyAllowed };
    let names = chain.call_alike(doing, OPERATORS, &Operators::volunteersCall { asset }, WITNESSES)?;
    if names.len() > MAX_VOLUNTEERS {
        return Err(Error::user(format!(
            "{} operators have been willing to hold the asset, more than the {MAX_VOLUNTEERS} that are looked at: pick a \
             committee and name its file",
            names.len()
        )));
    }
    let frozen = U256::from(epoch - draw::FREEZE);
    let since = proven::places(words, asset, &names)?;
    let volunteers = names.into_iter().zip(since).map(|(operator, since)| {
        let frozen = Operators::frozenCall { operator, asset, epoch: frozen };
        let then = chain.call_alike(doing, OPERATORS, &frozen, WITNESSES)?;
        let verdict = Operators::verdictOfCall { scope: asset, operator };
        let verdict = chain.call_alike(doing, OPERATORS, &verdict, WITNESSES)?;
        let verdict = match verdict {
            0 => Verdict::None,
            1 => Verdict::Allowed,
            _ => Verdict::Denied,
        };
        let bond = u128::try_from(then.bond).unwrap_or_default();
        Ok(Volunteer { operator, bond, willing: then.willing, verdict, since })
    });
    let volunteers = volunteers.collect::<Result<Vec<_>>>()?;
    let candidates: Vec<&Volunteer> = volunteers.iter().filter(|one| one.is_candidate(&policy, epoch)).collect();
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
        Ok(Seat { operator, key: standing.node, stake, bond: None, endpoint: place.endpoint, region: place.region })
    });
    let mut seats = seats.collect::<Result<Vec<_>>>()?;
    let standby = seats.split_off(3.min(seats.len()));
    let mut seats: [Seat; 3] = seats.try_into().map_err(|_| Error::fault("fewer than three were drawn"))?;
    let bonds = proven::operators(words, seats.each_ref().map(|seat| (seat.operator, seat.key)))?;
    seats.iter_mut().zip(bonds).for_each(|(seat, bond)| seat.bond = Some(bond));
    Ok(Drawn { epoch, seats, standby, candidates: stakes.len(), chance: chance(&stakes) })
}

impl Drawn {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let seat = |seat: &Seat| {
            let Seat { operator, key, stake, bond, endpoint, region } = seat;
            let region = if region.is_empty() { String::new() } else { format!(", {}", region.escape_debug()) };
            let at = endpoint.escape_debug();
            match bond {
                Some(bond) => {
                    format!("{operator} with {} bonded, node {} at {at}{region}", Amount::from(*bond), PublicKey(key.0))
                }
                None => format!("{operator} with {} at {at}{region}", Amount::from(*stake)),
            }
        };
        let mut lines = vec![format!("drawn in epoch {} among {} operators:", self.epoch, self.candidates)];
        lines.extend((1..).zip(&self.seats).map(|(n, one)| format!("node {n}: {}", seat(one))));
        lines.push(
            "that these keys are their operators', and the bonds, is proven; where they are is their word".to_owned(),
        );
        lines.extend(self.standby.iter().map(|one| format!("stands by: {}", seat(one))));
        lines.push("any two of the three together can read the model and what is asked of it".to_owned());
        lines.push(self.odds());
        lines
    }

    /// How often some who work together would get what they must not.
    fn odds(&self) -> String {
        let percent = |chance: f64| format!("{:.1}", chance * 100.0);
        let many = percent(IN_MANY_NAMES);
        match self.chance {
            0.0 => format!(
                "suppose that some of these operators work together, with a third of all bonds: no draw gives them two seats, as few as \
                 they are; had they split it among very many names, {many} of 100 draws would"
            ),
            chance => format!(
                "suppose that some of these operators work together, with a third of all bonds: {} of 100 draws give them two seats at \
                 most; had they split it among very many names, {many} would",
                percent(chance)
            ),
        }
    }

    /// For other programs: stakes and bonds are text, in the smallest unit.
    pub fn json(&self) -> Value {
        let seat = |seat: &Seat| {
            let Seat { operator, key, stake, bond, endpoint, region } = seat;
            let (stake, bond) = (stake.to_string(), bond.map(|bond| bond.to_string()));
            json!({
                "operator": operator.to_checksum(None), "key": key, "stake": stake, "bond": bond, "endpoint": endpoint,
                "region": region,
            })
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

/// Whether an asset is this wallet's, which is proven.
///
/// # Errors
/// When it is not: only its owner seats a committee. When nothing is proven.
pub fn owned(chain: &Chain, asset: B256, wallet: Address) -> Result<()> {
    let owner = owner(chain, asset)?;
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
    use alloy_primitives::hex;
    use alloy_sol_types::{SolCall, SolValue};

    use super::*;
    use crate::chain_client::nodes;
    use crate::market::proven::tests::State;

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
            bond: (n < 4).then(|| u128::from(n) * 150_000_000_000_000_000_000),
            endpoint: format!("node{n}.example:7700\u{1b}"),
            region: String::new(),
        };
        let seats = [1, 2, 3].map(seat);
        let drawn = Drawn { epoch: 7, seats, standby: vec![seat(4)], candidates: 9, chance: 0.2 };
        let lines = drawn.lines();
        assert!(lines[0].contains("epoch 7 among 9") && lines[5].starts_with("stands by"));
        assert!(lines[2].contains(&Address::repeat_byte(2).to_string()) && lines[2].contains("300 SAH bonded"));
        assert!(lines[2].contains(&PublicKey([2; 32]).to_string()), "the key that gets the model: {}", lines[2]);
        assert!(lines[7].contains("20.0 of 100 draws") && lines[7].contains("25.9 would"), "{}", lines[7]);
        let few = Drawn { chance: 0.0, ..drawn.clone() };
        assert!(few.odds().contains("no draw gives them two seats"));
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        let value = drawn.json();
        assert_eq!(
            (value["committee"][0]["stake"].as_str(), &value["epoch"]),
            (Some("100000000000000000000"), &json!(7))
        );
        assert_eq!(value["committee"][0]["bond"].as_str(), Some("150000000000000000000"));
    }

    /// A node of a chain with three operators who are all drawn; what it says of one's key and place is `key` and `at`.
    fn node(key: B256, at: &'static str) -> sahara_light::Url {
        nodes::node(move |_, params| {
            let input = params[0]["input"].as_str().and_then(|text| hex::decode(text).ok()).unwrap_or_default();
            let volunteers: Vec<_> = [1u8, 2, 3].map(Address::repeat_byte).to_vec();
            let of = |n: usize| volunteers[n].into_word();
            let answer = match input[..4].try_into().unwrap_or_default() {
                Beacon::currentCall::SELECTOR => (U256::from(9), U256::ZERO, U256::ZERO).abi_encode_params(),
                Beacon::valueOfCall::SELECTOR => B256::repeat_byte(5).abi_encode(),
                Operators::policyOfCall::SELECTOR => (U256::ZERO, false).abi_encode_params(),
                Operators::volunteersCall::SELECTOR => volunteers.abi_encode(),
                Operators::frozenCall::SELECTOR => (U256::from(draw::LEAST_BOND), true).abi_encode_params(),
                Operators::verdictOfCall::SELECTOR => U256::ZERO.abi_encode(),
                Operators::proposeCall::SELECTOR => {
                    let all = volunteers.iter().map(|operator| Volunteer {
                        operator: *operator,
                        bond: draw::LEAST_BOND,
                        willing: true,
                        verdict: Verdict::None,
                        since: 0,
                    });
                    let all: Vec<_> = all.collect();
                    draw::draw(B256::repeat_byte(5), B256::ZERO, 9, &Policy::default(), &all).unwrap().abi_encode()
                }
                Operators::standingCall::SELECTOR => {
                    let third = input[4..36] == of(2).0;
                    let key = if third { key } else { B256::from_slice(&input[4..36]) };
                    (key, U256::from(draw::LEAST_BOND), 0u128, 0u64, true).abi_encode_params()
                }
                _ => (at.to_owned(), String::new()).abi_encode_params(),
            };
            Ok(json!(hex::encode_prefixed(answer)))
        })
    }

    #[test]
    fn a_node_that_lies_about_keys_and_places_only_brings_nobody_the_model() {
        let mut state = State::default();
        let operators = [1u8, 2, 3].map(Address::repeat_byte);
        for operator in operators {
            state.join(operator, operator.into_word(), draw::LEAST_BOND);
            state.place(B256::ZERO, operator, 7);
        }
        let honest = operators[2].into_word();
        let args = DrawArgs { epoch: None, days: None, yes: true };
        let drawn = |nodes: Vec<sahara_light::Url>| drawn_by(&Chain::new(1, nodes), &state, B256::ZERO, &args);
        let good = drawn(vec![node(honest, "node:7700"), node(honest, "node:7700")]).unwrap();
        assert_eq!(good.seats.each_ref().map(|seat| seat.bond), [Some(draw::LEAST_BOND); 3]);
        // The first node, which is asked, has keys and places of its own.
        let lie = drawn(vec![node(B256::repeat_byte(9), "thief:7700"), node(honest, "node:7700")]).unwrap_err();
        assert!(lie.report().contains("it is proven that it is not"), "{}", lie.report());
        // Whoever is drawn is said by two.
        let alone = drawn(vec![node(honest, "node:7700"), nodes::nobody()]).unwrap_err();
        assert!(alone.report().contains("not believed alone"), "{}", alone.report());
        drawn(vec![node(honest, "node:7700")]).unwrap();
        // Whoever has its place since an epoch that was not over then is not drawn.
        let mut late = State(state.0.clone());
        late.place(B256::ZERO, operators[1], 8);
        let late = drawn_by(&Chain::new(1, [node(honest, "node:7700")]), &late, B256::ZERO, &args).unwrap_err();
        assert!(late.report().contains("2 operators can be drawn"), "{}", late.report());
    }
}
