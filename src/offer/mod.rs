//! What is offered to one person beyond the words of a letter: products recommended to them, and rewards.
//!
//! Read on: [`recommend`], [`reward`].

pub mod recommend;
pub mod reward;
