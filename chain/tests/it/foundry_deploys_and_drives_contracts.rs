//! forge deploys OpenZeppelin's contracts by script and one by one, tests on the state of a node, and cast asks and sends
//! whatever people use it for.

use serde_json::Value;

use crate::{
    common::address,
    workshop::{DevNode, Workshop, secret, workshop},
};

#[test]
fn foundry_deploys_and_drives_contracts() {
    let (shop, node) = (workshop(), DevNode::start());
    let key = secret(0).to_string();
    script(shop, &node.url, &key);
    let token = create(shop, &node.url, &key);
    fork(shop, &node.url, &token);
    let hash = send(shop, &node.url, &key, &token);
    ask(shop, &node.url, &token, &hash);
    stake(shop, &node.url);
    develop(shop, &node.url, &token);
}

/// What Foundry's users do to a local chain.
fn develop(shop: &Workshop, url: &str, token: &str) {
    let rpc = |words: &[&str]| shop.cast(&[&["rpc"], words].concat(), url);
    let time = || shop.cast(&["block", "latest", "--field", "timestamp"], url).parse::<u64>().unwrap();
    let before = time();
    rpc(&["evm_increaseTime", "86400"]);
    rpc(&["evm_mine"]);
    assert!(time() >= before + 86_400);
    let snapshot = rpc(&["evm_snapshot"]);
    let nobody = "0x00000000000000000000000000000000000000ab";
    rpc(&["anvil_setBalance", nobody, "0xde0b6b3a7640000"]);
    assert_eq!(shop.cast(&["balance", nobody, "--ether"], url), "1.000000000000000000");
    rpc(&["anvil_impersonateAccount", nobody]);
    let friend = address(1).to_string();
    let sent = shop.cast(&["send", &friend, "--value", "1", "--unlocked", "--from", nobody], url);
    assert!(sent.contains("status               1 (success)"), "{sent}");
    rpc(&["anvil_setCode", nobody, "0x602a5f5260205ff3"]);
    assert!(shop.cast(&["call", nobody, "f()(uint256)"], url).starts_with("42"));
    let slot = shop.cast(&["index", "address", nobody, "0"], url);
    rpc(&["anvil_setStorageAt", token, &slot, &format!("0x{:064x}", 77)]);
    assert_eq!(shop.cast(&["call", token, "balanceOf(address)(uint256)", nobody], url), "77");
    assert_eq!(rpc(&["evm_revert", snapshot.trim_matches('"')]), "true");
    assert_eq!(shop.cast(&["balance", nobody], url), "0");
}

