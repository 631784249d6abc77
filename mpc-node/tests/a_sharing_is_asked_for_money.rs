//! A sharing that is sold: who has paid is answered, with a receipt that all three members signed; who has not gets nothing
//! computed, dealt or used up; and whatever fails, a total is paid once.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::market::{Chain, Forger, Manner, PRICE, Shop, Till, Voucher, Wallet, request};
use common::rogue::Rogue;
use sahara_mpc::client::{Client, ClientError, JobId, Rounding, SharingRef, Visibility};
use sahara_mpc::engine::{random_seed, share_inputs};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::Lane;
use sahara_mpc::market::{Complete, JobEnd, Order, Place, Purse, Unpaid};
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{
    Again, AskSession, Asked, Caller, Cosign, Cosigned, FailCode, GetClientPart, Kind, LastReceipt, LastReply, Prepare,
    Present, Run, RunReply, Share,
};

const TIME: Duration = Duration::from_secs(20);

fn lane(shop: &Shop, identity: &Identity, node: u8) -> Lane {
    let mut lane = Lane::connect(identity, &shop.network.committee, node, TIME, Arc::new(Meter::default())).unwrap();
    lane.begin("in the test", Traffic::Client, TIME);
    lane
}

fn code(lane: &mut Lane, kind: Kind) -> FailCode {
    let error = lane.receive_frame(kind).map(|_| ()).unwrap_err();
    error.fail().unwrap_or_else(|| panic!("{error}")).code
}

fn unpaid(result: Result<sahara_mpc::client::Inference, ClientError>) -> String {
    match result {
        Err(ClientError::Unpaid(text)) => text,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was answered"),
    }
}

/// What all nodes have done, in an order that two statuses can be compared in.
fn work(shop: &Shop, customer: &Client) -> Vec<[u64; 5]> {
    let status = shop.network.status(customer);
    let line = |s: &sahara_mpc::client::NodeStatus| {
        [s.packs_dealt, s.packs_for(&shop.task).into(), s.rounds, s.sent.offline, s.jobs_failed + s.jobs_done]
    };
    status.iter().map(line).collect()
}

#[test]
fn a_stranger_that_has_bought_is_answered_and_all_members_have_its_receipt() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    for n in 1..=3 {
        let answer = shop.case.run(&client, shop.task, true).unwrap();
        assert_eq!(answer.outputs, shop.case.expected);
        assert!(answer.receipt.is_some());
        assert_eq!((wallet.total(), shop.totals(&wallet)), (n * PRICE, [n * PRICE; 3]));
    }
    // Every member has every role once.
    for helper in 1..3 {
        let task = shop.case.task(helper, Rounding::Exact, Visibility::Private);
        assert_eq!(shop.case.run(&client, task, true).unwrap().outputs, shop.case.expected);
    }
    assert_eq!(shop.totals(&wallet), [5 * PRICE; 3]);
    assert_eq!(wallet.sessions_shown.load(Ordering::SeqCst), 1);
    assert!(shop.tills.iter().all(|till| till.proofs.load(Ordering::SeqCst) == 1));
}

#[test]
fn who_has_not_paid_gets_no_share_taken_no_pack_made_and_none_used_up() {
    let shop = Shop::open();
    let (customer, _) = shop.customer(100 * PRICE);
    customer.prepare(&shop.task, 2, &mut |_| ()).unwrap();
    let before = work(&shop, &customer);
    let received = || shop.network.status(&customer).map(|status| status.received.client);
    let shares_before = received();

    let stranger = identity::generate().unwrap();
    let shares = share_inputs(&shop.case.inputs, &random_seed().unwrap()).map(Share);
    let digest = shop.network.committee.digest();
    let run = |identity: &Identity, voucher: &[u8]| {
        let mut runs = sign_requests(identity, &digest, JobId::random().unwrap(), shop.task, &shares).unwrap();
        runs.iter_mut().for_each(|run| run.voucher = voucher.to_vec());
        runs
    };
    for (evaluator, node) in shop.task.assignment.evaluators().into_iter().enumerate() {
        for voucher in [&[][..], &[7; 168]] {
            let mut lane = lane(&shop, &stranger, node);
            lane.send(&run(&stranger, voucher)[evaluator]).unwrap();
            assert_eq!(code(&mut lane, Kind::RunReply), FailCode::Unpresented);
        }
    }
    let mut helper = lane(&shop, &stranger, 0);
    let prepare = Prepare { task: shop.task, count: 1, consumer: stranger.public(), job: None, asked: None };
    helper.send(&prepare).unwrap();
    assert_eq!(code(&mut helper, Kind::Done), FailCode::Unpresented);
    let mut part = lane(&shop, &stranger, 1);
    part.send(&GetClientPart(shop.task.manifest)).unwrap();
    assert_eq!(code(&mut part, Kind::Piece), FailCode::Unpresented);

    // Nor its owner, nor who has shown a session without a voucher for this job.
    let mut owners = lane(&shop, &shop.owner, 0);
    owners.send(&Prepare { consumer: shop.owner.public(), ..prepare }).unwrap();
    assert_eq!(code(&mut owners, Kind::Done), FailCode::Unpresented);
    let poor = Arc::new(identity::generate().unwrap());
    let (client, wallet) = shop.customer_of(&poor, PRICE);
    client.packs_ready(&shop.task).unwrap();
    for (evaluator, node) in shop.task.assignment.evaluators().into_iter().enumerate() {
        for voucher in [&[][..], &[7; 168]] {
            let mut lane = lane(&shop, &poor, node);
            lane.send(&run(&poor, voucher)[evaluator]).unwrap();
            assert_eq!(code(&mut lane, Kind::RunReply), FailCode::Unpaid);
        }
    }
    // A session that is another's proves nothing.
    let mut thief = lane(&shop, &stranger, 1);
    let session = wallet.session.to_vec();
    thief.send(&Present { manifest: shop.task.manifest, session }).unwrap();
    assert_eq!(code(&mut thief, Kind::Done), FailCode::Unpaid);

    // Without a purse nothing is sent at all.
    let poor = shop.network.client_of(&poor);
    poor.find(&SharingRef::Manifest(shop.task.manifest)).unwrap().unwrap();
    let sent = poor.requests();
    assert!(unpaid(shop.case.run(&poor, shop.task, true)).contains("nothing here pays"));
    assert_eq!(poor.requests(), sent);

    assert_eq!(work(&shop, &customer), before);
    let shares_after = received();
    for (after, before) in shares_after.iter().zip(shares_before) {
        assert!(after - before < 64, "{} bytes of shares were taken", after - before);
    }
    assert!(shop.tills.iter().all(|till| till.accepted.load(Ordering::SeqCst) == 0));
}

