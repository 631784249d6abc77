//! Where a run lies: `release` is what ε bounds, all else is for the owner of the data.

use std::fs;
use std::path::{Path, PathBuf};

use sahara::home::{Home, create_private_dir, write_atomic};
use sahara_privacy::train::transformer::Texts;
use sahara_privacy::train::{Checkpoint, Examples, Layer, Network, Rule};
use serde::Serialize;

use super::super::chart::Chart;
use super::rows::Read;
use crate::error::{Error, Result};

/// Where a run lies.
pub struct Folder {
    path: PathBuf,
    ledgers: PathBuf,
    /// Makes a run that is begun again another run.
    nonce: [u8; 16],
}

/// What is released.
pub struct Model<'a> {
    pub network: &'a Network,
    pub parameters: &'a [f32],
    pub labels: &'a [String],
    pub features: &'a [String],
    pub columns: &'a [Read],
}

/// What a reader of the weights has to know.
#[derive(Serialize)]
struct Card<'a> {
    format: &'static str,
    inputs: usize,
    labels: &'a [String],
    /// What the cells of a row are.
    columns: &'a [Read],
    /// What each input is: a column is scaled from its range to -1..1, a word is 1 or 0.
    features: &'a [String],
    layers: Vec<String>,
}

impl Folder {
    /// A folder for a new run, or that of one to go on with.
    pub fn new(path: &Path, home: &Home, resume: bool) -> Result<Self> {
        let ledgers = home.path().join("privacy");
        create_private_dir(&ledgers)?;
        let named = path.join("run");
        let nonce = if resume {
            let bytes = fs::read(&named).map_err(|error| Error::io("reading", &named, error))?;
            let nonce = <[u8; 16]>::try_from(bytes.as_slice());
            nonce.map_err(|_| Error::user(format!("{} was changed: the run cannot go on", named.display())))?
        } else {
            if fs::exists(&named).map_err(|error| Error::io("looking for", &named, error))? {
                let said = "has a run already: go on with --resume, or name another folder with --out";
                return Err(Error::user(format!("{} {said}", path.display())));
            }
            create_private_dir(path)?;
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(|error| Error::fault(format!("drawing the name of a run: {error}")))?;
            let command: Vec<_> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
            write_atomic(&path.join("command.json"), json(&command)?.as_bytes())?;
            write_atomic(&named, &nonce)?;
            nonce
        };
        Ok(Self { path: path.to_owned(), ledgers, nonce })
    }

    /// Takes a new run back that never began. What cannot be removed stays: whoever tries again is told of it.
    pub fn forget(self) {
        let all = ["command.json", "run"].into_iter().try_for_each(|name| fs::remove_file(self.path.join(name)));
        let _ = all.and_then(|()| fs::remove_dir(&self.path));
    }

    /// The name of the run with these settings on these examples.
    pub fn name(&self, settings: &str, examples: &Examples) -> Result<[u8; 32]> {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"sahara training run 1\0");
        hash.update(self.nonce);
        for part in [settings.len(), examples.width(), examples.len()] {
            hash.update((part as u64).to_le_bytes());
        }
        hash.update(settings.as_bytes());
        for row in 0..examples.len() {
            examples.row(row).iter().for_each(|value| hash.update(value.to_le_bytes()));
            hash.update(examples.classes()[row].to_le_bytes());
        }
        Ok(hash.finalize().into())
    }

    /// Where what a run has spent is written down: not in its folder, which may be put back from a copy.
    pub fn ledger(&self, run: &[u8; 32]) -> PathBuf {
        self.ledgers.join(format!("{}.spent", hex(&run[..16])))
    }

    /// The last state that was saved.
    pub fn checkpoint(&self, run: &[u8; 32], parameters: usize, rule: Rule) -> Result<Checkpoint> {
        let path = self.path.join("checkpoint");
        let size = fs::metadata(&path).map_err(|error| Error::io("reading", &path, error))?.len();
        if size > 12 * parameters as u64 + (2 << 20) {
            return Err(Error::user(format!("{} is larger than a checkpoint of this model", path.display())));
        }
        let bytes = fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
        Checkpoint::decode(&bytes, run, parameters, rule)
            .map_err(|error| Error::user(format!("{}: {error}", path.display())))
    }

    /// Keeps a state.
    pub fn save(&self, state: &Checkpoint) -> Result<()> {
        Ok(write_atomic(&self.path.join("checkpoint"), &state.encode())?)
    }

    /// The learning curve as a picture.
    pub fn draw(&self, curve: &[(u64, f64)]) -> Result<()> {
        let title = "Loss of the batches over steps; for the owner of the data alone";
        let picture = Chart { title, name: "loss", points: curve }.svg();
        Ok(write_atomic(&self.path.join("curve.svg"), picture.as_bytes())?)
    }
}

