//! What only a broker across a network has to stand: servers that die, are too old, or hold something else.

use crate::nats::Nats;
use crate::world::{DEADLINE, PERSISTENCE, World, append, channel, entry, in_time, seqs, text, texts, whole};
use broker::{Appended, Broker, LiveEvent, NatsOpenError, NatsOptions, PublishError};
use protocol::control::Control;
use protocol::subjects::{SHARDS, Slot, dedup_key, nats as names};
use runtime::admin::Readiness;
use runtime::config::Secret;
use runtime::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Writes `each` entries one after the other, each as often as it takes; returns where they are.
pub(crate) async fn write(broker: Broker, writer: usize, each: usize) -> Vec<(u64, String)> {
    let general = channel("general");
    let mut places = Vec::new();
    for n in 0..each {
        let text = format!("{writer}/{n}");
        let key = dedup_key([general.as_str(), "", &text]);
        loop {
            match broker.append(entry(&general, key, &text)).await {
                Ok(Appended::New { position } | Appended::Duplicate { position, .. }) => {
                    places.push((position.seq, text));
                    break;
                }
                Ok(Appended::Moved { .. }) => panic!("nobody expects a head"),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_and_doubles_nothing() {
    let world = Nats::new();
    let broker = world.open().await;
    let writers: Vec<_> = (0..8).map(|writer| tokio::spawn(write(broker.clone(), writer, 60))).collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.kill();
        world.start();
    }
    let mut answered = BTreeMap::new();
    for writer in writers {
        let places = tokio::time::timeout(Duration::from_secs(60), writer).await.unwrap().unwrap();
        assert!(places.is_sorted_by_key(|(seq, _)| *seq), "a writer's own order is the log's");
        answered.extend(places);
    }
    let page = whole(&broker, &channel("general")).await;
    let logged: BTreeMap<_, _> = seqs(&page).into_iter().zip(texts(&page)).collect();
    assert_eq!(logged, answered, "what was answered, and nothing else");
    assert_eq!(logged.len(), 480);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_doubts_what_it_heard_after_a_new_connection_and_hears_on() {
    let world = Nats::new();
    let broker = world.open().await;
    let general = channel("general");
    let (control, mut subscriber) = broker.subscriber().await.unwrap();
    control.add(&[Slot::of(&general)]).await;
    append(&broker, &general, "before").await;
    assert!(matches!(in_time("an event", subscriber.next()).await, Some(LiveEvent::Durable { .. })));
    world.kill();
    world.start();
    let mut doubted = BTreeSet::new();
    while doubted.len() < usize::from(SHARDS) {
        match in_time("the doubt", subscriber.next()).await {
            Some(LiveEvent::Lost(Some(shard))) => assert!(doubted.insert(shard), "{shard:?} is told once"),
            other => panic!("{other:?}"),
        }
    }
    append(&broker, &general, "after").await;
    assert!(matches!(in_time("an event", subscriber.next()).await, Some(LiveEvent::Durable { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_made_anew_is_another_life() {
    let world = Nats::new();
    let broker = world.open().await;
    let general = channel("general");
    let shard = Slot::of(&general).shard;
    let before = append(&broker, &general, "before").await;
    let (_control, mut subscriber) = broker.subscriber().await.unwrap();
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let consumed = in_time("an entry", consumer.fetch(10, DEADLINE)).await.unwrap();
    assert_eq!((consumed.len(), &consumed[0].epoch), (1, &before.epoch));
    let client = async_nats::connect(world.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream(names::stream(shard)).await.unwrap();
    assert_eq!(in_time("the doubt", subscriber.next()).await, Some(LiveEvent::Lost(Some(shard))));
    assert_ne!(broker.epoch(shard), before.epoch);
    let after = append(&broker, &general, "after").await;
    assert_eq!(after.epoch, broker.epoch(shard));
    assert_eq!(texts(&whole(&broker, &general).await), ["after"]);
    // The group's consumer went with its stream; its members make it again.
    let again = async {
        loop {
            let consumed = consumer.fetch(10, Duration::from_millis(500)).await.unwrap_or_default();
            if !consumed.is_empty() {
                break consumed;
            }
        }
    };
    let again = in_time("an entry of the new life", again).await;
    assert_eq!((text(&again[0].entry.envelope), &again[0].epoch), ("after".to_owned(), &after.epoch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_has_settled_ends_before_the_first_entry_that_is_out() {
    let world = Nats::new();
    let broker = world.open().await;
    let general = channel("general");
    let shard = Slot::of(&general).shard;
    let mut places = Vec::new();
    for n in 0..4 {
        places.push(append(&broker, &general, &n.to_string()).await.seq);
    }
    let mut consumer = broker.consume(PERSISTENCE).await.unwrap();
    let taken = in_time("entries", consumer.fetch(10, DEADLINE)).await.unwrap();
    let ids: Vec<_> = taken.iter().map(|delivery| delivery.id).collect();
    // The second one is still with its member.
    consumer.ack(&[ids[0], ids[2], ids[3]]).await;
    let settled = async {
        while broker.settled(PERSISTENCE, shard).await.unwrap() != Some(places[0]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time("what is settled", settled).await;
    consumer.ack(&ids[1..2]).await;
    let settled = async {
        while broker.settled(PERSISTENCE, shard).await.unwrap() != Some(places[3]) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time("what is settled", settled).await;
}

#[tokio::test]
async fn a_stream_that_is_not_the_log_is_refused() {
    let world = Nats::new();
    let client = async_nats::connect(world.url()).await.unwrap();
    let foreign = async_nats::jetstream::stream::Config {
        name: "CHAT_3".to_owned(),
        subjects: vec!["chat.log.3.>".to_owned()],
        max_age: Duration::from_secs(3_600),
        ..async_nats::jetstream::stream::Config::default()
    };
    async_nats::jetstream::new(client).create_stream(foreign).await.unwrap();
    let refused = broker::Nats::connect(NatsOptions::new(world.url()), &Shutdown::new()).await;
    let error = refused.err().expect("a log that forgets is none").to_string();
    assert_eq!(error, "stream CHAT_3 is not a log of this product: its max_age is another");
}

#[tokio::test]
async fn servers_that_cannot_carry_the_log_are_refused_with_a_reason() {
    let cases = [
        (r#""version":"2.9.10","jetstream":true"#, "nats-server 2.9.10 is too old"),
        (r#""version":"2.15.2""#, "the NATS server has no JetStream"),
    ];
    for (says, reason) in cases {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let info = format!("INFO {{\"server_id\":\"X\",{says},\"max_payload\":1048576}}\r\n");
            socket.write_all(info.as_bytes()).await.unwrap();
            let mut buffer = [0; 1_024];
            while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                socket.write_all(b"PONG\r\n").await.unwrap();
            }
        });
        let options = NatsOptions::new(format!("nats://127.0.0.1:{port}"));
        let refused = in_time("a refusal", broker::Nats::connect(options, &Shutdown::new())).await;
        let error = refused.err().expect("such a server is refused").to_string();
        assert!(error.starts_with(reason), "{error}");
        serving.abort();
    }
    let options = NatsOptions::new("nats://127.0.0.1:1");
    let refused = in_time("a refusal", broker::Nats::connect(options, &Shutdown::new())).await;
    assert!(matches!(refused.err(), Some(NatsOpenError::Connect { .. })));
}

/// Makes a certificate that signs itself, for the server and for whoever trusts it.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("certificate.pem"))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_tls_and_a_password_serves_who_has_both() {
    let world = Nats::with(|folder| {
        certificate(folder);
        let file = |name| folder.join(name).display().to_string();
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nauthorization {{ user: chat, password: \"s3cret\" }}\n",
            file("certificate.pem"),
            file("key.pem")
        )
    });
    let login = |password| Some(("chat".to_owned(), Secret::new(password)));
    let right = NatsOptions {
        ca_file: Some(world.folder().join("certificate.pem")),
        login: login("s3cret"),
        ..NatsOptions::new(world.url())
    };
    let broker = Broker::Nats(broker::Nats::connect(right.clone(), &Shutdown::new()).await.unwrap());
    append(&broker, &channel("general"), "within").await;
    assert_eq!(texts(&whole(&broker, &channel("general")).await), ["within"]);
    let wrong = [
        NatsOptions { login: login("guess"), ..right.clone() },
        NatsOptions { login: None, ..right.clone() },
        NatsOptions { ca_file: None, ..right.clone() },
    ];
    for options in wrong {
        let refused = in_time("a refusal", broker::Nats::connect(options, &Shutdown::new())).await;
        assert!(matches!(refused.err(), Some(NatsOpenError::Connect { .. })));
    }
    let missing = NatsOptions { credentials: Some("no/such.creds".into()), ..right };
    let refused = broker::Nats::connect(missing, &Shutdown::new()).await;
    assert!(matches!(refused.err(), Some(NatsOpenError::Options(said)) if said.contains("no/such.creds")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_there_is_no_readiness_and_nothing_is_announced() {
    let world = Nats::new();
    let nats = broker::Nats::connect(NatsOptions::new(world.url()), &Shutdown::new()).await.unwrap();
    let readiness = Readiness::default();
    nats.tell(&readiness);
    let becomes = async |wanted: bool| {
        let wait = async {
            while readiness.is_met() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        in_time(if wanted { "readiness" } else { "its end" }, wait).await;
    };
    let broker = Broker::Nats(nats.clone());
    let announce = || broker.announce(Control::Memberships(Vec::new()));
    becomes(true).await;
    assert_eq!(announce().await, Ok(()));
    world.kill();
    becomes(false).await;
    assert_eq!(announce().await, Err(PublishError::Unreachable), "it would come late");
    world.start();
    becomes(true).await;
    assert_eq!(announce().await, Ok(()));
}
