//! Checks of the repository itself; everything is in `tests/`. The crate exports nothing.
