//! What is due, and how it is handed in to nodes that lie, are slow, or have not heard.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sahara_light::{Anchor, Proven, ProvenAccount, Url};
use serde_json::{Value, json};

use super::super::bill::{Last, Outcome, Promise, tests::*};
use super::*;
use crate::chain_client::nodes::{nobody, node};

/// What is proven: a session's word and what was paid, and the number of the account's next transaction.
struct Says(std::result::Result<[U256; 2], String>, u64);

/// A coin, in its smallest unit.
const COIN: u128 = 1_000_000_000_000_000_000;

impl Words for Says {
    fn words(&self, wanted: &[(Address, B256)]) -> std::result::Result<Proven, String> {
        let words = self.0.clone()?.map(B256::from);
        Ok(Proven { height: 5, time: NOW, words: words.repeat(wanted.len() / 2) })
    }

    fn account(&self, _: Address) -> std::result::Result<ProvenAccount, String> {
        Ok(ProvenAccount { height: 5, nonce: self.1, balance: U256::from(COIN) })
    }
}

/// Open, and nothing was paid.
fn owed(nonce: u64) -> Says {
    Says(Ok([U256::ONE, U256::ZERO]), nonce)
}

/// A node of the chain and what it was given.
struct Heard {
    url: Url,
    sent: Arc<Mutex<Vec<Value>>>,
}

/// A node that says what gas costs and a settlement takes, and answers `says` to transactions.
fn chain_node(base: u128, estimate: u64, says: fn() -> std::result::Result<Value, String>) -> Heard {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let heard = sent.clone();
    let url = node(move |method, params| {
        Ok(match method {
            "eth_chainId" => json!("0x539"),
            "eth_feeHistory" => json!({"baseFeePerGas": [format!("{base:#x}")]}),
            "eth_maxPriorityFeePerGas" => json!("0x1"),
            "eth_getTransactionCount" => json!("0x63"),
            "eth_estimateGas" => json!(format!("{estimate:#x}")),
            _ => {
                heard.lock().unwrap().push(params[0].clone());
                return says();
            }
        })
    });
    Heard { url, sent }
}

fn takes() -> std::result::Result<Value, String> {
    Ok(json!("0x1"))
}

/// One to whom gas costs ten gwei.
fn honest() -> Heard {
    chain_node(10_000_000_000, 160_000, takes)
}

fn network_of(urls: Vec<Url>) -> Network {
    let dir = tempfile::tempdir().unwrap();
    let anchor = Anchor::new("here", 1337, 7, B256::repeat_byte(9), urls).unwrap();
    std::fs::write(dir.path().join("network.toml"), anchor.to_toml()).unwrap();
    Network::load(&dir.path().join("network.toml")).unwrap()
}

fn settler(nodes: &[&Heard], at_a_loss: bool) -> Settler {
    let network = network_of(nodes.iter().map(|node| node.url.clone()).collect());
    Settler::new(&network, Policy { at: 1, after: 100, at_a_loss })
}

/// The account of the first operator, whose turn it is at once; none has the secret of those of a committee.
fn own() -> Secret {
    Secret::new(&[3; 32]).unwrap()
}

/// What is owed in the session of this number: one call at this price, all of it for computing.
fn bill_of(number: u64, price: u128) -> Arc<(Bill, Complete)> {
    let session = sahara_market::Session { compute: price, royalty: 0, caps: vec![price], ..session(number) };
    let deal = Deal::new(&HERE, session, committee()).unwrap();
    let asked = order_of(&deal, 1, price);
    let promise = Promise::decode(&asked.voucher).unwrap();
    let receipt = deal.receipt(&asked, &Outcome::from(&end(1)), &Last::default(), 55).unwrap();
    let bill = Bill { receipt, voucher: promise.signature, deal };
    Arc::new((bill.clone(), complete(&bill)))
}

/// A round long enough after the first one that it is everybody's turn.
const LATER: u64 = NOW + 10 * STAGGER;

impl Settler {
    /// A round at a time, after one in which what is due is seen.
    fn at(&mut self, words: &Says, bills: &[Arc<(Bill, Complete)>], now: u64) -> Round {
        if self.open.is_empty() {
            self.round(words, bills, None, NOW);
        }
        self.round(words, bills, Some(&own()), now)
    }

    fn numbers(&self) -> Vec<u64> {
        self.sent.keys().copied().collect()
    }
}

fn anchor(folder: &Path) {
    let rpc = vec!["http://127.0.0.1:1".parse().unwrap()];
    let anchor = Anchor::new("here", 1337, 7, B256::repeat_byte(9), rpc).unwrap();
    std::fs::write(folder.join("network.toml"), anchor.to_toml()).unwrap();
}

