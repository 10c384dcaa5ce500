//! Reads the imports of `src/` and fails on an arrow between rooms that ARCHITECTURE.md does not
//! allow, on an import of glommio outside `runtime/`, and on Kafka error codes outside api/ and wire/.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms and what each may import. `types`, `limits`, `error`, `config`, `metrics` and `wire` import
/// no room but these plain ones.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("limits", &[]),
    ("error", &[]),
    ("metrics", &[]),
    ("config", PLAIN),
    ("wire", PLAIN),
    ("runtime", PLAIN),
    ("log", &["runtime", "wire"]),
    ("partition", &["log", "runtime", "wire"]),
    ("controller", &["log", "runtime", "wire"]),
    ("coordinator", &["wire"]),
    ("shard", &["coordinator", "partition", "controller", "log", "runtime", "wire"]),
    ("api", &["shard", "coordinator", "partition", "controller", "wire"]),
    ("server", &["api", "shard", "runtime", "wire"]),
    ("client", &["runtime", "wire"]),
    ("admin", &["client", "coordinator", "runtime", "wire"]),
    ("loadgen", &["client", "runtime", "wire"]),
    ("node", &["server", "shard", "controller", "log", "runtime"]),
    ("tune", &["runtime"]),
    ("cli", &["node", "loadgen", "admin", "coordinator", "log", "runtime", "tune"]),
];
const PLAIN: &[&str] = &["types", "limits", "error", "config", "metrics"];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// `src/log/index.rs` is in room `log`; `src/node.rs` in `node`.
fn room(path: &Path) -> String {
    let inner = path.strip_prefix(root()).unwrap();
    let first = inner.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn code(text: &str) -> String {
    let live = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    live.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Rooms named as `crate::room`, also inside `use crate::{a::…, b::…}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `spindle_crate::` is not ours.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + 7..];
        let mut names = Vec::new();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(std::mem::take(&mut name)),
                    c if depth == 0 && !c.is_whitespace() => name.push(c),
                    _ => {}
                }
            }
            names.push(name);
        } else {
            names.push(rest.to_string());
        }
        for name in names {
            let room: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.insert(room);
        }
    }
    found
}

#[test]
fn rooms_import_only_along_the_arrows() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> = ARROWS
        .iter()
        .map(|(room, arrows)| {
            let plain = if PLAIN[..3].contains(room) { &[] as &[&str] } else { PLAIN };
            (*room, arrows.iter().chain(plain).copied().collect())
        })
        .collect();
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let from = room(&path);
        if ["lib", "main"].contains(&from.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(from.as_str()) else {
            wrong.push(format!("{}: room {from} is not on the map", path.display()));
            continue;
        };
        for to in imports(&code(&std::fs::read_to_string(&path).unwrap())) {
            let is_room = ARROWS.iter().any(|(r, _)| *r == to);
            if is_room && to != from && !allowed.contains(to.as_str()) {
                wrong.push(format!("{}: {from} -> {to}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the map does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn the_map_has_no_cycle() {
    let mut left: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(r, a)| (*r, a.iter().copied().filter(|x| x != r).collect())).collect();
    while !left.is_empty() {
        let leaves: Vec<&str> = left
            .iter()
            .filter(|(r, a)| a.is_empty() || PLAIN.contains(r))
            .map(|(r, _)| *r)
            .collect();
        assert!(!leaves.is_empty(), "a cycle among {:?}", left.keys());
        for leaf in leaves {
            left.remove(leaf);
            for arrows in left.values_mut() {
                arrows.remove(leaf);
            }
        }
    }
}

#[test]
fn only_runtime_names_glommio_and_only_api_and_wire_name_error_codes() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let from = room(&path);
        let code = code(&std::fs::read_to_string(&path).unwrap());
        if from != "runtime" && code.contains("glommio") {
            wrong.push(format!("{}: names glommio", path.display()));
        }
        let may = ["api", "wire", "client", "loadgen"].contains(&from.as_str());
        if !may && code.contains("error_code::") {
            wrong.push(format!("{}: names Kafka error codes", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
        let lines = text.lines().count();
        // Tables of keys are data.
        let data =
            path.to_string_lossy().contains("definitions/") || path.ends_with("wire/error_code.rs");
        // A list of cases is read one case at a time.
        let limit = if path.ends_with("tests.rs") { 1000 } else { 500 };
        if lines > limit && !data {
            wrong.push(format!("{}: {lines} lines: split it by the state it owns", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
