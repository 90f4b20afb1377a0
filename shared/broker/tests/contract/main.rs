//! What every adapter must do. An adapter joins by a [`world::World`] of its own; the behaviours do not change.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says what it expects by failing, and owns its tasks"
)]

mod cluster;
mod consuming;
mod duplicates;
mod embedded;
mod live;
mod log;
mod nats;
mod nats_faults;
mod nats_net;
mod node;
mod purging;
mod requests;
mod world;

/// Runs behaviours in a world.
macro_rules! on {
    ($place:ident, $world:expr, $($module:ident { $($behaviour:ident,)* })*) => {
        mod $place {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    crate::$module::$behaviour(&$world).await;
                })*
            })*
        }
    };
}

/// Runs each behaviour on each adapter.
macro_rules! contract {
    ($($behaviours:tt)*) => {
        on! { on_embedded, crate::embedded::Embedded::new(), $($behaviours)* }
        on! { on_nats, crate::nats::Nats::new(), $($behaviours)* }
    };
}

// What several servers do in another way than one: copies, leaders, the way of an answer.
on! {
    on_a_cluster, crate::cluster::Cluster::new(),
    log {
        what_was_answered_survives_an_abrupt_end,
        ranges_are_ascending_and_bounded,
        an_unknown_channel_is_empty,
        a_page_reaches_no_further_than_its_head,
        many_writers_lose_and_double_nothing,
    }
    duplicates {
        a_second_append_of_a_key_is_the_first_one,
        a_key_is_remembered_across_an_abrupt_end,
        of_two_that_expect_the_same_one_wins,
    }
    live {
        copies_of_many_writers_are_unbroken_chains,
        subscribing_then_reading_the_head_leaves_no_gap,
    }
    consuming {
        members_share_while_entries_come,
        what_was_not_acknowledged_survives_an_abrupt_end,
        a_group_that_begins_again_gets_everything,
    }
    purging {
        what_is_purged_is_gone_and_reads_say_so,
        positions_go_on_rising_when_everything_was_purged,
    }
}

contract! {
    log {
        positions_rise_and_name_one_life,
        channels_of_a_shard_share_a_counter,
        entries_and_life_survive_a_restart,
        what_was_answered_survives_an_abrupt_end,
        ranges_are_ascending_and_bounded,
        an_unknown_channel_is_empty,
        a_page_reaches_no_further_than_its_head,
        many_writers_lose_and_double_nothing,
        an_envelope_above_the_limit_is_refused,
        a_drained_broker_takes_nothing,
    }
    duplicates {
        a_second_append_of_a_key_is_the_first_one,
        two_appends_of_a_key_at_once_are_one,
        a_key_is_remembered_across_a_restart,
        a_key_is_remembered_across_an_abrupt_end,
        the_same_name_in_another_channel_is_another_command,
        what_was_not_appended_is_not_heard,
        a_key_is_forgotten_after_its_window,
        an_expectation_holds_or_nothing_is_appended,
        of_two_that_expect_the_same_one_wins,
        a_duplicate_wins_over_an_expectation,
    }
    live {
        every_append_is_heard_in_order,
        copies_of_many_writers_are_unbroken_chains,
        subscribing_then_reading_the_head_leaves_no_gap,
        other_slots_are_not_heard,
        a_removed_slot_falls_silent,
        an_ephemeral_event_is_heard_and_not_logged,
        an_announcement_is_heard_by_everybody,
        an_announcement_passes_a_busy_log,
        a_full_queue_says_that_something_was_lost,
        a_drain_ends_subscribers,
    }
    consuming {
        members_of_a_group_share_its_entries,
        members_share_while_entries_come,
        groups_do_not_know_each_other,
        what_is_not_acknowledged_comes_again,
        what_a_member_leaves_behind_goes_to_the_next,
        a_waiting_member_gets_what_another_leaves_behind,
        a_waiting_member_gets_what_another_keeps_too_long,
        what_a_member_has_is_not_given_to_it_again,
        a_redelivery_leaves_alone_what_another_has,
        acknowledgements_survive_a_restart,
        what_was_not_acknowledged_survives_an_abrupt_end,
        a_fetch_waits_for_the_first_entry,
        what_a_member_keeps_is_not_given_to_another,
        a_group_that_begins_again_gets_everything,
    }
    purging {
        what_is_purged_is_gone_and_reads_say_so,
        a_purge_survives_a_restart_and_an_abrupt_end,
        nothing_else_is_purged,
        an_entry_stays_while_its_key_is_remembered,
        positions_go_on_rising_when_everything_was_purged,
        a_live_copy_after_a_purge_has_no_event_before_it,
        an_expectation_of_what_was_purged_still_holds,
        groups_go_on_with_what_is_left,
        readers_beside_a_purge_see_no_gap,
    }
    requests {
        a_request_is_answered,
        servers_of_a_subject_share_its_requests,
        a_server_knows_how_long_it_is_waited_for,
        nobody_serves,
        a_late_answer_is_a_missed_deadline,
        a_dropped_reply_is_told,
        waiting_requests_are_bounded,
        a_server_that_leaves_answers_what_it_has_and_gets_no_more,
        what_a_server_did_not_begin_goes_to_another,
        what_was_asked_before_a_drain_is_answered,
        a_drain_ends_servers,
    }
}