#[test]
fn what_is_owed_is_due_by_amount_by_time_before_the_end_and_when_the_session_closes() {
    let dir = tempfile::tempdir().unwrap();
    anchor(dir.path());
    let network = Network::load(&dir.path().join("network.toml")).unwrap();
    let bill = bill(2, &Last { number: 1, total: PRICE, digest: B256::repeat_byte(1) });
    let standing = |at: u128, session: U256, settled: u128, now: &[u64]| {
        let mut settler = Settler::new(&network, Policy { at, after: 100, at_a_loss: false });
        let says = Says(Ok([session, U256::from(settled)]), 0);
        now.iter().fold(Standing::Unknown, |_, now| settler.standing(&says, &bill, *now).unwrap())
    };
    let (open, closing) = (U256::ONE, U256::from(2) | U256::from(NOW) << 8);
    let (owed, due) = (Standing::Owed(2 * PRICE), Standing::Due(2 * PRICE));
    assert_eq!(standing(1000, open, 0, &[NOW]), owed);
    assert_eq!(standing(2 * PRICE, open, 0, &[NOW]), due);
    assert_eq!(standing(2 * PRICE, open, PRICE, &[NOW]), Standing::Owed(PRICE));
    assert_eq!(standing(1000, open, 0, &[NOW, NOW + 99]), owed);
    assert_eq!(standing(1000, open, 0, &[NOW, NOW + 100]), due);
    assert_eq!(standing(1000, open, 0, &[NOW + 50_000 - BEFORE_END - 1]), owed);
    assert_eq!(standing(1000, open, 0, &[NOW + 50_000 - BEFORE_END]), due);
    assert_eq!(standing(1000, closing, 0, &[NOW]), due);
    assert_eq!(standing(1, open, 2 * PRICE, &[NOW]), Standing::Nothing);
    assert_eq!(standing(1, U256::from(3), 0, &[NOW]), Standing::Over);
    assert_eq!(standing(1, U256::ZERO, 0, &[NOW]), Standing::Unknown);
    let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
    assert!(settler.standing(&Says(Err("no".into()), 0), &bill, NOW).is_err());
}

#[test]
fn members_settle_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    anchor(dir.path());
    let network = Network::load(&dir.path().join("network.toml")).unwrap();
    let bill = bill(1, &Last::default());
    let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: false });
    let [first, second, third] = committee().operators;
    assert!(!settler.my_turn(&bill, first, NOW), "nothing is due");
    settler.standing(&owed(0), &bill, NOW).unwrap();
    let turns = |settler: &Settler, now| [first, second, third].map(|own| settler.my_turn(&bill, own, now));
    assert_eq!(turns(&settler, NOW), [true, false, false]);
    assert_eq!(turns(&settler, NOW + STAGGER), [true, true, false]);
    assert_eq!(turns(&settler, NOW + 2 * STAGGER), [true, true, true]);
    settler.standing(&Says(Ok([U256::ONE, U256::from(PRICE)]), 0), &bill, NOW).unwrap();
    assert_eq!(turns(&settler, NOW + 9 * STAGGER), [false, false, false], "it is paid");
}

#[test]
fn a_part_of_an_operator_is_a_third_and_where_it_is_the_last_chance_all_counts() {
    let last = Last { number: 99, total: 99 * PRICE, digest: B256::repeat_byte(1) };
    let of_all = (bill(1, &last), complete(&bill(1, &last)));
    // Of 100 calls at 7 for computing a hundredth is burnt.
    assert_eq!(part(&of_all.0, 100 * PRICE), 700 / 100 * 99 / 3);
    let mut settler = settler(&[&honest()], false);
    let worth = |settler: &Settler| settler.worth(&Due::settlement(&of_all.0, &of_all.1, 100 * PRICE));
    settler.standing(&owed(0), &of_all.0, NOW).unwrap();
    assert_eq!(worth(&settler), U256::from(231));
    settler.standing(&owed(0), &of_all.0, NOW + 50_000 - BEFORE_END).unwrap();
    assert_eq!(worth(&settler), U256::from(100 * PRICE));
    let closing = Says(Ok([U256::from(2) | U256::from(NOW) << 8, U256::ZERO]), 0);
    settler.open.clear();
    settler.standing(&closing, &of_all.0, NOW).unwrap();
    assert_eq!(worth(&settler), U256::from(100 * PRICE));
    settler.policy.at_a_loss = true;
    assert_eq!(worth(&settler), U256::MAX);
}

