//! House rules that the compiler does not check: crate edges, module docs, sizes, third-party names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may depend on whom (without the `basalt-` prefix). `hack` has no code and is everybody's.
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
            if let Some(other) = dependency.strip_prefix("basalt-").filter(|other| *other != "hack") {
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
    for member in members.iter().filter_map(|m| m.as_str()).filter(|m| *m != "hack") {
        assert!(allowed.contains_key(member), "{member} has no line in EDGES");
    }
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a source folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    for (name, _) in EDGES {
        for part in ["src", "tests"] {
            let folder = root().join(name).join(part);
            if folder.exists() {
                walk(&folder, &mut out);
            }
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
        ("use rocksdb", &["storage/src/engine/", "storage/src/raftlog/", "pd/src/meta_store/", "pd/src/rocks.rs"]),
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