#[test]
fn a_licensed_consumer_fetches_the_client_part_and_a_stranger_sees_what_is_for_sale_only() {
    let shop = Shop::open();
    let (customer, _) = shop.customer(PRICE);
    let sharing = customer.find(&SharingRef::Manifest(shop.task.manifest)).unwrap().unwrap();
    assert!(customer.sharings().is_err(), "a stranger is told nothing of what else is here");
    assert_eq!(customer.client_part(&sharing, &mut |_, _| ()).unwrap(), b"the client part");
    let stranger = shop.network.client();
    assert_eq!(stranger.find(&SharingRef::Manifest(sharing.id())).unwrap().unwrap(), sharing);
    assert_eq!(stranger.client_part(&sharing, &mut |_, _| ()).unwrap_err().code(), Some(FailCode::Unpaid));
    assert!(stranger.status().into_iter().all(|status| status.unwrap_err().code() == Some(FailCode::Unpresented)));
}

#[test]
fn vouchers_that_do_not_pay_for_the_job_are_refused_and_burn_no_pack() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 10 * PRICE);
    shop.case.run(&customer, shop.task, true).unwrap();
    customer.prepare(&shop.task, 2, &mut |_| ()).unwrap();
    let before = work(&shop, &customer);
    let good = |wallet: &Wallet, order: &Order, total: u64| {
        Voucher::sign(wallet.session, total, order.job, request(order), &wallet.signer)
    };
    let stranger = identity::generate().unwrap();
    type Forgery<'a> = Box<dyn Fn(&Wallet, &Order) -> Vec<u8> + Send + Sync>;
    let forgeries: Vec<(&str, Forgery<'_>)> = vec![
        (
            "not signed",
            Box::new(move |w, o| Voucher::sign(w.session, w.total() + PRICE, o.job, request(o), &stranger).encode()),
        ),
        ("was receipted before", Box::new(move |w, o| good(w, o, w.total()).encode())),
        ("is not the next", Box::new(move |w, o| good(w, o, w.total() + 2 * PRICE).encode())),
        ("no number of prices", Box::new(move |w, o| good(w, o, w.total() + PRICE + 1).encode())),
        ("no number of prices", Box::new(move |w, o| good(w, o, w.total() + 1).encode())),
        ("above the session's cap", Box::new(move |w, o| good(w, o, 11 * PRICE).encode())),
        (
            "for another job",
            Box::new(move |w, o| {
                Voucher::sign(w.session, w.total() + PRICE, JobId([7; 16]), request(o), &w.signer).encode()
            }),
        ),
        (
            "for another job",
            Box::new(move |w, o| Voucher::sign(w.session, w.total() + PRICE, o.job, [7; 32], &w.signer).encode()),
        ),
        ("not a voucher", Box::new(move |_, _| vec![1, 2, 3])),
    ];
    for (why, forge) in forgeries {
        let forger = Arc::new(Forger { wallet: wallet.clone(), forge, takes: true });
        let client = shop.network.client_of(&key).with_purse(Some(forger));
        client.find(&SharingRef::Manifest(shop.task.manifest)).unwrap();
        let said = unpaid(shop.case.run(&client, shop.task, false));
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(work(&shop, &customer), before);
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
    // None of these took the total away from a good one.
    shop.case.run(&customer, shop.task, false).unwrap();
    assert_eq!(shop.totals(&wallet), [2 * PRICE; 3]);
}

#[test]
fn what_comes_to_nothing_is_held_against_its_consumer_only_with_its_pack() {
    let shop = Shop::open();
    let (client, _) = shop.customer(100 * PRICE);
    let wasted = || shop.tills.each_ref().map(|till| till.wasted.load(Ordering::SeqCst));
    shop.case.run(&client, shop.task, false).map(|_| ()).unwrap_err(); // no pack is there
    shop.settle_down();
    assert!(shop.tills.iter().any(|till| till.given_up.load(Ordering::SeqCst) > 0));
    assert_eq!(wasted(), [0; 3]);
    shop.tills[0].behaves(Manner::Refuses);
    shop.case.run(&client, shop.task, true).map(|_| ()).unwrap_err();
    shop.settle_down();
    assert_eq!(wasted(), [0, 1, 1], "a helper uses none");
}

#[test]
fn a_helper_that_is_away_costs_one_pack_and_not_one_for_each_question() {
    let mut shop = Shop::open();
    let (client, _) = shop.customer(100 * PRICE);
    client.prepare(&shop.task, 4, &mut |_| ()).unwrap();
    shop.case.run(&client, shop.task, false).unwrap();
    shop.network.stop_node(0);
    for _ in 0..3 {
        let error = shop.case.run(&client, shop.task, false).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("node 1 ("), "{error}");
        shop.settle_down();
        assert_eq!(client.packs_ready(&shop.task).unwrap(), 2, "nobody knew it the first time");
    }
    assert_eq!(shop.tills.each_ref().map(|till| till.wasted.load(Ordering::SeqCst)), [0, 1, 1]);
    shop.restart(0);
    shop.case.run(&client, shop.task, true).unwrap();
    shop.case.run(&client, shop.task, true).unwrap();
}

