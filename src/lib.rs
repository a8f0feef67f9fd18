//! Okaeri: personal e-mail that brings customers back.
//!
//! The rooms, in the order the data walks; a room imports only rooms above it.
//! `docs/flow.md` tells the same as a story.

// The ground: time, mistakes, names, files.
pub mod address;
pub mod clock;
pub mod problem;
pub mod token;
pub mod yaml;

/// okaeri.yaml.
pub mod settings;

/// SQLite or Postgres.
pub mod db;

/// Who may be mailed.
pub mod suppression;

/// What the shop knows.
pub mod data;

/// Campaign files.
pub mod campaign;

/// The ledger.
pub mod queue;

/// SMTP.
pub mod delivery;

/// The outside world for demo, previews and tests: imports no other room, and only `cli` and tests import it.
pub mod catcher;

/// One file per verb.
pub mod cli;
