//! Contracts ask share nodes: with an input that only two nodes open, each its half, for this one request. The answer is the
//! plain executor's, for everybody or for one key; a copy of sealed bytes is answered to nobody; and the market refuses, each by its own
//! name, what is not the answer.

mod common;

use std::thread::sleep;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolError, SolEvent, SolValue, sol};
use common::{Devnet, Home, free_port_block, one_at_a_time};
use sahara::embedding::{PlainEngine, embed_all};
use sahara::models::Store;
use sahara_chain::genesis::DEV_ACCOUNTS;
use sahara_chain::wallet::{Payment, Wallet};
use sahara_circuits::testmodel::TestModel;
use sahara_market::abi::{Ask, InferenceMarket};
use sahara_market::{Committee, Domain, INFERENCE_MARKET, Receipt, committee_root};
use sahara_mpc::engine::{Assignment, GraphId, Rounding};
use sahara_mpc::wire::{ManifestId, Task};
use serde_json::{Value, json};

sol! {
    function ask(bytes calldata sealedInput, bytes32 lane, uint128 maxPrice) external payable returns (bytes32);
    function count() external view returns (uint256);
    function reading() external view returns (int32);
}

const TEXT: &str = "the cat sat";
const PASSWORD: &str = "devnet";

/// A local network on which a model is sold, whose operators have accounts.
struct Stage {
    devnet: Devnet,
    asset: String,
    rpc: String,
    wallet: Wallet,
    chain: u64,
}

impl Stage {
    fn new() -> Self {
        let devnet = Devnet { home: Home::empty(), port: free_port_block() };
        let folder = devnet.home.path().join("folder");
        TestModel::default().write(&folder, 5).expect("a writable home");
        devnet.home.output(&["model", "pull", folder.to_str().expect("a plain path"), "--name", "small"]);
        devnet.home.output(&["devnet", "up", "--port", &devnet.port.to_string(), "--model", "small"]);
        let file = devnet.home.path().join("devnet").join("paid.json");
        let paid: Value = serde_json::from_slice(&std::fs::read(file).expect("what was sold")).expect("JSON");
        let network = devnet.home.json(&["network", "show", "devnet", "--json"]);
        let chain = network["evm_chain"].as_u64().unwrap_or_else(|| panic!("no chain in {network}"));
        let rpc = network["rpc"][0].as_str().unwrap_or_else(|| panic!("no node in {network}")).to_owned();
        let secret: B256 = hex::encode_prefixed(DEV_ACCOUNTS[1].1).parse().expect("a key");
        let wallet = Wallet::new(secret, chain).expect("a key");
        Self { asset: paid["asset"].as_str().expect("an asset").to_owned(), devnet, rpc, wallet, chain }
    }

