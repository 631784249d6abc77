//! A small graph that costs much is refused when it is shared, by the name of the limit, before a plan is made or memory is
//! claimed; what was allowed once is refused after the limits were lowered.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::{Arc, Mutex};

use common::{Case, Network, case};
use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId,
    WeightSpec,
};
use sahara_circuits::model::CompiledModel;
use sahara_circuits::testmodel::TestModel;
use sahara_circuits::weights::Weights;
use sahara_mpc::client::{Rounding, Visibility};
use sahara_mpc::config::Limits;
use sahara_mpc::wire::FailCode;
use sahara_protocol::{Cost, Plan};

fn node(op: Op, shape: Shape) -> Node {
    Node { name: "n".into(), op, shape, bits: 32, bound: 1, origin: BoundOrigin::Calibrated }
}

fn graph(shapes: &[Shape]) -> Graph {
    let input = |shape: &Shape| InputSpec {
        name: "i".into(),
        shape: *shape,
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: 1,
        max_row_norm: u32::MAX,
    };
    Graph {
        model: "costly".into(),
        seq_len: 1,
        layers: 0,
        weights_root: [0; 32],
        inputs: shapes.iter().map(input).collect(),
        weights: vec![],
        tables: vec![],
        nodes: shapes.iter().zip(0..).map(|(shape, i)| node(Op::Input(i), *shape)).collect(),
        outputs: vec![],
    }
}

/// Sums of a row of 2^18 entries of a table, `times` times: dealt 37 MB each.
fn many_lookups(times: u32) -> Case {
    let wide = Shape::new(1, 1, 1 << 18);
    let mut g = graph(&[wide]);
    g.tables.push(Table { name: "t".into(), entries: vec![0; 1024] });
    for _ in 0..times {
        let x = NodeId(g.nodes.len() as u32 - 1);
        g.nodes.push(node(Op::Lookup { x, table: TableId(0) }, wide));
    }
    let x = NodeId(g.nodes.len() as u32 - 1);
    g.nodes.push(node(Op::RowSum { x }, Shape::new(1, 1, 1)));
    with_weight(g)
}

/// Three products of matrices of 2^12 × 2^12 each.
fn huge_product() -> Case {
    let square = Shape::new(1, 1 << 12, 1 << 12);
    let mut g = graph(&[square]);
    for _ in 0..3 {
        let x = NodeId(g.nodes.len() as u32 - 1);
        g.nodes.push(node(Op::MatMul { a: x, b: x, transpose_b: false }, square));
    }
    let x = NodeId(g.nodes.len() as u32 - 1);
    g.nodes.push(node(Op::RowSum { x }, Shape::new(1, 1 << 12, 1)));
    with_weight(g)
}

/// Sums of one long row, over and over: little is written, and much is read.
fn many_sums() -> Case {
    let mut g = graph(&[Shape::new(1, 1, 1 << 23)]);
    for _ in 0..40_000 {
        g.nodes.push(node(Op::RowSum { x: NodeId(0) }, Shape::new(1, 1, 1)));
    }
    with_weight(g)
}

/// Adds a weight to the last node, so that there is something to share.
fn with_weight(mut g: Graph) -> Case {
    let x = NodeId(g.nodes.len() as u32 - 1);
    g.weights.push(WeightSpec { name: "w".into(), rows: 1, cols: g.nodes[x.0 as usize].shape.cols });
    let shape = g.nodes[x.0 as usize].shape;
    g.nodes.push(node(Op::AddWeight { x, w: WeightId(0) }, shape));
    g.outputs = vec![NodeId(x.0 + 1)];
    let weights = Weights { tensors: vec![vec![1; shape.cols as usize]] };
    g.weights_root = weights.root(&g.weights);
    g.check().unwrap();
    Case { graph: Arc::new(g), weights, inputs: vec![], expected: vec![], shared: Default::default() }
}

fn long_chain() -> Case {
    let one = Shape::new(1, 1, 1);
    let mut g = graph(&[one]);
    for _ in 0..17_000 {
        let x = NodeId(g.nodes.len() as u32 - 1);
        g.nodes.push(node(Op::Rescale { x, shift: 1, usage: RescaleUse::Value }, one));
    }
    with_weight(g)
}

/// Six inputs of 2^26 words, multiplied in pairs: a kilobyte of graph.
fn huge_inputs() -> Case {
    let wide = Shape::new(1, 1, 1 << 26);
    let mut g = graph(&[wide; 6]);
    for (a, b) in [(0, 1), (2, 3), (4, 5)] {
        g.nodes.push(node(Op::Mul { a: NodeId(a), b: NodeId(b) }, wide));
        let x = NodeId(g.nodes.len() as u32 - 1);
        g.nodes.push(node(Op::RowSum { x }, Shape::new(1, 1, 1)));
    }
    with_weight(g)
}

