//! Who a user is and where he may listen.

use crate::serving::{Answers, unavailable};
use protocol::codes::ErrorCode;
use protocol::requests::{Answer, SessionAnswer, SessionRequest};
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
