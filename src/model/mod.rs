//! Statistics, pure: knows no database, no clock, no campaign.

pub mod interval;
