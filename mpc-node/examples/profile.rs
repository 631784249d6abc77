//! Where the work of one private inference goes, without sockets: CPU seconds, bytes and rounds of a compiled model.
//!
//! `cargo run --release -p sahara-mpc --example profile -- COMPILED_MODEL_FOLDER [TOKENS] [exact|faithful] [private|open]`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sahara_circuits::graph::Op;
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference;
use sahara_mpc::engine::random_seed;
use sahara_protocol::{
    Assignment, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Step,
    Visibility, WeightMaterial, combine_outputs, mask_weights, prepare, share_inputs,
};

fn cpu() -> Result<Duration, Box<dyn Error>> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::new(now.tv_sec.try_into()?, now.tv_nsec.try_into()?))
}

fn kind(op: &Op) -> String {
    match op {
        Op::Rescale { shift, usage, .. } => format!("{} {usage:?} {shift}", op.name()),
        _ => op.name().to_owned(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = args.first().ok_or("usage: profile COMPILED_MODEL_FOLDER [TOKENS] [MODE] [WEIGHTS]")?;
    let tokens: usize = args.get(1).map_or(Ok(128), |t| t.parse())?;
    let rounding = if args.get(2).is_some_and(|m| m == "faithful") { Rounding::Faithful } else { Rounding::Exact };
    let visibility = if args.get(3).is_some_and(|w| w == "open") { Visibility::Open } else { Visibility::Private };
    let model = CompiledModel::load(Path::new(folder))?;
    let encoded = model.frontend.encode(&"word ".repeat(tokens - 2))?;
    let graph = model.graph(encoded.bucket)?;
    let plan = Arc::new(Plan::new(graph.clone(), rounding, visibility)?);
    let (w1, w2, assignment) = (random_seed()?, random_seed()?, Assignment::ALL[0]);
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let (helper, material) = if visibility == Visibility::Private {
        let domain = MaskDomain::new([0; 32], [0; 32], 1, assignment);
        let masked = mask_weights(&model.weights, &domain, &w1, &w2);
        let make = |role, seed| WeightMaterial::evaluator_private(&graph, &domain, role, &masked, seed);
        let material = [Arc::new(make(roles[0], &w1)?), Arc::new(make(roles[1], &w2)?)];
        (WeightMaterial::helper_private(&graph, &domain, &w1, &w2), material)
    } else {
        let plain: Vec<u32> = model.weights.tensors.iter().flatten().map(|w| *w as u32).collect();
        let open = Arc::new(WeightMaterial::evaluator_open(&graph, &plain)?);
        (WeightMaterial::helper_open(), [open.clone(), open])
    };
    let start = cpu()?;
    let want = reference::execute(&graph, &model.weights, &encoded.inputs, &Default::default())?.outputs;
    println!("reference executor {:.3} s, bucket {}", (cpu()? - start).as_secs_f64(), encoded.bucket);
    // Used again from one job to the next, as nodes do.
    let mut buffer = vec![0; plan.correction_len() as usize];
    buffer.fill(1);
    for repeat in 0..3 {
        let (s1, s2) = (random_seed()?, random_seed()?);
        let mut corrections = std::mem::take(&mut buffer);
        corrections.clear();
        let t0 = cpu()?;
        let mut dealing = Dealing::new(&plan, &helper, [&s1, &s2])?;
        while let Some(chunk) = dealing.next_chunk()? {
            corrections.extend_from_slice(chunk);
        }
        drop(dealing);
        let t1 = cpu()?;
        let p1 = prepare(&plan, &material[0], roles[0], &s1, &[])?;
        let t2 = cpu()?;
        let p2 = prepare(&plan, &material[1], roles[1], &s2, &corrections)?;
        let dealt = corrections.len();
        let [i1, i2] = share_inputs(&encoded.inputs, &random_seed()?);
        let first = PackContents { seed: s1, corrections: Vec::new(), prepared: p1 };
        let second = PackContents { seed: s2, corrections, prepared: p2 };
        let t3 = cpu()?;
        let secret = JobSecret::from_bytes(*random_seed()?.as_bytes());
        let mut a = Evaluator::new(plan.clone(), material[0].clone(), roles[0], first, i1, secret.zero_sharing(0))?;
        let mut b = Evaluator::new(plan.clone(), material[1].clone(), roles[1], second, i2, secret.zero_sharing(0))?;
        let (mut to_a, mut to_b) = (None, None);
        let (mut online, mut spent) = (0, [Duration::ZERO; 2]);
        let mut by_node: BTreeMap<String, (Duration, usize, u32)> = BTreeMap::new();
        let outputs = loop {
            let t4 = cpu()?;
            let left = a.step(to_a.take())?;
            let t5 = cpu()?;
            let right = b.step(to_b.take())?;
            let t6 = cpu()?;
            spent[0] += t5 - t4;
            spent[1] += t6 - t5;
            match (left, right) {
                (Step::Exchange { send: x, name }, Step::Exchange { send: y, .. }) => {
                    online += x.len();
                    let short = name.splitn(3, '.').last().unwrap_or_default().to_owned();
                    let entry = by_node.entry(short).or_default();
                    *entry = (entry.0 + (t6 - t4), entry.1 + x.len(), entry.2 + 1);
                    (to_a, to_b) = (Some(y), Some(x));
                }
                (Step::Done { outputs: x, rounds }, Step::Done { outputs: y, .. }) => {
                    let per_layer = f64::from(rounds) / f64::from(graph.layers);
                    println!("rounds {rounds} ({per_layer:.1} a layer)");
                    break combine_outputs(&x, &y).ok_or("outputs differ in shape")?;
                }
                _ => return Err("the evaluators disagree on the end".into()),
            }
        };
        let t7 = cpu()?;
        drop(a);
        let t8 = cpu()?;
        buffer = b.into_corrections();
        spent[0] += t8 - t7;
        spent[1] += cpu()? - t8;
        println!(
            "exact match {}; CPU s: deal {:.3}, prepare 2 x {:.3}, first {:.3}, second {:.3}, all {:.3}",
            outputs == want,
            (t1 - t0).as_secs_f64(),
            (t2 - t1).as_secs_f64(),
            spent[0].as_secs_f64(),
            spent[1].as_secs_f64(),
            (t3 - t0 + spent[0] + spent[1]).as_secs_f64(),
        );
        let mb = |bytes: usize| bytes as f64 / 1e6;
        println!("MB: dealt {:.1}, online 2 x {:.1}, all {:.1}", mb(dealt), mb(online), mb(dealt + 2 * online));
        if repeat == 2 {
            let mut rows: Vec<_> = by_node.into_iter().collect();
            rows.sort_by_key(|(_, (time, ..))| std::cmp::Reverse(*time));
            println!("rounds by the node that waits: CPU ms of both, MB each way, rounds");
            for (name, (time, bytes, rounds)) in rows.iter().take(24) {
                println!("  {name:36} {:8.1} {:8.2} {rounds:6}", time.as_secs_f64() * 1e3, mb(*bytes));
            }
        }
    }
    let mut dealt: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for (node, bytes) in plan.corrections_by_node() {
        let entry = dealt.entry(kind(&node.op)).or_default();
        *entry = (entry.0 + bytes, entry.1 + node.shape.len());
    }
    println!("corrections by operator: MB, elements of the results");
    for (name, (bytes, elements)) in dealt.iter().filter(|(_, (bytes, _))| *bytes > 0) {
        println!("  {name:24} {:8.2} {elements:10}", *bytes as f64 / 1e6);
    }
    Ok(())
}
