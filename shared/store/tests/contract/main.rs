//! What every adapter must do. An adapter joins by a [`world::World`] of its own; the behaviours do not change.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by failing")]

mod changes;
mod dead_letters;
mod events;
mod facts;
mod history;
mod people;
mod processes;
mod reading;
mod resuming;
mod world;

/// Runs each behaviour on each adapter, alone and beside another process that has the same data.
macro_rules! contract {
    ($($module:ident { $($behaviour:ident,)* })*) => {
        mod sqlite {
            $(mod $module {
                $(#[tokio::test]
                async fn $behaviour() {
                    crate::$module::$behaviour(&crate::world::Sqlite::new()).await;
                })*
            })*
        }
        mod sqlite_beside_another_process {
            $(mod $module {
                $(#[tokio::test]
                async fn $behaviour() {
                    let world = crate::processes::Beside::new().await;
                    crate::$module::$behaviour(&world).await;
                    world.end();
                })*
            })*
        }
    };
}

contract! {
    events {
        the_newest_event_is_the_head,
        events_may_come_twice_and_in_any_order,
        a_batch_is_written_whole_or_not_at_all,
        everything_survives_a_restart,
        a_large_batch_is_written,
        how_far_the_log_is_here_for_good_is_remembered,
        up_to_where_it_is_filled_is_remembered_until_it_is,
        a_closed_store_says_so,
    }
    dead_letters {
        what_was_put_aside_is_shown_until_it_is_removed,
        an_entry_is_put_aside_once_by_each_role,
        dead_letters_are_listed_in_pages,
        a_dead_letter_is_no_event,
        a_clients_own_id_is_found_in_what_was_put_aside,
    }
    changes {
        a_message_is_shown_as_it_was_last_edited,
        changes_come_in_any_order,
        a_deleted_message_leaves_its_place_for_ever,
        reactions_are_counted_by_who_reacted,
        a_later_lifes_change_is_the_newer_one,
        a_clients_own_id_of_a_change_is_found_again,
    }
    history {
        pages_go_back_from_the_newest,
        pages_go_forth_from_a_position,
        a_message_has_its_neighbours,
        a_thread_is_its_first_message_and_the_replies,
        channels_do_not_mix,
        a_later_life_comes_after_an_earlier_one,
    }
    reading {
        what_was_read_is_not_unread,
        a_later_life_is_read_after_an_earlier_one,
        members_are_counted_up_to_a_limit,
    }
    resuming {
        events_follow_a_position_page_by_page,
        a_page_is_bounded_in_bytes_and_brings_one_event_at_least,
        one_life_of_the_log_follows_another,
        a_position_that_the_store_cannot_vouch_for_is_unknown,
        a_channel_that_was_quiet_in_a_life_goes_on_in_the_next,
    }
    people {
        members_hear_of_their_channels,
        who_is_removed_and_comes_back_is_a_member_once,
        an_older_event_that_comes_late_changes_nothing,
        a_version_of_memberships_counts_what_made_them,
        the_same_events_make_the_same_version_in_any_order,
        whoever_was_a_member_is_listed,
        a_channel_may_be_renamed,
        a_known_user_is_described_anew,
        an_unknown_user_has_no_session,
        a_message_is_found_by_its_id,
        a_clients_own_id_is_found_again,
    }
}
