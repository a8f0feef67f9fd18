//! Statistics, pure: knows no database, no clock, no campaign.

pub mod backtest;
pub mod counts;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod forecast;
pub mod gates;
pub mod history;
pub mod interval;
pub mod optimise;
pub mod outlook;
pub mod seasons;
pub mod special;
pub mod thumb;
pub mod value;
