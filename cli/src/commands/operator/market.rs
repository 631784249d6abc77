//! What `operator doctor` finds of the file that a node's `market` names: what it believes of the chain, and whether its account
//! can settle and may be seated.

use std::path::Path;

use alloy_primitives::{Address, B256, U256};
use sahara_light::{LightError, Options};
use sahara_market::OPERATORS;
use sahara_market::abi::Operators;
use sahara_mpc::config::Config;
use sahara_mpc::doctor::{Finding, Level};

use crate::chain_client::Chain;
use crate::commands::output::moment;
use crate::market::operator::Settings;
use crate::market::settler::USUAL_GAS;
use crate::moment::now;
use crate::wallet::amount::Amount;

/// Settlements that an account should have the gas for.
const SETTLEMENTS: u64 = 20;

/// What is found; nothing for a node that serves by lists alone.
pub(super) fn examine(home: &Path) -> Vec<Finding> {
    // A configuration that cannot be read is found already.
    let Ok(config) = Config::load(home) else { return Vec::new() };
    let Some(file) = &config.market else { return Vec::new() };
    let settings = match Settings::load(file) {
        Ok(settings) => settings,
        Err(error) => {
            let fix = "docs/operators.md, \"Serve for money\", has a whole one; what it names is beside it";
            return vec![problem("market", error.report(), fix)];
        }
    };
    let name = settings.network.name();
    let mut findings = vec![good("market", format!("{} is valid; its network is '{name}'", file.display()))];
    findings.extend(chain(&settings));
    let account = match settings.address() {
        Ok(Some(account)) => account,
        Ok(None) => {
            let fix = "name account and password-file in the market's file, or type `sahara operator settle` in time";
            findings.push(warning("account", "none: nothing is settled by itself", fix));
            return findings;
        }
        Err(error) => {
            findings.push(problem("account", error.report(), "name the wallet's file in the market's file"));
            return findings;
        }
    };
    findings.push(match settings.secret() {
        Ok(_) => good("account", format!("{account}, which the password opens")),
        Err(error) => problem("account", error.report(), "the wallet and its password belong together, for you alone"),
    });
    let chain = settings.network.chain();
    findings.push(gas(&chain, account));
    let key = config.load_identity().map(|identity| B256::from(identity.public().0));
    if let Ok(key) = key {
        findings.extend(standing(&chain, account, key));
    }
    findings
}

/// What is proven of the chain.
fn chain(settings: &Settings) -> Vec<Finding> {
    let network = &settings.network;
    let options = Options { max_header_age: settings.max_header_age(), ..Options::default() };
    let mut findings = vec![match network.light(options).refresh() {
        Ok(header) => {
            let age = now().saturating_sub(header.time);
            good("chain", format!("the header at height {} is proven, {age} s old", header.height))
        }
        Err(error @ LightError::Stale { .. }) => problem(
            "chain",
            error.to_string(),
            "wait until it goes on, or name other nodes of it in the network's file",
        ),
        Err(error) => {
            let fix = "name nodes of the chain that are up, and a header that you trust, in the network's file";
            problem("chain", error.to_string(), fix)
        }
    }];
    if network.anchor().rpc.len() < 2 {
        let fix =
            "name several nodes of the chain in the network's file: none is believed, but one may be away or silent";
        findings.push(warning("chain", "the network names one node of its chain alone", fix));
    }
    findings
}

fn gas(chain: &Chain, account: Address) -> Finding {
    let asked = chain.balance(account).and_then(|has| Ok((has, chain.look(account, "asking what gas costs")?)));
    let (has, look) = match asked {
        Ok(asked) => asked,
        Err(error) => return warning("gas", error.report(), "look again when the chain's nodes answer"),
    };
    let one = look.fees().next().map_or(U256::ZERO, |fee| fee.of(USUAL_GAS));
    let (enough, most) = (has.0 >= one * U256::from(SETTLEMENTS), Amount(one));
    let found = format!("the account has {has}; a settlement costs up to {most}");
    let fix = format!("send it some coins: {account}");
    match enough {
        true => good("gas", found),
        false if has.0 >= one => warning("gas", found, fix),
        false => problem("gas", found, fix),
    }
}

