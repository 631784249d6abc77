//! Classifiers of rows: linear layers alone, by the tables and bounds of those that follow an encoder.

use super::projection::WeightList;
use super::{CompileOptions, pooled, tail};
use crate::builder::Builder;
use crate::frontend::rows::FRACTION;
use crate::frontend::{Answer, Classes, Frontend, LabelFunction};
use crate::graph::{Graph, InputRange, InputSpec, Shape};
use crate::hf::{CompileError, Table};
use crate::weights::Weights;

/// Compiles layers over rows: a graph of one row, its weights, and what makes a row of a line.
pub(crate) fn compile(
    name: &str,
    table: Table,
    options: &CompileOptions,
) -> Result<(Graph, Weights, Frontend), CompileError> {
    let Table { columns, inputs, labels, dense } = table;
    let function = LabelFunction::Softmax;
    let answer = Answer::Labels(Classes { labels, function, relevance: LabelFunction::Identity });
    let mut list = WeightList::default();
    let (layers, output) = tail::over_rows(&dense, (inputs, FRACTION as i32), answer, options, &mut list)?;
    let WeightList { specs, tensors } = list;
    let weights = Weights { tensors };
    let mut b = Builder::new(Graph {
        model: name.to_owned(),
        seq_len: 1,
        layers: 1,
        weights_root: weights.root(&specs),
        inputs: Vec::new(),
        weights: specs,
        tables: Vec::new(),
        nodes: Vec::new(),
        outputs: Vec::new(),
    });
    let one = 1_u32 << FRACTION;
    let row = b.input(InputSpec {
        name: "row".into(),
        shape: Shape::new(1, 1, inputs as u32),
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: one,
        max_row_norm: (f64::from(one) * (inputs as f64).sqrt()).floor() as u32,
    });
    pooled::layered(&mut b, &layers, row);
    let graph = b.finish();
    graph.check()?;
    Ok((graph, weights, Frontend::of_rows(columns, output)))
}
