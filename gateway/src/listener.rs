//! From a TCP connection to an answer or a WebSocket: accept, HTTP/1.1 by hyper, routes, upgrade.
//!
//! It decides nothing about chat. After the upgrade the raw socket is taken back and everything of the request
//! is dropped, so that an idle WebSocket costs neither hyper's buffers nor its futures.

use crate::admission::{Admitted, Refused};
use crate::api::{self, Answer, dev};
use crate::connection::Fresh;
use crate::handshake::{self, Accepted, Policy, Refusal, address::client_address};
use crate::page::Page;
use crate::reactor::Reactor;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::frames::Form;
use protocol::limits;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Where the page is served.
const PAGE_PATH: &str = "/chat";

/// Connections that wait to be accepted. Chosen: a restart's storm fits; the kernel caps it at somaxconn.
const BACKLOG: i32 = 4_096;

/// How long written bytes may stay unacknowledged before the kernel gives the socket up. Reliability page.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// How long accepting pauses when the process has no descriptor left. Chosen.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Seconds after which a refused client may try again. Chosen, spread by the client's own jitter.
const RETRY_AFTER_S: u32 = 5;

/// Binds the listeners of all reactors to one address; with port 0 the first one chooses the port.
///
/// # Errors
/// The system's, when the address cannot be bound.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<StdListener>)> {
    let first = bind_one(address)?;
    let address = first.local_addr()?;
    let rest = (1..count).map(|_| bind_one(address));
    let listeners = std::iter::once(Ok(first)).chain(rest).collect::<io::Result<_>>()?;
    Ok((address, listeners))
}

/// Several reactors share the port by SO_REUSEPORT: the kernel spreads connections over them.
fn bind_one(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts for one reactor until the caller drops it.
pub(crate) async fn accept(reactor: Rc<Reactor>, listener: StdListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let routes = Rc::new(Routes::new(reactor));
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                tokio::task::spawn_local(routes.clone().serve(socket, peer.ip()));
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
    /// Its place among the connections; a WebSocket takes it along.
    admitted: RefCell<Option<Admitted>>,
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
        let peer = Rc::new(Peer { routes: self, address, admitted: RefCell::new(None) });
        let service = service_fn(move |request| {
            let peer = peer.clone();
            async move { Ok::<_, Infallible>(peer.answer(request).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
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

/// Small frames leave at once, and a peer that takes nothing is given up by the kernel.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(socket).set_tcp_user_timeout(Some(WRITE_STALL))
}

impl Peer {
    async fn answer(self: Rc<Self>, mut request: Request<Incoming>) -> Answer {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if let Err(refused) = self.admit(&head) {
            let refusal = match refused {
                Refused::Full => Refusal::unavailable(RETRY_AFTER_S),
                Refused::Address => Refusal::rate_limited(RETRY_AFTER_S),
            };
            return refuse(refusal);
        }
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

    /// Takes this connection's place at its first request, when the client's address is known.
    fn admit(&self, head: &Parts) -> Result<(), Refused> {
        let mut admitted = self.admitted.borrow_mut();
        if admitted.is_none() {
            let common = &self.routes.reactor.common;
            let address = client_address(head, self.address, &common.config.trusted_proxies);
            *admitted = Some(common.admission.admit(address)?);
        }
        Ok(())
    }

    fn handshake(&self, head: &Parts, upgrade: OnUpgrade) -> Result<Answer, Refusal> {
        if self.routes.reactor.is_draining() {
            return Err(Refusal::unavailable(RETRY_AFTER_S));
        }
        let accepted = handshake::judge(head, &self.routes.policy)?;
        if let (Form::Classic, Some(token)) = (accepted.form, &accepted.credential) {
            // The old page would reconnect for ever if the socket opened first.
            self.routes.reactor.verify_token(&token.0).map_err(|error| Refusal::bad_credential(&error))?;
        }
        let answer = handshake::accepted_response(&accepted);
        if let Some(admitted) = self.admitted.borrow_mut().take() {
            tokio::task::spawn_local(upgraded(self.routes.reactor.clone(), upgrade, accepted, admitted));
        }
        Ok(answer)
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
    let fresh = Fresh {
        socket: parts.io.into_inner(),
        form: accepted.form,
        unread: parts.read_buf.to_vec(),
        admitted,
    };
    reactor.open(fresh, accepted.credential, accepted.resume);
}
