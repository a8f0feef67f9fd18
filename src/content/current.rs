//! The message that is being rendered, for filters and functions: they are given to an engine once and for all, and inside components they see no value
//! but what they are handed.

use std::cell::RefCell;

use super::answer::Answering;

/// What filters know of the message.
#[derive(Clone)]
pub(super) struct Current {
    /// The language the mail is written in, BCP 47.
    pub locale: String,
    /// The local day of planning, `2026-11-24`.
    pub today: String,
    pub answering: Answering,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Render with a message's values.
pub(super) fn with<T>(current: Current, render: impl FnOnce() -> T) -> T {
    /// Takes the values away, also when the render panics.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            CURRENT.with(|c| c.borrow_mut().take());
        }
    }
    CURRENT.with(|c| *c.borrow_mut() = Some(current));
    let _clear = Clear;
    render()
}

/// Ask about the message; `None` outside a render of ours.
pub(super) fn ask<T>(question: impl FnOnce(&Current) -> T) -> Option<T> {
    CURRENT.with(|c| c.borrow().as_ref().map(question))
}
