//! The internal port: is the process alive, does it want traffic, what does it count.

use crate::shutdown::{Shutdown, Stage};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections served at once; the others wait to be accepted. Chosen: probes and a scraper are few.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's header may take, and a connection may idle.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Between two scrapes' worth of upkeep that histograms want. From the exporter's documentation.
const UPKEEP: Duration = Duration::from_secs(5);

/// What must hold before the process wants traffic; cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeSet<String>>>);

impl Readiness {
    /// Names a condition that does not hold yet.
    pub fn require(&self, condition: &str) {
        self.missing().insert(condition.to_owned());
    }

    /// The condition holds now.
    pub fn met(&self, condition: &str) {
        self.missing().remove(condition);
    }

    /// Whether every condition holds.
    pub fn is_met(&self) -> bool {
        self.missing().is_empty()
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names cannot be left half changed by a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an operation was not begun, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The query makes no sense: 400.
    Senseless(String),
    /// Not now: 409.
    Busy(String),
}

type Operation = Box<dyn Fn(&str) -> Result<String, Refused> + Send + Sync>;

/// What an operator may have a process do, by `POST` to a path of the admin port; cheap to clone.
#[derive(Clone, Default)]
pub struct Operations(Arc<Mutex<BTreeMap<&'static str, Operation>>>);

impl Operations {
    /// Offers an operation. It gets the query of the address as it is, and answers at once with what it began or
    /// why it did not.
    pub fn offer(
        &self,
        path: &'static str,
        operation: impl Fn(&str) -> Result<String, Refused> + Send + Sync + 'static,
    ) {
        self.known().insert(path, Box::new(operation));
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<&'static str, Operation>> {
        // A map of operations cannot be left half changed by a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, path: &str, query: &str) -> Response<Full<Bytes>> {
        let known = self.known();
        match known.get(path).map(|operation| operation(query)) {
            Some(Ok(done)) => text(StatusCode::OK, format!("{done}\n")),
            Some(Err(Refused::Senseless(fault))) => text(StatusCode::BAD_REQUEST, format!("{fault}\n")),
            Some(Err(Refused::Busy(fault))) => text(StatusCode::CONFLICT, format!("{fault}\n")),
            None => {
                let paths: Vec<_> = known.keys().copied().collect();
                text(StatusCode::NOT_FOUND, format!("no such operation; there is: {}\n", paths.join(" ")))
            }
        }
    }
}

/// What the admin port tells and does.
#[derive(Clone)]
struct Admin {
    operations: Operations,
    readiness: Readiness,
    metrics: PrometheusHandle,
    shutdown: Shutdown,
}

/// Serves the admin port until the process ends; returns the bound address.
///
/// # Errors
/// The system's, when the address cannot be bound.
pub async fn start(
    address: SocketAddr,
    (readiness, operations): (Readiness, Operations),
    metrics: PrometheusHandle,
    shutdown: &Shutdown,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let admin = Admin { operations, readiness, metrics, shutdown: shutdown.clone() };
    let closing = shutdown.clone();
    shutdown.spawn("admin", async move {
        // Cancel safe: losing an accept at the very end loses a probe.
        tokio::select! {
            () = admin.clone().accept(listener) => {}
            () = admin.upkeep() => {}
            () = closing.reached(Stage::Closing) => {}
        }
    });
    Ok(address)
}

impl Admin {
    async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let (admin, closing) = (self.clone(), self.shutdown.clone());
                    self.shutdown.spawn("admin-connection", async move {
                        tokio::select! {
                            () = admin.serve(socket) => {}
                            () = closing.reached(Stage::Closing) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn upkeep(&self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.metrics.run_upkeep();
        }
    }

    async fn serve(self, socket: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| {
            let uri = request.uri();
            let answer = match *request.method() {
                Method::POST => self.operations.answer(uri.path(), uri.query().unwrap_or_default()),
                _ => self.answer(uri.path()),
            };
            async move { Ok::<_, Infallible>(answer) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .serve_connection(TokioIo::new(socket), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/healthz" => text(StatusCode::OK, "alive\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => text(StatusCode::OK, self.metrics.render()),
            _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let mut missing: Vec<_> = self.readiness.missing().iter().cloned().collect();
        if self.shutdown.stage() > Stage::Running {
            missing.push("stopping".to_owned());
        }
        if missing.is_empty() {
            text(StatusCode::OK, "ready\n".to_owned())
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", ")))
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(address: SocketAddr, path: &str) -> String {
        ask(address, "GET", path).await
    }

    async fn ask(address: SocketAddr, method: &str, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing_and_is_withdrawn_when_stopping() {
        let (shutdown, readiness) = (Shutdown::new(), Readiness::default());
        let operations = Operations::default();
        operations.offer("/turn", |query| match query {
            "left=1" => Ok("turned".into()),
            "right=1" => Err(Refused::Busy("turning left".into())),
            _ => Err(Refused::Senseless("where?".into())),
        });
        readiness.require("the log");
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let address = start(([127, 0, 0, 1], 0).into(), (readiness.clone(), operations), metrics, &shutdown)
            .await
            .unwrap();
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the log"), "{answer}");
        readiness.met("the log");
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let answer = ask(address, "POST", "/turn?left=1").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("turned"), "{answer}");
        assert!(ask(address, "POST", "/turn").await.starts_with("HTTP/1.1 400"));
        let answer = ask(address, "POST", "/turn?right=1").await;
        assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("turning left"), "{answer}");
        assert!(
            ask(address, "GET", "/turn?left=1").await.starts_with("HTTP/1.1 404"),
            "looking does nothing"
        );
        assert!(ask(address, "POST", "/jump").await.contains("there is: /turn"));
        shutdown.enter(Stage::NotReady);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
        shutdown.enter(Stage::Closing);
        assert_eq!(shutdown.ended(&[], Duration::from_secs(10)).await, Ok(()));
    }
}
