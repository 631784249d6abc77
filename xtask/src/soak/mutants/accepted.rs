//! Mutants that may survive, each with its reason: they change nothing that anybody could see, or no check.

use crate::Failure;

/// The list.
pub struct Accepted(Vec<String>);

impl Accepted {
    /// Reads the list: `file: mutant | reason`, a line each; a line for each place with such a mutant. Lines that begin
    /// with `#` are remarks.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let names = lines.map(|line| match line.rsplit_once(" | ") {
            Some((name, reason)) if !reason.trim().is_empty() => Ok(name.trim().to_owned()),
            _ => Err(Failure::fault(format!("accepted mutants: no reason in the line {line:?}"))),
        });
        Ok(Self(names.collect::<Result<_, _>>()?))
    }

    /// Those of `missed` that are not on the list.
    pub fn others(&self, missed: &[String]) -> Vec<String> {
        let mut left = self.0.clone();
        let other = |name: &&String| match left.iter().position(|known| *known == without_place(name)) {
            Some(place) => {
                left.swap_remove(place);
                false
            }
            None => true,
        };
        missed.iter().filter(other).cloned().collect()
    }
}

/// `file:line:column: mutant` without line and column, which change with everything above them.
fn without_place(name: &str) -> String {
    let Some((place, mutant)) = name.split_once(": ") else { return name.to_owned() };
    let file = place.split(':').next().unwrap_or(place);
    format!("{file}: {mutant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_accepts_one_mutant_wherever_it_is_in_its_file() {
        let accepted =
            Accepted::read("# a remark\n\na/b.rs: replace < with <= in f | the same | either way\n").unwrap();
        let missed =
            ["a/b.rs:3:9: replace < with <= in f", "a/b.rs:7:1: replace < with <= in f", "c.rs:1:1: delete ! in g"];
        let missed: Vec<String> = missed.map(str::to_owned).to_vec();
        assert_eq!(accepted.others(&missed), missed[..3], "the reason begins at the last bar");
        let accepted = Accepted::read("a/b.rs: replace < with <= in f | the same either way").unwrap();
        assert_eq!(accepted.others(&missed), missed[1..]);
    }

    #[test]
    fn a_line_without_a_reason_is_an_error() {
        assert!(Accepted::read("a/b.rs: replace < with <= in f").is_err());
        assert!(Accepted::read(include_str!("accepted.txt")).is_ok());
    }
}