#[test]
fn a_request_that_is_sent_twice_does_not_give_up_the_job_that_runs() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 10 * PRICE);
    customer.prepare(&shop.task, 1, &mut |_| ()).unwrap();
    let (runs, shares) = by_hand(&shop, &key, [&wallet, &wallet]);
    let nodes = shop.task.assignment.evaluators();
    let till = &shop.tills[usize::from(nodes[1])];
    let mut lanes = nodes.map(|node| lane(&shop, &key, node));
    lanes[1].send(&runs[1]).unwrap();
    let end = Instant::now() + TIME;
    while till.accepted.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < end, "it is not accepted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut again = lane(&shop, &key, nodes[1]);
    again.send(&runs[1]).unwrap();
    assert_eq!(code(&mut again, Kind::RunReply), FailCode::Refused);
    assert_eq!(till.given_up.load(Ordering::SeqCst), 0);
    lanes[0].send(&runs[0]).unwrap();
    for (lane, share) in lanes.iter_mut().zip(&shares) {
        lane.send(share).unwrap();
    }
    lanes.iter_mut().for_each(|lane| drop(lane.receive_frame(Kind::RunReply).unwrap()));
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
}

#[test]
fn packs_are_made_for_the_calls_that_are_paid_for_and_a_few_more() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(2 * PRICE);
    let error = client.prepare(&shop.task, 3, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("pay for 2 more calls"), "{error}");
    let made = (0..20).take_while(|_| client.prepare(&shop.task, 1, &mut |_| ()).is_ok()).count();
    assert_eq!(made, 6, "two calls, and four for other tasks");
    // Packs that are used make room; a call less is paid for.
    shop.case.run(&client, shop.task, false).unwrap();
    assert!(client.prepare(&shop.task, 1, &mut |_| ()).is_err());
    shop.case.run(&client, shop.task, false).unwrap();
    assert_eq!((wallet.total(), client.packs_ready(&shop.task).unwrap()), (2 * PRICE, 4));
    assert!(client.prepare(&shop.task, 1, &mut |_| ()).is_err(), "nothing is paid for any more");
}

/// A purse with two sessions.
struct Two {
    wallets: [Arc<Wallet>; 2],
    used: AtomicUsize,
}

impl Two {
    fn wallet(&self) -> &Wallet {
        &self.wallets[self.used.load(Ordering::SeqCst)]
    }
}

impl Purse for Two {
    fn session(&self, place: &Place) -> Result<Vec<u8>, Unpaid> {
        self.wallet().session(place)
    }

    fn voucher(&self, order: &Order) -> Result<Vec<u8>, Unpaid> {
        self.wallet().voucher(order)
    }

    fn paid(&self, order: &Order, end: &JobEnd, complete: &Complete) -> Result<(), Unpaid> {
        self.wallet().paid(order, end, complete)
    }

    fn failed(&self, order: &Order, lasts: &[Complete]) {
        self.wallet().failed(order, lasts);
    }

    fn refused(&self, _: &Place) -> bool {
        self.used.fetch_add(1, Ordering::SeqCst) == 0
    }

    fn dropped(&self, order: &Order) {
        self.wallet().dropped(order);
    }
}

#[test]
fn another_session_pays_where_nodes_refuse_the_first() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let open = || Wallet::open(&shop.chain, key.public(), shop.network.committee.digest(), 10 * PRICE);
    let two = Arc::new(Two { wallets: [open(), open()], used: AtomicUsize::new(0) });
    let client = shop.network.client_of(&key).with_purse(Some(two.clone()));
    client.find(&SharingRef::Manifest(shop.task.manifest)).unwrap().unwrap();
    shop.case.run(&client, shop.task, true).unwrap();
    shop.chain.close(&two.wallets[0].session);
    shop.case.run(&client, shop.task, true).unwrap();
    assert_eq!(two.wallets.each_ref().map(|wallet| wallet.total()), [PRICE; 2]);
    assert_eq!(two.used.load(Ordering::SeqCst), 1);
}

#[test]
fn a_voucher_that_was_sent_before_is_not_taken_for_another_job_of_the_same_name() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 10 * PRICE);
    let job = JobId::random().unwrap();
    let shares = share_inputs(&shop.case.inputs, &random_seed().unwrap()).map(Share);
    let runs = sign_requests(&key, &shop.network.committee.digest(), job, shop.task, &shares).unwrap();
    customer.prepare(&shop.task, 2, &mut |_| ()).unwrap();
    let order = shop.order(&key, runs[0].job, runs[0].inputs);
    let voucher = Voucher::sign(wallet.session, PRICE, job, request(&order), &wallet.signer).encode();
    let send = || {
        let [first, second] = shop.task.assignment.evaluators();
        let mut lanes = [lane(&shop, &key, first), lane(&shop, &key, second)];
        for ((lane, run), share) in lanes.iter_mut().zip(&runs).zip(&shares) {
            let mut run = run.clone();
            run.voucher = voucher.clone();
            lane.send(&run).unwrap();
            lane.send(share).unwrap();
        }
        lanes.map(|mut lane| lane.receive_frame(Kind::RunReply).map(|_| ()).map_err(|e| e.fail().unwrap().code))
    };
    assert_eq!(send(), [Ok(()), Ok(())]);
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
    assert_eq!(send(), [Err(FailCode::Refused), Err(FailCode::Refused)], "the name is used up");
    assert_eq!(customer.packs_ready(&shop.task).unwrap(), 1);
}

