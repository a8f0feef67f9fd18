//! Imports on a real SQLite file.