    fn sahara(&self, words: &[&str]) -> Value {
        let words = [words, &["--network", "devnet", "--json", "--quiet"]].concat();
        let mut command = self.devnet.home.sahara(&words);
        let done = command.env("SAHARA_WALLET_PASSWORD", PASSWORD).output().expect("the program");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "sahara {words:?}: {said}");
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("sahara {words:?}: {error}"))
    }

    fn refused(&self, words: &[&str]) -> String {
        let mut command = self.devnet.home.sahara(&[words, &["--network", "devnet"]].concat());
        let done = command.env("SAHARA_WALLET_PASSWORD", PASSWORD).output().expect("the program");
        assert_eq!(done.status.code(), Some(2), "sahara {words:?}");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    fn wallet_of(&self, role: &str) -> String {
        self.devnet.home.path().join("devnet").join("wallets").join(format!("{role}.json")).display().to_string()
    }

    fn ask_rpc(&self, method: &str, params: &Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
        let answer = agent.post(&self.rpc).header("Content-Type", "application/json").send(body.as_str());
        let text = answer.expect("the chain answers").body_mut().read_to_string().expect("text");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Sends a transaction of the consumer's account; its receipt, which says that it succeeded.
    fn send(&self, to: Option<Address>, value: u128, input: Vec<u8>) -> Value {
        self.send_by(&self.wallet, to, value, input)
    }

    /// One of the accounts of every development network.
    fn account(&self, place: usize) -> Wallet {
        let secret: B256 = hex::encode_prefixed(DEV_ACCOUNTS[place].1).parse().expect("a key");
        Wallet::new(secret, self.chain).expect("a key")
    }

    fn send_by(&self, wallet: &Wallet, to: Option<Address>, value: u128, input: Vec<u8>) -> Value {
        let address = wallet.address();
        let nonce = self.ask_rpc("eth_getTransactionCount", &json!([address, "pending"]))["result"].clone();
        let nonce = u64::from_str_radix(&nonce.as_str().expect("a number")[2..], 16).expect("a number");
        let payment = Payment {
            nonce,
            to,
            value: U256::from(value),
            input: input.into(),
            gas_limit: 5_000_000,
            max_fee: 10_000_000_000,
            tip: 1_000_000_000,
        };
        let bytes = wallet.pay(&payment).expect("a signature");
        let sent = self.ask_rpc("eth_sendRawTransaction", &json!([bytes]));
        assert!(sent["error"].is_null(), "{sent}");
        for _ in 0..200 {
            let receipt = self.ask_rpc("eth_getTransactionReceipt", &json!([keccak256(&bytes)]))["result"].clone();
            if !receipt.is_null() {
                assert_eq!(receipt["status"], "0x1", "{receipt}");
                return receipt;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("a transaction is in no block");
    }

    fn call(&self, to: Address, input: Vec<u8>) -> Value {
        self.ask_rpc("eth_call", &json!([{"to": to, "input": Bytes::from(input), "gas": "0x989680"}, "latest"]))
    }

    fn number<C: SolCall>(&self, to: Address, question: &C) -> C::Return {
        let answer = self.call(to, question.abi_encode());
        let bytes = hex::decode(answer["result"].as_str().unwrap_or_else(|| panic!("{answer}"))).expect("bytes");
        C::abi_decode_returns(&bytes).expect("a number")
    }

    /// Waits until a request is answered.
    fn answered(&self, request: &str) -> Value {
        for _ in 0..120 {
            let shown = self.sahara(&["request", "show", request]);
            if shown["state"] == "answered" {
                return shown;
            }
            sleep(Duration::from_secs(1));
        }
        let logs = self.devnet.home.output(&["devnet", "logs", "--lines", "60"]);
        panic!("nobody answers {request}: {logs}");
    }

    /// Whether an evaluator's log says that it cannot answer a request.
    fn cannot_be_answered(&self, request: &str) -> bool {
        (0..60).any(|_| {
            let logs = self.devnet.home.output(&["devnet", "logs", "--lines", "200"]);
            let said = logs.lines().any(|line| line.contains(request) && line.contains("cannot be answered"));
            if !said {
                sleep(Duration::from_secs(1));
            }
            said
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.devnet.home.run(&["devnet", "down"]);
    }
}

fn integers(value: &Value) -> Vec<i32> {
    let words = value.as_array().unwrap_or_else(|| panic!("no integers in {value}"));
    words.iter().map(|word| word.as_i64().expect("an integer") as i32).collect()
}

#[test]
fn journey() {
    let _turn = one_at_a_time();
    let stage = Stage::new();
    let asset = stage.asset.as_str();
    let home = sahara::home::Home::locate(Some(stage.devnet.home.path().to_owned())).expect("a home");
    let model = Store::new(&home).open("small", &sahara::progress::Progress::default()).expect("the model");
    let plain = embed_all(&PlainEngine::new(model.into(), 1), &[TEXT]).expect("an answer in the clear");
    let expected: Vec<i32> = plain[0].integers.iter().flatten().copied().collect();

    let make = ["request", "make", "--asset", asset, "--model", "small", "--text", TEXT];
    let early = stage.refused(&make);
    assert!(early.contains("lets no contract ask"), "{early}");
    let owner = stage.wallet_of("owner");
    let terms = ["asset", "ask", asset, "small", "--royalty", "0.001", "--compute", "0.003", "--wallet", &owner];
    let offered = stage.sahara(&terms);

    // An answer for everybody, and one for who asked.
    let dear = stage.refused(&[&make[..], &["--max-price", "0.001"]].concat());
    assert!(dear.contains("costs 0.004 SAH"), "{dear}");
    let tried = stage.sahara(&[&make[..], &["--public", "--dry-run"]].concat());
    assert_eq!(tried["dry_run"], true, "{tried}");
    let public = stage.sahara(&[&make[..], &["--public"]].concat());
    let public = public["request"].as_str().expect("a request");
    let shown = stage.answered(public);
    assert_eq!(integers(&shown["answer"]), expected, "{shown}");
    let private = stage.sahara(&make);
    let private = private["request"].as_str().expect("a request");
    let early = stage.sahara(&["request", "show", private]);
    assert!(early["state"] != "pending" || early["problem"].is_string(), "{early}");
    assert_ne!(early["state"], "unknown", "{early}");
    let shown = stage.answered(private);
    assert!(shown["answer"].is_null() && shown["bytes"].is_null(), "{shown}");
    let fetched = stage.sahara(&["request", "answer", private]);
    assert_eq!(integers(&fetched["answer"]), expected);
    let values =
        |value: &Value| value.as_array().map(|all| all.iter().filter_map(Value::as_f64).map(|x| x as f32).collect());
    assert_eq!(values(&fetched["values"]), Some(plain[0].vector.clone()), "what `embed` gives");
    let paid = stage.refused(&["request", "refund", private]);
    assert!(paid.contains("was answered"), "{paid}");
    assert_eq!(fetched["receipt"], shown["receipt"]);

    // A contract asks, and is told.
    let code = std::fs::read_to_string(common::data("thermometer.hex")).expect("the contract's code");
    let mut code = hex::decode(code.trim()).expect("hexadecimal");
    code.extend(asset.parse::<B256>().expect("an id").abi_encode());
    let deployed = stage.send(None, 0, code);
    let contract: Address = deployed["contractAddress"].as_str().expect("a contract").parse().expect("an address");
    let (lane, file) = (offered["lane"].as_str().expect("a lane"), stage.devnet.home.path().join("sealed"));
    let (name, to) = (file.to_str().expect("a plain path"), contract.to_string());
    let seal = ["request", "seal", "--asset", asset, "--model", "small", "--text", TEXT, "--public", "--asker", &to];
    let sealed = stage.sahara(&[&seal[..], &["--callback", &to, "--out", name]].concat());
    let price: u128 = sealed["price"].as_str().expect("a price").parse().expect("a number");
    let bytes = Bytes::from(std::fs::read(&file).expect("what was sealed"));
    let lane: B256 = lane.parse().expect("an id");
    let asked =
        stage.send(Some(contract), price, askCall { sealedInput: bytes.clone(), lane, maxPrice: price }.abi_encode());
    let request = requested(&asked);
    let shown = stage.answered(&request.request.to_string());
    assert_eq!((&shown["told"], integers(&shown["answer"])), (&Value::Bool(true), expected.clone()));
    assert_eq!(stage.number(contract, &countCall {}), U256::from(expected.len()));
    assert_eq!(stage.number(contract, &readingCall {}), expected[0]);

    // Whoever copies what was sealed reads nothing, and nobody is blamed for it.
    let asset_id: B256 = asset.parse().expect("an id");
    let copy = InferenceMarket::requestInferenceCall {
        asset: asset_id,
        lane,
        sealedInput: bytes,
        callback: contract,
        isPublic: true,
        maxPrice: price,
    };
    let copied = requested(&stage.send(Some(INFERENCE_MARKET), price, copy.abi_encode()));
    let id = copied.request.to_string();
    assert!(stage.cannot_be_answered(&id), "an evaluator opens a copy");
    assert_eq!(stage.sahara(&["request", "show", &id])["state"], "waiting");
    let early = stage.refused(&["request", "refund", &id]);
    assert!(early.contains("may be answered until"), "{early}");
    let asked = stage.devnet.home.json(&["asset", "show", asset, "--network", "devnet", "--json"]);
    assert_eq!(asked["ask"]["lane"], offered["lane"], "{asked}");

    nonsense(&stage, asset_id, lane, &make, &expected);
    refusals(&stage, &copied, &request);
}

/// Whoever asks what only one evaluator can open holds up nobody else; and what the shared model never computes is given up at once.
fn nonsense(stage: &Stage, asset: B256, lane: B256, make: &[&str], expected: &[i32]) {
    let stranger = stage.account(7);
    let to = stranger.address().to_string();
    let file = stage.devnet.home.path().join("nonsense");
    let seal = ["request", "seal", "--model", "small", "--text", TEXT, "--asker", &to, "--asset"];
    let out = ["--out", file.to_str().expect("a plain path")];
    let sealed = stage.sahara(&[&seal[..], &[&asset.to_string()], &out].concat());
    let price: u128 = sealed["price"].as_str().expect("a price").parse().expect("a number");
    let good = std::fs::read(&file).expect("what was sealed");
    let ask = |bytes: Vec<u8>| {
        let call = InferenceMarket::requestInferenceCall {
            asset,
            lane,
            sealedInput: bytes.into(),
            callback: Address::ZERO,
            isPublic: false,
            maxPrice: price,
        };
        requested(&stage.send_by(&stranger, Some(INFERENCE_MARKET), price, call.abi_encode()))
    };
    let mut broken = good.clone();
    *broken.last_mut().expect("bytes") ^= 1;
    for _ in 0..10 {
        ask(broken.clone());
    }
    let asked = Instant::now();
    let honest = stage.sahara(make);
    let honest = honest["request"].as_str().expect("a request");
    let answer = stage.sahara(&["request", "answer", "--wait", honest]);
    assert_eq!(integers(&answer["answer"]), expected);
    assert!(asked.elapsed() < Duration::from_secs(60), "it took {:?}", asked.elapsed());

    // The owner lets ask what is not shared.
    let owner = stage.account(0);
    let terms = stage.number(INFERENCE_MARKET, &InferenceMarket::askOfCall { asset });
    let task = Task {
        manifest: ManifestId(seated(stage, lane).manifest.0),
        graph: GraphId([9; 32]),
        assignment: Assignment::new(2).expect("a helper"),
        rounding: Rounding::Exact,
    };
    let foreign = Ask { graph: B256::repeat_byte(9), parameters: keccak256(task.encode()), ..terms };
    stage.send_by(&owner, Some(INFERENCE_MARKET), 0, InferenceMarket::setAskCall { asset, ask: foreign }.abi_encode());
    let never = ask(good).request.to_string();
    assert!(stage.cannot_be_answered(&never), "a node waits for what it never computes");
    let said = stage.refused(make);
    assert!(said.contains("has no graph"), "{said}");
}

fn requested(receipt: &Value) -> InferenceMarket::Requested {
    let logs = receipt["logs"].as_array().expect("logs");
    let read = |log: &Value| {
        let topics: Vec<B256> = log["topics"].as_array()?.iter().filter_map(|t| t.as_str()?.parse().ok()).collect();
        InferenceMarket::Requested::decode_raw_log(topics, &hex::decode(log["data"].as_str()?).ok()?).ok()
    };
    logs.iter().find_map(read).unwrap_or_else(|| panic!("nothing was asked in {receipt}"))
}

/// What is not the answer is refused, each by its own name; nothing of it is signed, so that what is left says `NotSigned`.
fn refusals(stage: &Stage, waiting: &InferenceMarket::Requested, answered: &InferenceMarket::Requested) {
    let q = waiting.r.clone();
    let committee = seated(stage, q.ask.lane);
    let price = q.ask.royalty + q.ask.compute;
    let answer = b"an answer".to_vec();
    let good = Receipt {
        job: B256::repeat_byte(1),
        session: waiting.request,
        lane: q.ask.lane,
        asset: q.asset,
        sharing: committee.manifest,
        graph: q.ask.graph,
        parameters: q.ask.parameters,
        request: q.input,
        output: keccak256(&answer),
        transcript: B256::repeat_byte(2),
        committee: committee_root(&committee.keys.map(|key| key.0)),
        epoch: committee.epoch,
        helper: 2,
        number: 1,
        total: price,
        price,
        time: q.until - 10,
        ..Receipt::default()
    };
    let said = |q: &sahara_market::request::Request, committee: &Committee, receipt: Receipt| {
        let call = InferenceMarket::answerCall {
            q: q.clone(),
            c: committee.clone(),
            r: receipt.into(),
            signatures: vec![0; 192].into(),
            publicAnswer: answer.clone().into(),
        };
        let said = stage.call(INFERENCE_MARKET, call.abi_encode());
        let data = said["error"]["data"].as_str().unwrap_or_else(|| panic!("not refused: {said}"));
        <[u8; 4]>::try_from(&hex::decode(data).expect("bytes")[..4]).expect("a selector")
    };
    let of = |receipt| said(&q, &committee, receipt);
    assert_eq!(of(good), InferenceMarket::NotSigned::SELECTOR);
    assert_eq!(of(Receipt { graph: B256::repeat_byte(9), ..good }), InferenceMarket::WrongModel::SELECTOR);
    assert_eq!(of(Receipt { sharing: B256::repeat_byte(9), ..good }), InferenceMarket::WrongModel::SELECTOR);
    assert_eq!(of(Receipt { parameters: B256::repeat_byte(9), ..good }), InferenceMarket::WrongParameters::SELECTOR);
    assert_eq!(of(Receipt { output: B256::repeat_byte(9), ..good }), InferenceMarket::WrongOutput::SELECTOR);
    assert_eq!(of(Receipt { committee: B256::repeat_byte(9), ..good }), InferenceMarket::WrongCommittee::SELECTOR);
    let other = Committee { epoch: committee.epoch + 1, ..committee.clone() };
    assert_eq!(said(&q, &other, good), InferenceMarket::WrongCommittee::SELECTOR);
    assert_eq!(of(Receipt { session: B256::repeat_byte(9), ..good }), InferenceMarket::WrongSession::SELECTOR);
    assert_eq!(of(Receipt { request: B256::repeat_byte(9), ..good }), InferenceMarket::WrongSession::SELECTOR);
    assert_eq!(of(Receipt { price: price + 1, ..good }), InferenceMarket::WrongPrice::SELECTOR);
    let again = Receipt { session: answered.request, request: answered.r.input, ..good };
    assert_eq!(said(&answered.r, &committee, again), InferenceMarket::Replayed::SELECTOR);
    let domain = Domain { chain_id: stage.chain, market: INFERENCE_MARKET };
    assert_eq!(q.id(&domain), waiting.request, "the chain names a request as this program does");
}

fn seated(stage: &Stage, lane: B256) -> Committee {
    let filter = json!([{
        "address": INFERENCE_MARKET,
        "topics": [InferenceMarket::Seated::SIGNATURE_HASH, lane],
        "fromBlock": "0x0",
        "toBlock": "latest",
    }]);
    let logs = stage.ask_rpc("eth_getLogs", &filter)["result"].clone();
    let log = &logs[0];
    let topics: Vec<B256> =
        log["topics"].as_array().expect("topics").iter().filter_map(|t| t.as_str()?.parse().ok()).collect();
    let data = hex::decode(log["data"].as_str().expect("data")).expect("bytes");
    InferenceMarket::Seated::decode_raw_log(topics, &data).expect("a committee").c
}
