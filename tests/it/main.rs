//! All integration tests in one binary, modules in the order mail moves; `ground` is what they stand on.

mod ground;

mod import;
