//! What each reactor is still to be told, and the moments at which its queue has room for it.

use super::event::Passing;
use super::following::Following;
use super::{Jobs, Page, PageAsked, ReactorId, Tell};
use crate::hub::Ticket;
use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::control::Control;
use protocol::ids::ChannelId;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc::{OwnedPermit, Sender, error::TrySendError};

/// Things told in one batch, nearly: a channel's events count as one and go together.
const BATCH_TODOS_MAX: usize = 256;

/// What is not kept and waits for one reactor; beyond it the newest is dropped: typing is the first to be shed.
const PASSING_MAX: usize = 1_024;

/// Announcements that wait for one reactor; beyond it the newest is dropped: whatever matters is announced again.
const CONTROLS_MAX: usize = 64;

type Permit = OwnedPermit<Vec<Tell>>;
type Reserving = Pin<Box<dyn Future<Output = (ReactorId, Option<Permit>)> + Send>>;

/// Every reactor's list.
pub(super) struct Reactors {
    lists: Vec<List>,
    reserving: FuturesUnordered<Reserving>,
}

struct List {
    tells: Sender<Vec<Tell>>,
    todo: VecDeque<Todo>,
    passing: usize,
    controls: usize,
    /// That something was lost waits to be told.
    lost: bool,
    queue: Queue,
}

/// Untried => Reserving when full => Reserved when it has room => Untried; Gone for good.
enum Queue {
    Untried,
    Reserving,
    Reserved(Permit),
    Gone,
}

/// Something to tell; what exactly is decided when it is told, so that a list costs no copies of events.
enum Todo {
    Subscribed { channel: ChannelId, ticket: Ticket },
    Failed { channel: ChannelId, ticket: Ticket },
    News(ChannelId),
    Passing(Arc<Passing>),
    Control(Arc<Control>),
    Lost,
    Page(PageAsked),
    NoPage(PageAsked),
    AnotherLife { channel: ChannelId, ticket: Ticket },
}

impl Reactors {
    pub(super) fn new(tells: Vec<Sender<Vec<Tell>>>) -> Self {
        let list = |tells| List {
            tells,
            todo: VecDeque::new(),
            passing: 0,
            controls: 0,
            lost: false,
            queue: Queue::Untried,
        };
        Self { lists: tells.into_iter().map(list).collect(), reserving: FuturesUnordered::new() }
    }

    pub(super) fn subscribed(&mut self, reactor: ReactorId, channel: ChannelId, ticket: Ticket) {
        self.push(reactor, Todo::Subscribed { channel, ticket });
    }

    pub(super) fn failed(&mut self, reactor: ReactorId, channel: ChannelId, ticket: Ticket) {
        self.push(reactor, Todo::Failed { channel, ticket });
    }

    pub(super) fn news(&mut self, reactor: ReactorId, channel: ChannelId) {
        self.push(reactor, Todo::News(channel));
    }

    pub(super) fn passing(&mut self, reactor: ReactorId, passing: Arc<Passing>) {
        let Some(list) = self.lists.get_mut(reactor) else { return };
        if list.passing >= PASSING_MAX {
            metrics::counter!(crate::metrics::PASSING_DROPPED).increment(1);
            return;
        }
        list.passing += 1;
        list.todo.push_back(Todo::Passing(passing));
    }

    /// Tells every reactor.
    pub(super) fn control(&mut self, control: &Arc<Control>) {
        for list in &mut self.lists {
            if list.controls < CONTROLS_MAX {
                list.controls += 1;
                list.todo.push_back(Todo::Control(control.clone()));
            } else {
                metrics::counter!(crate::metrics::CONTROLS_DROPPED).increment(1);
            }
        }
    }

    /// Tells every reactor that something was lost, once however often it was.
    pub(super) fn lost(&mut self) {
        for list in &mut self.lists {
            if !std::mem::replace(&mut list.lost, true) {
                list.todo.push_back(Todo::Lost);
            }
        }
    }

