//! What a reactor asks upstream, in order and without ever waiting itself.

use super::Reactor;
use crate::upstream::Ask;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};

/// The list is bounded by what asks: a subscription per channel and a page per connection of this reactor.
pub(super) struct Asks {
    list: RefCell<VecDeque<Ask>>,
    more: Notify,
    upstream: mpsc::Sender<Ask>,
}

impl Asks {
    pub(super) fn new(upstream: mpsc::Sender<Ask>) -> Self {
        Self { list: RefCell::default(), more: Notify::new(), upstream }
    }

    pub(super) fn push(&self, ask: Ask) {
        self.list.borrow_mut().push_back(ask);
        self.more.notify_one();
    }
}

impl Reactor {
    /// Hands the list on as fast as upstream takes it.
    pub(crate) async fn pump_asks(self: Rc<Self>) {
        loop {
            let next = self.asks.list.borrow_mut().pop_front();
            match next {
                None => self.asks.more.notified().await,
                Some(ask) => {
                    if self.asks.upstream.send(ask).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
