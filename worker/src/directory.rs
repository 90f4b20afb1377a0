//! Who a user is and where he may listen.

use crate::serving::{Answers, unavailable};
use protocol::codes::ErrorCode;
use protocol::control::CONTROL_USERS_MAX;
use protocol::requests::{Answer, SessionAnswer, SessionRequest, VersionsAnswer, VersionsRequest};
use store::Store;

pub(crate) struct Directory {
    store: Store,
}

impl Directory {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Answers for Directory {
    type Question = SessionRequest;
    type Reply = SessionAnswer;
    const ROLE: &'static str = "directory";

    async fn answer(&self, question: SessionRequest) -> Answer<SessionAnswer> {
        let user = match question {
            SessionRequest::Open(profile) => {
                // An unknown user with a good token gets a row from its claims, and no channels.
                self.store.upsert_user(&profile).await.map_err(|error| unavailable(&error))?;
                profile.id
            }
            SessionRequest::Again(user) => user,
        };
        let session = self.store.session(&user).await.map_err(|error| unavailable(&error))?;
        session.ok_or(ErrorCode::Internal)
    }
}

/// Which states of memberships are the newest: for gateways that may have missed an announcement.
pub(crate) struct Versions {
    store: Store,
}

impl Versions {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Answers for Versions {
    type Question = VersionsRequest;
    type Reply = VersionsAnswer;
    const ROLE: &'static str = "directory";

    async fn answer(&self, question: VersionsRequest) -> Answer<VersionsAnswer> {
        if question.users.len() > CONTROL_USERS_MAX {
            return Err(ErrorCode::Internal);
        }
        let versions = self.store.versions(&question.users).await.map_err(|error| unavailable(&error))?;
        Ok(VersionsAnswer { versions })
    }
}
