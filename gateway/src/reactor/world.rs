//! A reactor with sockets, for its tests.

use super::{Common, Reactor, Sheds};
use crate::admission::{Admission, Limits};
use crate::auth::Keys;
use crate::connection::Fresh;
use broker::{Broker, Embedded, Options};
use protocol::frames::Dialect;
use runtime::config::Secret;
use runtime::shutdown::Shutdown;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

fn common(data: &tempfile::TempDir) -> Common {
    let limits =
        Limits { connections_max: 1_000, per_address_max: 1_000, per_user_max: 1_000, loopback_exempt: true };
    let config = crate::Config {
        debug: true,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        jwt_signing_key: Secret::new("key"),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        reactors: 1,
        connections_max: 1_000,
        connections_per_address_max: 1_000,
        connections_per_user_max: 1_000,
        drain_window: Duration::ZERO,
        echo: false,
    };
    Common {
        keys: Arc::new(Keys::hs256(b"key")),
        admission: Admission::new(limits),
        broker: Broker::Embedded(Embedded::open(data.path(), Options::default()).unwrap()),
        sheds: Arc::new(Sheds::new(1)),
        dev_users: Vec::new(),
        shutdown: Shutdown::new(),
        config,
    }
}

/// A reactor with so many sockets, and the clients' ends of them.
pub(super) async fn reactor(data: &tempfile::TempDir, count: usize) -> (Rc<Reactor>, Vec<TcpStream>) {
    let reactor = Reactor::new(0, Arc::new(common(data)), mpsc::channel(1).0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (socket, _) = listener.accept().await.unwrap();
        let admitted = reactor.common.admission.admit(None).unwrap();
        let fresh = Fresh { socket, dialect: Dialect::V1Json, unread: Vec::new(), admitted };
        reactor.open(fresh, None, false);
    }
    (reactor, clients)
}
