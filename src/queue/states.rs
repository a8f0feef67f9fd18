//! States and the legal moves between them, without a database. `docs/states.md` shows the same as pictures.

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// Every state.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The word the database and the user see.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
            /// The state of this word.
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
    };
}

states! {
    /// The life of a run.
    RunState {
        /// A saved plan: every message is written, and nothing leaves until somebody sends it.
        Planned = "planned",
        /// Its messages are being written; nothing may leave yet.
        Enqueuing = "enqueuing",
        /// Every message is written and was rendered once.
        Ready = "ready",
        /// At least one chunk was leased.
        Sending = "sending",
        /// Held by an operator or the breaker; the reason is beside it.
        Paused = "paused",
        /// No message of it will move by itself any more.
        Drained = "drained",
        /// Its outcome windows are over.
        Closed = "closed",
        Cancelled = "cancelled",
        /// Found later than `catch_up`; never sent.
        Missed = "missed",
    }
}

states! {
    /// The life of a message.
    DeliveryState {
        /// May be sent when due.
        Pending = "pending",
        /// A worker may have handed its content to the server.
        Committed = "committed",
        /// The server took responsibility (250 after the content).
        Accepted = "accepted",
        /// The server asked to come back later (4yz); `due_at` says when.
        Deferred = "deferred",
        /// The server refused it for good (5yz): nothing was delivered. Only an operator may try it again.
        Failed = "failed",
        /// Content was handed over and no answer came: it may have arrived or not. Never sent again by itself.
        Unknown = "unknown",
        /// Held out by an experiment; never sent.
        Withheld = "withheld",
        /// Its address was suppressed, or it lost its ground, before it left.
        Suppressed = "suppressed",
        /// Not delivered within its lifetime.
        Expired = "expired",
        Cancelled = "cancelled",
        /// Came back after acceptance.
        Bounced = "bounced",
        /// Its reader complained.
        Complained = "complained",
        /// An operator closed the question without an answer.
        ClosedUnknown = "closed_unknown",
    }
}

impl RunState {
    /// Whether a run may move from here to there.
    pub fn may_become(self, next: RunState) -> bool {
        use RunState::*;
        match (self, next) {
            (Enqueuing, Ready | Planned) | (Planned, Ready) | (Ready, Sending | Drained) => true,
            (Sending, Paused | Drained) | (Ready, Paused) | (Paused, Sending) => true,
            (Drained, Sending | Closed) => true,
            (Planned, Missed) => true,
            (Cancelled | Closed | Missed, Cancelled) => false,
            (_, Cancelled) => true,
            _ => false,
        }
    }

    /// Whether chunks of the run may be leased and messages committed.
    pub fn may_send(self) -> bool {
        matches!(self, RunState::Ready | RunState::Sending)
    }
}

impl DeliveryState {
    /// Whether a message may move from here to there.
    pub fn may_become(self, next: DeliveryState) -> bool {
        use DeliveryState::*;
        match self {
            Pending => {
                matches!(next, Committed | Deferred | Failed | Suppressed | Expired | Cancelled | Accepted)
            }
            Deferred => matches!(next, Committed | Deferred | Failed | Suppressed | Expired | Cancelled),
            Committed => matches!(next, Accepted | Deferred | Failed | Expired | Unknown | Pending),
            Unknown => matches!(next, Accepted | Bounced | Failed | Deferred | Expired | Pending | ClosedUnknown),
            Accepted => matches!(next, Bounced | Complained),
            Bounced => matches!(next, Complained),
            Failed => matches!(next, Pending | Accepted),
            ClosedUnknown => matches!(next, Accepted),
            Withheld | Suppressed | Expired | Cancelled | Complained => false,
        }
    }

    /// Whether the message still moves by itself.
    pub fn is_open(self) -> bool {
        matches!(self, DeliveryState::Pending | DeliveryState::Deferred | DeliveryState::Committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_states_match_both_ways() {
        for s in DeliveryState::ALL {
            assert_eq!(DeliveryState::from_word(s.word()), Some(*s));
        }
        for s in RunState::ALL {
            assert_eq!(RunState::from_word(s.word()), Some(*s));
        }
        assert_eq!(DeliveryState::from_word("sent"), None);
    }

    #[test]
    fn nothing_sent_or_doubtful_is_sent_again_by_itself() {
        use DeliveryState::*;
        for s in [Accepted, Bounced, Complained, Withheld, Suppressed, Expired, Cancelled, ClosedUnknown] {
            assert!(!s.may_become(Pending) && !s.may_become(Committed), "{s}");
        }
        assert!(!Failed.may_become(Committed), "a refused message goes through an operator's pending first");
        assert!(!Unknown.may_become(Committed), "an unknown message goes through an operator's pending first");
        for s in [Unknown, Pending, Failed, ClosedUnknown] {
            assert!(s.may_become(Accepted), "a late answer still counts: {s}");
        }
    }

    #[test]
    fn ended_runs_stay_ended() {
        for s in [RunState::Closed, RunState::Cancelled, RunState::Missed] {
            assert!(RunState::ALL.iter().all(|n| !s.may_become(*n)), "{s}");
        }
    }
}