#[test]
fn a_member_that_does_not_sign_costs_that_job_and_no_money() {
    for manner in [Manner::Refuses, Manner::Silent, Manner::NoDisk] {
        let shop = Shop::open();
        let (client, wallet) = shop.customer(100 * PRICE);
        for bad in 0..3 {
            shop.tills[bad].behaves(manner);
            let began = Instant::now();
            let result = shop.case.run(&client, shop.task, true);
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
            match result {
                // It has signed, and so have all: it gives its half when it has learnt that from the others.
                Ok(_) => assert!(manner == Manner::NoDisk && bad > 0),
                Err(error) => assert!(error.to_string().contains(&format!("node {} (", bad + 1)), "{error}"),
            }
            shop.tills[bad].behaves(Manner::Honest);
            shop.settle_down();
            let answer = shop.case.run(&client, shop.task, true).unwrap();
            assert_eq!(answer.outputs, shop.case.expected);
            assert_eq!(shop.totals(&wallet), [wallet.total(); 3]);
        }
        let answered = if manner == Manner::NoDisk { 5 } else { 3 };
        assert_eq!(wallet.total(), answered * PRICE, "what is not answered is not paid");
    }
}

#[test]
fn a_helper_that_keeps_the_receipt_to_itself_has_one_price_and_stops_nobody() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    shop.case.run(&client, shop.task, true).unwrap();
    shop.tills[0].behaves(Manner::KeepsAnswer);
    let error = shop.case.run(&client, shop.task, true).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("node 1"), "{error}");
    assert_eq!(shop.totals(&wallet), [2 * PRICE, PRICE, PRICE], "it alone has it");
    assert_eq!(wallet.total(), PRICE, "and nobody else knows");
    shop.tills[0].behaves(Manner::Honest);
    shop.settle_down();
    // It has to show it to be paid. The others fell behind, and catch up with it; the consumer is told, and asks again by itself.
    shop.case.run(&client, shop.task, true).unwrap();
    assert_eq!((wallet.total(), shop.totals(&wallet)), (3 * PRICE, [3 * PRICE; 3]));
}

#[test]
fn a_member_that_is_killed_between_receipt_and_answer_costs_one_price_at_most_and_stops_nobody() {
    for killed in 0..3 {
        let mut shop = Shop::open();
        let (client, wallet) = shop.customer(100 * PRICE);
        shop.case.run(&client, shop.task, true).unwrap();
        shop.tills[killed].behaves(Manner::Dies);
        let answered = shop.case.run(&client, shop.task, true).is_ok();
        assert_eq!(
            answered,
            killed == 0,
            "nobody needs the helper after its receipt, which it shows to who asks again"
        );
        shop.network.stop_node(killed);
        // What it remembers of sessions is gone, its ledger is not.
        shop.restart(killed);
        assert_eq!(shop.case.run(&client, shop.task, true).unwrap().outputs, shop.case.expected);
        assert_eq!((wallet.total(), shop.totals(&wallet)), (3 * PRICE, [3 * PRICE; 3]), "{killed}");
    }
}

#[test]
fn a_node_that_was_restarted_is_shown_the_session_again() {
    let mut shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    shop.case.run(&client, shop.task, true).unwrap();
    for node in 0..3 {
        shop.network.stop_node(node);
        shop.restart(node);
        shop.case.run(&client, shop.task, true).unwrap();
    }
    assert_eq!(shop.totals(&wallet), [4 * PRICE; 3]);
}

#[test]
fn who_lost_its_ledger_catches_up_with_the_others() {
    for lost in 0..3 {
        let mut shop = Shop::open();
        let (client, wallet) = shop.customer(100 * PRICE);
        for _ in 0..3 {
            shop.case.run(&client, shop.task, true).unwrap();
        }
        shop.network.stop_node(lost);
        shop.tills[lost] = Till::new(&shop.chain, &Arc::default());
        shop.restart(lost);
        assert_eq!(shop.tills[lost].disk.total(&wallet.session), 0);
        shop.case.run(&client, shop.task, true).unwrap();
        assert_eq!(shop.totals(&wallet), [4 * PRICE; 3]);
    }
}

#[test]
fn a_consumer_that_vanishes_before_the_receipt_pays_nothing_and_may_come_back() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    customer.prepare(&shop.task, 3, &mut |_| ()).unwrap();
    for asked in [1, 2] {
        let shares = share_inputs(&shop.case.inputs, &random_seed().unwrap()).map(Share);
        let job = JobId::random().unwrap();
        let mut runs = sign_requests(&key, &shop.network.committee.digest(), job, shop.task, &shares).unwrap();
        let order = shop.order(&key, job, runs[0].inputs);
        let voucher = Voucher::sign(wallet.session, PRICE, job, request(&order), &wallet.signer).encode();
        runs.iter_mut().for_each(|run| run.voucher.clone_from(&voucher));
        let nodes = shop.task.assignment.evaluators();
        let mut lanes = nodes.map(|node| lane(&shop, &key, node));
        for n in 0..asked {
            lanes[n].send(&runs[n]).unwrap();
        }
        // No input comes: it hangs up.
        let end = Instant::now() + TIME;
        while shop.tills[1].accepted.load(Ordering::SeqCst) < asked as u32 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(lanes);
    }
    shop.case.run(&customer, shop.task, false).unwrap();
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
    assert_eq!(customer.packs_ready(&shop.task).unwrap(), 2);
}

