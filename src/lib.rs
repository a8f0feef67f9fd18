//! Okaeri: personal e-mail that brings customers back.
//!
//! The rooms, in the order the data walks; a room imports only rooms above it.
//! `docs/flow.md` tells the same as a story.

// The ground: time, mistakes, names, keys, files.
pub mod address;
pub mod clock;
pub mod counts;
pub mod dkim;
pub mod failpoint;
pub mod money;
pub mod problem;
pub mod token;
pub mod yaml;

/// okaeri.yaml.
pub mod settings;

/// SQLite or Postgres.
pub mod db;

/// Who may be mailed.
pub mod suppression;

/// What the shop knows: import.
pub mod data;

/// Statistics, pure.
pub mod model;

/// What we derive about each customer.
pub mod profile;

/// What models predict of each customer.
pub mod score;

/// The rule language.
pub mod segment;

/// People handed to other channels: advertising audiences, call lists.
pub mod audience;

/// Templates.
pub mod content;

/// Invented people, to look at mails with.
pub mod persona;

/// Recommendations.
pub mod offer;

/// Campaign files.
pub mod campaign;

/// Verdicts: who gets what, and why not.
pub mod plan;

/// One row of the ledger becomes bytes.
pub mod message;

/// The ledger.
pub mod queue;

/// SMTP.
pub mod delivery;

/// What comes back.
pub mod feedback;

/// What happened and what it caused.
pub mod report;

/// Unsubscribe and preferences.
pub mod web;

/// What stands between a project and the inbox.
pub mod doctor;

/// The outside world for demo, previews and tests: imports no other room, and only `cli` and tests import it.
pub mod catcher;

/// One file per verb.
pub mod cli;