impl Model<'_> {
    /// Writes weights and what a reader of them has to know.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let model = self;
        let (layers, weights) = safetensors(model.network, model.parameters, |index| index.to_string())?;
        let card = Card {
            format: "sahara-table-1",
            inputs: model.network.inputs(),
            labels: model.labels,
            columns: model.columns,
            features: model.features,
            layers,
        };
        write_atomic(&folder.join("weights.safetensors"), &weights)?;
        Ok(write_atomic(&folder.join("model.json"), json(&card)?.as_bytes())?)
    }
}

impl Folder {
    /// The name of the run with these settings on these texts.
    pub fn name_of_texts(&self, settings: &str, texts: &Texts) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"sahara training run on texts 1\0");
        hash.update(self.nonce);
        for part in [settings.len(), texts.len()] {
            hash.update((part as u64).to_le_bytes());
        }
        hash.update(settings.as_bytes());
        for index in 0..texts.len() {
            hash.update((texts.text(index).len() as u64).to_le_bytes());
            texts.text(index).iter().for_each(|token| hash.update(token.to_le_bytes()));
            hash.update(texts.classes()[index].to_le_bytes());
        }
        hash.finalize().into()
    }

    /// Releases what `write` puts into the folder that it is given, and what is said of it; nothing if it fails.
    pub fn put(&self, report: &impl Serialize, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (unchecked, folder) = (self.path.join("unchecked"), self.path.join("release"));
        for old in [&unchecked, &folder] {
            if fs::exists(old).map_err(|error| Error::io("looking for", old, error))? {
                fs::remove_dir_all(old).map_err(|error| Error::io("removing", old, error))?;
            }
        }
        create_private_dir(&unchecked)?;
        write(&unchecked)?;
        write_atomic(&unchecked.join("report.json"), json(report)?.as_bytes())?;
        fs::rename(&unchecked, &folder).map_err(|error| Error::io("renaming", &unchecked, error))
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::fault_from("describing the model", error))?;
    Ok(text + "\n")
}

/// Dense layers as `torch.nn.Sequential` has them, `named` by their number: `0.weight` of `outputs × inputs`, `0.bias`, ReLU, `2.weight`, …
pub fn safetensors(
    network: &Network,
    parameters: &[f32],
    named: impl Fn(usize) -> String,
) -> Result<(Vec<String>, Vec<u8>)> {
    let mut header = serde_json::Map::new();
    let (mut names, mut data, mut rest) = (Vec::new(), Vec::new(), parameters);
    let mut put = |name: String, shape: &[usize], values: &mut dyn Iterator<Item = f32>| {
        let begin = data.len();
        values.for_each(|value| data.extend_from_slice(&value.to_le_bytes()));
        header.insert(name, serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]}));
    };
    for (index, layer) in network.layers().iter().enumerate() {
        let (inputs, outputs) = match layer {
            Layer::Dense { inputs, outputs } => (*inputs, *outputs),
            Layer::Relu => {
                names.push("relu".to_owned());
                continue;
            }
            other => return Err(Error::fault(format!("no format for {other:?}"))),
        };
        let (own, after) = rest.split_at((inputs + 1) * outputs);
        let (weights, bias) = own.split_at(inputs * outputs);
        let transposed = (0..outputs).flat_map(|output| weights.iter().skip(output).step_by(outputs).copied());
        put(format!("{}.weight", named(index)), &[outputs, inputs], &mut { transposed });
        put(format!("{}.bias", named(index)), &[outputs], &mut bias.iter().copied());
        names.push(format!("dense {inputs} {outputs}"));
        rest = after;
    }
    let mut header = serde_json::to_vec(&header).map_err(|error| Error::fault_from("describing the weights", error))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    bytes.append(&mut data);
    Ok((names, bytes))
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_lie_as_torch_has_them() {
        let network = Network::perceptron(3, &[2], 2).unwrap();
        let parameters: Vec<f32> = (0..14_u8).map(f32::from).collect();
        let (names, bytes) = safetensors(&network, &parameters, |index| index.to_string()).unwrap();
        assert_eq!(names, ["dense 3 2", "relu", "dense 2 2"]);
        let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensor = |name: &str| -> Vec<f32> {
            let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize + 8 + length;
            bytes[at(0)..at(1)].as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
        };
        assert_eq!(header["0.weight"]["shape"], serde_json::json!([2, 3]));
        assert_eq!(tensor("0.weight"), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(tensor("0.bias"), [6.0, 7.0]);
        assert_eq!(tensor("2.weight"), [8.0, 10.0, 9.0, 11.0]);
        assert_eq!(bytes.len(), 8 + length + 4 * 14);
    }
}