#[test]
fn of_two_vouchers_of_one_total_one_is_taken() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    customer.prepare(&shop.task, 8, &mut |_| ()).unwrap();
    // Two programs with one wallet, neither of which knows of the other.
    let clients = [(); 2].map(|()| {
        let client = shop.network.client_of(&key).with_purse(Some(wallet.twin()));
        client.find(&SharingRef::Manifest(shop.task.manifest)).unwrap();
        client
    });
    let results = std::thread::scope(|scope| {
        let threads = clients.each_ref().map(|client| scope.spawn(|| shop.case.run(client, shop.task, false)));
        threads.map(|thread| thread.join().unwrap())
    });
    // On a busy machine each evaluator may hold another one of the two for too long: then none is taken, and nothing is lost by it.
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!(taken <= 1, "{results:?}");
    shop.settle_down();
    if taken == 0 {
        shop.case.run(&clients[0], shop.task, false).unwrap();
        shop.settle_down();
    }
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
}

#[test]
fn jobs_of_one_session_run_one_after_the_other_and_packs_are_made_meanwhile() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..6)
            .map(|n| {
                let task = shop.case.task(n % 3, Rounding::Exact, Visibility::Private);
                let (case, client) = (&shop.case, &client);
                scope.spawn(move || case.run(client, task, true).unwrap().outputs)
            })
            .collect();
        assert!(jobs.into_iter().all(|job| job.join().unwrap() == shop.case.expected));
    });
    assert_eq!((wallet.total(), shop.totals(&wallet)), (6 * PRICE, [6 * PRICE; 3]));
    assert_eq!(wallet.receipts.lock().unwrap().len(), 6);
}

#[test]
fn a_receipt_of_a_job_that_never_was_is_not_signed() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    let inference = shop.case.run(&customer, shop.task, true).unwrap();
    let rogue = shop.member(1); // the first evaluator
    let second = shop.member(2);
    let digest = shop.network.committee.digest();
    let shares = share_inputs(&shop.case.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let ask = |by: &Identity, cosign: &Cosign| {
        let mut lane = lane(&shop, by, 0);
        lane.send(cosign).unwrap();
        lane.receive::<Cosigned>().map(|_| ()).map_err(|e| e.fail().unwrap_or_else(|| panic!("{e}")).text.clone())
    };
    // What the consumer has asked for, but nobody computed.
    let run = &sign_requests(&key, &digest, job, shop.task, &shares).unwrap()[0];
    let order = shop.order(&key, job, run.inputs);
    let voucher = Voucher::sign(wallet.session, 2 * PRICE, job, request(&order), &wallet.signer);
    let receipt = shop.receipt(&voucher);
    let signed = |by: &Identity| by.sign(&common::market::digest(&receipt));
    let cosign = Cosign {
        task: shop.task,
        consumer: key.public(),
        asked: run.asked(),
        voucher: voucher.encode(),
        receipt: receipt.clone(),
        signatures: [signed(&rogue), signed(&rogue)],
    };
    let refused =
        |result: Result<(), String>, why: &str| assert!(result.clone().unwrap_err().contains(why), "{result:?}");
    refused(ask(&rogue, &cosign), "not signed by both evaluators");
    let invented = Asked { signature: rogue.sign(&[7; 32]), ..cosign.asked };
    refused(ask(&rogue, &Cosign { asked: invented, ..cosign.clone() }), "not signed by its consumer");
    let other = Asked { job: JobId::random().unwrap(), ..cosign.asked };
    refused(ask(&rogue, &Cosign { asked: other, ..cosign.clone() }), "not signed by its consumer");
    refused(ask(&second, &cosign), "only the first evaluator");
    refused(
        ask(
            &rogue,
            &Cosign {
                task: sahara_mpc::client::Task { assignment: sahara_mpc::client::Assignment::ALL[1], ..shop.task },
                ..cosign.clone()
            },
        ),
        "only the first evaluator",
    );
    let cheaper = Voucher::sign(wallet.session, PRICE, job, request(&order), &wallet.signer);
    let cheap = Cosign { voucher: cheaper.encode(), receipt: shop.receipt(&cheaper), ..cosign.clone() };
    refused(ask(&rogue, &cheap), "receipted before");
    let changed = Cosign { receipt: shop.receipt(&Voucher { total: 9 * PRICE, ..voucher.clone() }), ..cosign.clone() };
    refused(ask(&rogue, &changed), "not that of the job");
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
    // Consumers ask for no signatures, and for no receipts but their own.
    let mut own = lane(&shop, &key, 0);
    own.send(&cosign).unwrap();
    assert!(own.receive_frame(Kind::Cosigned).is_err());
    let last = |by: &Identity, consumer| {
        let mut lane = lane(&shop, by, 0);
        lane.send(&LastReceipt { manifest: shop.task.manifest, consumer, voucher: voucher.encode() }).unwrap();
        lane.receive::<LastReply>().map(|LastReply(last)| last)
    };
    assert_eq!(last(&key, key.public()).unwrap(), inference.receipt);
    assert_eq!(last(&second, key.public()).unwrap(), inference.receipt);
    assert!(last(&shop.owner, key.public()).is_err());
    assert_eq!(last(&second, shop.owner.public()).unwrap(), None, "it is not that key's session");
    // None of this holds the total.
    shop.case.run(&customer, shop.task, true).unwrap();
    assert_eq!(shop.totals(&wallet), [2 * PRICE; 3]);
}

#[test]
fn a_session_that_is_closed_pays_for_nothing_more() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    shop.case.run(&client, shop.task, true).unwrap();
    shop.chain.close(&wallet.session);
    let said = unpaid(shop.case.run(&client, shop.task, true));
    assert!(said.contains("not open"), "{said}");
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
}

