//! What one evaluator opens of a sealed input: what a consumer would have sent it by its socket, and the key to ask with.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_market::request::MAX_SEALED;
use sahara_mpc::client::first_half;
use sahara_mpc::engine::Seed;
use sahara_mpc::wire::Share;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"SHHALF\0\0";
const VERSION: u16 = 1;
/// Tensors of an input, at most.
const MAX_TENSORS: usize = 64;
/// Words of an input, at most, which a seed stands for: the other half has them all in what was sealed.
const MAX_WORDS: usize = MAX_SEALED / 4;

/// One half.
pub struct Half {
    /// The secret of the key in whose name the committee is asked. Both evaluators have it: it lets them ask for this, and nothing
    /// else; the answer is another key's.
    pub secret: Zeroizing<[u8; 32]>,
    /// Opens the commitment to this half.
    pub salt: Seed,
    /// The half.
    pub share: Share,
}

/// The half as it is sealed.
pub enum Form<'a> {
    /// Of the first evaluator: a seed, and how many words its tensors have.
    Seed(&'a Seed, Vec<usize>),
    /// Of the second: the words themselves.
    Words(&'a Share),
}

/// Writes a half.
pub fn encode(secret: &[u8; 32], salt: &Seed, form: &Form<'_>) -> Zeroizing<Vec<u8>> {
    // Room for all of it at once: what grows leaves copies behind.
    let words = match form {
        Form::Seed(..) => 0,
        Form::Words(share) => share.0.iter().map(Vec::len).sum(),
    };
    let mut w = Writer(Vec::with_capacity(1024 + 4 * words + 8 * MAX_TENSORS));
    w.bytes(MAGIC).u16(VERSION).bytes(secret).bytes(salt.as_bytes());
    match form {
        Form::Seed(seed, tensors) => {
            w.u8(1).bytes(seed.as_bytes()).u32(tensors.len() as u32);
            tensors.iter().for_each(|words| {
                w.u32(*words as u32);
            });
        }
        Form::Words(share) => {
            w.u8(0).tensors(&share.0);
        }
    }
    Zeroizing::new(w.0)
}

/// Reads a half that somebody sealed, who may be anybody.
///
/// # Errors
/// When it is none.
pub fn decode(bytes: &[u8]) -> Result<Half, DecodeError> {
    let mut r = Reader::new("sealed half", bytes);
    r.header(MAGIC, VERSION)?;
    let (secret, salt) = (Zeroizing::new(r.array()?), Seed::from_bytes(r.array()?));
    let share = match r.u8()? {
        0 => Share(r.tensors(MAX_TENSORS)?),
        1 => {
            let seed = Seed::from_bytes(r.array()?);
            let count = r.count("tensors", MAX_TENSORS)?;
            let mut left = MAX_WORDS;
            let mut tensors = Vec::with_capacity(count);
            for _ in 0..count {
                let words = r.u32()? as usize;
                left = left.checked_sub(words).ok_or_else(|| r.field("words"))?;
                tensors.push(words);
            }
            r.finish()?;
            return Ok(Half { secret, salt, share: first_half(&tensors, &seed) });
        }
        other => return Err(r.unknown("form", other)),
    };
    r.finish()?;
    Ok(Half { secret, salt, share })
}

#[cfg(test)]
mod tests {
    use sahara_mpc::client::halves;

    use super::*;

    #[test]
    fn both_halves_are_read_as_they_were_written_and_nothing_else_is() {
        let input = vec![vec![5, -6, 7], vec![8]];
        let made = halves(&input).unwrap();
        let forms = [Form::Seed(&made.seed, vec![3, 1]), Form::Words(&made.shares[1])];
        for (index, form) in forms.iter().enumerate() {
            let bytes = encode(&[9; 32], &made.salts[index], form);
            let half = decode(&bytes).unwrap();
            assert_eq!((&half.share, *half.secret), (&made.shares[index], [9; 32]));
            assert_eq!(half.salt.as_bytes(), made.salts[index].as_bytes());
            assert!((0..bytes.len()).all(|end| decode(&bytes[..end]).is_err()));
            assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_more_words_than_there_may_be() {
        let seed = Seed::from_bytes([1; 32]);
        for tensors in [vec![MAX_WORDS + 1], vec![MAX_WORDS, 1], vec![u32::MAX as usize], vec![1; MAX_TENSORS + 1]] {
            assert!(decode(&encode(&[9; 32], &seed, &Form::Seed(&seed, tensors))).is_err());
        }
    }
}
