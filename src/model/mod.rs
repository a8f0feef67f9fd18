//! Statistics, pure: knows no database, no clock, no campaign.

pub mod interval;
pub mod optimise;
pub mod special;