#[test]
fn strangers_that_show_sessions_without_end_keep_no_customer_out() {
    let shop = Shop::open();
    let (client, _) = shop.customer(100 * PRICE);
    shop.case.run(&client, shop.task, true).unwrap();
    let proofs = shop.tills[1].proofs.load(Ordering::SeqCst);
    let began = Instant::now();
    let mut busy = 0;
    std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut busy = 0;
                    for _ in 0..40 {
                        let stranger = identity::generate().unwrap();
                        let Ok(mut lane) =
                            Lane::connect(&stranger, &shop.network.committee, 1, TIME, Arc::new(Meter::default()))
                        else {
                            continue;
                        };
                        lane.begin("in the test", Traffic::Client, TIME);
                        let shown = Present { manifest: shop.task.manifest, session: vec![7; 32] };
                        if lane.send(&shown).is_ok() {
                            let code =
                                lane.receive_frame(Kind::Done).map(|_| ()).unwrap_err().fail().map(|fail| fail.code);
                            busy += u32::from(code == Some(FailCode::Busy));
                        }
                    }
                    busy
                })
            })
            .collect();
        for _ in 0..5 {
            assert_eq!(shop.case.run(&client, shop.task, true).unwrap().outputs, shop.case.expected);
        }
        busy = crowd.into_iter().map(|thread| thread.join().unwrap()).sum();
    });
    let proven = shop.tills[1].proofs.load(Ordering::SeqCst) - proofs;
    let most = 33 + began.elapsed().as_secs() as u32;
    assert!(proven <= most && busy >= 160 - most, "{proven} of 160 were proven, {busy} put off");
}

#[test]
fn strangers_have_few_lanes_and_ask_nothing_long() {
    let shop = Shop::open();
    let stranger = identity::generate().unwrap();
    let mut lanes: Vec<Lane> = (0..4).map(|_| lane(&shop, &stranger, 1)).collect();
    std::thread::sleep(Duration::from_millis(100));
    let fifth = lane(&shop, &stranger, 1);
    std::thread::sleep(Duration::from_millis(100));
    assert!(lanes.iter_mut().filter(|lane| lane.has_hung_up()).count() == 1, "its longest idle one made room");
    drop(fifth);
    // An upload is not even read.
    let mut long = lane(&shop, &identity::generate().unwrap(), 1);
    let _ = long.send_frame(Kind::Begin, &[0; 1000]);
    assert!(long.receive_frame(Kind::GoOn).is_err());
}

#[test]
fn without_a_market_in_its_configuration_a_node_lets_no_stranger_in_and_takes_no_sharing_for_money() {
    let network = common::Network::start(|toml| toml);
    let case = common::case(3);
    let offer = sahara_mpc::client::Offer {
        access: sahara_mpc::client::Access::Chain(common::market::ASSET),
        ..case.offer(Visibility::Private)
    };
    let error = network.client().share(&offer, &|_, _| ()).unwrap_err();
    assert!(error.code() == Some(FailCode::Refused) && error.to_string().contains("serves no market"), "{error}");
    // One whose consumers are listed serves them, with a market or without, and shows strangers the door.
    let shop = Shop::open_to(&|_| String::new());
    let (customer, wallet) = {
        let key = Arc::new(identity::generate().unwrap());
        let wallet = Wallet::open(&shop.chain, key.public(), shop.network.committee.digest(), PRICE);
        (shop.network.client_of(&key).with_purse(Some(wallet.clone())), wallet)
    };
    let error = customer.find(&SharingRef::Manifest(shop.task.manifest)).unwrap_err();
    assert!(error.is_not_admitted(), "{error}");
    assert_eq!(shop.totals(&wallet), [0; 3]);
    // And one that is told to serve a market does not start without.
    let home = tempfile::tempdir().unwrap();
    let config =
        sahara_mpc::config::Config::init(home.path(), ([127, 0, 0, 1], 1).into(), None, &common::anybody()).unwrap();
    common_committee(&config);
    let config = sahara_mpc::config::Config { market: Some(home.path().join("network.toml")), ..config };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(sahara_mpc::node::run(config, std::future::ready(()))).unwrap_err().to_string();
    assert!(error.contains("network.toml") && error.contains("serves no market"), "{error}");
    let _ = Chain::default();
}

fn common_committee(config: &sahara_mpc::config::Config) {
    let own = config.load_identity().unwrap().public();
    let others = [(); 2].map(|()| identity::generate().unwrap().public());
    let mut number = 0;
    let members = [own, others[0], others[1]].map(|key| {
        number += 1;
        sahara_mpc::client::Member { name: format!("node {number}"), address: format!("127.0.0.1:{number}"), key }
    });
    let committee = sahara_mpc::client::Committee::new(members).unwrap();
    committee.save(config.committee.as_ref().unwrap()).unwrap();
}

#[test]
fn an_answer_whose_receipt_the_purse_does_not_take_is_not_given_out() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (_, wallet) = shop.customer_of(&key, 10 * PRICE);
    let forge = |wallet: &Wallet, order: &Order| {
        Voucher::sign(wallet.session, wallet.total() + PRICE, order.job, request(order), &wallet.signer).encode()
    };
    let client = shop.network.client_of(&key).with_purse(Some(Arc::new(Forger { wallet, forge, takes: false })));
    client.find(&SharingRef::Manifest(shop.task.manifest)).unwrap();
    let error = shop.case.run(&client, shop.task, true).map(|_| ()).unwrap_err();
    assert!(matches!(error, ClientError::Answer(_)) && error.to_string().contains("I take no receipt"), "{error}");
}

#[test]
fn an_evaluator_that_signs_something_else_is_named() {
    let shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    for bad in 1..3 {
        shop.tills[bad].behaves(Manner::SignsOther);
        let error = shop.case.run(&client, shop.task, true).map(|_| ()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("node {} (", bad + 1)) && error.contains("did not sign the receipt"),
            "{error}"
        );
        shop.tills[bad].behaves(Manner::Honest);
        shop.settle_down();
    }
    // The helper's market is of another opinion than the evaluators: it finds nothing signed.
    shop.tills[0].behaves(Manner::SignsOther);
    let error = shop.case.run(&client, shop.task, true).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("node 1 (") && error.contains("not signed by both"), "{error}");
    shop.tills[0].behaves(Manner::Honest);
    shop.case.run(&client, shop.task, true).unwrap();
    assert_eq!((wallet.total(), shop.totals(&wallet)), (PRICE, [PRICE; 3]));
}

