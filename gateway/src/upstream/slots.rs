//! The slots that this gateway is subscribed to at the broker, one for as long as a channel of it is followed.

use super::Jobs;
use super::following::Job;
use broker::SubscriptionControl;
use protocol::ids::ChannelId;
use protocol::subjects::Slot;
use std::collections::HashMap;

/// What is subscribed, and what shall be.
pub(super) struct Slots {
    control: SubscriptionControl,
    /// Followed channels of each slot that is subscribed.
    users: HashMap<Slot, usize>,
    /// What is to be done at the broker's subscription, in order; one job at a time does all of it.
    wanted: Vec<Wanted>,
    busy: bool,
}

enum Wanted {
    Add(Slot),
    Remove(Slot),
    Head { channel: ChannelId, generation: u64 },
}

impl Slots {
    pub(super) fn new(control: SubscriptionControl) -> Self {
        Self { control, users: HashMap::new(), wanted: Vec::new(), busy: false }
    }

    /// Subscribes to a channel's slot; the channel's head is to be read behind that.
    pub(super) fn follow(&mut self, channel: ChannelId, generation: u64) {
        let slot = Slot::of(&channel);
        let users = self.users.entry(slot).or_default();
        *users += 1;
        if *users == 1 {
            self.wanted.push(Wanted::Add(slot));
        }
        self.read_head(channel, generation);
    }

    /// Lets a followed channel's head be read.
    pub(super) fn read_head(&mut self, channel: ChannelId, generation: u64) {
        self.wanted.push(Wanted::Head { channel, generation });
    }

    /// Ends what [`Self::follow`] began.
    pub(super) fn leave(&mut self, channel: &ChannelId) {
        let slot = Slot::of(channel);
        if let Some(users) = self.users.get_mut(&slot) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&slot);
                self.wanted.push(Wanted::Remove(slot));
            }
        }
    }

    /// Does what is wanted at the broker's subscription, for each slot in the order in which it was wanted: an add
    /// that overtook a remove would end a subscription that somebody relies on.
    pub(super) fn work(&mut self, jobs: &Jobs) {
        if self.busy || self.wanted.is_empty() {
            return;
        }
        self.busy = true;
        let (control, wanted) = (self.control.clone(), std::mem::take(&mut self.wanted));
        jobs.push(Box::pin(async move { Job::Slots { unread: change(&control, wanted).await } }));
    }

    /// The job has ended.
    pub(super) fn worked(&mut self) {
        self.busy = false;
    }
}

/// Changes the subscription; returns the channels whose heads are to be read behind it, with their generations.
async fn change(control: &SubscriptionControl, wanted: Vec<Wanted>) -> Vec<(ChannelId, u64)> {
    // All adds share one round trip.
    let (mut adding, mut channels) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match wanted {
            Wanted::Add(slot) => adding.push(slot),
            Wanted::Remove(slot) => {
                if adding.contains(&slot) {
                    control.add(&std::mem::take(&mut adding)).await;
                }
                control.remove(slot).await;
            }
            Wanted::Head { channel, generation } => channels.push((channel, generation)),
        }
    }
    control.add(&adding).await;
    channels
}
