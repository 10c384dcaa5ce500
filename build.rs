//! The commit that a build was made from, for reports: `SPINDLE_COMMIT`, absent outside a checkout.
//! "-dirty" when what is compiled differs from it. Runs again when HEAD moves or a source changes.

use std::path::Path;
use std::process::Command;

fn git(words: &[&str]) -> Option<String> {
    let root = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let out = Command::new("git").arg("-C").arg(root).args(words).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
}

fn watch(path: &Path) {
    // One that is not there would run us each time.
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

fn commit() -> Option<String> {
    // Unpacked inside somebody else's repository, its commits are not ours.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let root = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&root).canonicalize().ok()? {
        return None;
    }
    // Of the worktree: HEAD moves with a checkout, its log with each commit, wherever refs are kept.
    let dir = git(&["rev-parse", "--absolute-git-dir"])?;
    watch(&Path::new(&dir).join("HEAD"));
    watch(&Path::new(&dir).join("logs/HEAD"));
    let short = git(&["rev-parse", "--short", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--", "src", "build.rs", "Cargo.toml", "Cargo.lock"]);
    Some(if changed?.is_empty() { short } else { short + "-dirty" })
}

fn main() {
    for source in ["build.rs", "src", "Cargo.toml", "Cargo.lock"] {
        watch(Path::new(source));
    }
    if let Some(commit) = commit() {
        println!("cargo::rustc-env=SPINDLE_COMMIT={commit}");
    }
}