#[test]
fn a_helper_that_gives_any_bytes_for_a_signature_is_named() {
    let mut shop = Shop::open();
    let (client, wallet) = shop.customer(100 * PRICE);
    client.prepare(&shop.task, 2, &mut |_| ()).unwrap();
    shop.network.stop_node(0);
    let rogue = Rogue::start(&shop.network, 0, |mut lane| {
        while let Ok((kind, _)) = lane.receive_request(Caller::Member) {
            let told = match kind {
                Kind::Cosign => lane.send(&Cosigned([7; 64])),
                Kind::LastReceipt => lane.send(&LastReply(None)),
                _ => lane.send_frame(Kind::Done, &[]),
            };
            told.unwrap();
        }
    });
    let error = shop.case.run(&client, shop.task, false).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(
        error.code() == Some(FailCode::Peer) && text.contains("node 1 (") && text.contains("did not sign"),
        "{text}"
    );
    rogue.stop();
    shop.restart(0);
    shop.case.run(&client, shop.task, true).unwrap();
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
}

#[test]
fn a_sharing_for_keys_on_a_list_takes_no_voucher() {
    let shop = Shop::open();
    let listed = common::case(4);
    let owner = shop.network.client_of(&shop.owner);
    let sharing = listed.register_for(&owner, Visibility::Private, &sahara_mpc::client::Assignment::ALL);
    let task = sharing.task(&listed.graph, shop.task.assignment, Rounding::Exact).unwrap();
    let shares = share_inputs(&listed.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let mut runs = sign_requests(&shop.owner, &shop.network.committee.digest(), job, task, &shares).unwrap();
    runs[0].voucher = vec![7; 40];
    let mut first = lane(&shop, &shop.owner, 1);
    first.send(&runs[0]).unwrap();
    let error = first.receive_frame(Kind::RunReply).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("not asked for money"), "{error}");
    let answer = listed.run(&owner, task, true).unwrap();
    assert_eq!((answer.outputs, answer.receipt), (listed.expected.clone(), None));
}

#[test]
fn few_sessions_are_proven_at_a_time_and_strangers_keep_nobody_who_is_known_waiting() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (client, wallet) = shop.customer_of(&key, 100 * PRICE);
    client.packs_ready(&shop.task).unwrap();
    let till = &shop.tills[1];
    *till.proof_takes.lock().unwrap() = Duration::from_millis(700);
    let show = |identity: &Identity, session: &[u8]| {
        let mut lane = lane(&shop, identity, 1);
        lane.send(&Present { manifest: shop.task.manifest, session: session.to_vec() }).unwrap();
        lane.receive_frame(Kind::Done).map(|_| ()).map_err(|error| error.fail().map(|fail| fail.code))
    };
    std::thread::scope(|scope| {
        let crowd: Vec<_> = (0..8).map(|_| scope.spawn(|| show(&identity::generate().unwrap(), &[7; 32]))).collect();
        while till.proving.lock().unwrap()[0] < 4 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let began = Instant::now();
        show(&key, &wallet.session).unwrap();
        assert!(began.elapsed() < Duration::from_millis(1300), "{:?}", began.elapsed());
        assert!(crowd.into_iter().all(|one| one.join().unwrap() == Err(Some(FailCode::Unpaid))));
    });
    assert_eq!(till.proving.lock().unwrap()[1], 5, "four of strangers', and that of one who is known");
}

/// A job that a consumer asks for by hand, paid from `wallets` (for the first and the second evaluator).
fn by_hand(shop: &Shop, key: &Identity, wallets: [&Wallet; 2]) -> ([Run; 2], [Share; 2]) {
    let shares = share_inputs(&shop.case.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let mut runs = sign_requests(key, &shop.network.committee.digest(), job, shop.task, &shares).unwrap();
    let order = shop.order(key, job, runs[0].inputs);
    for (run, wallet) in runs.iter_mut().zip(wallets) {
        let total = wallet.total() + PRICE;
        run.voucher = Voucher::sign(wallet.session, total, job, request(&order), &wallet.signer).encode();
    }
    (runs, shares)
}

#[test]
fn who_hangs_up_once_the_job_is_open_pays_and_has_its_answer_when_it_comes_back() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    customer.prepare(&shop.task, 1, &mut |_| ()).unwrap();
    // The helper takes a moment to sign.
    shop.tills[0].behaves(Manner::Silent);
    let (runs, shares) = by_hand(&shop, &key, [&wallet, &wallet]);
    let nodes = shop.task.assignment.evaluators();
    let mut lanes = nodes.map(|node| lane(&shop, &key, node));
    for ((lane, run), share) in lanes.iter_mut().zip(&runs).zip(&shares) {
        lane.send(run).unwrap();
        lane.send(share).unwrap();
    }
    while shop.tills[0].judged.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(lanes);
    shop.tills[0].behaves(Manner::Honest);
    let again = Again { job: runs[0].job, task: shop.task, inputs: runs[0].inputs, voucher: runs[0].voucher.clone() };
    let ask = |by: &Identity, again: &Again, node| {
        let mut lane = lane(&shop, by, node);
        lane.send(again).unwrap();
        lane.receive::<RunReply>().map_err(|error| error.fail().unwrap_or_else(|| panic!("{error}")).text.clone())
    };
    let replies = nodes.map(|node| ask(&key, &again, node).unwrap());
    assert_eq!(shop.totals(&wallet), [PRICE; 3]);
    assert_eq!(replies[0].complete, shop.tills[0].disk.last(&wallet.session));
    let halves = replies.each_ref().map(|reply| &reply.outputs.0);
    let outputs = sahara_mpc::engine::combine_outputs(halves[0], halves[1]).unwrap();
    assert_eq!(outputs, shop.case.expected);
    // The same bytes as often as it asks, and for nobody and nothing else.
    assert_eq!(ask(&key, &again, nodes[0]).unwrap().outputs, replies[0].outputs);
    let refused = |result: Result<RunReply, String>, why: &str| {
        let text = result.map(|_| ()).unwrap_err();
        assert!(text.contains(why), "{text}");
    };
    refused(ask(&key, &Again { job: JobId([7; 16]), ..again.clone() }, nodes[0]), "no answer of a job of this name");
    refused(ask(&key, &Again { inputs: [[7; 32]; 2], ..again.clone() }, nodes[0]), "another one");
    refused(ask(&key, &Again { voucher: vec![7; 9], ..again.clone() }, nodes[0]), "another one");
    let other = Arc::new(identity::generate().unwrap());
    let (others, _) = shop.customer_of(&other, 100 * PRICE);
    others.packs_ready(&shop.task).unwrap();
    refused(ask(&other, &again, nodes[0]), "no answer of a job of this name");
    // Until the next one.
    customer
        .client_part(&customer.find(&SharingRef::Manifest(shop.task.manifest)).unwrap().unwrap(), &mut |_, _| ())
        .unwrap();
    *wallet.total.lock().unwrap() = PRICE;
    shop.case.run(&customer, shop.task, true).unwrap();
    refused(ask(&key, &again, nodes[0]), "no answer of a job of this name");
}

