//! What is offered to one person beyond the words of a letter: products recommended to them.
//!
//! Read on: [`recommend`].

pub mod recommend;
