//! The licences of everything that is in the program, with their texts; packages that carry the same text share it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::packages::Package;
use super::{doing, files};
use crate::Failure;

/// How names of files begin that hold licences and notices.
const BEGINNINGS: [&str; 7] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE", "PATENTS"];
/// Folders of a package below this are not looked into: sources that it carries have theirs above it.
const DEPTH: usize = 4;
const RULE: &str = "------------------------------------------------------------------------------";

/// The file of all licences of others, in what is built from these packages.
pub fn write(what: &str, packages: &[Package]) -> Result<String, Failure> {
    let others: Vec<&Package> = packages.iter().filter(|package| !package.ours()).collect();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in others.iter().filter(|package| package.linked) {
        let found = texts_of(&package.folder)?;
        if found.is_empty() {
            without.push(*package);
        }
        for (file, text) in found {
            texts.entry(text).or_default().push(format!("{} {}: {file}", package.name, package.version));
        }
    }
    let mut page = String::new();
    page.push_str(&format!(
        "Licences of what {what} is made of, besides its own (LICENSE-APACHE,\n\
         LICENSE-MIT): first the packages, each with its licence as its makers name it,\n\
         then every text that they carry, once, below the names of those that carry it.\n\
         Rust's standard library (MIT OR Apache-2.0) is part of it, too.\n\n",
    ));
    list(&mut page, others.iter().filter(|package| package.linked));
    page.push_str("\nPackages that only run while it is built, and are no part of it:\n\n");
    list(&mut page, others.iter().filter(|package| !package.linked));
    if !without.is_empty() {
        page.push_str("\nThese carry no text of their licence; their authors as their packages name them:\n\n");
        for package in without {
            let authors = if package.authors.is_empty() { "no names".to_owned() } else { package.authors.join(", ") };
            let _ = writeln!(page, "  {} ({}): {authors}", package.name, package.licence); // a String takes everything
        }
    }
    // In the order of the packages that bring them.
    let mut texts: Vec<(Vec<String>, String)> = texts.into_iter().map(|(text, names)| (names, text)).collect();
    texts.sort();
    for (names, text) in texts {
        let _ = write!(page, "\n{RULE}\n{}\n{RULE}\n\n{text}\n", names.join("\n"));
    }
    Ok(page)
}

fn list<'a>(page: &mut String, packages: impl Iterator<Item = &'a &'a Package>) {
    for package in packages {
        let licence = if package.licence.is_empty() { "see its text" } else { &package.licence };
        let place = package.repository.as_deref().unwrap_or("");
        let line = format!("  {} {}: {licence}  {place}", package.name, package.version);
        let _ = writeln!(page, "{}", line.trim_end());
    }
}

/// Names and texts of the licences that a package carries.
fn texts_of(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let is_licence = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        let code = [".RS", ".C", ".H", ".PY", ".GO", ".SH"].iter().any(|end| name.ends_with(end));
        path.components().count() <= DEPTH && !code && BEGINNINGS.iter().any(|begin| name.starts_with(begin))
    };
    let mut found = Vec::new();
    for file in files(folder)?.into_iter().filter(is_licence) {
        let path = folder.join(&file);
        let bytes = std::fs::read(&path).map_err(|error| doing("reading", &path, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        // Line ends and blanks at them are no difference.
        let text: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
        if !text.is_empty() {
            found.push((file.display().to_string(), text.join("\n")));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_once_and_whoever_carries_none_is_named() {
        let folder = std::env::temp_dir().join(format!("sahara-licences-{}", std::process::id()));
        let package = |name: &str, linked: bool, text: Option<&str>| {
            let folder = folder.join(name);
            super::super::empty(&folder.join("deep")).unwrap();
            if let Some(text) = text {
                std::fs::write(folder.join("deep/License.md"), text).unwrap();
                std::fs::write(folder.join("license.rs"), "code").unwrap();
            }
            Package {
                name: name.into(),
                version: "1.0.0".into(),
                licence: "MIT".into(),
                description: String::new(),
                authors: vec!["Anna".into()],
                repository: None,
                folder,
                checksum: Some("ab".into()),
                linked,
                needs: Default::default(),
            }
        };
        let packages = [
            package("one", true, Some("the text \r\nof it\n")),
            package("two", true, Some("the text\nof it")),
            package("bare", true, None),
            package("builds", false, Some("another text")),
        ];
        let page = write("the program", &packages).unwrap();
        assert_eq!(page.matches("the text\nof it\n").count(), 1, "{page}");
        assert!(page.contains("one 1.0.0: deep/License.md\ntwo 1.0.0: deep/License.md\n"), "{page}");
        assert!(page.contains("  bare (MIT): Anna\n") && page.contains("  builds 1.0.0: MIT\n"), "{page}");
        assert!(!page.contains("another text") && !page.contains("\ncode"), "{page}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