/// A script deploys two contracts, one of them by CREATE2, and drives them.
fn script(shop: &Workshop, url: &str, key: &str) {
    let words = ["script", "script/Deploy.s.sol", "--broadcast", "--rpc-url", url, "--private-key", key];
    let said = shop.forge(words, &[]).succeeded();
    assert!(said.out.contains("ONCHAIN EXECUTION COMPLETE & SUCCESSFUL"), "{}", said.out);
    let run = shop.read("broadcast/Deploy.s.sol/1337/run-latest.json");
    let receipts = run["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 4, "{run}");
    assert!(receipts.iter().all(|receipt| receipt["status"] == "0x1"), "{run}");
    let deployed = |name: &str| {
        let txs = run["transactions"].as_array().unwrap();
        let of =
            |tx: &&Value| tx["contractName"] == name && tx["transactionType"].as_str().unwrap().starts_with("CREATE");
        txs.iter().find(of).unwrap()["contractAddress"].as_str().unwrap().to_owned()
    };
    let friend = address(1).to_string();
    let balance = shop.cast(&["call", &deployed("Token"), "balanceOf(address)(uint256)", &friend], url);
    assert!(balance.starts_with("25000000000000000000"), "{balance}");
    assert_eq!(shop.cast(&["call", &deployed("Badge"), "ownerOf(uint256)(address)", "7"], url), friend);
}

fn create(shop: &Workshop, url: &str, key: &str) -> String {
    let owner = address(0).to_string();
    let words =
        ["create", "test/fixtures/Token.sol:Token", "--broadcast", "--json", "--rpc-url", url, "--private-key", key];
    let said = shop.forge(words.into_iter().chain(["--constructor-args", &owner, "500"]), &[]).succeeded();
    let told: Value = serde_json::from_str(&said.out).unwrap();
    told["deployedTo"].as_str().unwrap().to_owned()
}

/// forge goes on from the node's state, in its own machine.
fn fork(shop: &Workshop, url: &str, token: &str) {
    let said = shop.forge(["test", "--match-contract", "Fork", "--fork-url", url], &[("TOKEN", token)]).succeeded();
    assert!(said.out.contains("[PASS] test_a_token_of_the_chain_can_be_moved_here()"), "{}", said.out);
}

/// The kinds of transactions; gives the hash of a token transfer.
fn send(shop: &Workshop, url: &str, key: &str, token: &str) -> String {
    let friend = address(1).to_string();
    let send = |words: &[&str]| -> Value {
        let words: Vec<&str> = ["send", "--json", "--private-key", key].iter().chain(words).copied().collect();
        serde_json::from_str(&shop.cast(&words, url)).unwrap()
    };
    let moved = send(&[token, "transfer(address,uint256)", &friend, "5"]);
    assert_eq!((&moved["status"], moved["logs"].as_array().unwrap().len()), (&Value::from("0x1"), 1));
    assert_eq!(send(&[&friend, "--value", "1ether"])["type"], "0x2");
    assert_eq!(send(&[&friend, "--value", "1ether", "--legacy"])["type"], "0x0");
    let delegated = send(&[&friend, "--auth", token]);
    assert_eq!((&delegated["type"], &delegated["status"]), (&Value::from("0x4"), &Value::from("0x1")));
    let code = shop.cast(&["code", &address(0).to_string()], url);
    assert_eq!(code, format!("0xef0100{}", token[2..].to_lowercase()));
    let refuse = |words: &[&str], why: &str| {
        let words: Vec<&str> = ["send", "--private-key", key].iter().chain(words).copied().collect();
        shop.try_cast(&words, url).failed_with(why);
    };
    // The first four bytes of ERC20InsufficientBalance.
    refuse(&[token, "transfer(address,uint256)", &friend, "5000"], "0xe450d38c");
    refuse(&[&friend, "--nonce", "0", "--gas-limit", "21000"], "nonce too low");
    refuse(&[&friend, "--value", "9000000ether", "--gas-limit", "21000"], "insufficient funds");
    moved["transactionHash"].as_str().unwrap().to_owned()
}

/// Questions, and what the answers must hold.
fn ask(shop: &Workshop, url: &str, token: &str, hash: &str) {
    let (own, friend) = (address(0).to_string(), address(1).to_string());
    let transfer = "Transfer(address indexed,address indexed,uint256)";
    let move_five = ["transfer(address,uint256)", &friend, "5"];
    let balance_slot = shop.cast(&["index", "address", &friend, "0"], url);
    for (words, part) in [
        (vec!["block"], "baseFeePerGas"),
        (vec!["block", "0"], "number               0"),
        (vec!["chain-id"], "1337"),
        (vec!["client"], "sahara/"),
        (vec!["balance", &friend, "--ether"], "1000002.000000000000000000"),
        (vec!["call", token, "balanceOf(address)(uint256)", &friend], "5"),
        (vec!["call", token, "symbol()(string)"], "\"TT\""),
        (vec!["call", "--trace", token, "totalSupply()(uint256)"], "totalSupply"),
        (vec!["receipt", hash, "status"], "true"),
        (vec!["receipt", hash, "to"], token),
        (vec!["tx", hash, "from"], &own),
        (vec!["tx", hash, "--raw"], "0x02"),
        (vec!["run", hash], "Transaction successfully executed"),
        (vec!["logs", "--from-block", "0", "--address", token, transfer], hash),
        (vec!["storage", token, &balance_slot], "0000005"),
        (vec!["proof", token, &balance_slot], "storageProof"),
        (vec!["nonce", &friend], "0"),
        (vec!["rpc", "eth_syncing"], "false"),
    ] {
        let said = shop.cast(&words, url);
        assert!(said.contains(part), "cast {words:?} should say {part:?}:\n{said}");
    }
    let number = |words: &[&str]| -> u64 { shop.cast(words, url).parse().unwrap() };
    assert!(number(&["gas-price"]) > number(&["base-fee"]).min(10_000_000));
    let estimate = number(&[&["estimate", "--from", &own, token], &move_five[..]].concat());
    assert!((21_000..60_000).contains(&estimate), "{estimate}");
    let header: Value = serde_json::from_str(&shop.cast(&["block", "latest", "--json"], url)).unwrap();
    assert_eq!(header["gasLimit"], "0x5f5e100");
}

/// A native contract is called like any other.
fn stake(shop: &Workshop, url: &str) {
    let contract = sahara_chain::staking::ADDRESS.to_string();
    let validator = shop.cast(&["call", &contract, "validatorAt(uint256)(address)", "0"], url);
    let (delegator, key) = (address(4).to_string(), secret(4).to_string());
    let delegate = ["delegate(address)", &validator, "--value", "3ether", "--private-key", &key];
    let sent = shop.cast(&[&["send", &contract], &delegate[..]].concat(), url);
    assert!(sent.contains("status               1 (success)"), "{sent}");
    let worth = "delegationOf(address,address)(uint256,uint256,uint256)";
    let told = shop.cast(&["call", &contract, worth, &validator, &delegator], url);
    assert!(told.starts_with("3000000000000000000"), "{told}");
    let nobody = ["send", &contract, "delegate(address)", &delegator, "--value", "1ether", "--private-key", &key];
    shop.try_cast(&nobody, url).failed_with("execution reverted: staking: ");
}
