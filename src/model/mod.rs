//! Statistics, pure: knows no database, no clock, no campaign.

pub mod backtest;
pub mod counts;
#[cfg(test)]
mod fixtures;
pub mod forecast;
pub mod gates;
pub mod interval;
pub mod optimise;
pub mod seasons;
pub mod special;
pub mod value;
