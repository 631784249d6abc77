//! The software bill of materials: every package of the program and what builds it, as CycloneDX 1.5.

use std::collections::BTreeSet;

use super::packages::Package;
use super::source::Source;
use crate::Failure;
use crate::json::Value;

/// Writes the bill of a package and those that it is built from; `compiler` is named, because its library is in the program too.
pub fn write(name: &str, packages: &[Package], source: &Source, compiler: &str) -> Result<String, Failure> {
    let program = packages.iter().find(|package| package.name == name);
    let program = program.ok_or_else(|| Failure::fault("the program is not among its packages"))?;
    let mut about = component(program, "application");
    about.retain(|(key, _)| !["scope", "name"].contains(key));
    about.push(("name", text("sahara")));
    let components = packages.iter().filter(|package| package.name != name);
    let components = components.map(|package| object(component(package, "library"))).chain([standard(compiler)]);
    let dependencies = packages.iter().map(|package| {
        let needs = package.needs.iter().map(|id| text(id)).collect();
        object(vec![("ref", text(&package.id())), ("dependsOn", Value::List(needs))])
    });
    let tool = object(vec![("type", text("application")), ("name", text("cargo xtask dist"))]);
    let bill = object(vec![
        ("bomFormat", text("CycloneDX")),
        ("specVersion", text("1.5")),
        ("serialNumber", text(&serial(&source.commit))),
        ("version", Value::Number(1.0)),
        (
            "metadata",
            object(vec![
                ("timestamp", text(&source.timestamp())),
                ("tools", object(vec![("components", Value::List(vec![tool]))])),
                ("component", object(about)),
            ]),
        ),
        ("components", Value::List(components.collect())),
        ("dependencies", Value::List(dependencies.collect())),
    ]);
    Ok(format!("{bill:#}\n"))
}

fn component(package: &Package, kind: &str) -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("type", text(kind)),
        ("bom-ref", text(&package.id())),
        ("name", text(&package.name)),
        ("version", text(&package.version)),
    ];
    if !package.description.is_empty() {
        members.push(("description", text(&package.description)));
    }
    // What only runs while the program is built is no part of it.
    members.push(("scope", text(if package.linked { "required" } else { "excluded" })));
    if let Some(sum) = &package.checksum {
        members.push(("hashes", Value::List(vec![object(vec![("alg", text("SHA-256")), ("content", text(sum))])])));
    }
    if !package.licence.is_empty() {
        members.push(("licenses", Value::List(vec![object(vec![("expression", text(&package.licence))])])));
    }
    if !package.ours() {
        members.push(("purl", text(&format!("pkg:cargo/{}", package.id()))));
    }
    if let Some(repository) = &package.repository {
        let link = object(vec![("type", text("vcs")), ("url", text(repository))]);
        members.push(("externalReferences", Value::List(vec![link])));
    }
    members
}

/// Rust's own library.
fn standard(compiler: &str) -> Value {
    let version = compiler.split_whitespace().nth(1).unwrap_or("unknown");
    object(vec![
        ("type", text("library")),
        ("bom-ref", text(&format!("std@{version}"))),
        ("name", text("std")),
        ("version", text(version)),
        ("description", text(&format!("The Rust standard library, of {compiler}"))),
        ("scope", text("required")),
        ("licenses", Value::List(vec![object(vec![("expression", text("MIT OR Apache-2.0"))])])),
    ])
}

/// A name for the bill that is the same for the same commit: the form of a UUID made from a hash.
fn serial(commit: &str) -> String {
    let mut digits: String = commit.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    while digits.len() < 32 {
        digits.push('0');
    }
    // Version 5 and the usual variant, where such a name has them.
    digits.replace_range(12..13, "5");
    digits.replace_range(16..17, "8");
    let part = |from: usize, to: usize| &digits[from..to];
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// Looks at a bill as whoever reads it does; how many components are in the program, and how many build it.
pub fn read(bill: &str) -> Result<(usize, usize), Failure> {
    let wrong = |why: &str| Failure::fault(format!("the SBOM is wrong: {why}"));
    let bill = Value::parse(bill).map_err(|why| wrong(&why))?;
    if bill.text("bomFormat") != Some("CycloneDX") || bill.text("specVersion") != Some("1.5") {
        return Err(wrong("it is no CycloneDX 1.5"));
    }
    let list = |key: &str| bill.get(key).and_then(Value::list).ok_or_else(|| wrong(&format!("no {key}")));
    let components = list("components")?;
    let program = bill.get("metadata").and_then(|metadata| metadata.get("component"));
    let refs: BTreeSet<&str> = components.iter().chain(program).filter_map(|each| each.text("bom-ref")).collect();
    if refs.len() != components.len() + 1 {
        return Err(wrong("two components have one bom-ref, or none"));
    }
    for dependency in list("dependencies")? {
        let needs = dependency.get("dependsOn").and_then(Value::list).unwrap_or_default();
        let named = dependency.text("ref").into_iter().chain(needs.iter().filter_map(Value::as_text));
        if let Some(unknown) = named.into_iter().find(|name| !refs.contains(name)) {
            return Err(wrong(&format!("{unknown} is needed and not listed")));
        }
    }
    let linked = components.iter().filter(|each| each.text("scope") == Some("required")).count();
    Ok((linked, components.len() - linked))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn object(members: Vec<(&'static str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::packages::PACKAGE;
    use super::*;

    fn package(name: &str, linked: bool, needs: &[&str]) -> Package {
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            licence: "MIT".into(),
            description: String::new(),
            authors: Vec::new(),
            repository: Some("https://example.org/x".into()),
            folder: "/".into(),
            checksum: (name != PACKAGE).then(|| "ab".into()),
            linked,
            needs: needs.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[test]
    fn a_bill_lists_each_package_once_and_nothing_is_needed_that_is_not_listed() {
        let source = Source { commit: "0123456789abcdef0123456789abcdef01234567".into(), changed: false, time: 0 };
        let packages = [
            package(PACKAGE, true, &["used@1.0.0"]),
            package("used", true, &["builds@1.0.0"]),
            package("builds", false, &[]),
        ];
        let bill = write(PACKAGE, &packages, &source, "rustc 1.95.0 (abc 2026-01-01)").unwrap();
        assert_eq!(read(&bill).unwrap(), (2, 1), "the standard library is in the program too");
        assert!(bill.contains("urn:uuid:01234567-89ab-5def-8123-456789abcdef"), "{bill}");
        assert!(bill.contains("\"purl\": \"pkg:cargo/used@1.0.0\"") && !bill.contains("pkg:cargo/sahara"), "{bill}");
        let missing = write(PACKAGE, &packages[..2], &source, "rustc 1.95.0").unwrap();
        assert!(read(&missing).unwrap_err().message.contains("builds@1.0.0"));
    }
}
