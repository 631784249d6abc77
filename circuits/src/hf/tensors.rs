//! The tensors of a folder: one file or several, whatever their names are prefixed with, in f32, f16 or bf16. Each
//! tensor is used or known to be of no use; an unknown one would mean that the model computes something else.

use super::folder::MAX_WEIGHTS;
use super::{CompileError, Linear, Norm, read};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What may stand before a tensor's name: the model inside a wrapper of another library.
const PREFIXES: [&str; 12] = [
    "",
    "bert.",
    "distilbert.",
    "roberta.",
    "mpnet.",
    "model.",
    "auto_model.",
    "0.auto_model.",
    "0.model.",
    "transformer.model.",
    "encoder.model.",
    "module.",
];

struct Stored {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Every tensor of a folder, until it is taken.
pub(crate) struct Tensors {
    path: PathBuf,
    left: BTreeMap<String, Stored>,
    prefix: String,
}

impl Tensors {
    /// Reads the files.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, CompileError> {
        let mut left = BTreeMap::new();
        for path in paths {
            let bytes = match read(path, MAX_WEIGHTS) {
                Err(CompileError::Config { path, problem }) => return Err(CompileError::Weights { path, problem }),
                other => other?,
            };
            let weights = |problem| CompileError::Weights { path: path.clone(), problem };
            let file = SafeTensors::deserialize(&bytes).map_err(|e| weights(e.to_string()))?;
            for (name, view) in file.tensors() {
                let stored = Stored { shape: view.shape().to_vec(), values: floats(&name, &view).map_err(weights)? };
                if left.insert(modern(&name), stored).is_some() {
                    return Err(weights(format!("tensor {name} is there twice")));
                }
            }
        }
        let path = paths.first().cloned().unwrap_or_default();
        Ok(Self { path, left, prefix: String::new() })
    }

    /// Finds out what stands before the names, from one that must be there.
    pub(crate) fn anchor(&mut self, name: &str) {
        let there = |prefix: &&&str| self.left.contains_key(&format!("{prefix}{name}"));
        self.prefix = PREFIXES.iter().find(there).map_or_else(String::new, |prefix| (*prefix).to_owned());
    }

    /// Whether there is a tensor of the encoder of this name.
    #[cfg(feature = "float")]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains_key(&format!("{}{name}", self.prefix))
    }

    /// Takes a tensor of the encoder, whose name gets the prefix.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CompileError> {
        self.take(&format!("{}{name}", self.prefix), shape)
    }

    /// Takes a tensor by its full name.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CompileError> {
        let stored = self.left.remove(name).ok_or_else(|| self.bad(format!("tensor {name} is missing")))?;
        if stored.shape != shape {
            let problem = format!("tensor {name} has shape {:?}, the configuration asks for {shape:?}", stored.shape);
            return Err(self.bad(problem));
        }
        match stored.values.iter().all(|x| x.is_finite() && x.abs() < 1e6) {
            true => Ok(stored.values),
            false => Err(self.bad(format!("tensor {name} holds values that are not finite or beyond a million"))),
        }
    }

    /// A linear layer of the encoder.
    pub(crate) fn linear(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, CompileError> {
        self.linear_at(&format!("{}{name}", self.prefix), inputs, outputs)
    }

    /// A linear layer by its full name.
    pub(crate) fn linear_at(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, CompileError> {
        let weight = self.take(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Linear { weight, bias: self.take(&format!("{name}.bias"), &[outputs])?, inputs, outputs })
    }

    /// A layer norm of the encoder.
    pub(crate) fn norm(&mut self, name: &str, d: usize) -> Result<Norm, CompileError> {
        let gamma = self.tensor(&format!("{name}.weight"), &[d])?;
        Ok(Norm { gamma, beta: self.tensor(&format!("{name}.bias"), &[d])? })
    }

    /// Refuses the model if a tensor is left that is not one of those that do nothing here, by the beginning of its
    /// name without the prefix.
    pub(crate) fn finish(self, unused: &[&str]) -> Result<(), CompileError> {
        let unused: BTreeSet<&str> = unused.iter().copied().collect();
        let known = |name: &&String| {
            let bare = name.strip_prefix(&self.prefix).unwrap_or(name);
            unused.iter().any(|start| name.starts_with(start) || bare.starts_with(start))
        };
        match self.left.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let what = format!("the tensor {:?}", name.chars().take(100).collect::<String>());
                Err(CompileError::Unsupported { path: self.path.clone(), what })
            }
        }
    }

    fn bad(&self, problem: String) -> CompileError {
        CompileError::Weights { path: self.path.clone(), problem }
    }
}

/// The name that today's libraries give a tensor.
fn modern(name: &str) -> String {
    match (name.strip_suffix(".gamma"), name.strip_suffix(".beta")) {
        (Some(stem), _) => format!("{stem}.weight"),
        (_, Some(stem)) => format!("{stem}.bias"),
        _ => name.to_owned(),
    }
}

fn floats(name: &str, view: &safetensors::tensor::TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = view.data();
    let two = |b: &[u8]| u16::from_le_bytes([b[0], b[1]]);
    match view.dtype() {
        Dtype::F32 => Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        Dtype::BF16 => Ok(data.chunks_exact(2).map(|b| f32::from_bits(u32::from(two(b)) << 16)).collect()),
        Dtype::F16 => Ok(data.chunks_exact(2).map(|b| half_to_float(two(b))).collect()),
        // Tables of positions, which nobody reads.
        Dtype::I64 | Dtype::I32 | Dtype::U8 | Dtype::BOOL if name.ends_with("_ids") => Ok(Vec::new()),
        other => Err(format!("tensor {name} has type {other:?}, not F32, F16 or BF16")),
    }
}

/// IEEE binary16.
fn half_to_float(h: u16) -> f32 {
    let sign = if h >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(h >> 10 & 31), f32::from(h & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 => f32::NAN,
        e => sign * (1.0 + fraction / 1024.0) * 2f32.powi(e - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_as_ieee_says() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x0001, 2f32.powi(-24)), (0x7bff, 65504.0), (0x3555, 0.333_251_95)]
        {
            assert_eq!(half_to_float(bits), value);
        }
        assert!(half_to_float(0x7c00).is_nan());
        assert_eq!(modern("embeddings.LayerNorm.gamma"), "embeddings.LayerNorm.weight");
    }
}
