//! Licences of all four kinds, bought and used by the commands that people type, on one chain; beside each what must not work:
//! expired, unpaid, forged, over the cap, terms changed after the purchase, wrong chain.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, B256, U256, keccak256};
use common::clients::post;
use common::{Devnet, Finished, Home, MODEL, PATIENCE, Started, free_port_block, one_at_a_time};
use sahara_market::{LICENCES, OWNERSHIP_RECEIPTS, slots};
use serde_json::{Value, json};

/// Of every wallet here.
const PASSWORD: &str = "devnet";
/// Where the test's tokens are: with permits, and without.
const TOKENS: [Address; 2] = [Address::repeat_byte(0x71), Address::repeat_byte(0x72)];

/// A network with its owner, and a consumer with a home of its own.
struct Market {
    devnet: Devnet,
    consumer: Home,
    asset: String,
    folder: tempfile::TempDir,
    /// Whether the test is over.
    over: Arc<AtomicBool>,
}

impl Market {
    fn open() -> Self {
        let devnet = Devnet { home: Home::with_model(), port: free_port_block() };
        let up = ["devnet", "up", "--port", &devnet.port.to_string(), "--json"];
        let asset = devnet.home.json(&up)["paid"]["asset"].as_str().expect("an asset").to_owned();
        let consumer = Home::empty();
        let folder = tempfile::tempdir().expect("a folder");
        let market = Self { devnet, consumer, asset, folder, over: Arc::default() };
        // The same account in a home without the model; its file opens quickly.
        let wallet = |home: &Home| home.path().join("wallet.json");
        std::fs::copy(wallet(&market.devnet.home), wallet(&market.consumer)).expect("the network's own wallet");
        market.blocks_come_quickly();
        let network = market.devnet.home.path().join("devnet/network.toml");
        market.must(&market.consumer, &["network", "add", text(&network), "--name", "here"]);
        market
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a writable folder");
        path
    }

    fn run(&self, home: &Home, words: &[&str]) -> Finished {
        Started::new(home.sahara(words).env("SAHARA_WALLET_PASSWORD", PASSWORD)).finish(PATIENCE)
    }

    /// What a command prints, which must succeed.
    fn must(&self, home: &Home, words: &[&str]) -> Value {
        let done = self.run(home, &[words, &["--json"]].concat());
        assert_eq!(done.code, Some(0), "{done}");
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"))
    }

    /// A command that must be refused before anything is paid, in these words.
    fn refused(&self, home: &Home, words: &[&str], why: &str) {
        let before = self.balance();
        let done = self.run(home, words);
        assert_eq!(done.code, Some(2), "{done}");
        assert!(done.stderr.contains(why), "'{why}' is said: {done}");
        assert_eq!(self.balance(), before, "nothing was paid: {done}");
    }

    fn balance(&self) -> Value {
        self.must(&self.consumer, &["wallet", "balance"])["balance"].clone()
    }

    /// A command of the owner's.
    fn owner(&self, words: &[&str]) -> Value {
        self.must(&self.devnet.home, &[words, &["--wallet", text(&self.owners())]].concat())
    }

    fn owners(&self) -> PathBuf {
        self.devnet.home.path().join("devnet/wallets/owner.json")
    }

    /// Offers terms; their hash.
    fn offers(&self, words: &[&str]) -> String {
        let offered = self.owner(&[&["asset", "offer", &self.asset][..], words].concat());
        offered["terms"].as_str().expect("a hash").to_owned()
    }

    /// Buys as the consumer.
    fn buys(&self, words: &[&str]) -> Value {
        self.must(&self.consumer, &[&["licence", "buy", &self.asset][..], words].concat())
    }

    /// A purchase that must be refused.
    fn buys_not(&self, words: &[&str], why: &str) {
        self.refused(&self.consumer, &[&["licence", "buy", &self.asset][..], words].concat(), why);
    }

    /// Asks as the consumer, by the asset; the licence that was used, and what was paid.
    fn asks(&self) -> (Value, Value) {
        let done = self.run(&self.consumer, &["embed", "--model", &self.asset, "--json", "a private sentence"]);
        assert_eq!(done.code, Some(0), "{done}");
        let receipt = self.must(&self.consumer, &["receipt", "show", "last"]);
        (receipt["licence"].clone(), receipt["price"].clone())
    }