#[test]
fn gas_that_costs_more_than_it_is_worth_is_not_paid_whatever_the_next_blocks_ask() {
    let look = |base: u128| {
        let node = chain_node(base, 1, takes);
        network_of(vec![node.url]).chain().look(Address::ZERO, DOING).unwrap()
    };
    let coin = U256::from(COIN);
    // 200,000 of gas at a base fee of 10 and a tip of 1 cost 2,200,000.
    let at = |worth: u64, balance: U256| affordable(&look(10), 200_000, 350_000, U256::from(worth), balance);
    assert_eq!(at(2_000_000, coin), Some(Fee { most: 10, tip: 1 }));
    assert_eq!(at(1_999_999, coin), None);
    assert_eq!(at(9_999_999, coin), Some(Fee { most: 21, tip: 1 }));
    assert_eq!(at(9_999_999, U256::from(350_000 * 21 - 1)), None);
}

#[test]
fn one_that_says_that_gas_is_dear_or_endless_keeps_nothing_from_being_settled() {
    let liar = chain_node(1_000_000_000_000, 60_000_000, takes);
    let (honest, other) = (honest(), honest());
    for nodes in [vec![&liar, &honest, &other], vec![&honest, &liar]] {
        // 0.1 coins: much less than the gas would cost by the liar's word.
        let mut settler = settler(&nodes, false);
        settler.at(&owed(4), &[bill_of(1, COIN / 10)], LATER);
        assert_eq!(settler.numbers(), [4], "the proven number, not the one that the nodes say");
        let handed = settler.sent.values().next().unwrap();
        assert!(handed.unit.most <= 2 * 10_000_000_000 + 1, "{handed:?}");
    }
    assert!(!honest.sent.lock().unwrap().is_empty() && !liar.sent.lock().unwrap().is_empty(), "all are told");
}

#[test]
fn what_is_in_no_block_is_replaced_for_a_higher_fee_and_nothing_new_comes_behind_it() {
    let node = honest();
    let mut settler = settler(&[&node], false);
    let (one, two) = (bill_of(1, COIN), bill_of(2, COIN / 2));
    settler.at(&owed(4), std::slice::from_ref(&one), LATER);
    let first = settler.sent[&4].unit;
    settler.at(&owed(4), std::slice::from_ref(&one), LATER + AGAIN - 1);
    assert_eq!((node.sent.lock().unwrap().len(), settler.sent[&4].unit), (1, first), "it has time to be proven");
    settler.round(&owed(4), std::slice::from_ref(&two), None, NOW);
    settler.at(&owed(4), &[one.clone(), two.clone()], LATER + AGAIN);
    assert_eq!(settler.numbers(), [4]);
    let second = settler.sent[&4].unit;
    assert!(second.most >= first.most + first.most / 10 && second.tip > first.tip, "{second:?}");
    // It is in a block: the other one has its turn.
    settler.at(&owed(5), &[one, two], LATER + AGAIN + 1);
    assert_eq!(settler.numbers(), [5]);
}

#[test]
fn an_errand_stands_in_the_same_queue_and_is_over_when_it_is_not_there_any_more() {
    let node = honest();
    let mut settler = settler(&[&node], false);
    let settlement = bill_of(1, COIN);
    let (words, own) = (owed(4), own());
    let errand = |part: u128| {
        let key = (B256::repeat_byte(7), B256::repeat_byte(8));
        vec![Errand { key, part, order: Order::call("answering", HERE.market, &InferenceMarket::withdrawCall {}) }]
    };
    settler.at(&words, std::slice::from_ref(&settlement), LATER);
    assert_eq!(settler.numbers(), [4]);
    settler.run(errand(COIN), &words, &own, LATER + 1);
    assert_eq!(settler.numbers(), [4, 5], "neither takes the other's place");
    settler.run(errand(COIN), &words, &own, LATER + AGAIN);
    assert_eq!(node.sent.lock().unwrap().len(), 2, "it has time to be proven");
    settler.run(errand(COIN), &words, &own, LATER + 1 + AGAIN);
    assert!(
        settler.numbers() == [4, 5] && node.sent.lock().unwrap().len() == 3,
        "then it is replaced, where it stands"
    );
    // Answered by somebody else: what stands there is given to whatever comes next.
    settler.run(Vec::new(), &words, &own, LATER + 2 * AGAIN);
    assert!(settler.errands.is_empty() && settler.open.len() == 1);
    settler.run(errand(1), &words, &own, LATER + 2 * AGAIN);
    assert_eq!(node.sent.lock().unwrap().len(), 3, "what is not worth its gas is not handed in");
}

#[test]
fn several_have_a_number_each_the_dearest_first_and_keep_it() {
    let node = honest();
    let mut settler = settler(&[&node], false);
    let bills: Vec<_> = (1..=3).map(|number| bill_of(number, COIN)).collect();
    settler.at(&owed(4), &bills, LATER);
    assert_eq!(settler.numbers(), [4, 5, 6]);
    let keys = |settler: &Settler| settler.sent.values().map(|handed| handed.key).collect::<Vec<_>>();
    let before = keys(&settler);
    settler.at(&owed(4), &bills, LATER + AGAIN);
    assert_eq!((settler.numbers(), keys(&settler)), (vec![4, 5, 6], before));
    assert_eq!(node.sent.lock().unwrap().len(), 6);
}

