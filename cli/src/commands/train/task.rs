//! What is trained on what, and how it is released.

use std::path::Path;

use sahara_privacy::train::{Examples, Layer, Network};
use serde::Serialize;

use super::super::Context;
use super::classifier::{self, Encoder};
use super::folder::{Folder, Model};
use super::rows;
use crate::error::{Blame, Error, Result};

/// What is trained on what.
pub struct Task {
    pub network: Network,
    pub examples: Examples,
    pub test: Option<Examples>,
    pub kind: Kind,
}

/// What examples are made of.
pub enum Kind {
    /// Rows with these columns, which became these features.
    Rows { columns: Vec<rows::Read>, features: Vec<String> },
    /// Texts, of which these are the first, by the encoder of the model that was asked for.
    Texts { embedder: String, encoder: Encoder, texts: Vec<String> },
}

impl Task {
    /// Writes the result and whatever `more` adds to it, reads it again, and releases it.
    pub fn release(
        &self,
        folder: &Folder,
        (labels, parameters): (&[String], &[f32]),
        report: &impl Serialize,
        more: &dyn Fn(&Path) -> Result<()>,
        context: &Context,
    ) -> Result<()> {
        folder.put(report, |to| {
            self.write(to, labels, parameters)?;
            more(to)?;
            let again;
            let asked = match &self.kind {
                Kind::Rows { columns, .. } => {
                    again = rows::some(columns, &self.examples, classifier::TRIED);
                    &again
                }
                Kind::Texts { texts, .. } => texts,
            };
            classifier::check(to, &self.network, parameters, (asked, &self.examples), &context.progress)
        })
    }

    pub fn write(&self, to: &Path, labels: &[String], parameters: &[f32]) -> Result<()> {
        let network = &self.network;
        match &self.kind {
            Kind::Rows { columns, features } => Model { network, parameters, labels, features, columns }.write(to),
            Kind::Texts { encoder, .. } => encoder.write(to, network, parameters, labels),
        }
    }

    /// Refuses, before anything is spent, what could not be read once it is trained.
    pub fn try_release(&self, labels: &[String]) -> Result<()> {
        let folder = tempfile::tempdir().map_err(|error| Error::io("creating", &std::env::temp_dir(), error))?;
        self.write(folder.path(), labels, &vec![0.0; self.network.parameters()])?;
        let read = sahara_circuits::float::FloatModel::load(folder.path());
        read.map(drop).map_err(|error| Error::wrap("trying what will be released", Blame::User, error))
    }
}

/// Refuses to call done what left a layer as it was: whatever else a run says of itself, it has not trained that.
pub fn changed(network: &Network, begun: &[f32], parameters: &[f32]) -> Result<()> {
    let mut from = 0;
    for (index, layer) in network.layers().iter().enumerate() {
        let Layer::Dense { inputs, outputs } = layer else { continue };
        let own = from..from + (inputs + 1) * outputs;
        if begun.get(own.clone()) == parameters.get(own.clone()) {
            return Err(Error::fault(format!("the weights of layer {index} are those from before the first step")));
        }
        from = own.end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_no_step_changed_is_not_called_trained() {
        let network = Network::perceptron(2, &[3], 2).unwrap();
        let begun = network.begin(1);
        let with = |places: &[usize]| {
            let mut parameters = begun.clone();
            places.iter().for_each(|&place| parameters[place] += 1.0);
            changed(&network, &begun, &parameters).map_err(|error| error.report())
        };
        assert!(with(&[]).unwrap_err().contains("layer 0"));
        assert!(with(&[8]).unwrap_err().contains("layer 2"));
        assert!(with(&[9]).unwrap_err().contains("layer 0"));
        assert!(with(&[8, 16]).is_ok());
    }
}
