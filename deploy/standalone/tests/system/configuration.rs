//! A wrong configuration is refused with exit code 64 and all its faults.

use crate::server::command;
use std::process::Output;

fn refused(change: impl FnOnce(&mut std::process::Command)) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut command = command(data.path());
    change(&mut command);
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(64));
    String::from_utf8(stderr).unwrap()
}

#[test]
fn all_faults_are_said_at_once_with_the_nearest_name() {
    let said = refused(|command| {
        command.env("LISTEN", "nowhere").env("ADMIN_LISTEN", "127.0.0.1:99999");
        command.env("SAFESHIPPER__STOP__NOT_READY_MSS", "5");
    });
    for part in ["LISTEN", "ADMIN_LISTEN", "not_ready_mss", "not_ready_ms"] {
        assert!(said.to_lowercase().contains(&part.to_lowercase()), "{part} in: {said}");
    }
}

#[test]
fn a_filter_or_an_origin_that_would_do_nothing_is_refused() {
    let said = refused(|command| {
        command.env("LOG", "info,gateway=loud");
        command.env("CORS_ALLOWED_ORIGINS", "https://app.example.com,app.example.com,https://a.example/chat");
    });
    for part in ["gateway=loud", "\"app.example.com\"", "https://a.example/chat"] {
        assert!(said.contains(part), "{part} in: {said}");
    }
}

#[test]
fn without_a_mode_the_variables_are_named() {
    let said = refused(|command| {
        command.env_remove("DEBUG");
    });
    for name in ["DEBUG", "NATS_URL", "REDIS_URL", "BROKER"] {
        assert!(said.contains(name), "{name} in: {said}");
    }
}

#[test]
fn a_mode_that_is_not_this_programs_is_refused() {
    for (key, url, told) in [
        ("NATS_URL", "nats://127.0.0.1:4222", "run the programs gateway and worker"),
        ("REDIS_URL", "redis://127.0.0.1:6379", "mode redis is not in this release yet"),
    ] {
        let said = refused(|command| {
            command.env(key, url);
        });
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn production_needs_a_key() {
    let said = refused(|command| {
        command.env_remove("DEBUG").env_remove("SECRET_KEY").env("BROKER", "embedded");
    });
    assert!(said.contains("SECRET_KEY"), "{said}");
}
