//! From a TCP connection to an answer or a WebSocket: accept, HTTP/1.1 by hyper, routes, upgrade.
//!
//! It decides nothing about chat. After the upgrade the raw socket is taken back and everything of the request
//! is dropped, so that an idle WebSocket costs neither hyper's buffers nor its futures.

use crate::admission::{Admitted, Refused, Refusing};
use crate::api::{self, Answer, dev};
use crate::connection::Fresh;
use crate::handshake::{
    self, Accepted, Policy, Refusal,
    address::{client_address, is_trusted},
};
use crate::page::Page;
use crate::reactor::Reactor;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::frames::Dialect;
use protocol::limits;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Where the page is served.
const PAGE_PATH: &str = "/chat";

/// Connections that wait to be accepted. Chosen: a restart's storm fits; the kernel caps it at somaxconn.
const BACKLOG: i32 = 4_096;

/// How long written bytes may stay unacknowledged before the kernel gives the socket up. Reliability page.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// Bytes that the kernel holds for a socket that takes little; Linux counts its own overhead twice. Chosen: as much
/// as the outbox; left alone it grows to 4 MiB each.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How long accepting pauses when the process has no descriptor left. Chosen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Seconds after which a refused client may try again. Chosen, spread by the client's own jitter.
const RETRY_AFTER_S: u32 = 5;

/// Binds the listeners of all reactors to one address; with port 0 the first one chooses the port.
///
/// # Errors
/// The system's, when the address cannot be bound.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<StdListener>)> {
    // Two processes of one user could share a port by SO_REUSEPORT and never know; a plain bind tells.
    drop(bind_one(address, false)?);
    let first = bind_one(address, true)?;
    let address = first.local_addr()?;
    let rest = (1..count).map(|_| bind_one(address, true));
    let listeners = std::iter::once(Ok(first)).chain(rest).collect::<io::Result<_>>()?;
    Ok((address, listeners))
}

