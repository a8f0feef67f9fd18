//! All integration tests in one binary, modules in the order mail moves; `ground` is what they stand on.

mod delivery;
mod ground;
mod report;
mod web;
mod history;
mod profile;
mod segment;
