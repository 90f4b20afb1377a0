//! The world of the broker on three nats-servers, with three copies of each stream; and what befalls their leaders.

use crate::nats_faults::write;
use crate::node::{Node, free_port};
use crate::world::{Wishes, World, channel, in_time, seqs, texts};
use broker::{Broker, NatsOptions, ReadLimit};
use protocol::subjects::{Slot, nats as names};
use runtime::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::time::Duration;
use tempfile::TempDir;

/// Writers of one channel.
const WRITERS: usize = 6;

/// How long anything may take while leaders are elected. Reliability page: an election took 4 to 8 s, the product
/// tries for 30.
const ELECTIONS: Duration = Duration::from_secs(90);

/// Three servers that know each other.
pub(crate) struct Cluster {
    _root: TempDir,
    nodes: Vec<Node>,
    shutdown: Shutdown,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let node = |(number, port): (usize, &u16)| {
            let more = format!(
                "server_name: n{number}\n\
                 cluster {{ name: test, listen: 127.0.0.1:{port}, routes: [{}] }}\n",
                routes.join(", ")
            );
            Node::start(root.path().join(format!("n{number}")), &more)
        };
        let nodes = ports.iter().enumerate().map(node).collect();
        Self { _root: root, nodes, shutdown: Shutdown::new() }
    }

    fn urls(&self) -> String {
        self.nodes.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// Returns which server leads a channel's shard.
    async fn leader(&self, name: &str) -> usize {
        let client = async_nats::connect(self.urls().split(',').collect::<Vec<_>>()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let found = async {
            loop {
                if let Ok(stream) = context.get_stream(names::stream(Slot::of(&channel(name)).shard)).await
                    && let Some(leader) =
                        stream.cached_info().cluster.as_ref().and_then(|all| all.leader.clone())
                {
                    return leader.trim_start_matches('n').parse().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(ELECTIONS, found).await.expect("a leader")
    }

    /// Lets the leader of a channel's shard give it up.
    async fn step_down(&self, name: &str) {
        let client = async_nats::connect(self.urls().split(',').collect::<Vec<_>>()).await.unwrap();
        let stream = names::stream(Slot::of(&channel(name)).shard);
        let subject = format!("$JS.API.STREAM.LEADER.STEPDOWN.{stream}");
        in_time("a step-down", client.request(subject, "".into())).await.unwrap();
    }
}

impl World for Cluster {
    async fn open_with(&self, wishes: Wishes) -> Broker {
        let Wishes { dedup_window, ack_wait, live_queue } = wishes;
        let options = NatsOptions {
            dedup_window: Some(dedup_window),
            ack_wait,
            live_queue,
            replicas: Some(3),
            ..NatsOptions::new(self.urls())
        };
        // A cluster that starts takes nothing before it has leaders; whoever starts the product tries again as well.
        let open = async {
            loop {
                match broker::Nats::connect(options.clone(), &self.shutdown).await {
                    Ok(nats) => return Broker::Nats(nats),
                    Err(_no_leader_yet) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        };
        tokio::time::timeout(ELECTIONS, open).await.expect("a cluster")
    }

    /// All servers are killed at once and go on with their files.
    async fn crash(&self, broker: Broker) -> Broker {
        self.nodes.iter().for_each(Node::kill);
        drop(broker);
        self.nodes.iter().for_each(Node::start_again);
        self.open().await
    }
}

/// Writes while something befalls the leaders; what was answered must be the log, in each writer's order.
async fn writes_beside(cluster: &Cluster, befall: impl Future<Output = ()>) {
    let broker = cluster.open().await;
    let each = 60;
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(broker.clone(), writer, each))).collect();
    befall.await;
    let mut answered = BTreeMap::new();
    for writer in writers {
        let places = tokio::time::timeout(ELECTIONS, writer).await.expect("the writers go on").unwrap();
        assert!(places.is_sorted_by_key(|(seq, _)| *seq), "a writer's own order is the log's");
        answered.extend(places);
    }
    // Reads find no leader either, for a moment.
    let all = ReadLimit { entries: usize::MAX, bytes: usize::MAX };
    let read = async {
        loop {
            match broker.read(&channel("general"), 0, all).await {
                Ok(page) => return page,
                Err(_no_leader_yet) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    };
    let page = tokio::time::timeout(ELECTIONS, read).await.expect("a leader");
    let logged: BTreeMap<_, _> = seqs(&page).into_iter().zip(texts(&page)).collect();
    assert_eq!(logged, answered, "what was answered, and nothing else");
    assert_eq!(logged.len(), WRITERS * each);
    broker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_are_killed_lose_and_double_nothing() {
    let cluster = Cluster::new();
    writes_beside(&cluster, async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let leader = cluster.leader("general").await;
            cluster.nodes[leader].kill();
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.nodes[leader].start_again();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stands_still_loses_and_doubles_nothing() {
    let cluster = Cluster::new();
    writes_beside(&cluster, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let leader = cluster.leader("general").await;
        cluster.nodes[leader].signal("-STOP");
        tokio::time::sleep(Duration::from_secs(12)).await;
        cluster.nodes[leader].signal("-CONT");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_step_down_lose_and_double_nothing() {
    let cluster = Cluster::new();
    writes_beside(&cluster, async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            cluster.step_down("general").await;
        }
    })
    .await;
}
