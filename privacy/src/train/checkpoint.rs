//! A run on disk: what it was at some step, to go on from. What it has spent is the ledger's to say; the checkpoint knows how
//! much that was at least.

use super::network::MOST_PARAMETERS;
use super::optimizer::{Optimizer, Rule};

const MAGIC: &[u8; 8] = b"SAHTRAIN";
const VERSION: u32 = 1;
/// Most points of the curve.
const MOST_POINTS: usize = 1 << 16;

/// The state of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Names the run and what it may do: the ledger's too.
    pub run: [u8; 32],
    /// Steps that the parameters have made.
    pub done: u64,
    /// Steps that were spent when it was written, at least those.
    pub spent: u64,
    /// The parameters.
    pub parameters: Vec<f32>,
    /// What the optimizer remembers.
    pub optimizer: Optimizer,
    /// The curve so far: steps, and the mean loss of the examples in the batches up to there. It is not private.
    pub curve: Vec<(u64, f64)>,
}

/// Why bytes are no checkpoint.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// They are something else.
    #[error("this is no checkpoint")]
    Foreign,
    /// They are of another version.
    #[error("the checkpoint has version {0}, and this program reads {VERSION}")]
    Version(u32),
    /// They were changed, or are not all there.
    #[error("the checkpoint was changed or damaged")]
    Changed,
    /// It belongs to another run.
    #[error("the checkpoint belongs to another run: data, model or settings differ")]
    Other,
    /// It says that more is spent than the ledger knows.
    #[error("the checkpoint has spent {spent} steps, and the ledger knows of {ledger}: the ledger is an older one")]
    Ahead {
        /// Of the checkpoint.
        spent: u64,
        /// Of the ledger.
        ledger: u64,
    },
}

impl Checkpoint {
    /// As bytes: magic, version, run, numbers, each list after its length, and a BLAKE3 hash of it all.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + 12 * self.parameters.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.run);
        for number in [self.done, self.spent, self.optimizer.steps] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for list in [&self.parameters, &self.optimizer.first, &self.optimizer.second] {
            bytes.extend_from_slice(&(list.len() as u64).to_le_bytes());
            list.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        }
        bytes.extend_from_slice(&(self.curve.len() as u64).to_le_bytes());
        for (step, loss) in &self.curve {
            bytes.extend_from_slice(&step.to_le_bytes());
            bytes.extend_from_slice(&loss.to_le_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads the checkpoint of a run, whose network has so many parameters and whose optimizer follows `rule`.
    ///
    /// # Errors
    /// When it is none, or another's.
    pub fn decode(bytes: &[u8], run: &[u8; 32], parameters: usize, rule: Rule) -> Result<Self, CheckpointError> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or(CheckpointError::Foreign)?);
        let version = u32::from_le_bytes(*reader.take::<4>()?);
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let (body, hash) = bytes.split_last_chunk::<32>().ok_or(CheckpointError::Changed)?;
        if blake3::hash(body).as_bytes() != hash {
            return Err(CheckpointError::Changed);
        }
        if reader.take::<32>()? != run {
            return Err(CheckpointError::Other);
        }
        let [done, spent, steps] = [reader.number()?, reader.number()?, reader.number()?];
        let values = reader.list(MOST_PARAMETERS)?;
        let (first, second) = (reader.list(MOST_PARAMETERS)?, reader.list(MOST_PARAMETERS)?);
        let points = reader.length(MOST_POINTS, 16)?;
        let mut curve = Vec::with_capacity(points);
        for _ in 0..points {
            curve.push((reader.number()?, f64::from_bits(reader.number()?)));
        }
        let sizes = Optimizer::sizes(rule, parameters);
        if reader.0.len() != 32 || values.len() != parameters || (first.len(), second.len()) != sizes || done > spent {
            return Err(CheckpointError::Changed);
        }
        let optimizer = Optimizer { rule, steps, first, second };
        Ok(Self { run: *run, done, spent, parameters: values, optimizer, curve })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], CheckpointError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CheckpointError::Changed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, CheckpointError> {
        Ok(u64::from_le_bytes(*self.take()?))
    }

    /// The length of a list, of which so many bytes an entry are there.
    fn length(&mut self, most: usize, each: usize) -> Result<usize, CheckpointError> {
        let length = usize::try_from(self.number()?).ok().filter(|&length| length <= most);
        length.filter(|length| length * each <= self.0.len()).ok_or(CheckpointError::Changed)
    }

    fn list(&mut self, most: usize) -> Result<Vec<f32>, CheckpointError> {
        let length = self.length(most, 4)?;
        let (values, rest) = self.0.split_at(length * 4);
        self.0 = rest;
        Ok(values.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut optimizer = Optimizer::new(Rule::ADAM, 3);
        optimizer.change(&mut [0.0; 3], &[1.0, 2.0, 3.0], 0.1);
        let curve = vec![(1, 2.5), (2, 1.5)];
        Checkpoint { run: [3; 32], done: 2, spent: 4, parameters: vec![1.0, -2.0, 0.5], optimizer, curve }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_no_other_is_read() {
        let bytes = checkpoint().encode();
        assert_eq!(Checkpoint::decode(&bytes, &[3; 32], 3, Rule::ADAM).unwrap(), checkpoint());
        assert_eq!(Checkpoint::decode(&bytes, &[4; 32], 3, Rule::ADAM), Err(CheckpointError::Other));
        assert_eq!(Checkpoint::decode(&bytes, &[3; 32], 4, Rule::ADAM), Err(CheckpointError::Changed));
        let sgd = Rule::Sgd { momentum: 0.0 };
        assert_eq!(Checkpoint::decode(&bytes, &[3; 32], 3, sgd), Err(CheckpointError::Changed));
        for end in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..end], &[3; 32], 3, Rule::ADAM).is_err());
            let mut other = bytes.clone();
            other[end] ^= 1;
            assert!(Checkpoint::decode(&other, &[3; 32], 3, Rule::ADAM).is_err(), "byte {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn strange_bytes_are_refused(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            // With a hash that is right, so that everything behind it is tried.
            let mut whole = checkpoint().encode();
            whole.truncate(44);
            whole.append(&mut bytes);
            let hash = blake3::hash(&whole);
            whole.extend_from_slice(hash.as_bytes());
            let _ = Checkpoint::decode(&whole, &[3; 32], 3, Rule::ADAM);
        }
    }
}