#[test]
fn an_answer_whose_receipt_is_not_complete_is_not_given_to_who_comes_back() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    shop.tills[0].behaves(Manner::Refuses);
    customer.prepare(&shop.task, 1, &mut |_| ()).unwrap();
    let (runs, shares) = by_hand(&shop, &key, [&wallet, &wallet]);
    let nodes = shop.task.assignment.evaluators();
    let mut lanes = nodes.map(|node| lane(&shop, &key, node));
    for ((lane, run), share) in lanes.iter_mut().zip(&runs).zip(&shares) {
        lane.send(run).unwrap();
        lane.send(share).unwrap();
    }
    assert!(lanes.into_iter().all(|mut lane| lane.receive_frame(Kind::RunReply).is_err()));
    for node in nodes {
        let mut lane = lane(&shop, &key, node);
        let Run { job, inputs, ref voucher, .. } = runs[0];
        lane.send(&Again { job, task: shop.task, inputs, voucher: voucher.clone() }).unwrap();
        assert_eq!(code(&mut lane, Kind::RunReply), FailCode::Unpaid);
    }
    assert_eq!(shop.totals(&wallet), [0; 3]);
}

#[test]
fn a_job_that_would_end_without_a_receipt_burns_no_pack() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, first) = shop.customer_of(&key, 100 * PRICE);
    customer.prepare(&shop.task, 2, &mut |_| ()).unwrap();
    // Another session of the same key, which the evaluators are shown, and the helper is not.
    let second = Wallet::open(&shop.chain, key.public(), shop.network.committee.digest(), 100 * PRICE);
    for node in [1, 2] {
        let mut lane = lane(&shop, &key, node);
        lane.send(&Present { manifest: shop.task.manifest, session: second.session.to_vec() }).unwrap();
        lane.receive_frame(Kind::Done).unwrap();
    }
    let nodes = shop.task.assignment.evaluators();
    let codes = |wallets: [&Wallet; 2]| {
        let (runs, shares) = by_hand(&shop, &key, wallets);
        let mut lanes = nodes.map(|node| lane(&shop, &key, node));
        for ((lane, run), share) in lanes.iter_mut().zip(&runs).zip(&shares) {
            lane.send(run).unwrap();
            lane.send(share).unwrap();
        }
        code(&mut lanes[0], Kind::RunReply) // the other is hung up then
    };
    assert_eq!(codes([&second, &second]), FailCode::Unpresented, "the helper does not know it");
    shop.settle_down();
    assert_eq!(codes([&first, &second]), FailCode::Refused, "the evaluators were given different vouchers");
    shop.settle_down();
    assert_eq!(customer.packs_ready(&shop.task).unwrap(), 2);
    assert_eq!((shop.totals(&first), shop.totals(&second)), ([0; 3], [0; 3]));
    // Members only ask for others' sessions.
    let mut own = lane(&shop, &key, 0);
    let question = LastReceipt { manifest: shop.task.manifest, consumer: key.public(), voucher: vec![1] };
    own.send(&AskSession(question)).unwrap();
    assert!(own.receive_frame(Kind::Done).is_err());
}

#[test]
fn who_says_that_a_node_is_behind_has_the_others_asked_now_and_then_and_is_counted() {
    let shop = Shop::open();
    let key = Arc::new(identity::generate().unwrap());
    let (customer, wallet) = shop.customer_of(&key, 100 * PRICE);
    shop.case.run(&customer, shop.task, true).unwrap();
    let node = shop.task.assignment.evaluators()[0];
    *wallet.total.lock().unwrap() = 5 * PRICE;
    let begun = Instant::now();
    for asked in 1..=4 {
        let (runs, shares) = by_hand(&shop, &key, [&wallet, &wallet]);
        let mut lane = lane(&shop, &key, node);
        lane.send(&runs[0]).unwrap();
        lane.send(&shares[0]).unwrap();
        assert!(lane.receive_frame(Kind::RunReply).is_err());
        assert_eq!(shop.tills[usize::from(node)].questions.load(Ordering::SeqCst), asked);
    }
    assert!(begun.elapsed() >= Duration::from_secs(3), "the others are asked once in a second: {:?}", begun.elapsed());
    *wallet.total.lock().unwrap() = PRICE;
    shop.case.run(&customer, shop.task, true).unwrap();
}
