//! House rules that the compiler does not check: crate edges, module docs, sizes, third-party names.

use basalt_tests::files_below;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may depend on whom (without the `basalt-` prefix). `workspace-hack` has no code and is everybody's.
const EDGES: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("common", &["proto"]),
    ("expr", &["common", "proto"]),
    ("client", &["common", "proto"]),
    ("pd", &["common", "proto"]),
    ("storage", &["common", "proto", "client"]),
    ("coprocessor", &["common", "proto", "expr", "storage"]),
    ("sql", &["common", "proto", "expr", "client"]),
    ("bin", &["common", "proto", "expr", "client", "pd", "storage", "coprocessor", "sql"]),
    ("tests", &["common", "proto", "expr", "client", "pd", "storage", "coprocessor", "sql"]),
];

/// Crates in which DataFusion must not appear: they build and test without it.
const WITHOUT_DATAFUSION: &[&str] = &["proto", "common", "client", "pd", "storage"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn dependencies(manifest: &toml::Table) -> Vec<String> {
    manifest.get("dependencies").and_then(|d| d.as_table()).map(|d| d.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn crates_depend_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (name, may) in &allowed {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("every crate has a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        for dependency in dependencies(&manifest) {
            if let Some(other) = dependency.strip_prefix("basalt-") {
                assert!(may.contains(&other), "{name} must not depend on {other}");
            }
            if WITHOUT_DATAFUSION.contains(name) {
                assert!(
                    !dependency.starts_with("datafusion") && dependency != "arrow",
                    "{name} must not depend on {dependency}"
                );
            }
        }
    }
    let members = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    let manifest: toml::Table = members.parse().expect("a manifest is TOML");
    let members = manifest["workspace"]["members"].as_array().expect("the workspace has members");
    for member in members.iter().filter_map(|m| m.as_str()).filter(|m| !m.starts_with("build/")) {
        assert!(allowed.contains_key(member), "{member} has no line in EDGES");
    }
}

/// Dependencies without a `name::` in the sources: used by generated code, or called otherwise (md-5 is the crate md5).
const USED_UNSEEN: &[(&str, &str)] = &[("proto", "prost"), ("proto", "tonic-prost"), ("expr", "md-5")];

#[test]
fn every_dependency_is_used() {
    for (name, _) in EDGES {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("every crate has a manifest");
        let manifest: toml::Table = text.parse().expect("a manifest is TOML");
        let code: String = files_below(&root().join(name), "rs")
            .iter()
            .map(|path| fs::read_to_string(path).expect("a source file can be read"))
            .collect();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(|d| d.as_table()) else { continue };
            // Our own crates are in EDGES.
            for dependency in table.keys().filter(|d| !d.starts_with("basalt-") && *d != "workspace-hack") {
                let called = dependency.replace('-', "_");
                let is_used = code.contains(&format!("{called}::")) || code.contains(&format!("use {called};"));
                let is_excused = USED_UNSEEN.contains(&(*name, dependency.as_str()));
                assert!(is_used || is_excused, "{name} does not use {dependency}: take it out of its manifest");
            }
        }
    }
}

/// Every crate with its features in a build of a package.
fn features(package: &str) -> BTreeMap<String, String> {
    let arguments = ["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "none"];
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(arguments).args(["--package", package, "--format", "{p}|{f}"]);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("names are UTF-8");
    let pairs = lines.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('|'));
    pairs.map(|(name, features)| (name.to_string(), features.to_string())).collect()
}

/// `make build` compiles the SQL server while RocksDB compiles, then the rest: a crate whose features differ between the
/// two would be compiled twice, and so would everything above it.
#[test]
fn both_steps_of_a_build_share_their_crates() {
    let whole = features("basalt");
    for first in ["basalt-sql", "early"] {
        let differs = |(name, features): &(String, String)| whole.get(name) != Some(features);
        let own = |name: &str| name.starts_with("early ");
        let twice: Vec<_> = features(first).into_iter().filter(|each| differs(each) && !own(&each.0)).collect();
        assert!(twice.is_empty(), "{first}: add what is missing to build/workspace-hack/Cargo.toml: {twice:?}");
    }
}

fn sources() -> Vec<PathBuf> {
    let mut out = Vec::new();
    for (name, _) in EDGES {
        // The crate of tests has its sources in folders by what they test.
        let parts: &[&str] = if *name == "tests" { &["."] } else { &["src", "tests"] };
        for folder in parts.iter().map(|part| root().join(name).join(part)).filter(|folder| folder.exists()) {
            out.extend(files_below(&folder, "rs"));
        }
    }
    out.sort();
    out
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        assert!(text.starts_with("//!"), "{} does not start with //!", path.display());
    }
}

#[test]
fn no_file_outgrows_its_purpose() {
    const LINES_MAX: usize = 1000;
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let before_tests = text.split("\n#[cfg(test)]").next().unwrap_or(&text);
        let lines = before_tests.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines before its tests: split it", path.display());
    }
}

#[test]
fn third_party_names_stay_behind_our_words() {
    // A crate is wrapped in the modules named here, and appears nowhere else.
    let homes: &[(&str, &[&str])] = &[
        ("use rocksdb", &["storage/src/engine/", "storage/src/raftlog/", "pd/src/meta_store/"]),
        ("use raft_engine", &["storage/src/raftlog/"]),
    ];
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        let relative = path.strip_prefix(root()).expect("sources lie in the workspace").display().to_string();
        for (import, allowed) in homes {
            if text.lines().any(|line| line.trim_start().starts_with(import)) {
                assert!(
                    allowed.iter().any(|home| relative.starts_with(home)),
                    "{relative}: {import} belongs in {allowed:?}"
                );
            }
        }
    }
}

/// Words of a document's inline code that look like names of types, functions or fields.
fn names_in(document: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut text = String::new();
    for line in document.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            text.push_str(line);
            text.push('\n');
        }
    }
    let is_name = |word: &&str| word.contains('_') || word.chars().skip(1).any(char::is_uppercase);
    text.split('`').skip(1).step_by(2).flat_map(words).filter(is_name).map(str::to_string).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn the_map_names_what_exists() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map is there");
    assert!(document.lines().count() <= 300, "ARCHITECTURE.md is to be read in one go");
    let mut missing = names_in(&document);
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file can be read");
        words(&text).for_each(|word| {
            missing.remove(word);
        });
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md names what is not in the code: {missing:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "docs/formats.md", "docs/glossary.md", "docs/mistakes.md"] {
        let path = root().join(document);
        let text = fs::read_to_string(&path).expect("the document is there");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let linked = path.parent().expect("a file lies in a folder").join(target);
            assert!(target.starts_with("http") || linked.exists(), "{document} links to {target}, which is not there");
        }
    }
}
