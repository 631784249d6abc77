//! Compares a compiled model with the float model on a file of sentences, one a line.
//!
//! `cargo run --release -p sahara-circuits --example quality -- MODEL_FOLDER SENTENCES [gelu=4] [stretch=1] [score=4] [exp=7] [shift=16] [faithful=true]`

use sahara_circuits::bert::CompileOptions;
use sahara_circuits::float::FloatModel;
use sahara_circuits::graph::{NodeId, Op};
use sahara_circuits::model::CompiledModel;
use sahara_circuits::reference::{ExecOptions, Executor, PackedWeights};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, sentences, rest @ ..] = &args[..] else {
        return Err(
            "usage: quality MODEL_FOLDER SENTENCES [gelu=4] [stretch=1] [score=4] [exp=7] [shift=16] [faithful=true]"
                .into(),
        );
    };
    let mut options = CompileOptions::default();
    let mut faithful = false;
    for option in rest {
        match option.split_once('=') {
            Some(("gelu", v)) => options.gelu_fraction = v.parse()?,
            Some(("stretch", v)) => options.gelu_stretch = v.parse()?,
            Some(("score", v)) => options.score_fraction = v.parse()?,
            Some(("exp", v)) => options.exp_bits = v.parse()?,
            Some(("shift", v)) => options.projection_shift = v.parse()?,
            Some(("faithful", v)) => faithful = v.parse()?,
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let start = Instant::now();
    let model = CompiledModel::compile_with(Path::new(folder), "measured", options, &mut |_| {})?;
    println!("compiled in {:.2} s", start.elapsed().as_secs_f64());
    describe(&model)?;
    let float = FloatModel::load(Path::new(folder))?;
    let text = std::fs::read_to_string(sentences)?;
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let graphs: BTreeMap<u32, _> =
        model.buckets().into_iter().map(|b| Ok((b, model.graph(b)?))).collect::<Result<_, Box<dyn Error>>>()?;
    let packed = PackedWeights::new(&model.weights, &graphs[&model.buckets()[0]].weights)?;
    let executors: BTreeMap<u32, Executor<'_>> = graphs
        .iter()
        .map(|(&b, g)| Ok((b, Executor::new(g, &model.weights, &packed)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let mut cosines = Vec::new();
    let mut seconds: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
    let mut beyond = 0;
    for line in &lines {
        let encoded = model.frontend.encode(line)?;
        let start = Instant::now();
        let (executor, opts) = (&executors[&encoded.bucket], ExecOptions::default());
        let run = if faithful {
            executor.run_faithful(&encoded.inputs, &opts, cosines.len() as u64)?
        } else {
            executor.run(&encoded.inputs, &opts)?
        };
        let spent = seconds.entry(encoded.bucket).or_default();
        (spent.0, spent.1) = (spent.0 + start.elapsed().as_secs_f64(), spent.1 + 1);
        for (NodeId(node), count) in run.out_of_range {
            beyond += 1;
            let node = &graphs[&encoded.bucket].nodes[node as usize];
            println!("{count} of {} beyond {}", node.name, node.bound);
        }
        let (a, b) = (model.frontend.decode(&encoded, &run.outputs), float.embed(line)?);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        cosines.push((dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt(), *line));
    }
    cosines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = cosines.iter().map(|c| c.0).sum::<f64>() / cosines.len() as f64;
    println!(
        "{} sentences: cosine mean {mean:.5}, worst {:.5}; tensors beyond their bound: {beyond}",
        cosines.len(),
        cosines[0].0
    );
    for (cosine, line) in cosines.iter().take(5) {
        println!("  {cosine:.5} {}", line.chars().take(90).collect::<String>());
    }
    for (bucket, (total, count)) in seconds {
        println!("bucket {bucket}: {:.1} ms a sentence, one thread ({count})", total / f64::from(count) * 1e3);
    }
    Ok(())
}

fn describe(model: &CompiledModel) -> Result<(), Box<dyn Error>> {
    for bucket in model.buckets() {
        let graph = model.graph(bucket)?;
        println!("bucket {bucket}: {} nodes, {} tables, id {}", graph.nodes.len(), graph.tables.len(), graph.id());
        if bucket != 128 {
            continue;
        }
        for node in &graph.nodes {
            let detail = match node.op {
                Op::Rescale { shift, usage, .. } => format!("shift {shift} {usage:?}"),
                Op::Lookup { table, .. } => graph.tables[table.0 as usize].name.clone(),
                Op::SliceCols { .. } => format!("{} channels", node.shape.cols),
                _ => continue,
            };
            println!("  {:44} {:3} bits, bound 2^{:.1}, {detail}", node.name, node.bits, (node.bound as f64).log2());
        }
    }
    let bits = |t: &[i32]| 32 - t.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0).leading_zeros();
    let graph = model.graph(model.buckets()[0])?;
    for (spec, tensor) in graph.weights.iter().zip(&model.weights.tensors) {
        println!("  {:44} [{}, {}] {} bits", spec.name, spec.rows, spec.cols, bits(tensor));
    }
    Ok(())
}
