//! Files that use each other in a circle. What two files need of one another lies in a third, so that each can be read after
//! those that it uses; a file and its own parts (`node.rs` and `node/jobs.rs`) know each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::process::root;

/// Where there are none.
const CRATES: [&str; 5] = ["circuits/src", "mpc-node/protocol/src", "mpc-node/src", "chain/src", "chain/light/src"];

/// A file, by the path of its module; the crate's first file has none.
type Module = Vec<String>;

/// Refuses a crate with a circle, and names the files of one.
pub fn check() -> Result<(), Failure> {
    for folder in CRATES {
        let mut files = BTreeMap::new();
        read(&root().join(folder), &Vec::new(), &mut files)?;
        forget_tests(&mut files);
        if let Some(circle) = circle(&files) {
            let names: Vec<String> = circle.iter().map(|module| format!("{}.rs", module.join("/"))).collect();
            let names = names.join(", which uses ");
            return Err(Failure::fault(format!("a circle in {folder}: {names}: move what two need into a third file")));
        }
        println!("crates: no circle among {} files of {folder}", files.len());
    }
    Ok(())
}

/// The text of each file below a folder but the tests'.
fn read(folder: &Path, above: &Module, files: &mut BTreeMap<Module, String>) -> Result<(), Failure> {
    let failed = |error| Failure::fault(format!("cannot read {}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let module = || above.iter().cloned().chain([name.clone()]).collect::<Module>();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            read(&path, &module(), files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let module = if ["lib", "main", "mod"].contains(&name.as_str()) { above.clone() } else { module() };
            files.insert(module, text);
        }
    }
    Ok(())
}

/// Leaves out what is built for tests alone.
fn forget_tests(files: &mut BTreeMap<Module, String>) {
    let names = |(module, text): (&Module, &String)| {
        let names = text
            .split("#[cfg(test)]\nmod ")
            .skip(1)
            .filter_map(|rest| rest.split_once(';').map(|(name, _)| name.to_owned()));
        names.map(|name| module.iter().cloned().chain([name]).collect::<Module>()).collect::<Vec<_>>()
    };
    let tests: Vec<Module> = files.iter().flat_map(names).collect();
    files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
}

/// The files of a circle, each of which uses the next, the first once more at the end; if there is one.
fn circle(files: &BTreeMap<Module, String>) -> Option<Vec<Module>> {
    let paths: BTreeMap<Module, Vec<(bool, Module)>> =
        files.iter().map(|(module, text)| (module.clone(), paths(module, text))).collect();
    // The file of a path; what a file only passes on (`pub use`) is used from where it is.
    let file = |path: &Module| {
        let mut path = path.clone();
        loop {
            let used = (1..=path.len()).rev().find_map(|n| paths.get_key_value(&path[..n]).map(|(used, _)| used))?;
            let passed_on = path.get(used.len()).and_then(|name| {
                let part = |other: &Module| {
                    other.len() > used.len() + 1 && other.starts_with(used) && paths.contains_key(&other[..=used.len()])
                };
                paths[used].iter().find(|(named, other)| *named && other.last() == Some(name) && part(other))
            });
            match passed_on {
                Some((_, other)) => path = other.clone(),
                None => return Some(used),
            }
        }
    };
    let used = |module: &Module| {
        paths[module].iter().filter_map(|(_, path)| file(path)).filter(|used| !module.starts_with(used)).collect()
    };
    let mut uses: BTreeMap<&Module, BTreeSet<&Module>> = paths.keys().map(|module| (module, used(module))).collect();
    // Without those that use nothing (that is left), again and again.
    while let Some(free) = uses.iter().find(|(_, used)| used.is_empty()).map(|(module, _)| *module) {
        uses.remove(free);
        uses.values_mut().for_each(|used| _ = used.remove(free));
    }
    let mut way = vec![*uses.keys().next()?];
    loop {
        let next = *uses.get(way.last()?)?.first()?;
        let met = way.iter().position(|module| *module == next);
        way.push(next);
        if let Some(met) = met {
            return Some(way.split_off(met).into_iter().cloned().collect());
        }
    }
}

/// Where the paths lead that a file's text has, but for its tests'; and whether a `use` names what is there.
fn paths(module: &Module, text: &str) -> Vec<(bool, Module)> {
    let words = words(text.split("\nmod tests {").next().unwrap_or_default());
    let (mut at, mut found) = (0, Vec::new());
    while at < words.len() {
        let before = if at > 0 { words[at - 1] } else { "" };
        let mut paths = Vec::new();
        at = if before == "::" { at + 1 } else { read_paths(&words, at, &[], &mut paths) };
        found.extend(paths.iter().filter_map(|path| Some((before == "use", resolve(module, path)?))));
    }
    found
}

/// The paths that begin at a word (`a::{b, c::d}` is two of them), and where they end.
fn read_paths<'a>(words: &[&'a str], mut at: usize, before: &[&'a str], paths: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = before.to_vec();
    while let Some(word) = words.get(at) {
        at += 1;
        if *word == "{" && !path.is_empty() {
            while words.get(at).is_some_and(|word| *word != "}") {
                at = if words[at] == "," { at + 1 } else { read_paths(words, at, &path, paths) };
            }
            return at + 1;
        }
        path.push(word);
        if words.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    paths.push(path);
    at
}

/// Where a path leads from a file; a bare name is no path.
fn resolve(module: &Module, path: &[&str]) -> Option<Module> {
    let (first, rest) = path.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let mut at = if *first == "crate" { Vec::new() } else { module.clone() };
    let own = if ["crate", "self"].contains(first) { rest } else { path };
    for name in own {
        match *name {
            "super" => _ = at.pop(),
            name => at.push(name.to_owned()),
        }
    }
    Some(at)
}

/// Names, `::` and all other signs of a text, without comments.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut line in text.lines().filter_map(|line| line.split("//").next()) {
        while let Some(first) = line.chars().next() {
            let name = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
            let sign = if line.starts_with("::") { 2 } else { first.len_utf8() };
            let (word, rest) = line.split_at(if name > 0 { name } else { sign });
            words.extend((!first.is_whitespace()).then_some(word));
            line = rest;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(texts: &[(&str, &str)]) -> BTreeMap<Module, String> {
        texts.iter().map(|(name, text)| (name.split('/').map(str::to_owned).collect(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_circle_is_found_however_the_files_name_each_other() {
        let ways = [
            "use crate::b::{self, B};",
            "use super::{\n    b::{B, C},\n    d,\n};",
            "fn f(text: &str) { super::b::f(text) }",
            "pub(crate) use crate::{d::D, b};",
        ];
        for way in ways {
            let files = files(&[
                ("a", way),
                ("b", "use crate::c::C;"),
                ("c", "// ::\nuse super::a::A;"),
                ("d", "use crate::a::A;"),
            ]);
            let found = circle(&files).unwrap();
            let names: Vec<String> = found.iter().map(|module| module.join("/")).collect();
            assert_eq!(names.first(), names.last(), "{way}: {names:?}");
            assert!(names.len() > 2, "{way}: {names:?}");
        }
    }

    #[test]
    fn what_comments_and_tests_say_is_no_use_and_a_file_knows_its_parts() {
        let a = "mod part;\nuse part::Part;\nuse crate::b::B;";
        let b = "// use crate::a::A;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}";
        let part = "use super::A;\nuse super::super::b::B;";
        assert_eq!(circle(&files(&[("a", a), ("b", b), ("a/part", part)])), None);
        let b = "use crate::a::part::Part;";
        assert!(circle(&files(&[("a", a), ("b", b), ("a/part", part)])).is_some());
    }
}
