//! How much is built for those who build only a part: the counts of CONTRIBUTING.md, and each crate without the others. And
//! that its files stand in an order.

use crate::Failure;
use crate::circles;
use crate::process::{cargo, output, run};

/// The crates that others build into their own programs, or run as operators, and the most lines of their trees.
const BARS: [(&str, usize); 2] = [("sahara", 200), ("sahara-mpc", 130)];
/// What none of them is built with.
const APART: &str = "sahara-chain";
/// Builds that have other features than that of the whole workspace.
const ALONE: [&[&str]; 11] = [
    &["--package", "sahara"],
    &["--package", "sahara", "--no-default-features"],
    &["--package", "sahara", "--features", "hub"],
    &["--package", "sahara", "--features", "quic"],
    &["--package", "sahara-mpc"],
    &["--package", "sahara-mpc", "--features", "quic"],
    &["--package", "sahara-circuits", "--no-default-features"],
    &["--package", "sahara-circuits", "--no-default-features", "--features", "frontend"],
    &["--package", "sahara-gateway"],
    &["--package", "sahara-light"],
    &["--package", "sahara-python"],
];

/// Refuses a tree with more than its bar, one with the chain in it, and files that use each other in a circle.
pub fn count() -> Result<(), Failure> {
    for (package, most) in BARS {
        let tree = output(cargo().args(["tree", "--edges", "no-dev", "--prefix", "none", "--package", package]))?;
        let lines = distinct(&tree);
        println!("crates: {package} {lines} of {most}");
        if lines > most {
            return Err(Failure::fault(format!("{package} is built from {lines} packages, more than {most}")));
        }
        if tree.lines().any(|line| line.starts_with(APART)) {
            return Err(Failure::fault(format!("{package} is built with {APART}, which belongs to the program alone")));
        }
    }
    circles::check()
}

/// Checks the crates with no more features than they ask for themselves; a warning is an error.
pub fn alone() -> Result<(), Failure> {
    ALONE.iter().try_for_each(|arguments| {
        run(cargo().args(["clippy", "--release"]).args(*arguments).args(["--", "--deny", "warnings"]))
    })
}

/// As `sort -u | wc -l`.
fn distinct(tree: &str) -> usize {
    tree.lines().collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_once_and_once_more_where_its_tree_is_left_out() {
        assert_eq!(distinct("a v1\nb v1\nc v1\nb v1 (*)\nc v1\n"), 4);
    }
}
