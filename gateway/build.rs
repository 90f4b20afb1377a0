//! Makes Cargo compile this crate again when the web build changed: the page is embedded at compile time, and
//! the compiler sees changes of embedded files but not new ones.

use std::path::Path;

/// Where the web build leaves the page (as in `page/assets.rs`), then what is there before it ran. Cargo takes
/// a path that does not exist as always changed and would compile the crate each time.
const WATCHED: [&str; 3] = ["../web/app/dist", "../web/app", "../web"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(folder) = WATCHED.into_iter().find(|folder| Path::new(folder).exists()) {
        println!("cargo::rerun-if-changed={folder}");
    }
}
