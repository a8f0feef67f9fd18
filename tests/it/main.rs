//! All integration tests in one binary, modules in the order mail moves; `ground` is what they stand on.

mod ground;

mod docs;
mod editor;
mod init;
mod insight;
mod machines;
mod problems;
mod reader;

mod history;
mod import;
mod kept;
mod learn;
mod model;
mod profile;
mod segment;
mod trial;

mod audience;
mod compared;

mod delivery;
mod dkim;
mod doctor;
mod faults;
mod frozen;
mod hostile;
mod pacing;
mod queue;
mod receivers;
mod relays;
mod tls;
mod wave;

mod calendar;
mod journey;
mod review;
mod run;
mod why;

mod baskets;
mod content;
mod library;
mod loyalty;
mod preview;
mod proof;
mod recommend;
mod reward;

mod answers;
mod experiment;
mod markdown;
mod report;
mod web;

mod crash;
mod demo;
mod full;
mod late;
mod outage;
mod sql_rules;
mod story;
mod torture;
mod workflow;
mod year;
