//! What a compiler does not check: the length of files, which way dependencies point, that samples are valid.

#![allow(clippy::expect_used, reason = "a test says what it expects by failing")]

use cargo_metadata::{DependencyKind, MetadataCommand};
use runtime::config::{Mode, Reader, Settings, Source};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file at most, tests included. Style page.
const LINES_MAX: usize = 400;

/// Lines of a file of the web client at most. Style page.
const WEB_LINES_MAX: usize = 250;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().expect("the repository's root")
}

/// The files that git tracks or would track.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("paths are UTF-8");
    let files: Vec<_> =
        listed.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect();
    assert!(files.len() > 50, "the listing is not the whole repository: {} files", files.len());
    files
}

#[test]
fn source_files_are_short_enough_to_read() {
    let mut long = Vec::new();
    for path in files() {
        let limit = match Path::new(&path).extension().and_then(|extension| extension.to_str()) {
            Some("rs" | "py" | "sh") => LINES_MAX,
            Some("ts" | "tsx" | "css") => WEB_LINES_MAX,
            _ => continue,
        };
        let lines = std::fs::read_to_string(root().join(&path)).expect("source is UTF-8").lines().count();
        if lines > limit {
            long.push(format!("{path}: {lines} lines, {limit} allowed"));
        }
    }
    assert!(long.is_empty(), "split by subject:\n{}", long.join("\n"));
}

#[test]
fn sample_configurations_are_understood() {
    let samples: Vec<_> = files()
        .into_iter()
        .filter(|path| path.starts_with("deploy/config/") && path.ends_with(".toml"))
        .collect();
    assert!(!samples.is_empty(), "there is at least one sample");
    for path in samples {
        let text = std::fs::read_to_string(root().join(&path)).expect("a sample is UTF-8");
        // A sample holds no secret; whoever runs it gives one in the environment.
        let secret = [("SECRET_KEY".to_owned(), "a-key-that-is-given-by-the-operator".to_owned())];
        let source = Source::from_parts(Some(&text), &[], &secret).expect("a sample is TOML");
        let mut reader = Reader::new(source);
        let settings = Settings::read(&mut reader);
        let gateway = gateway::Config::read(&mut reader, &settings);
        let _worker = worker::Config::read(&mut reader);
        let _store = store::Config::read(&mut reader, &settings.data_dir);
        let _stop = runtime::stop::Config::read(&mut reader, &settings, gateway.drain_window);
        if let Some(Mode::Nats(url)) = &settings.mode {
            let _nats = broker::NatsOptions::read(&mut reader, url, "tidy");
        }
        if let Err(faults) = reader.finish() {
            panic!("{path}: {faults}");
        }
    }
}

#[test]
fn dependencies_point_the_way_the_architecture_says() {
    // Each crate of ours, and which others of ours it may use.
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("protocol", &[] as &[_]),
        ("runtime", &[]),
        ("broker", &["protocol", "runtime"]),
        ("store", &["protocol", "runtime"]),
        ("gateway", &["protocol", "broker", "runtime"]),
        ("worker", &["protocol", "broker", "store", "runtime"]),
        ("standalone", &["protocol", "runtime", "broker", "store", "gateway", "worker"]),
        ("loadtest", &["protocol", "runtime"]),
        // Parses the samples with the components' own readers, in its tests alone.
        ("tidy", &["runtime", "broker", "store", "gateway", "worker"]),
    ]);
    let metadata = MetadataCommand::new().current_dir(root()).exec().expect("cargo metadata runs");
    let ours: Vec<_> = metadata.workspace_packages();
    assert_eq!(ours.len(), allowed.len(), "a crate is missing in this test");
    let mut wrong = Vec::new();
    for package in &ours {
        let may = allowed.get(package.name.as_str());
        let uses = package.dependencies.iter().filter(|used| used.kind != DependencyKind::Build);
        for used in uses.filter(|used| ours.iter().any(|other| other.name.as_str() == used.name)) {
            if !may.is_some_and(|may| may.contains(&used.name.as_str())) {
                wrong.push(format!("{} -> {}", package.name, used.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that the architecture does not have:\n{}", wrong.join("\n"));
}

#[test]
fn protocol_knows_no_clock_no_runtime_and_no_io() {
    let forbidden =
        ["std::net", "std::fs", "std::io", "std::thread", "tokio", "SystemTime", "Instant::now", "std::env"];
    let mut found = Vec::new();
    for path in files().iter().filter(|path| path.starts_with("shared/protocol/src/")) {
        let text = std::fs::read_to_string(root().join(path)).expect("source is UTF-8");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|line| forbidden.iter().any(|word| line.contains(word))) {
            found.push(format!("{path}: {line}"));
        }
    }
    assert!(found.is_empty(), "protocol is pure:\n{}", found.join("\n"));
}