/// Several reactors share the port by SO_REUSEPORT: the kernel spreads connections over them.
fn bind_one(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts for one reactor until the caller drops it.
pub(crate) async fn accept(reactor: Rc<Reactor>, listener: TcpListener) {
    let shutdown = reactor.common.shutdown.clone();
    let routes = Rc::new(Routes::new(reactor));
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                shutdown.spawn_local("handshake", routes.clone().serve(socket, peer.ip()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What one reactor answers over HTTP.
struct Routes {
    reactor: Rc<Reactor>,
    policy: Policy,
    dev: Option<dev::Dev>,
    page: Page,
}

/// One TCP connection that speaks HTTP so far.
struct Peer {
    routes: Rc<Routes>,
    address: IpAddr,
    place: RefCell<Place>,
}

/// A connection's place among the others.
enum Place {
    Admitted(Admitted),
    /// A WebSocket took it along.
    Taken,
    Refused(Refused, #[expect(dead_code, reason = "held until the refusal is said")] Refusing),
}

impl Routes {
    fn new(reactor: Rc<Reactor>) -> Self {
        let common = &reactor.common;
        let config = &common.config;
        let policy = Policy { debug: config.debug, allowed_origins: config.allowed_origins.clone() };
        let dev =
            config.debug.then(|| dev::Dev { users: common.dev_users.clone(), keys: common.keys.clone() });
        Self { policy, dev, page: Page::embedded(PAGE_PATH), reactor }
    }

    /// Speaks HTTP with one peer. A connection without a place is answered with why, then closed.
    async fn serve(self: Rc<Self>, socket: TcpStream, address: IpAddr) {
        if let Err(error) = prepare(&socket) {
            tracing::debug!(%error, "a socket was gone before it was served");
            return;
        }
        let Some(place) = self.place(address) else { return };
        let keep_alive = matches!(place, Place::Admitted(_));
        let peer = Rc::new(Peer { routes: self, address, place: RefCell::new(place) });
        let service = service_fn(move |request| {
            let peer = peer.clone();
            async move { Ok::<_, Infallible>(peer.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(keep_alive)
            .header_read_timeout(Duration::from_millis(limits::HANDSHAKE_HEADER_TIME_MS))
            .max_buf_size(limits::HANDSHAKE_HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended before its answer");
        }
    }
}

impl Routes {
    /// Takes a place for a connection; behind a trusted proxy, whose it is will be known by its request.
    fn place(&self, peer: IpAddr) -> Option<Place> {
        let common = &self.reactor.common;
        let client = (!is_trusted(peer, &common.config.trusted_proxies)).then(|| peer.to_canonical());
        match common.admission.admit(client) {
            Ok(admitted) => Some(Place::Admitted(admitted)),
            Err(refused) => Some(Place::Refused(refused, common.admission.refuse()?)),
        }
    }
}

/// Small frames leave at once, a peer that takes little is noticed soon, and one that takes nothing is given up by
/// the kernel.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(WRITE_STALL))
}

impl Peer {
    async fn answer(self: Rc<Self>, mut request: Request<Incoming>) -> Answer {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        if let Place::Refused(refused, _) = &*self.place.borrow() {
            return refuse(no_place(*refused));
        }
        if self.routes.reactor.common.config.echo {
            return self.handshake(&head, upgrade).unwrap_or_else(refuse);
        }
        let path = head.uri.path();
        match path {
            "/ws/chat/" | "/ws/chat" => self.handshake(&head, upgrade).unwrap_or_else(refuse),
            path if path.starts_with(dev::PATH) => match &self.routes.dev {
                Some(dev) => {
                    let now_ms = runtime::clock::now_unix_ms();
                    dev::answer(&head, body, dev, dev::Caller { peer: self.address, now_ms }).await
                }
                None => api::not_found(),
            },
            _ => self.routes.page.answer(&head).unwrap_or_else(api::not_found),
        }
    }

    fn handshake(&self, head: &Parts, upgrade: OnUpgrade) -> Result<Answer, Refusal> {
        if self.routes.reactor.is_draining() {
            return Err(Refusal::unavailable(RETRY_AFTER_S));
        }
        let echo = self.routes.reactor.common.config.echo;
        let accepted =
            if echo { handshake::judge_bare(head)? } else { handshake::judge(head, &self.routes.policy)? };
        if let (Dialect::Classic, Some(token)) = (accepted.dialect, &accepted.credential) {
            // The old page would reconnect for ever if the socket opened first.
            self.routes.reactor.verify_token(&token.0).map_err(|error| Refusal::bad_credential(&error))?;
        }
        let answer = handshake::accepted_response(&accepted);
        let mut place = self.place.borrow_mut();
        if let Place::Admitted(admitted) = &mut *place {
            let proxies = &self.routes.reactor.common.config.trusted_proxies;
            admitted.count_for(client_address(head, self.address, proxies)).map_err(no_place)?;
        }
        if let Place::Admitted(admitted) = std::mem::replace(&mut *place, Place::Taken) {
            let reactor = self.routes.reactor.clone();
            let shutdown = reactor.common.shutdown.clone();
            shutdown.spawn_local("upgrade", upgraded(reactor, upgrade, accepted, admitted));
        }
        Ok(answer)
    }
}

fn no_place(refused: Refused) -> Refusal {
    match refused {
        Refused::Full => Refusal::unavailable(RETRY_AFTER_S),
        Refused::Address => Refusal::rate_limited(RETRY_AFTER_S),
    }
}

fn refuse(refusal: Refusal) -> Answer {
    metrics::counter!(crate::metrics::REFUSED, "code" => refusal.code).increment(1);
    refusal.into_response()
}

/// Takes the raw socket back once hyper has sent the answer.
async fn upgraded(reactor: Rc<Reactor>, upgrade: OnUpgrade, accepted: Accepted, admitted: Admitted) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "a peer left during the handshake"),
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        return tracing::error!("an upgraded connection is no TCP stream");
    };
    let socket = parts.io.into_inner();
    forget_handshake(&socket);
    let fresh = Fresh { socket, dialect: accepted.dialect, unread: parts.read_buf.to_vec(), admitted };
    reactor.open(fresh, accepted.credential, accepted.resume);
}

/// tokio's driver keeps the waker of who last waited for the socket, and the waker the memory of its whole task: a
/// kilobyte for each socket that has not said anything yet. Nobody's waker takes its place.
fn forget_handshake(socket: &TcpStream) {
    let mut nobody = Context::from_waker(Waker::noop());
    let _none_waits = socket.poll_read_ready(&mut nobody);
    let _none_waits = socket.poll_write_ready(&mut nobody);
}
