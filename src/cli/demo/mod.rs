//! The demo's own things: the sample shop.

pub mod shop;