    fn chain(&self) -> SocketAddr {
        format!("127.0.0.1:{}", self.devnet.port + 8).parse().expect("an address")
    }

    /// Nobody waits for a second until the next block.
    fn blocks_come_quickly(&self) {
        let (chain, over) = (self.chain(), self.over.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                rpc(chain, "evm_mine", json!([]));
                std::thread::sleep(Duration::from_millis(80));
            }
        });
    }

    /// Blocks come in the meantime.
    fn time_passes(&self) {
        std::thread::sleep(Duration::from_millis(2100));
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rpc(chain: SocketAddr, method: &str, params: Value) -> Value {
    let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let (status, answer) = post(chain, "/", &question);
    assert!(status == 200 && !answer.contains("\"error\""), "{method}: {answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    answer["result"].clone()
}

fn asset(market: &Market) -> B256 {
    market.asset.parse().expect("an asset")
}

/// A node of the chain that writes down whatever it is told.
struct Listener {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn of(chain: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let (address, all) = (listener.local_addr().expect("an address"), heard.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = all.clone();
                std::thread::spawn(move || pass_on(stream, chain, &all));
            }
        });
        Self { address, heard }
    }

    /// The methods of the questions that hold this.
    fn methods_with(&self, secret: &str) -> Vec<String> {
        let heard = self.heard.lock().expect("no thread died");
        assert!(!heard.is_empty(), "it is asked");
        let with = heard.iter().filter(|body| body.contains(secret));
        with.map(|body| {
            let question: Value = serde_json::from_str(body).expect("JSON");
            question["method"].as_str().expect("a method").to_owned()
        })
        .collect()
    }
}