#[test]
fn each_limit_is_named() {
    let network = Network::start(|toml| toml);
    let cases = [
        (many_lookups(120), "limits.graph_deal_megabytes"),
        (huge_product(), "limits.graph_giga_products"),
        (many_sums(), "limits.graph_giga_products"),
        (long_chain(), "limits.graph_rounds"),
        (huge_inputs(), "the largest frame"),
    ];
    for (case, limit) in cases {
        let error = network.client().share(&case.offer(Visibility::Private), &|_, _| ()).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Some(FailCode::Refused), "{error}");
        assert!(error.to_string().contains(limit), "{limit}: {error}");
    }
    // What a job takes in memory, and what is kept ready of a model, has limits of its own.
    for (setting, limit) in
        [("\njob_megabytes = 8192", "job_megabytes"), ("\ncache_megabytes = 4096", "cache_megabytes")]
    {
        let small = Network::start(|toml| {
            assert!(toml.contains(setting));
            toml.replacen(setting, &format!("\n{limit} = 8"), 1)
        });
        let weighty = with_weight(graph(&[Shape::new(1, 1, 1 << 21)])); // 8 MB a share, 16 MB ready
        let error = small.client().share(&weighty.offer(Visibility::Private), &|_, _| ()).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Some(FailCode::Refused), "{error}");
        let most = if limit == "job_megabytes" { "6 MB (three quarters of " } else { "8 MB (" };
        assert!(error.to_string().contains(&format!("limit of {most}limits.{limit})")), "{limit}: {error}");
    }
    // A neighbour that costs little is taken.
    network.client().share(&many_lookups(2).offer(Visibility::Private), &|_, _| ()).unwrap();
}

#[test]
fn a_limit_counts_at_use_too() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(9);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    case.run(&client, task, true).unwrap();
    for node in 0..3 {
        network.stop_node(node);
        let file = network.home(node).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap().replacen("graph_rounds = 16384", "graph_rounds = 1", 1);
        std::fs::write(&file, text).unwrap();
        network.start_node(node);
    }
    let error = case.run(&client, task, true).unwrap_err();
    assert!(error.code() == Some(FailCode::Refused) && error.to_string().contains("limits.graph_rounds"), "{error}");
}

#[test]
fn lookups_of_one_table_share_it() {
    let one = Shape::new(1, 1, 1);
    let mut g = graph(&[one]);
    g.tables.push(Table { name: "t".into(), entries: vec![0; 1024] });
    for _ in 0..65_000 {
        g.nodes.push(node(Op::Lookup { x: NodeId(0), table: TableId(0) }, one));
    }
    g.outputs = vec![NodeId(65_000)];
    let cost = Cost::of(&g, Rounding::Exact, Visibility::Open);
    assert!(cost.plan_memory < 32 << 20, "{cost:?}");
    let before = resident();
    let plans: Mutex<Vec<Plan>> = Mutex::default();
    let g = Arc::new(g);
    for rounding in [Rounding::Exact, Rounding::Faithful] {
        plans.lock().unwrap().push(Plan::new(g.clone(), rounding, Visibility::Open).unwrap());
    }
    let grown = resident() - before;
    assert!(grown < 96, "two plans take {grown} MB");
}

/// Megabytes of this process in memory.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() / 1024
}

/// The cost of a model whose layers all cost what its only one does.
fn layered(one: Cost, layers: u64) -> Cost {
    let packs = one.dealt + one.prepared;
    Cost {
        dealt: layers * one.dealt,
        prepared: layers * one.prepared,
        operations: layers * one.operations,
        rounds: layers * one.rounds,
        plan_memory: layers * one.plan_memory,
        material_memory: one.material_memory.map(|bytes| layers * bytes),
        evaluator_memory: one.evaluator_memory + (layers - 1) * packs,
        ..one
    }
}

/// One layer as wide as MiniLM, six times, at its longest: a job that keeps no other waiting.
#[test]
fn six_layers_as_wide_as_minilm_take_what_is_for_small_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let shape = TestModel { layers: 1, hidden: 384, heads: 12, ffn: 1536, positions: 512 };
    shape.write(folder.path(), 1).unwrap();
    let model = CompiledModel::compile(folder.path(), "mini", &mut |_| ()).unwrap();
    let quarter = Limits::default().job_megabytes << 18;
    for (tokens, rounding) in [(512, Rounding::Exact), (512, Rounding::Faithful), (128, Rounding::Exact)] {
        for visibility in [Visibility::Private, Visibility::Open] {
            let six = layered(Cost::of(&model.graph(tokens).unwrap(), rounding, visibility), 6);
            six.check("mini", &Limits::default().cost()).unwrap();
            assert!(six.evaluator_memory.max(six.helper_memory) <= quarter, "{tokens}: {six:?}");
        }
    }
}

/// One layer as wide as BERT-base, twelve times: what the default limits must let pass.
#[test]
fn twelve_layers_as_wide_as_bert_base_fit_the_default_limits() {
    let folder = tempfile::tempdir().unwrap();
    let shape = TestModel { layers: 1, hidden: 768, heads: 12, ffn: 3072, positions: 512 };
    shape.write(folder.path(), 1).unwrap();
    let model = CompiledModel::compile(folder.path(), "base", &mut |_| ()).unwrap();
    let graph = model.graph(512).unwrap();
    for visibility in [Visibility::Private, Visibility::Open] {
        let twelve = layered(Cost::of(&graph, Rounding::Exact, visibility), 12);
        twelve.check("base", &Limits::default().cost()).unwrap_or_else(|error| panic!("{error}: {twelve:?}"));
    }
}
