//! What the program is made of, by cargo's own account: `cargo metadata` for what each package says of itself and needs,
//! `cargo tree` for which of them, with the features that are chosen, are in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{TARGET, doing};
use crate::Failure;
use crate::json::Value;
use crate::process::{cargo, output, root};

/// The package of the program. It alone is built, so that nobody else's features are in it.
pub const PACKAGE: &str = "sahara-cli";

/// One package that the program is built from.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says its licence is, as an expression.
    pub licence: String,
    /// One line of what it is.
    pub description: String,
    /// Who made it.
    pub authors: Vec<String>,
    /// Where it is developed.
    pub repository: Option<String>,
    /// Where its source is on this machine.
    pub folder: PathBuf,
    /// SHA-256 of its archive in the registry; what is of this project has none.
    pub checksum: Option<String>,
    /// Whether it is in the program; else it runs while the program is built.
    pub linked: bool,
    /// What it needs of the others: names and versions.
    pub needs: BTreeSet<String>,
}

impl Package {
    /// Name and version, by which packages are told apart.
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// Whether it is of this project.
    pub fn ours(&self) -> bool {
        self.checksum.is_none()
    }
}

/// All packages of the program, or of another package of the workspace, and of what builds it, sorted.
pub fn of(package: &str) -> Result<Vec<Package>, Failure> {
    let metadata =
        output(cargo().args(["metadata", "--format-version", "1", "--locked"]).args(["--filter-platform", TARGET]))?;
    let metadata = Value::parse(&metadata).map_err(|error| Failure::fault(format!("cargo metadata: {error}")))?;
    let lock = root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|error| doing("reading", &lock, &error))?;
    let linked = in_tree(package, "normal,no-proc-macro")?;
    let all = in_tree(package, "normal,build")?;
    select(&metadata, &checksums(&lock), &all, &linked)
}

/// Names and versions of what a package depends on by these kinds of edges, with its features.
fn in_tree(package: &str, edges: &str) -> Result<BTreeSet<String>, Failure> {
    let tree = output(
        cargo()
            .args(["tree", "--locked", "--package", package, "--target", TARGET, "--edges", edges])
            .args(["--prefix", "none", "--format", "{p}"]),
    )?;
    Ok(named(&tree))
}

/// Reads lines such as `serde v1.0.229 (proc-macro) (*)`.
fn named(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some(format!("{}@{}", words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect()
}

/// Sums of packages in `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
        line.map(|rest| rest.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let id = format!("{}@{}", value(block, "name")?, value(block, "version")?);
            Some((id, value(block, "checksum")?))
        })
        .collect()
}

fn select(
    metadata: &Value,
    checksums: &BTreeMap<String, String>,
    all: &BTreeSet<String>,
    linked: &BTreeSet<String>,
) -> Result<Vec<Package>, Failure> {
    let missing = |what: &str| Failure::fault(format!("cargo metadata has no {what}"));
    let packages = metadata.get("packages").and_then(Value::list).ok_or_else(|| missing("packages"))?;
    let nodes = metadata.get("resolve").and_then(|resolve| resolve.get("nodes")).and_then(Value::list);
    let nodes = nodes.ok_or_else(|| missing("resolve graph"))?;
    let ids: BTreeMap<&str, String> = packages
        .iter()
        .filter_map(|package| {
            Some((package.text("id")?, format!("{}@{}", package.text("name")?, package.text("version")?)))
        })
        .collect();
    let mut needs: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for node in nodes {
        let edges = node.get("deps").and_then(Value::list).unwrap_or_default();
        let known = edges.iter().filter(|edge| is_needed(edge)).filter_map(|edge| ids.get(edge.text("pkg")?));
        let known = known.filter(|id| all.contains(*id)).cloned().collect();
        needs.insert(node.text("id").ok_or_else(|| missing("id of a node"))?, known);
    }
    let mut found = Vec::new();
    for package in packages {
        let text = |key: &str| package.text(key).unwrap_or_default().to_owned();
        let id = format!("{}@{}", text("name"), text("version"));
        if !all.contains(&id) {
            continue;
        }
        let manifest = PathBuf::from(text("manifest_path"));
        let authors = package.get("authors").and_then(Value::list).unwrap_or_default();
        found.push(Package {
            name: text("name"),
            version: text("version"),
            // Old manifests have a slash for `OR`.
            licence: text("license").replace('/', " OR "),
            description: text("description").split_whitespace().collect::<Vec<_>>().join(" "),
            authors: authors.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
            repository: package.text("repository").map(str::to_owned),
            folder: manifest.parent().map_or_else(PathBuf::new, PathBuf::from),
            checksum: checksums.get(&id).cloned(),
            linked: linked.contains(&id),
            needs: package.text("id").and_then(|id| needs.remove(id)).unwrap_or_default(),
        });
    }
    found.sort_by_key(Package::id);
    match all.iter().find(|id| !found.iter().any(|package| package.id() == **id)) {
        Some(id) => Err(Failure::fault(format!("cargo tree has {id}, cargo metadata has not"))),
        None => Ok(found),
    }
}

/// Whether an edge of the graph is more than one for tests.
fn is_needed(edge: &Value) -> bool {
    let kinds = edge.get("dep_kinds").and_then(Value::list).unwrap_or_default();
    kinds.iter().any(|kind| kind.text("kind") != Some("dev"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_in_the_program_runs_beside_it_or_is_not_there() {
        let package = |name: &str, more: &str| {
            format!(
                r#"{{"id":"{name} id","name":"{name}","version":"1.0.0","manifest_path":"/{name}/Cargo.toml"{more}}}"#
            )
        };
        let edge = |name: &str, kind: &str| format!(r#"{{"pkg":"{name} id","dep_kinds":[{{"kind":{kind}}}]}}"#);
        let text = format!(
            r#"{{"packages":[{},{},{},{}],"resolve":{{"nodes":[{{"id":"main id","deps":[{},{},{}]}}]}}}}"#,
            package("main", r#","license":"MIT""#),
            package("used", r#","license":"MIT/Apache-2.0","authors":["A"],"repository":null"#),
            package("builds", ""),
            package("tests", ""),
            edge("used", "null"),
            edge("builds", r#""build""#),
            edge("tests", r#""dev""#),
        );
        let lock = "[[package]]\nname = \"used\"\nversion = \"1.0.0\"\nchecksum = \"ab\"\n\n[[package]]\nname = \"main\"\nversion = \"1.0.0\"\n";
        let all = named("main v1.0.0 (/x)\nused v1.0.0\nbuilds v1.0.0 (proc-macro) (*)\n\n");
        let linked = named("main v1.0.0\nused v1.0.0");
        let found = select(&Value::parse(&text).unwrap(), &checksums(lock), &all, &linked).unwrap();
        let names: Vec<(&str, bool, bool)> = found.iter().map(|p| (p.name.as_str(), p.linked, p.ours())).collect();
        assert_eq!(names, [("builds", false, true), ("main", true, true), ("used", true, false)]);
        assert_eq!(found[2].licence, "MIT OR Apache-2.0");
        assert_eq!(found[1].needs, BTreeSet::from(["builds@1.0.0".to_owned(), "used@1.0.0".to_owned()]));
        let more = named("other v2.0.0");
        assert!(select(&Value::parse(&text).unwrap(), &checksums(lock), &more, &linked).is_err());
    }
}