/// One question and its answer.
fn pass_on(stream: TcpStream, chain: SocketAddr, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(&stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let field = line.to_ascii_lowercase();
        if let Some(value) = field.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    heard.lock().expect("no thread died").push(body.clone());
    let (status, answer) = post(chain, "/", &body);
    let head = format!("HTTP/1.1 {status} OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
    let _ = (&stream).write_all(format!("{head}{answer}").as_bytes());
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn number(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

#[test]
fn all_four_kinds_of_licence_are_bought_and_used() {
    let _turn = one_at_a_time();
    let market = Market::open();
    api_keeps_its_terms(&market);
    long_term_is_used_until_it_ends(&market);
    partnership_needs_both_signatures(&market);
    full_access_opens_a_ciphertext(&market);
    another_chain_is_refused(&market);
}

fn api_keeps_its_terms(market: &Market) {
    // The network's own licence is for calls: its owner asks and pays.
    let home = &market.devnet.home;
    let embedded = market.run(home, &["embed", "--model", MODEL, "hello"]);
    assert!(embedded.code == Some(0) && embedded.stderr.contains("paid 0.004 SAH, receipt "), "{embedded}");
    // The owner asks for more from now on; who bought before pays what it bought.
    // Nobody can be asked for nothing.
    let owners = market.owners();
    let free = ["asset", "offer", &market.asset, "--kind", "long-term", "--price", "2", "--days", "30"];
    market.refused(home, &[&free[..], &["--wallet", text(&owners)]].concat(), "with --compute");
    let [mine] =
        market.must(home, &["licence", "ls"]).as_array().expect("a list").clone().try_into().expect("one licence");
    let old = market.must(home, &["asset", "show", &market.asset])["offers"][0]["terms"].clone();
    market.owner(&["asset", "retract", old.as_str().expect("a hash")]);
    let dear = market.offers(&["--royalty", "0.5", "--compute", "0.003"]);
    market.buys_not(&["--terms", old.as_str().expect("a hash"), "--no-session"], "no licence is on offer");
    let again = market.run(home, &["embed", "--model", MODEL, "hello"]);
    assert!(again.code == Some(0) && again.stderr.contains("paid 0.004 SAH, receipt "), "{again}");
    let shown = market.must(home, &["licence", "show", &number(&mine, "licence")]);
    assert_eq!((&shown["kind"], &shown["royalty"]), (&json!("api"), &mine["royalty"]));
    market.owner(&["asset", "retract", &dear]);
}

fn long_term_is_used_until_it_ends(market: &Market) {
    let terms = market.offers(&[
        "--kind",
        "long-term",
        "--price",
        "3",
        "--compute",
        "0.003",
        "--royalty",
        "0.001",
        "--days",
        "30",
    ]);
    // Unpaid, and over the cap.
    let poor = market.path("poor.json");
    let to = number(&market.must(&market.consumer, &["wallet", "new", "--wallet", text(&poor)]), "address");
    market.buys_not(&["--wallet", text(&poor)], "has 0 SAH, and this takes");
    let sent = market.must(&market.consumer, &["wallet", "send", &to, "0.25", "--dry-run"]);
    assert_eq!(sent["value"], "250000000000000000", "{sent}");
    market.buys_not(&["--wallet", text(&poor)], "has 0 SAH, and this takes");
    let sent = market.must(&market.consumer, &["wallet", "send", &to, "0.25"]);
    assert_eq!((&sent["to"], &sent["amount"]), (&json!(to), &json!("250000000000000000")), "{sent}");
    market.buys_not(&["--wallet", text(&poor)], "has 0.25 SAH, and this takes");
    market.buys_not(&["--max-price", "2.9"], "more than the 2.9 SAH that you allow");
    market.buys_not(&["--cap-call", "0.001", "--deposit", "1"], "more than the 0.001 SAH that you allow");
    let tried = market.buys(&["--deposit", "0.004", "--dry-run"]);
    assert_eq!((&tried["dry_run"], &tried["deposit"]), (&json!(true), &json!("4000000000000000")), "{tried}");
    let bought = market.buys(&["--deposit", "0.004"]);
    assert_eq!(bought["kind"], "long-term", "{bought}");
    assert_eq!(market.asks(), (bought["licence"].clone(), json!("4000000000000000")));
    let shown = market.must(&market.consumer, &["licence", "show", &number(&bought, "licence")]);
    assert_eq!(shown["money"], "vesting", "{shown}");
    let licence = number(&bought, "licence");
    market.refused(&market.consumer, &["licence", "refund", &licence], &format!("sahara licence complain {licence}"));
    market.must(&market.consumer, &["licence", "complain", &licence]);
    market.refused(&market.consumer, &["licence", "refund", &licence], "the complaint can be answered until");
    market.refused(&market.consumer, &["licence", "complain", &licence], "is complained of already");
    let shown = market.run(&market.consumer, &["licence", "show", &licence]);
    assert!(shown.stdout.contains("its holder complained"), "{shown}");
    assert!(shown.stdout.lines().all(|line| line.chars().count() <= 84), "{shown}");
    market.owner(&["asset", "retract", &terms]);
    ends_and_is_paid_back(market, &licence);
    // One that allows to derive, and no calls.
    let derive = market.offers(&["--kind", "long-term", "--price", "1", "--revenue-share", "100", "--days", "30"]);
    market.buys_not(&["--deposit", "1"], "leave out --deposit");
    market.buys_not(&["--as", "mine"], "leave out --as");
    let done = market.run(&market.consumer, &["licence", "buy", &market.asset]);
    assert!(done.code == Some(0) && done.stdout.contains("no session is opened"), "{done}");
    market.owner(&["asset", "retract", &derive]);
    // A parent that cannot be one costs nothing.
    let child = format!("{:#x}", B256::repeat_byte(0x77));
    let register = ["asset", "register", "--root", &child, "--kind", "dataset", "--parent"];
    let unknown = format!("{}:99", market.asset);
    market.refused(&market.consumer, &[&register[..], &[&unknown]].concat(), "NoSuchLicence");
    let calls = format!("{}:{licence}", market.asset);
    market.refused(&market.consumer, &[&register[..], &[&calls]].concat(), "the licence is over; nothing was paid");
    // One that ends at once.
    let short = market.offers(&["--kind", "long-term", "--price", "1", "--compute", "0.003", "--days", "1s"]);
    let bought = market.buys(&["--no-session"]);
    market.owner(&["asset", "retract", &short]);
    market.time_passes();
    market.refused(&market.consumer, &["session", "open", "--licence", &number(&bought, "licence")], "is over since");
}

/// The owner sees who bought, ends the licence, and its holder finds its money.
fn ends_and_is_paid_back(market: &Market, licence: &str) {
    let sales = market.must(&market.devnet.home, &["licence", "sales", &market.asset]);
    let sold = sales.as_array().expect("a list").iter().find(|sold| sold["licence"] == licence).expect("the sale");
    let holder = number(&market.must(&market.consumer, &["wallet", "address"]), "address");
    assert_eq!((&sold["holder"], &sold["money"]), (&json!(holder), &json!("vesting")), "{sales}");
    let ended = market.run(&market.devnet.home, &["licence", "withdraw", licence, "--wallet", text(&market.owners())]);
    let command = format!("sahara licence refund {licence}");
    let said = ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ended.code == Some(0) && said.contains("2.999") && said.contains(&command), "{ended}");
    let of_it = || {
        let all = market.must(&market.consumer, &["licence", "ls"]);
        all.as_array().expect("a list").iter().find(|one| one["licence"] == licence).cloned()
    };
    let waits = of_it().expect("its money waits");
    assert!(number(&waits, "takeable").starts_with("2999") && waits["withdrawn"].is_number(), "{waits}");
    let told = market.run(&market.consumer, &["licence", "show", licence]);
    let words = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&command) && !words.contains("good until"), "{told}");
    let returned = market.must(&market.consumer, &["licence", "refund", licence]);
    assert_eq!(returned["returned"], waits["takeable"]);
    assert_eq!(of_it(), None, "nothing waits any more");
    market.owner(&["licence", "collect", licence]);
    let owners = market.owners();
    let again = ["licence", "collect", licence, "--wallet", text(&owners)];
    let before = market.owner(&["wallet", "balance"]);
    market.refused(&market.devnet.home, &again, "can be collected now");
    assert_eq!(market.owner(&["wallet", "balance"]), before, "no gas is paid for nothing");
}

/// The key is in nothing that a node of the chain is told, but in the transaction that has to open it.
fn nobody_hears_a_key_that_is_not_due(market: &Market, licence: &str, root: &str, sealed: &Path, source: &Path) {
    let listener = Listener::of(market.chain());
    let owner = Home::empty();
    let written = std::fs::read_to_string(market.devnet.home.path().join("devnet/network.toml")).expect("a file");
    let heard = written.replace(&market.chain().to_string(), &listener.address.to_string());
    let network = market.file("heard.toml", heard.as_bytes());
    market.must(&owner, &["network", "add", text(&network), "--name", "here"]);
    let key = format!("ciphertexts/{}.key", root.trim_start_matches("0x"));
    std::fs::create_dir_all(owner.path().join("ciphertexts")).expect("a folder");
    std::fs::copy(market.devnet.home.path().join(&key), owner.path().join(&key)).expect("the key");
    let secret = std::fs::read_to_string(owner.path().join(&key)).expect("the key").trim().to_owned();
    let owners = market.owners();
    let deliver = ["licence", "deliver", licence, "--wallet", text(&owners)];
    let tried = market.must(&owner, &[&deliver[..], &["--dry-run"]].concat());
    assert_eq!(tried["dry_run"], true, "{tried}");
    assert_eq!(listener.methods_with(&secret), Vec::<String>::new(), "--dry-run");
    // A stranger sells the same ciphertext as its own asset's, and asks for the key.
    let stranger = market.consumer.path().join("wallet.json");
    let as_stranger = ["--wallet", text(&stranger)];
    let copy = format!("{:#x}", B256::repeat_byte(0x99));
    let register = ["asset", "register", "--root", &copy, "--kind", "dataset"];
    let other = number(&market.must(&owner, &[&register[..], &as_stranger].concat()), "asset");
    let publish = ["asset", "publish", &other, text(source), "--out", text(sealed)];
    market.must(&owner, &[&publish[..], &as_stranger].concat());
    let offer = ["asset", "offer", &other, "--kind", "full-access", "--price", "0", "--details", root];
    market.must(&owner, &[&offer[..], &as_stranger].concat());
    let stolen = number(
        &market.must(&owner, &[&["licence", "buy", &other, "--without-ciphertext"][..], &as_stranger].concat()),
        "licence",
    );
    market.refused(&owner, &["licence", "deliver", &stolen, "--wallet", text(&owners)], "the key stays here");
    assert_eq!(listener.methods_with(&secret), Vec::<String>::new(), "of an asset that is another's");
    market.refused(&owner, &["licence", "deliver", "99", "--wallet", text(&owners)], "NoSuchLicence");
    // One that its owner ended.
    let ended = number(
        &market
            .must(&owner, &[&["licence", "buy", &other, "--again", "--without-ciphertext"][..], &as_stranger].concat()),
        "licence",
    );
    market.must(&owner, &[&["licence", "withdraw", &ended][..], &as_stranger].concat());
    let late = [&["licence", "deliver", &ended][..], &as_stranger].concat();
    market.refused(&owner, &late, "the key stays here");
    assert_eq!(listener.methods_with(&secret), Vec::<String>::new(), "of a licence that ended");
    // Whose key was lost owns nothing any more: the heir does.
    let lost: Address = number(&market.owner(&["wallet", "address"]), "address").parse().expect("an address");
    let heir: Address = number(&market.must(&market.consumer, &["wallet", "address"]), "address").parse().expect("one");
    let follows = |heir: B256| {
        rpc(market.chain(), "anvil_setStorageAt", json!([OWNERSHIP_RECEIPTS, slots::successor(lost), heir]));
        market.time_passes();
    };
    follows(heir.into_word());
    let shown = market.must(&owner, &["asset", "show", &market.asset]);
    assert_eq!(shown["owner"], json!(heir.to_checksum(None)), "where the contract keeps heirs: {shown}");
    market.refused(&owner, &deliver, "sign with that wallet");
    assert_eq!(listener.methods_with(&secret), Vec::<String>::new(), "of an owner whose key was lost");
    follows(B256::ZERO);
    let opening = json!([LICENCES, slots::opening(asset(market), root.parse().expect("a root")), "latest"]);
    let word = || rpc(market.chain(), "eth_getStorageAt", opening.clone());
    assert_eq!(word(), json!(B256::ZERO));
    market.must(&owner, &deliver);
    assert_ne!(word(), json!(B256::ZERO), "where the contract keeps openings");
    let said = listener.methods_with(&secret);
    assert!(!said.is_empty() && said.iter().all(|method| method == "eth_sendRawTransaction"), "{said:?}");
    market.refused(&owner, &deliver, "is open already");
}

fn partnership_needs_both_signatures(market: &Market) {
    let document = market.file("terms.txt", b"Both sides publish what they measure.\n");
    let holder = number(&market.must(&market.consumer, &["wallet", "address"]), "address");
    let propose = |home: &Home, wallet: &Path, name: &str, rest: &[&str]| {
        let out = market.path(name);
        let words = ["licence", "propose", &market.asset, "--holder", &holder, "--document", text(&document)];
        let price = ["--price", "2", "--royalty", "0.002", "--compute", "0.003", "--days", "60", "--out", text(&out)];
        let done = market.run(home, &[&words[..], &price, rest, &["--wallet", text(wallet)]].concat());
        (out.clone(), done)
    };
    let usual = market.consumer.path().join("wallet.json");
    let (_, not_the_owner) = propose(&market.consumer, &usual, "stolen.json", &[]);
    assert_eq!(not_the_owner.code, Some(2), "{not_the_owner}");
    let (file, done) = propose(&market.devnet.home, &market.owners(), "proposal.json", &[]);
    assert_eq!(done.code, Some(0), "{done}");
    let written = std::fs::read_to_string(&file).expect("the proposal");
    // Changed, forged, for another chain, too late, for somebody else, over the cap.
    let accept = |name: &str, from: &str, to: &str, why: &str| {
        assert!(written.contains(from), "{from} in {written}");
        let changed = market.file(name, written.replacen(from, to, 1).as_bytes());
        market.refused(&market.consumer, &["licence", "accept", text(&changed), "--no-session"], why);
    };
    accept("cheaper.json", "\"2000000000000000000\"", "\"1\"", "did not sign this");
    accept("worded.json", "publish", "hide", "did not sign this");
    accept("chain.json", "1337", "1", "for chain 1, this network is chain 1337");
    let signature =
        written.split("\"owner_signature\": \"0x").nth(1).expect("a signature").chars().take(8).collect::<String>();
    accept("forged.json", &signature, "00000000", "did not sign this");
    let (late, done) = propose(&market.devnet.home, &market.owners(), "late.json", &["--valid", "1s"]);
    assert_eq!(done.code, Some(0), "{done}");
    market.time_passes();
    market.refused(&market.consumer, &["licence", "accept", text(&late), "--no-session"], "was good until");
    let owners = market.owners();
    let by_another = ["licence", "accept", text(&file), "--no-session", "--wallet", text(&owners)];
    market.refused(&market.devnet.home, &by_another, "sign with that wallet");
    let cap = ["licence", "accept", text(&file), "--max-price", "1.9", "--no-session"];
    market.refused(&market.consumer, &cap, "more than the 1.9 SAH that you allow");
    let made = market.must(&market.consumer, &["licence", "accept", text(&file), "--deposit", "0.005"]);
    assert_eq!(made["kind"], "partnership", "{made}");
    assert_eq!(market.asks(), (made["licence"].clone(), json!("5000000000000000")), "the first deposit is used up");
    market.refused(&market.consumer, &["licence", "accept", text(&file), "--no-session"], "MadeBefore");
}

fn full_access_opens_a_ciphertext(market: &Market) {
    let holder: Address =
        number(&market.must(&market.consumer, &["wallet", "address"]), "address").parse().expect("an address");
    for (token, silent) in TOKENS.into_iter().zip([0u8, 1]) {
        let code = std::fs::read_to_string(common::data("token.hex")).expect("tests/data/token.hex");
        rpc(
            market.chain(),
            "anvil_setCode",
            json!([token, format!("0x{}", code.split_whitespace().collect::<String>())]),
        );
        let slot = keccak256([holder.into_word(), B256::ZERO].concat());
        rpc(market.chain(), "anvil_setStorageAt", json!([token, slot, B256::from(U256::from(20_000_000))]));
        rpc(
            market.chain(),
            "anvil_setStorageAt",
            json!([token, B256::from(U256::from(3)), B256::with_last_byte(silent)]),
        );
    }
    let [token, plain] = TOKENS.map(|token| token.to_string());
    // What is sold: a folder.
    let source = market.path("dataset");
    std::fs::create_dir_all(source.join("part")).expect("a folder");
    std::fs::write(source.join("part/rows.csv"), vec![b'7'; 20_000]).expect("a file");
    let sealed = market.path("dataset.sealed");
    let publish = ["asset", "publish", &market.asset, text(&source), "--out", text(&sealed)];
    market.refused(&market.consumer, &publish, "sign with that wallet");
    let root = number(&market.owner(&publish), "root");
    let unknown = format!("{:#x}", B256::repeat_byte(7));
    let offer = ["asset", "offer", &market.asset, "--kind", "full-access", "--price", "5", "--details"];
    let owners = market.owners();
    let wrong = [&offer[..], &[&unknown, "--wallet", text(&owners)]].concat();
    market.refused(&market.devnet.home, &wrong, "register the ciphertext's root first");
    let terms = market.offers(&["--kind", "full-access", "--price", "5", "--token", &token, "--details", &root]);
    market.buys_not(&["--terms", &terms], &format!("say --token {token}"));
    market.buys_not(&["--token", &token, "--max-price", "4.5"], "costs 5 TT, more than the 4.5 TT");
    market.buys_not(&["--token", &token, "--ciphertext", text(&market.owners())], "is no ciphertext");
    market.buys_not(&["--token", &token], "have that before you pay");
    let bought = market.buys(&["--token", &token, "--ciphertext", text(&sealed)]);
    assert_eq!(bought["transactions"].as_array().map(Vec::len), Some(1), "a permit needs no transaction: {bought}");
    let licence = number(&bought, "licence");
    let out = market.path("opened");
    let unpack = ["licence", "unpack", &licence, "--from", text(&sealed), "--out", text(&out)];
    market.refused(&market.consumer, &unpack, "has not opened the ciphertext yet");
    market.refused(&market.consumer, &["licence", "refund", &licence], "its owner can deliver until");
    market.refused(&market.consumer, &["licence", "deliver", &licence], "sign with that wallet");
    nobody_hears_a_key_that_is_not_due(market, &licence, &root, &sealed, &source);
    let shown = market.run(&market.consumer, &["licence", "show", &licence]);
    assert!(shown.stdout.contains("delivered 20"), "{shown}");
    market.must(&market.consumer, &unpack);
    assert_eq!(std::fs::read(out.join("part/rows.csv")).expect("what was bought"), vec![b'7'; 20_000]);
    market.refused(&market.consumer, &["licence", "dispute", &licence, "--from", text(&sealed)], "the key opens all");
    let collect = ["licence", "collect", &licence, "--wallet", text(&owners)];
    market.refused(&market.devnet.home, &collect, "the key can be disputed until");
    market.buys_not(
        &["--terms", &terms, "--token", &token, "--without-ciphertext"],
        "is yours already, and nothing was paid: buy one more",
    );
    market.buys_not(&["--terms", &terms, "--token", &token, "--again", "--without-ciphertext"], "OpenedBefore");
    market.owner(&["asset", "retract", &terms]);
    // An owner who opens another key: the buyer has the price back. In a token without permits.
    let other = market.path("other.sealed");
    let root =
        number(&market.owner(&["asset", "publish", &market.asset, text(&source), "--out", text(&other)]), "root");
    let key = market.devnet.home.path().join(format!("ciphertexts/{}.key", root.trim_start_matches("0x")));
    market.offers(&["--kind", "full-access", "--price", "12", "--token", &plain, "--details", &root]);
    let bought = market.buys(&["--token", &plain, "--ciphertext", text(&other)]);
    assert_eq!(bought["transactions"].as_array().map(Vec::len), Some(2), "an allowance comes first: {bought}");
    let licence = number(&bought, "licence");
    std::fs::write(&key, "11".repeat(32)).expect("the owner's key");
    market.owner(&["licence", "deliver", &licence]);
    let back = market.path("back");
    let unpack = ["licence", "unpack", &licence, "--from", text(&other), "--out", text(&back)];
    market.refused(&market.consumer, &unpack, "sahara licence dispute");
    let mixed = ["licence", "dispute", &licence, "--from", text(&sealed)];
    market.refused(&market.consumer, &mixed, "is not the ciphertext of this licence");
    let returned = market.must(&market.consumer, &["licence", "dispute", &licence, "--from", text(&other)]);
    assert_eq!((&returned["returned"], &returned["token"]), (&json!("12000000"), &json!(plain)), "{returned}");
    let shown = market.must(&market.consumer, &["licence", "show", &licence]);
    assert_eq!(shown["money"], "refunded", "{shown}");
}

fn another_chain_is_refused(market: &Market) {
    let network = market.devnet.home.path().join("devnet/network.toml");
    let written = std::fs::read_to_string(network).expect("the network's file");
    let other = market.file("other.toml", written.replacen("1337", "1338", 1).as_bytes());
    market.must(&market.consumer, &["network", "add", text(&other), "--name", "other"]);
    let terms = market.offers(&["--price", "1", "--royalty", "0.001"]);
    let buy = ["licence", "buy", &market.asset, "--terms", &terms, "--no-session", "--network", "other"];
    let own = market.path("own.json");
    let own = ["--wallet", text(&own)];
    market.must(&market.consumer, &[&["wallet", "new"][..], &own].concat());
    let with_own = [&buy[..], &own].concat();
    for (buy, why) in [(&buy[..], "everybody knows the key"), (&with_own, "of chain 1337, not of chain 1338")] {
        let done = market.run(&market.consumer, buy);
        assert!(done.code == Some(2) && done.stderr.contains(why), "{done}");
    }
    market.must(&market.consumer, &["network", "rm", "other"]);
}