/// The bond under the node's key, and the quote, as the chain's node says.
fn standing(chain: &Chain, operator: Address, key: B256) -> Vec<Finding> {
    let question = Operators::standingCall { operator, asset: B256::ZERO };
    let standing = match chain.call("asking for the bond", OPERATORS, &question) {
        Ok(standing) => standing,
        Err(error) => return vec![warning("bond", error.report(), "look again when the chain's nodes answer")],
    };
    let bond = Amount(standing.bond);
    let bonded = if standing.bond.is_zero() {
        problem("bond", "the account is no operator on the chain", "sahara operator bond AMOUNT --wallet FILE")
    } else if standing.node != key {
        let fix = "bond from the account of this node, or once more from this node's folder, which names its key";
        problem("bond", format!("{bond}, but under another node's key ({})", standing.node), fix)
    } else {
        good("bond", format!("{bond}, under this node's key"))
    };
    let until = moment(standing.quoteUntil.saturating_mul(1000));
    let quote = match standing.quoteUntil > now() {
        true => good("quote", format!("{} a call, until {until}", Amount::from(standing.perCall))),
        false => {
            let found = match standing.quoteUntil {
                0 => "none: nobody can be seated with this node".to_owned(),
                _ => format!("over since {until}: no session can be opened with this node"),
            };
            problem("quote", found, "sahara operator quote AMOUNT --wallet FILE")
        }
    };
    vec![bonded, quote]
}

fn good(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, committee: None, level: Level::Good, found: found.into(), fix: None }
}

fn warning(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, fix: Some(fix.into()), ..good(what, found) }
}

fn problem(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { level: Level::Problem, fix: Some(fix.into()), ..good(what, found) }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolCall;
    use serde_json::{Value, json};

    use super::*;
    use crate::chain_client::nodes;

    /// A chain whose contract and account are like this.
    fn chain(key: B256, bond: u64, until: u64, balance: u64) -> Chain {
        let says = move |method: &str, _: &Value| {
            let standing = Operators::standingReturn {
                node: key,
                bond: U256::from(bond),
                perCall: 5,
                quoteUntil: until,
                willing: true,
            };
            let words = alloy_primitives::hex::encode_prefixed(Operators::standingCall::abi_encode_returns(&standing));
            Ok(match method {
                "eth_call" => json!(words),
                "eth_getBalance" => json!(format!("{balance:#x}")),
                "eth_feeHistory" => json!({"baseFeePerGas": ["0x1"]}),
                "eth_chainId" => json!("0x7"),
                _ => json!("0x0"),
            })
        };
        Chain::new(7, [nodes::node(says)])
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn bond_key_quote_and_gas_are_looked_at() {
        let (key, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let (operator, later) = (Address::repeat_byte(3), now() + 1000);
        use Level::{Good, Problem, Warning};
        for (bond, of, until, found) in [
            (9, key, later, [Good, Good]),
            (0, key, later, [Problem, Good]),
            (9, other, later, [Problem, Good]),
            (9, key, 0, [Good, Problem]),
            (9, key, now() - 1, [Good, Problem]),
        ] {
            assert_eq!(levels(&standing(&chain(of, bond, until, 0), operator, key)), found, "{bond} {of} {until}");
        }
        let one = 2 * USUAL_GAS;
        for (has, level) in [(one - 1, Problem), (one, Warning), (SETTLEMENTS * one, Good)] {
            assert_eq!(gas(&chain(key, 0, 0, has), operator).level, level, "{has}");
        }
        let away = Chain::new(7, [nodes::nobody()]);
        assert_eq!(levels(&standing(&away, operator, key)), [Warning]);
        assert_eq!(gas(&away, operator).level, Warning);
    }

    #[test]
    fn a_file_that_is_none_is_told_and_a_node_without_one_is_not_asked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(examine(dir.path()).is_empty());
    }
}
