//! Okaeri: personal e-mail that brings customers back.
//!
//! The rooms, in the order the data walks; a room imports only rooms above it.

pub mod address;
pub mod clock;
pub mod problem;
pub mod token;
pub mod yaml;

pub mod settings;

pub mod db;

pub mod model;

pub mod suppression;

pub mod campaign;

pub mod feedback;
pub mod report;

pub mod web;

pub mod cli;
