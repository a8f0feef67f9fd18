//! Okaeri: personal e-mail that brings customers back.
//!
//! The rooms, in the order the data walks; a room imports only rooms above it.

pub mod clock;
pub mod problem;
pub mod yaml;

pub mod db;

/// The outside world for demo, previews and tests: imports no other room, and only `cli` and tests import it.
pub mod catcher;
