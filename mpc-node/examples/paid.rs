//! What it costs in processor time that a job is paid: jobs of one model, asked for in turn by its owner's list of keys and for
//! money, on three nodes in this process, whose market has its ledger in memory. Prints the processor time of both, everybody's
//! together, and by how much the paid ones take more.
//!
//! `paid [--jobs 40]`
#![allow(clippy::unwrap_used)] // a panic is the failure report

#[path = "../tests/common/mod.rs"]
mod common;

use common::market::{PRICE, Shop};
use sahara_mpc::client::{Client, Offer, Rounding, Task, Visibility};
use sahara_mpc::meter::process_cpu_nanos;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let jobs = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--jobs"), Some(number)) => number.parse().unwrap(),
        _ => 40,
    };
    let shop = Shop::open_with(common::product([128, 384, 384]), &|_| "market = \"network.toml\"".into());
    let (customer, _) = shop.customer(PRICE * 1_000_000);
    let owner = shop.network.client_of(&shop.owner);
    let offer = Offer { name: "listed".parse().unwrap(), ..shop.case.offer(Visibility::Private) };
    let listed = owner.share(&offer, &|_, _| ()).unwrap();
    let listed = listed.task(&shop.case.graph, shop.task.assignment, Rounding::Exact).unwrap();
    // What is made ready once is no job's cost.
    one(&shop, &owner, listed);
    one(&shop, &customer, shop.task);
    let mut times: Vec<[f64; 2]> = Vec::new();
    for n in 0..jobs {
        let direct = |times: &mut [f64; 2]| times[0] = one(&shop, &owner, listed);
        let paid = |times: &mut [f64; 2]| times[1] = one(&shop, &customer, shop.task);
        let mut pair = [0.0; 2];
        if n % 2 == 0 {
            direct(&mut pair);
            paid(&mut pair);
        } else {
            paid(&mut pair);
            direct(&mut pair);
        }
        times.push(pair);
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [direct, paid] = [0, 1].map(|side| median(times.iter().map(|pair| pair[side]).collect()));
    let more = median(times.iter().map(|[direct, paid]| paid - direct).collect());
    println!(
        "{jobs} pairs: {direct:.2} ms of processor time by a list of keys, {paid:.2} ms for money; in a pair {more:+.2} ms"
    );
}

/// Milliseconds of processor time, of all three nodes and the consumer, with a pack that was made before.
fn one(shop: &Shop, client: &Client, task: Task) -> f64 {
    client.prepare(&task, 1, &mut |_| ()).unwrap();
    let before = process_cpu_nanos();
    assert_eq!(shop.case.run(client, task, false).unwrap().outputs, shop.case.expected);
    (process_cpu_nanos() - before) as f64 * 1e-6
}