#[test]
fn what_was_carried_out_and_paid_nothing_is_tried_less_and_less_often() {
    let node = honest();
    let mut settler = settler(&[&node], false);
    let bills = [bill_of(1, COIN)];
    settler.at(&owed(4), &bills, LATER);
    let mut now = LATER + AGAIN;
    settler.at(&owed(5), &bills, now);
    assert!(settler.numbers().is_empty());
    now += 2 * AGAIN - 1;
    settler.at(&owed(5), &bills, now);
    assert!(settler.numbers().is_empty());
    settler.at(&owed(5), &bills, now + 1);
    assert_eq!(settler.numbers(), [5]);
}

#[test]
fn a_place_that_is_taken_is_outbid_and_what_all_refuse_takes_none() {
    let taken = chain_node(10, 160_000, || {
        Err(json!({"error": {"code": 1, "message": "replacement transaction underpriced"}}).to_string())
    });
    let mut settler = settler(&[&taken], true);
    let bills = [bill_of(1, COIN)];
    settler.at(&owed(4), &bills, LATER);
    let first = settler.sent[&4].unit;
    settler.at(&owed(4), &bills, LATER + AGAIN);
    assert!(settler.sent[&4].unit.most > first.most);
    let refuses =
        chain_node(10, 160_000, || Err(json!({"error": {"code": 1, "message": "nonce too low"}}).to_string()));
    let mut settler = super::tests::settler(&[&refuses], true);
    settler.at(&owed(4), &bills, LATER);
    assert!(settler.numbers().is_empty());
    settler.at(&owed(4), &bills, LATER + 1);
    assert_eq!(refuses.sent.lock().unwrap().len(), 2, "the next round tries it again");
}

#[test]
fn a_node_that_is_slow_or_away_costs_seconds_a_round_not_a_session() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let slow = node(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_secs(600));
        Ok(Value::Null)
    });
    let honest = honest();
    let network = network_of(vec![slow, nobody(), honest.url.clone()]);
    let mut settler = Settler::new(&network, Policy { at: 1, after: 100, at_a_loss: true });
    let bills: Vec<_> = (1..=20).map(|number| bill_of(number, COIN)).collect();
    let begun = Instant::now();
    settler.at(&owed(4), &bills, LATER);
    // On a machine that has much else to do the honest one may not answer to all in a test's short time.
    assert!(settler.sent.len() > 2 && honest.sent.lock().unwrap().len() > 2);
    assert!(begun.elapsed() < 3 * SERIES + Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn what_is_not_worth_its_gas_holds_up_nothing_else() {
    let node = honest();
    let mut settler = settler(&[&node], false);
    let mut bills: Vec<_> = (1..=AT_ONCE as u64 + 8).map(|number| bill_of(number, 10 * PRICE)).collect();
    bills.push(bill_of(999, COIN));
    settler.at(&owed(4), &bills, LATER);
    assert_eq!(settler.numbers(), [4]);
    assert_eq!(settler.sent[&4].key.0, bills.last().unwrap().0.deal.id);
    assert!(settler.open.values().filter(|open| open.told).count() >= AT_ONCE);
}

#[test]
fn only_what_is_over_is_forgotten_and_what_is_paid_is_told() {
    let mut settler = Settler::new(&network_of(vec![nobody()]), Policy { at: 1, after: 100, at_a_loss: false });
    let last = [Arc::new((bill(1, &Last::default()), complete(&bill(1, &Last::default()))))];
    // Nobody listens at the chain's address: what is due stays, and is tried again.
    for word in [U256::ZERO, U256::ONE] {
        assert!(settler.at(&Says(Ok([word, U256::ZERO]), 0), &last, LATER).over.is_empty());
    }
    assert!(settler.open.len() == 1 && settler.sent.is_empty());
    let round = settler.round(&Says(Ok([U256::ONE, U256::from(7)]), 0), &last, None, NOW);
    assert_eq!(round.settled, [(deal().id, deal().lane, 7)]);
    let over = settler.round(&Says(Ok([U256::from(3), U256::ZERO]), 0), &last, Some(&own()), NOW);
    assert_eq!(over.over, [deal()]);
    assert!(settler.open.is_empty());
    settler.standing(&owed(0), &bill(1, &Last::default()), NOW).unwrap();
    settler.round(&owed(0), &[], None, NOW + UNSEEN);
    assert_eq!(settler.open.len(), 1);
    settler.round(&owed(0), &[], None, NOW + UNSEEN + 1);
    assert!(settler.open.is_empty(), "what is not known any more is forgotten");
}
