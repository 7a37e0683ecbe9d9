//! Scenarios on the real cluster; `cargo xtask cluster test [NAME]` runs them, one after another.
