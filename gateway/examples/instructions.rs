//! Runs one piece of the hot path so many times, for a tool that counts instructions: `instructions PIECE ROUNDS`.

use gateway::workload::{Deliver, Encode, Send};
use std::hint::black_box;
use std::process::ExitCode;

/// Members of the room. Performance page.
const MEMBERS: u64 = 1_000;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (piece, rounds) = (words.next(), words.next().and_then(|rounds| rounds.parse::<u32>().ok()));
    let (Some(piece), Some(rounds), None) = (piece, rounds, words.next()) else { return ExitCode::from(2) };
    match piece.as_str() {
        "send" => {
            let mut send = Send::new();
            for _ in 0..rounds {
                black_box(send.run());
            }
        }
        "encode" => {
            let encode = Encode::default();
            for _ in 0..rounds {
                black_box(encode.run());
            }
        }
        "deliver" => {
            let mut deliver = Deliver::new(MEMBERS);
            for _ in 0..rounds {
                black_box(deliver.run());
            }
        }
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}
