//! What a leader tells providers in the note of a round, and how both read it.

use sahara_privacy::together::Local;
use sahara_privacy::train::table::{Column, Description};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Names the task and its version.
const FORMAT: &str = "sahara-logistic-rounds-1";

/// One round of a training of multinomial logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    format: String,
    /// Names the training, in hexadecimal digits.
    pub training: String,
    /// Which round of it, from 1.
    pub round: u32,
    /// Of how many.
    pub rounds: u32,
    /// What the columns of the rows are.
    columns: Vec<(String, Kind)>,
    /// The labels.
    pub labels: Vec<String>,
    /// How far a provider may move the weights.
    pub clip: f64,
    /// A provider's own steps, and their rate.
    steps: u32,
    rate: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Range(f64, f64),
    Values(Vec<String>),
    Ignored,
    Label,
}

impl Task {
    /// The first round of a training.
    pub fn new(training: String, rounds: u32, description: &Description, clip: f64, local: Local) -> Self {
        let kind = |column: &Column| match column {
            Column::Range { low, high } => Kind::Range(*low, *high),
            Column::Values(words) => Kind::Values(words.clone()),
            Column::Ignored => Kind::Ignored,
            Column::Label => Kind::Label,
        };
        let columns = description.columns.iter().map(|(name, column)| (name.clone(), kind(column))).collect();
        let labels = description.labels.clone();
        let (format, steps, rate) = (FORMAT.to_owned(), local.steps, local.rate);
        Self { format, training, round: 1, rounds, columns, labels, clip, steps, rate }
    }

    /// As a note.
    pub fn note(&self) -> Result<Vec<u8>> {
        let note = serde_json::to_vec(self).map_err(|error| Error::fault_from("writing the note of a round", error))?;
        if note.len() > sahara_mpc::rounds::MOST_NOTE {
            let most = sahara_mpc::rounds::MOST_NOTE;
            return Err(Error::user(format!(
                "the columns and labels take {} bytes of text, a round has room for {most}: name columns by `*`",
                note.len()
            )));
        }
        Ok(note)
    }

    /// From a note; nothing if it is of another task.
    pub fn read(note: &[u8]) -> Option<Self> {
        let task: Self = serde_json::from_slice(note).ok()?;
        let numbers = task.clip.is_finite() && task.clip > 0.0 && task.rate.is_finite() && task.steps <= 1000;
        let places = task.round >= 1 && task.round <= task.rounds && task.labels.len() >= 2;
        (task.format == FORMAT && numbers && places).then_some(task)
    }

    /// What the columns are.
    pub fn description(&self) -> Description {
        let column = |kind: &Kind| match kind {
            Kind::Range(low, high) => Column::Range { low: *low, high: *high },
            Kind::Values(words) => Column::Values(words.clone()),
            Kind::Ignored => Column::Ignored,
            Kind::Label => Column::Label,
        };
        let columns = self.columns.iter().map(|(name, kind)| (name.clone(), column(kind))).collect();
        Description { columns, labels: self.labels.clone() }
    }

    /// How a provider trains on its rows.
    pub fn local(&self) -> Local {
        Local { steps: self.steps, rate: self.rate }
    }
}

/// Weights as the attachment of a round.
pub fn weights_to_bytes(weights: &[f32]) -> Vec<u8> {
    weights.iter().flat_map(|weight| weight.to_le_bytes()).collect()
}

/// The attachment of a round as so many weights, if it is that.
pub fn weights_from_bytes(bytes: &[u8], count: usize) -> Option<Vec<f32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    let weights: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    (rest.is_empty() && weights.len() == count && weights.iter().all(|weight| weight.is_finite())).then_some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_what_the_leader_said_and_others_are_not_read() {
        let description = Description {
            columns: vec![
                ("age".into(), Column::Range { low: 0.0, high: 120.0 }),
                ("sex".into(), Column::Values(vec!["F".into(), "M".into()])),
                ("id".into(), Column::Ignored),
                ("ill".into(), Column::Label),
            ],
            labels: vec!["no".into(), "yes".into()],
        };
        let local = Local { steps: 5, rate: 0.5 };
        let task = Task::new("ab".into(), 7, &description, 0.5, local);
        let read = Task::read(&task.note().unwrap()).unwrap();
        assert_eq!((&read, read.description(), read.local()), (&task, description, local));
        for wrong in [
            Task { format: "other".into(), ..task.clone() },
            Task { clip: -1.0, ..task.clone() },
            Task { round: 8, ..task.clone() },
            Task { steps: 1001, ..task.clone() },
        ] {
            assert_eq!(Task::read(&wrong.note().unwrap()), None);
        }
        assert_eq!(Task::read(b"{}"), None);
        let many = Description { columns: vec![("x".repeat(5000), Column::Label)], ..task.description() };
        assert!(Task::new("ab".into(), 7, &many, 0.5, local).note().is_err());
    }

    #[test]
    fn weights_are_their_bytes() {
        let weights = [1.5, -0.25, 3e-8];
        let bytes = weights_to_bytes(&weights);
        assert_eq!(weights_from_bytes(&bytes, 3).as_deref(), Some(&weights[..]));
        assert!(weights_from_bytes(&bytes, 2).is_none() && weights_from_bytes(&bytes[1..], 3).is_none());
        assert!(weights_from_bytes(&f32::NAN.to_le_bytes(), 1).is_none());
    }
}