    pub(super) fn page(&mut self, asked: PageAsked) {
        self.push(asked.reactor, Todo::Page(asked));
    }

    pub(super) fn no_page(&mut self, asked: PageAsked) {
        self.push(asked.reactor, Todo::NoPage(asked));
    }

    pub(super) fn another_life(&mut self, reactor: ReactorId, channel: ChannelId, ticket: Ticket) {
        self.push(reactor, Todo::AnotherLife { channel, ticket });
    }

    fn push(&mut self, reactor: ReactorId, todo: Todo) {
        if let Some(list) = self.lists.get_mut(reactor) {
            list.todo.push_back(todo);
        }
    }

    /// Tells each reactor with room what it has to know; never waits.
    pub(super) fn tell(&mut self, following: &mut Following, jobs: &mut Jobs) {
        for (id, list) in self.lists.iter_mut().enumerate() {
            while !list.todo.is_empty() {
                let Some(permit) = list.permit(id, &self.reserving) else { break };
                let batch = list.batch(id, following, jobs);
                if batch.is_empty() {
                    list.queue = Queue::Reserved(permit);
                } else {
                    permit.send(batch);
                }
            }
        }
    }

    /// Waits until some full queue has room. Cancel safe: the permit is kept before anything else is awaited.
    pub(super) async fn room(&mut self) {
        match self.reserving.next().await {
            Some((reactor, permit)) => {
                if let Some(list) = self.lists.get_mut(reactor) {
                    list.queue = permit.map_or(Queue::Gone, Queue::Reserved);
                }
            }
            None => std::future::pending().await,
        }
    }
}

impl List {
    fn permit(&mut self, id: ReactorId, reserving: &FuturesUnordered<Reserving>) -> Option<Permit> {
        match std::mem::replace(&mut self.queue, Queue::Untried) {
            Queue::Reserved(permit) => return Some(permit),
            Queue::Untried => {}
            Queue::Reserving => {
                self.queue = Queue::Reserving;
                return None;
            }
            Queue::Gone => {
                self.todo.clear();
                self.queue = Queue::Gone;
                return None;
            }
        }
        match self.tells.clone().try_reserve_owned() {
            Ok(permit) => Some(permit),
            Err(TrySendError::Full(tells)) => {
                self.queue = Queue::Reserving;
                reserving.push(Box::pin(async move { (id, tells.reserve_owned().await.ok()) }));
                None
            }
            Err(TrySendError::Closed(_)) => {
                self.queue = Queue::Gone;
                self.todo.clear();
                None
            }
        }
    }

    fn batch(&mut self, id: ReactorId, following: &mut Following, jobs: &mut Jobs) -> Vec<Tell> {
        let mut batch = Vec::new();
        for todo in self.todo.drain(..self.todo.len().min(BATCH_TODOS_MAX)) {
            match todo {
                Todo::Failed { channel, ticket } => batch.push(Tell::Failed { channel, ticket }),
                Todo::Subscribed { channel, ticket } => {
                    batch.extend(following.tell_subscribed(id, channel, ticket));
                }
                Todo::News(channel) => following.tell_news(id, &channel, &mut batch),
                Todo::Passing(passing) => {
                    self.passing -= 1;
                    batch.push(Tell::Passing(passing));
                }
                Todo::Control(control) => {
                    self.controls -= 1;
                    batch.push(Tell::Control(control));
                }
                Todo::Lost => {
                    self.lost = false;
                    batch.push(Tell::Lost);
                }
                Todo::Page(asked) => {
                    let (connection, channel) = (asked.connection, asked.start.channel.clone());
                    if let Some(page) = following.tell_page(asked, jobs) {
                        batch.push(Tell::Page { connection, channel, page });
                    }
                }
                Todo::NoPage(PageAsked { connection, start, .. }) => {
                    batch.push(Tell::Page { connection, channel: start.channel, page: Page::Failed });
                }
                Todo::AnotherLife { channel, ticket } => batch.push(Tell::AnotherLife { channel, ticket }),
            }
        }
        batch
    }
}
